// What the local checks share: files are judged for their reader, read and parsed, and whatever is
// wrong with them goes into the report.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/file.h"
#include "pki/key.h"
#include "pki/local_check.h"
#include "pki/report.h"

namespace pki {

class Examination {
 public:
  enum class Secrecy { open, secret };

  /// A file that was read, and what messages call it.
  struct Read {
    std::filesystem::path path;
    std::string label;
    File file;
  };

  Examination(const LocalCheck& check, Report& report);

  void add(Finding::Level level, const char* id, std::string what, std::string remedy);
  void problem(const char* id, std::string what, std::string remedy);
  void unknown(const char* id, std::string what, std::string remedy);
  void note(const char* id, std::string what, std::string remedy);
  void fact(std::string name, std::string value);

  /// Whether the reader can read the file, which need not be so for whoever runs this. Nothing if
  /// the latter cannot; the report says why.
  [[nodiscard]] std::optional<Read> read(const std::filesystem::path& path,
                                         const std::string& label, Secrecy secrecy);
  /// The certificates in a file that is to hold one at least.
  [[nodiscard]] std::vector<Certificate> certificates(const Read& read);
  [[nodiscard]] std::optional<Key> key(const Read& read);
  /// A TLS server or client needs both of one pair, the certificate first in its file.
  void judge_pair(const Read& certificate_file, const std::vector<Certificate>& chain,
                  const Read& key_file, const Key& key);
  /// A key that other users can read is no secret.
  void judge_exposure(const Read& key_file);
  /// What inspect() finds, said of `label`.
  void inspect_chain(const std::string& label, const std::vector<Certificate>& chain,
                     const std::vector<Certificate>& roots, bool for_client);
  /// What to verify a leaf in `directory` with; none, and why, if there is nothing.
  [[nodiscard]] std::vector<Certificate> roots_beside(const std::filesystem::path& directory,
                                                      std::string& why_none) const;
  /// A root's dates.
  void judge_root(Finding::Level level, const std::string& label, const Certificate& root);

  [[nodiscard]] const LocalCheck& check() const noexcept { return check_; }
  [[nodiscard]] const Reader& reader() const noexcept { return reader_; }
  /// "until 2028-12-24T10:15:00Z, 761 days left"
  [[nodiscard]] std::string lifetime(const Certificate& certificate) const;

 private:
  const LocalCheck& check_;
  Report& report_;
  Reader reader_;
};

/// A path as a command line takes it.
[[nodiscard]] std::string argument(const std::filesystem::path& path);

/// "\"/CN=minica root ca 44e151\""
[[nodiscard]] std::string quoted_subject(const Certificate& certificate);

/// "RSA 2048"; "a key that cannot be read" for hostile ones.
[[nodiscard]] std::string key_text(const Certificate& certificate);

}  // namespace pki
