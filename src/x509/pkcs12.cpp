#include "pki/pkcs12.h"

#include <openssl/crypto.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "base/openssl.h"
#include "pki/error.h"
#include "x509/stack.h"

namespace pki {
namespace {

constexpr const char* writing = "writing PKCS #12";

// OpenSSL wants a C string, and gives no other way to say where it ends.
SecretBytes terminated(std::string_view password) {
  demand_pkcs12_password(password);
  SecretBytes bytes(password.begin(), password.end());
  bytes.push_back('\0');
  return bytes;
}

const char* c_string(const SecretBytes& bytes) {
  return reinterpret_cast<const char*>(bytes.data());
}

}  // namespace

void demand_pkcs12_password(std::string_view password) {
  if (password.empty()) throw Error("the password is empty", "put one into the file");
  if (password.find('\0') != std::string_view::npos) {
    throw Error("the password has a NUL byte", "choose one that can be typed");
  }
}

SecretBytes to_pkcs12(const Key& key, const Certificate& certificate,
                      std::span<const Certificate> chain, const std::string& friendly_name,
                      std::string_view password) {
  const SecretBytes secret = terminated(password);
  const Handle<stack_st_X509> others = stack_of(chain);
  const auto pkcs12 = check(PKCS12_create(c_string(secret), friendly_name.c_str(), key.native(),
                                          certificate.native(), others.get(), 0, 0, 0, 0, 0),
                            writing);
  SecretBytes der(static_cast<std::size_t>(check(i2d_PKCS12(pkcs12.get(), nullptr), writing)));
  unsigned char* cursor = der.data();
  check(i2d_PKCS12(pkcs12.get(), &cursor), writing);
  return der;
}

bool pkcs12_holds(std::span<const unsigned char> der, std::string_view password, const Key& key,
                  const Certificate& certificate) {
  const SecretBytes secret = terminated(password);
  const unsigned char* cursor = der.data();
  const Handle<PKCS12_st> pkcs12(d2i_PKCS12(nullptr, &cursor, static_cast<long>(der.size())));
  evp_pkey_st* found_key = nullptr;
  x509_st* found_certificate = nullptr;
  const bool parsed = pkcs12 != nullptr && PKCS12_parse(pkcs12.get(), c_string(secret), &found_key,
                                                        &found_certificate, nullptr) == 1;
  const Handle<evp_pkey_st> owned_key(found_key);
  const Handle<x509_st> owned_certificate(found_certificate);
  forget_openssl_errors();
  return parsed && owned_key != nullptr && owned_certificate != nullptr &&
         EVP_PKEY_eq(owned_key.get(), key.native()) == 1 &&
         X509_cmp(owned_certificate.get(), certificate.native()) == 0;
}

}  // namespace pki
