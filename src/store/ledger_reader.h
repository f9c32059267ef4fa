// Reading minica-index.txt: a line at a time, in constant memory, whoever wrote it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "pki/certificate.h"
#include "store/directory.h"

namespace pki {

/// The views are valid during the call.
struct LedgerEntry {
  enum class Status {
    valid,  ///< Or expired since: only `openssl ca -updatedb` writes that down.
    revoked,
  };

  Status status;
  Instant not_after;
  std::optional<Instant> revoked_at;  // always there if revoked
  std::string_view reason;            // in OpenSSL's words: "keyCompromise"; empty for none
  SerialNumber serial;
  std::string_view subject;      // as Certificate::subject() has it: "/CN=bouncerhost"
  std::string_view common_name;  // of that subject; empty for none
  std::uint64_t offset;          // of the line in the file
};

/// Calls `visit` for each certificate in the ledger, the oldest first. False if there is no ledger.
/// `warn` gets a line for what cannot be read. Throws Error.
bool read_ledger(const Directory& directory, const std::string& name,
                 const std::function<void(const LedgerEntry&)>& visit,
                 const std::function<void(const std::string&)>& warn);

/// The same for the lines at these offsets, in ascending order, and no others.
void read_ledger_at(std::span<const std::uint64_t> offsets, const Directory& directory,
                    const std::string& name, const std::function<void(const LedgerEntry&)>& visit);

}  // namespace pki
