#include "pki/key.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "support.h"
#include "x509/ec_encoding.h"
#include "x509/pem.h"

using namespace pki;

namespace {

// What OpenSSL itself makes of our PEM: an independent reader of our encodings.
Handle<evp_pkey_st> openssl_reads(const SecretBytes& pem) {
  const Handle<bio_st> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Handle<evp_pkey_st>(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
}

enum class Form { pkcs8, traditional, encrypted };

std::string openssl_writes(const Key& key, Form form) {
  const Handle<bio_st> bio(BIO_new(BIO_s_mem()));
  char password[] = "secret";
  switch (form) {
    case Form::pkcs8:
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key.native(), nullptr, nullptr, 0, nullptr, nullptr);
      break;
    case Form::traditional:
      PEM_write_bio_PrivateKey_traditional(bio.get(), key.native(), nullptr, nullptr, 0, nullptr,
                                           nullptr);
      break;
    case Form::encrypted:
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key.native(), EVP_aes_128_cbc(), password, 6,
                                    nullptr, nullptr);
      break;
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

TEST_CASE("key: every type is made, written as PKCS#8, and read back the same") {
  for (const KeyType type : all_key_types) {
    CAPTURE(text(type));
    const Key key = Key::generate(type);
    CHECK(key.public_key().type() == type);
    const SecretBytes pem = key.pem();
    CHECK(as_text(pem).starts_with("-----BEGIN PRIVATE KEY-----\n"));

    const Handle<evp_pkey_st> theirs = openssl_reads(pem);
    REQUIRE(theirs != nullptr);
    CHECK(EVP_PKEY_eq(theirs.get(), key.native()) == 1);
    // Byte for byte what OpenSSL writes: no reader can tell the difference.
    CHECK(as_text(pem) == openssl_writes(key, Form::pkcs8));

    const Key again = Key::from_pem(as_text(pem));
    CHECK(again.public_key() == key.public_key());
    CHECK(as_text(again.pem()) == as_text(pem));
  }
}

TEST_CASE("key: SEC1 and PKCS#1 are read, whatever stands around them") {
  for (const KeyType type : {KeyType::p256, KeyType::p384, KeyType::rsa2048}) {
    CAPTURE(text(type));
    const Key key = Key::generate(type);
    const std::string pem = openssl_writes(key, Form::traditional);
    REQUIRE(!pem.starts_with("-----BEGIN PRIVATE KEY"));
    const std::string parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    std::string crlf;
    for (const char c : pem) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
    for (const std::string& variant :
         {pem, parameters + pem, "a note\n" + pem, "\xef\xbb\xbf" + pem, crlf, pem + pem}) {
      CHECK(Key::from_pem(variant).public_key() == key.public_key());
    }
  }
}

TEST_CASE("key: what is no key, damaged or encrypted is refused without a prompt") {
  const Key key = Key::generate(KeyType::p256);
  const std::string pem = openssl_writes(key, Form::pkcs8);
  CHECK(test::contains(test::error_of([] { (void)Key::from_pem(""); }), "no private key"));
  CHECK(test::contains(test::error_of([] { (void)Key::from_pem("garbage\n"); }), "no private key"));
  const std::string encrypted = openssl_writes(key, Form::encrypted);
  CHECK(test::contains(test::error_of([&] { (void)Key::from_pem(encrypted); }), "encrypted"));
  std::string truncated = pem;
  truncated.erase(80, 40);
  CHECK_THROWS_AS((void)Key::from_pem(truncated), Error);
}

// Fixed bytes are read fast, all others by OpenSSL's decoder, which forgives some. Neither may
// crash or make a key that cannot be written again.
TEST_CASE("key: any damaged byte of a PKCS#8 key is refused, or read as a key that is whole") {
  const Key key = Key::generate(KeyType::p256);
  const std::string pem(as_text(key.pem()));
  const std::size_t body = pem.find('\n') + 1;
  const std::size_t end = pem.find("\n-----END");
  for (std::size_t at = body; at < end; ++at) {
    if (pem[at] == '\n') continue;
    std::string damaged = pem;
    damaged[at] = damaged[at] == 'A' ? 'B' : 'A';
    try {
      const Key read = Key::from_pem(damaged);
      CHECK(Key::from_pem(as_text(read.pem())).public_key() == read.public_key());
    } catch (const Error&) {
    }
  }
}

TEST_CASE("key: halves of two keys do not match") {
  for (const EcEncoding& encoding : ec_encodings) {
    CAPTURE(encoding.group);
    const Key key = Key::generate(encoding.type);
    const SecretBytes other = Key::generate(encoding.type).der();
    CHECK(key.halves_match());
    CHECK(Key::from_pem(as_text(key.pem())).halves_match());
    const auto with_scalar = [&](std::span<const unsigned char> scalar) {
      SecretBytes der = key.der();
      std::ranges::copy(scalar, der.begin() + static_cast<long>(encoding.pkcs8_head.size()));
      return Key::from_pem(as_text(to_pem("PRIVATE KEY", der)));
    };
    const auto scalar = std::span(other).subspan(encoding.pkcs8_head.size(), encoding.field_size);
    CHECK(!with_scalar(scalar).halves_match());
    CHECK(!with_scalar(std::vector<unsigned char>(encoding.field_size, 0xff)).halves_match());
  }
  for (const KeyType type : {KeyType::rsa2048, KeyType::ed25519}) {
    CHECK(Key::generate(type).halves_match());
  }
  // Its public half is a compressed point.
  const Key compressed = Key::from_pem(
      "-----BEGIN PRIVATE KEY-----\n"
      "MGcCAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcETTBLAgEBBCCphHZ60oq0h5/IizgY\n"
      "LPUpkK0Ab1QSiBZivRTN8LOXX6EkAyIAA/KbB2QRvcJGC69h5LKrTa9fzF+D1hyh\n"
      "SYHbPYFaogJd\n"
      "-----END PRIVATE KEY-----\n");
  CHECK(compressed.halves_match());
}

TEST_CASE("key: a hybrid point is the same point") {
  const Key key = Key::generate(KeyType::p256);
  SecretBytes der = key.der();
  unsigned char& form = der[der.size() - 65];
  REQUIRE(form == 0x04);
  form = (der.back() & 1U) != 0 ? 0x07 : 0x06;  // SEC 1 2.3.3: and whether y is odd
  const Key hybrid = Key::from_pem(as_text(to_pem("PRIVATE KEY", der)));
  CHECK(hybrid.public_key() == key.public_key());
  CHECK(hybrid.halves_match());
}

TEST_CASE("key: types have names") {
  for (const KeyType type : all_key_types) CHECK(parse_key_type(text(type)) == type);
  CHECK(parse_key_type("RSA2048") == KeyType::rsa2048);
  CHECK(!parse_key_type("p521"));
  CHECK(!parse_key_type(""));
  CHECK(Key::generate(KeyType::rsa2048).public_key().description() == "RSA 2048");
  CHECK(Key::generate(KeyType::p384).public_key().description() == "P-384");
}

TEST_CASE("secret bytes are cleansed when they are given back") {
  SecretBytes secret(64, 0x5a);
  const unsigned char* const memory = secret.data();
  CleansingAllocator<unsigned char> allocator;
  unsigned char* const block = allocator.allocate(64);
  std::fill_n(block, 64, 0x5a);
  cleanse(block, 64);
  CHECK(std::all_of(block, block + 64, [](unsigned char byte) { return byte == 0; }));
  allocator.deallocate(block, 64);
  CHECK(memory[0] == 0x5a);
}
