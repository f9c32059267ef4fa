#include "base/openssl.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "pki/error.h"
#include "pki/secret.h"

namespace pki {

std::string take_openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = ERR_reason_error_string(code);
  // Where the texts were not loaded, openssl(1) has them: `openssl errstr CODE`.
  std::string text = reason != nullptr ? reason
                     : code != 0       ? fmt::format("OpenSSL error {:08X}", code)
                                       : "no reason given";
  forget_openssl_errors();
  return text;
}

void forget_openssl_errors() { ERR_clear_error(); }

void throw_openssl_error(const char* doing) {
  throw Error(std::string(doing) + ": " + take_openssl_reason());
}

void start_openssl_for_one_job() {
  // No openssl.cnf, no tables of every algorithm's name, no tidying up of what the kernel takes
  // back anyway: together more work than the job itself.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
                          OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS |
                          OPENSSL_INIT_NO_ATEXIT,
                      nullptr);
  // The digests of the signatures that X509_verify() may meet; it looks them up by name.
  for (const EVP_MD* digest :
       {EVP_sha1(), EVP_sha224(), EVP_sha256(), EVP_sha384(), EVP_sha512()}) {
    check(EVP_add_digest(digest), "starting OpenSSL");
  }
  // And the cipher of PKCS #12.
  check(EVP_add_cipher(EVP_aes_256_cbc()), "starting OpenSSL");
  // NIST SP 800-90A's Hash_DRBG needs the SHA-256 that signing needs too; the default, CTR_DRBG,
  // makes OpenSSL set up every cipher it has.
  check(RAND_set_DRBG_type(nullptr, "HASH-DRBG", nullptr, nullptr, "SHA256"), "starting OpenSSL");
}

void cleanse(void* memory, std::size_t size) noexcept { OPENSSL_cleanse(memory, size); }

}  // namespace pki
