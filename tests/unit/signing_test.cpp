#include "x509/signing.h"

#include <doctest/doctest.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>
#include <string_view>

#include "base/openssl.h"
#include "pki/error.h"
#include "pki/issuer.h"
#include "x509/ec_group.h"
#include "x509/pem.h"

namespace pki {
namespace {

constexpr Instant now{std::chrono::seconds{1'790'000'000}};

CertificateSpec specify(const Profile& profile, std::string name) {
  return {.common_name = std::move(name),
          .sans = profile.is_ca ? std::vector<San>{} : std::vector<San>{DnsName::parse("a.test")},
          .profile = profile,
          .validity = Validity::starting(now, Lifetime{.days = std::chrono::days{90}}),
          .serial = SerialNumber::generate()};
}

// A certificate whose bytes are one bit away from the given one's; nothing if that is none.
std::optional<Certificate> with_flipped_bit(const Certificate& certificate, std::size_t bit) {
  std::vector<unsigned char> der = certificate.der();
  der.at(bit / 8) ^= static_cast<unsigned char>(1U << (bit % 8));
  try {
    return Certificate::from_der(der);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::vector<unsigned char> digest_of(std::string_view text, const EVP_MD* kind) {
  std::vector<unsigned char> digest(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  check(EVP_Digest(text.data(), text.size(), digest.data(), &size, kind, nullptr), "digesting");
  digest.resize(size);
  return digest;
}

std::vector<unsigned char> signature_of(const Key& key, std::span<const unsigned char> digest) {
  const Handle<evp_pkey_ctx_st> context(EVP_PKEY_CTX_new_from_pkey(nullptr, key.native(), nullptr));
  check(EVP_PKEY_sign_init(context.get()), "signing");
  std::vector<unsigned char> signature(256);
  std::size_t size = signature.size();
  check(EVP_PKEY_sign(context.get(), signature.data(), &size, digest.data(), digest.size()),
        "signing");
  signature.resize(size);
  return signature;
}

}  // namespace

TEST_CASE("signing: who has the key says what the public key says") {
  for (const KeyType type : {KeyType::p256, KeyType::p384, KeyType::rsa2048}) {
    CAPTURE(text(type));
    const Issuer root = Issuer::self_signed(specify(profiles::root, "root"), Key::generate(type));
    const Issuer other = Issuer::self_signed(specify(profiles::root, "root"), Key::generate(type));
    const Certificate leaf =
        root.sign(specify(profiles::server, "a.test"), Key::generate(KeyType::p256).public_key());
    CHECK(is_signed_with(leaf, root.key()));
    CHECK(is_signed_with(root.certificate(), root.key()));
    CHECK(!is_signed_with(leaf, other.key()));
    CHECK(root.has_signed(leaf));
    CHECK(!other.has_signed(leaf));

    // Some bits lie in what is not signed, and does not count: the public key decides.
    const std::size_t step = type == KeyType::p256 ? 1 : 61;
    std::size_t compared = 0;
    for (std::size_t bit = 0; bit < leaf.der().size() * 8; bit += step) {
      const std::optional<Certificate> damaged = with_flipped_bit(leaf, bit);
      if (!damaged.has_value()) continue;
      const bool holds = X509_verify(damaged->native(), root.key().native()) == 1;
      forget_openssl_errors();
      CHECK(is_signed_with(*damaged, root.key()) == holds);
      ++compared;
    }
    CHECK(compared > 20);
  }
}

TEST_CASE("signing: a root's key whose private half is another's is refused") {
  for (const EcEncoding& encoding : ec_encodings) {
    CAPTURE(encoding.group);
    const Issuer root =
        Issuer::self_signed(specify(profiles::root, "root"), Key::generate(encoding.type));
    SecretBytes der = root.key().der();
    const SecretBytes other = Key::generate(encoding.type).der();
    const std::size_t scalar = encoding.pkcs8_head.size();
    std::copy_n(other.begin() + static_cast<long>(scalar), encoding.field_size,
                der.begin() + static_cast<long>(scalar));
    const SecretBytes pem = to_pem("PRIVATE KEY", der);
    Key mixed = Key::from_pem({reinterpret_cast<const char*>(pem.data()), pem.size()});
    REQUIRE(mixed.public_key() == root.certificate().public_key());
    CHECK_THROWS_WITH_AS(Issuer(root.certificate(), std::move(mixed)),
                         doctest::Contains("do not match"), Error);
  }
}

TEST_CASE("signing: ECDSA signatures that are none") {
  for (const EcEncoding& encoding : ec_encodings) {
    CAPTURE(encoding.group);
    const Key key = Key::generate(encoding.type);
    const Key other = Key::generate(encoding.type);
    const EVP_MD* const kind = encoding.type == KeyType::p256 ? EVP_sha256() : EVP_sha384();
    const std::vector<unsigned char> digest = digest_of("what is signed", kind);
    const std::vector<unsigned char> signature = signature_of(key, digest);
    const Handle<bignum_st> scalar = ec_scalar(key.native());
    const auto holds = [&](std::span<const unsigned char> bytes) {
      return ec_has_signed(encoding, scalar.get(), digest, bytes);
    };
    CHECK(holds(signature));
    CHECK(!holds(signature_of(other, digest)));
    CHECK(!holds(signature_of(key, digest_of("something else", kind))));
    CHECK(!ec_has_signed(encoding, ec_scalar(other.native()).get(), digest, signature));

    std::vector<unsigned char> longer = signature;
    longer.push_back(0);
    CHECK(!holds(longer));
    CHECK(!holds(std::span(signature).first(signature.size() - 1)));
    CHECK(!holds({}));

    EC_GROUP* const group = EC_GROUP_new_by_curve_name(encoding.nid);
    REQUIRE(group != nullptr);
    const Handle<bignum_st> group_order(BN_dup(EC_GROUP_get0_order(group)));
    EC_GROUP_free(group);
    const BIGNUM* const order = group_order.get();
    const auto with = [&](const BIGNUM* r, const BIGNUM* s) {
      ECDSA_SIG* const made = ECDSA_SIG_new();
      REQUIRE(ECDSA_SIG_set0(made, BN_dup(r), BN_dup(s)) == 1);
      unsigned char* der = nullptr;
      const int size = i2d_ECDSA_SIG(made, &der);
      std::vector<unsigned char> bytes(der, der + size);
      OPENSSL_free(der);
      ECDSA_SIG_free(made);
      return bytes;
    };
    const unsigned char* cursor = signature.data();
    ECDSA_SIG* const parsed = d2i_ECDSA_SIG(nullptr, &cursor, static_cast<long>(signature.size()));
    REQUIRE(parsed != nullptr);
    const Handle<bignum_st> r(BN_dup(ECDSA_SIG_get0_r(parsed)));
    const Handle<bignum_st> s(BN_dup(ECDSA_SIG_get0_s(parsed)));
    ECDSA_SIG_free(parsed);
    const Handle<bignum_st> zero(BN_new());
    CHECK(holds(with(r.get(), s.get())));
    CHECK(!holds(with(zero.get(), s.get())));
    CHECK(!holds(with(r.get(), zero.get())));
    CHECK(!holds(with(order, s.get())));
    CHECK(!holds(with(r.get(), order)));
    Handle<bignum_st> beyond(BN_dup(s.get()));
    REQUIRE(BN_add(beyond.get(), beyond.get(), order) == 1);
    CHECK(!holds(with(r.get(), beyond.get())));  // would be s
    // The other signature of the same nonce is one, as for everybody.
    REQUIRE(BN_sub(beyond.get(), order, s.get()) == 1);
    CHECK(holds(with(r.get(), beyond.get())));
  }
}

}  // namespace pki
