// Which clients take a server's certificate for a name.
//
// Each kind of client has rules of its own for names, and some for chains. They are stated here as
// data and code, and tested against the real clients (tests/e2e/verdicts.py).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/report.h"

namespace pki {

/// `chain` as the server sends it, leaf first, not empty; `roots` are what the client trusts;
/// `host` is what it connects to, a name or an address as text.
[[nodiscard]] std::vector<Verdict> client_verdicts(std::span<const Certificate> chain,
                                                   std::span<const Certificate> roots,
                                                   const std::string& host, Instant now);

/// Whether libpq takes it with sslmode=verify-full.
[[nodiscard]] bool is_verified(std::span<const Certificate> chain,
                               std::span<const Certificate> roots, const std::string& host,
                               Instant now);

}  // namespace pki
