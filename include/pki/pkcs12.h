// PKCS #12 (RFC 7292): key and certificates in one encrypted file, as Java and .NET like them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "pki/certificate.h"
#include "pki/key.h"
#include "pki/secret.h"

namespace pki {

/// PBES2 with AES-256 and an HMAC of SHA-256: OpenSSL 3's defaults, read by Java 17 and later.
/// pgjdbc finds a key only under the friendly name "user". `password` is UTF-8 and not empty.
/// Throws Error.
[[nodiscard]] SecretBytes to_pkcs12(const Key& key, const Certificate& certificate,
                                    std::span<const Certificate> chain,
                                    const std::string& friendly_name, std::string_view password);

/// Throws Error for a password that is empty or has a NUL byte.
void demand_pkcs12_password(std::string_view password);

/// Whether `der` opens with `password` and holds this key and certificate.
[[nodiscard]] bool pkcs12_holds(std::span<const unsigned char> der, std::string_view password,
                                const Key& key, const Certificate& certificate);

}  // namespace pki
