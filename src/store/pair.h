// A certificate and its key on the disk: the root's two files, or a leaf's.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/error.h"
#include "pki/key.h"
#include "store/directory.h"
#include "store/writer.h"

namespace pki {

class Pair {
 public:
  Pair(Place certificate, Place key) : certificate_(std::move(certificate)), key_(std::move(key)) {}

  /// After a run that was killed: finishes the publication of a pair of which one file has its name
  /// already and the other, which matches it, is pending; clears pending files that belong to
  /// nothing published. So it does where the two were to replace others: a certificate that does
  /// not match the key that is there, but the pending one. Leaves everything alone where neither is
  /// certain.
  void recover() const;

  [[nodiscard]] bool has_certificate() const;
  [[nodiscard]] bool has_key() const;
  /// Throws an Error unless each of the two is absent or a plain file of its own: no link of any
  /// kind.
  void demand_plain_files() const;
  /// How the key's file differs from one that is made for `owner`: a key that the service cannot
  /// read is of no use to it.
  [[nodiscard]] std::vector<std::string> differences_from(const Owner& owner) const;
  /// Throws an Error that names the missing file where only one is there.
  [[nodiscard]] bool is_there() const;

  struct StoredKey {
    Key key;
    unsigned mode;  // of the file
    Owner owner;
  };
  /// Both throw an Error that names the file.
  [[nodiscard]] Certificate read_certificate(bool follow_links) const;
  [[nodiscard]] StoredKey read_key(bool follow_links) const;

  /// Ready to be published: the certificate first, so that no reader ever finds a key without one.
  /// The certificate comes first in `chain`.
  [[nodiscard]] Staged stage(std::span<const Certificate> chain, const Key& key,
                             const Owner& owner = {}) const;

  [[nodiscard]] const Place& certificate() const noexcept { return certificate_; }
  [[nodiscard]] const Place& key() const noexcept { return key_; }

 private:
  Place certificate_;
  Place key_;
};

/// What `parse` makes of a file's contents. Its Error then names the file.
template <class Parse>
auto parse_file(const Place& place, const File& file, Parse parse) {
  try {
    return parse(as_text(file.contents));
  } catch (const Error& error) {
    throw Error(place.path() + ": " + error.what(),
                error.hint().empty() ? "put the right PEM file there" : error.hint());
  }
}

/// Throws an Error that names the file.
[[nodiscard]] Certificate read_certificate_at(const Place& place, bool follow_links);

}  // namespace pki
