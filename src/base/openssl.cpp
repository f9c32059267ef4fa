#include "base/openssl.h"

#include <fmt/format.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "pki/error.h"
#include "pki/secret.h"

namespace pki {
namespace {

// OpenSSL 3.0 asks every decoder that it has, over and over, for each public key in a certificate:
// that takes longer than making a key and signing with it. So there is a second library context,
// whose one provider hands out the default provider's own algorithms, but no more of them than keys
// and certificates of the usual kinds need.
//
// And for many certificates a third one with nothing but digests, in which the public key of a
// certificate is not decoded at all.
OSSL_LIB_CTX* small_context = nullptr;
OSSL_LIB_CTX* keyless = nullptr;
// What their providers hand out, for each operation; read by threads once it is filled.
std::array<std::vector<OSSL_ALGORITHM>, OSSL_OP__HIGHEST + 1> common_algorithms;

bool is_common(int operation, const OSSL_ALGORITHM& algorithm) {
  const std::string_view names = algorithm.algorithm_names;  // "EC:id-ecPublicKey:..."
  const std::string_view name = names.substr(0, names.find(':'));
  const std::string_view properties = algorithm.property_definition;
  const auto has = [&](std::string_view property) {
    return properties.find(property) != std::string_view::npos;
  };
  constexpr std::array<std::string_view, 4> kinds = {"EC", "ECDSA", "RSA", "ED25519"};
  const bool is_of_kind = std::ranges::find(kinds, name) != kinds.end();
  const bool is_general =  // not SEC 1 and PKCS #1
      has("structure=SubjectPublicKeyInfo") || has("structure=PrivateKeyInfo");
  switch (operation) {
    case OSSL_OP_DIGEST: return name == "SHA1" || name.starts_with("SHA2-");
    case OSSL_OP_DECODER: return is_of_kind && has("input=der") && is_general;
    case OSSL_OP_ENCODER: return is_of_kind && has("output=der") && is_general;
    default: return is_of_kind;
  }
}

const OSSL_ALGORITHM* query_common(void* /*context*/, int operation, int* no_store) {
  *no_store = 0;
  const auto at = static_cast<std::size_t>(operation);
  return at < common_algorithms.size() && !common_algorithms[at].empty()
             ? common_algorithms[at].data()
             : nullptr;
}

const OSSL_ALGORITHM* query_digests(void* context, int operation, int* no_store) {
  return operation == OSSL_OP_DIGEST ? query_common(context, operation, no_store) : nullptr;
}

void take_common_algorithms(const OSSL_PROVIDER* all) {
  for (const int operation :
       {OSSL_OP_DIGEST, OSSL_OP_KEYMGMT, OSSL_OP_SIGNATURE, OSSL_OP_DECODER, OSSL_OP_ENCODER}) {
    int no_store = 0;
    const OSSL_ALGORITHM* each = OSSL_PROVIDER_query_operation(all, operation, &no_store);
    auto& taken = common_algorithms.at(static_cast<std::size_t>(operation));
    for (; each != nullptr && each->algorithm_names != nullptr; ++each) {
      if (is_common(operation, *each)) taken.push_back(*each);
    }
    taken.push_back({});  // the end
  }
}

template <auto query>
int begin_provider(const OSSL_CORE_HANDLE* /*handle*/, const OSSL_DISPATCH* /*core*/,
                   const OSSL_DISPATCH** functions, void** context) {
  static const std::array<OSSL_DISPATCH, 2> ours = {
      {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(query)}, {}}};
  OSSL_PROVIDER* const all = OSSL_PROVIDER_load(nullptr, "default");
  if (all == nullptr) return 0;
  if (common_algorithms[OSSL_OP_DIGEST].empty()) take_common_algorithms(all);
  *functions = ours.data();
  *context = OSSL_PROVIDER_get0_provider_ctx(all);  // the algorithms expect their own provider's
  return 1;
}

OSSL_LIB_CTX* context_with(const char* name, OSSL_provider_init_fn* provider) {
  OSSL_LIB_CTX* const context = OSSL_LIB_CTX_new();
  if (context == nullptr || OSSL_PROVIDER_add_builtin(context, name, provider) != 1 ||
      OSSL_PROVIDER_load(context, name) == nullptr) {
    throw_openssl_error("starting OpenSSL");
  }
  return context;
}

}  // namespace

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
  small_context = context_with("common", begin_provider<query_common>);
}

void prepare_openssl_for(std::size_t certificates) {
  // It costs what three certificates save (callgrind); where there are few nobody would notice.
  constexpr std::size_t worth_it = 20;
  if (small_context == nullptr || keyless != nullptr || certificates < worth_it) return;
  keyless = context_with("digests", begin_provider<query_digests>);
}

OSSL_LIB_CTX* common_context() noexcept { return small_context; }

OSSL_LIB_CTX* keyless_context() noexcept { return keyless != nullptr ? keyless : small_context; }

void cleanse(void* memory, std::size_t size) noexcept { OPENSSL_cleanse(memory, size); }

}  // namespace pki
