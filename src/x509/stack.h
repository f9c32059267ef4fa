// Certificates as OpenSSL's functions want several of them.
#pragma once

#include <span>

#include "pki/certificate.h"
#include "pki/handle.h"

namespace pki {

/// In the same order; the certificates are shared, not copied.
[[nodiscard]] Handle<stack_st_X509> stack_of(std::span<const Certificate> certificates);

}  // namespace pki
