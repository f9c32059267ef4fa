// The floor that bench/run measures against: key, certificate, files, and nothing else.
//
//   floor [--durable] ROOT.pem ROOT-KEY.pem NAME                one certificate
//   floor [--durable] ROOT.pem ROOT-KEY.pem --hosts FILE JOBS   one for every line of FILE
//
// It makes NAME/key.pem and NAME/cert.pem in the working directory. No ledger, no lock, no look at
// what it was given or has made: the least that a program on OpenSSL's public interface can do,
// with what makes OpenSSL 3.0 fast. Encoders and decoders are avoided and the library starts
// without its tables; what is the same in every certificate is made once.
//
// With --durable the files are synced in a directory of another name, which is then renamed, and
// the rename synced: one fsync(2) for every file and directory, or for many certificates one
// syncfs(2). Without it they are written where they belong, and it is left to the kernel when they
// reach the disk.
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <fstream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace {

template <auto free>
struct Free {
  template <class T>
  void operator()(T* object) const {
    free(object);
  }
};
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
using Time = std::unique_ptr<ASN1_TIME, Free<ASN1_STRING_free>>;
using Digest = std::unique_ptr<EVP_MD, Free<EVP_MD_free>>;
using Bytes = std::vector<unsigned char>;

template <class T>
T* must(T* made) {
  if (made == nullptr) throw std::runtime_error("OpenSSL failed");
  return made;
}

void must(int done) {
  if (done <= 0) throw std::runtime_error("OpenSSL failed");
}

int sys(int result, const std::string& what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(number_); }
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

// --- PEM and keys of the curve P-256
// --------------------------------------------------------------

std::string to_pem(std::string_view label, std::span<const unsigned char> der) {
  std::string out = "-----BEGIN " + std::string(label) + "-----\n";
  constexpr std::size_t line = 48;
  std::array<unsigned char, 65> text{};
  for (std::size_t at = 0; at < der.size(); at += line) {
    const auto part = der.subspan(at, std::min(line, der.size() - at));
    EVP_EncodeBlock(text.data(), part.data(), static_cast<int>(part.size()));
    out += reinterpret_cast<const char*>(text.data());
    out += '\n';
  }
  return out + "-----END " + std::string(label) + "-----\n";
}

Bytes from_pem(const char* path) {
  const std::unique_ptr<FILE, Free<std::fclose>> file(std::fopen(path, "r"));
  if (file == nullptr) throw std::system_error(errno, std::generic_category(), path);
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* der = nullptr;
  long size = 0;
  must(PEM_read(file.get(), &label, &header, &der, &size));
  Bytes bytes(der, der + size);
  OPENSSL_free(label);
  OPENSSL_free(header);
  OPENSSL_free(der);
  return bytes;
}

// PKCS #8 up to the private number's 32 bytes, and from there to the public point's 65.
constexpr std::array<unsigned char, 36> pkcs8_head = {
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20};
constexpr std::array<unsigned char, 5> pkcs8_middle = {0xa1, 0x44, 0x03, 0x42, 0x00};
constexpr std::size_t number_size = 32;
constexpr std::size_t point_size = 65;
using Point = std::array<unsigned char, point_size>;

Key read_key(const char* path) {
  const Bytes der = from_pem(path);
  constexpr std::size_t point_at = pkcs8_head.size() + number_size + pkcs8_middle.size();
  if (der.size() != point_at + point_size ||
      !std::equal(pkcs8_head.begin(), pkcs8_head.end(), der.begin())) {
    throw std::runtime_error(std::string(path) + ": no P-256 key as pki writes it");
  }
  const auto number = std::span(der).subspan(pkcs8_head.size(), number_size);
  Bytes least_first(number.rbegin(), number.rend());
  Point point{};
  std::copy_n(der.begin() + point_at, point_size, point.begin());
  char group[] = "prime256v1";
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
      OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, least_first.data(), least_first.size()),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()),
      OSSL_PARAM_construct_end()};
  const KeyContext context(must(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr)));
  must(EVP_PKEY_fromdata_init(context.get()));
  EVP_PKEY* key = nullptr;
  must(EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params));
  return Key(key);
}

Point point_of(const EVP_PKEY* key) {
  Point point{};
  std::size_t size = 0;
  must(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(),
                                       &size));
  return point;
}

std::string key_pem(const EVP_PKEY* key, const Point& point) {
  BIGNUM* number = nullptr;
  must(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number));
  Bytes der(pkcs8_head.begin(), pkcs8_head.end());
  der.resize(der.size() + number_size);
  must(BN_bn2binpad(number, der.data() + pkcs8_head.size(), number_size));
  BN_clear_free(number);
  der.insert(der.end(), pkcs8_middle.begin(), pkcs8_middle.end());
  der.insert(der.end(), point.begin(), point.end());
  return to_pem("PRIVATE KEY", der);
}

// --- Certificates
// ---------------------------------------------------------------------------------

// What is the same in every certificate; shared by the threads.
class Root {
 public:
  Root(const char* certificate_path, const char* key_path)
      : key_(read_key(key_path)), sha256_(must(EVP_MD_fetch(nullptr, "SHA256", nullptr))) {
    const Bytes der = from_pem(certificate_path);
    const unsigned char* cursor = der.data();
    certificate_.reset(must(d2i_X509(nullptr, &cursor, static_cast<long>(der.size()))));

    constexpr long year = 365L * 24 * 60 * 60;
    const std::time_t now = std::time(nullptr);
    start_.reset(must(ASN1_TIME_set(nullptr, now)));
    end_.reset(must(ASN1_TIME_set(nullptr, now + 2 * year)));

    const std::unique_ptr<BASIC_CONSTRAINTS, Free<BASIC_CONSTRAINTS_free>> constraints(
        must(BASIC_CONSTRAINTS_new()));
    add(NID_basic_constraints, constraints.get(), true);
    const std::unique_ptr<ASN1_BIT_STRING, Free<ASN1_BIT_STRING_free>> usage(
        must(ASN1_BIT_STRING_new()));
    must(ASN1_BIT_STRING_set_bit(usage.get(), 0, 1));  // digitalSignature
    add(NID_key_usage, usage.get(), true);
    const std::unique_ptr<EXTENDED_KEY_USAGE, Free<EXTENDED_KEY_USAGE_free>> server(
        must(sk_ASN1_OBJECT_new_null()));
    must(sk_ASN1_OBJECT_push(server.get(), OBJ_nid2obj(NID_server_auth)));
    add(NID_ext_key_usage, server.get(), false);
    if (const ASN1_OCTET_STRING* identifier = X509_get0_subject_key_id(certificate_.get())) {
      const std::unique_ptr<AUTHORITY_KEYID, Free<AUTHORITY_KEYID_free>> authority(
          must(AUTHORITY_KEYID_new()));
      authority->keyid = must(ASN1_OCTET_STRING_dup(identifier));
      add(NID_authority_key_identifier, authority.get(), false);
    }
  }

  // A certificate for a host, in PEM.
  [[nodiscard]] std::string certify(const std::string& host, const Point& point) const {
    const Certificate made(must(X509_new()));
    X509* const x = made.get();
    must(X509_set_version(x, X509_VERSION_3));
    std::array<unsigned char, 16> serial{};
    must(RAND_bytes(serial.data(), serial.size()));
    serial[0] = (serial[0] & 0x7fU) | 0x40U;
    must(ASN1_STRING_set(X509_get_serialNumber(x), serial.data(), serial.size()));
    must(X509_set_issuer_name(x, X509_get_subject_name(certificate_.get())));
    must(X509_set1_notBefore(x, start_.get()));
    must(X509_set1_notAfter(x, end_.get()));
    const auto* name = reinterpret_cast<const unsigned char*>(host.data());
    const int name_size = static_cast<int>(host.size());
    must(X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8, name,
                                    name_size, -1, 0));
    must(X509_PUBKEY_set0_param(
        X509_get_X509_PUBKEY(x), OBJ_nid2obj(NID_X9_62_id_ecPublicKey), V_ASN1_OBJECT,
        OBJ_nid2obj(NID_X9_62_prime256v1),
        static_cast<unsigned char*>(must(OPENSSL_memdup(point.data(), point.size()))), point_size));
    for (const Extension& extension : extensions_) must(X509_add_ext(x, extension.get(), -1));
    const std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>> names(must(GENERAL_NAMES_new()));
    GENERAL_NAME* entry = must(GENERAL_NAME_new());
    must(sk_GENERAL_NAME_push(names.get(), entry));
    ASN1_IA5STRING* value = must(ASN1_IA5STRING_new());
    GENERAL_NAME_set0_value(entry, GEN_DNS, value);
    must(ASN1_STRING_set(value, name, name_size));
    must(X509_add1_ext_i2d(x, NID_subject_alt_name, names.get(), 0, X509V3_ADD_APPEND));

    must(X509_sign(x, key_.get(), sha256_.get()));
    unsigned char* der = nullptr;
    const int size = i2d_X509(x, &der);
    must(size);
    std::string pem = to_pem("CERTIFICATE", {der, static_cast<std::size_t>(size)});
    OPENSSL_free(der);
    return pem;
  }

 private:
  void add(int nid, void* value, bool critical) {
    extensions_.emplace_back(must(X509V3_EXT_i2d(nid, critical ? 1 : 0, value)));
  }

  Key key_;
  Digest sha256_;
  Certificate certificate_;
  Time start_, end_;
  std::vector<Extension> extensions_;
};

// --- Files
// ----------------------------------------------------------------------------------------

void write_file(int directory, const char* name, const std::string& contents, mode_t mode,
                bool sync) {
  const Descriptor file(sys(::openat(directory, name, O_WRONLY | O_CREAT | O_EXCL, mode), name));
  if (sys(static_cast<int>(::write(file.number(), contents.data(), contents.size())), name) !=
      static_cast<int>(contents.size())) {
    throw std::runtime_error("the disk is full");
  }
  if (sync) sys(::fsync(file.number()), name);
}

Descriptor open_directory(const std::string& path) {
  return Descriptor(sys(::open(path.c_str(), O_RDONLY | O_DIRECTORY), path));
}

// Makes a key and a certificate; used by one thread.
class Maker {
 public:
  explicit Maker(const Root& root)
      : root_(root), context_(must(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr))) {
    must(EVP_PKEY_keygen_init(context_.get()));
    must(EVP_PKEY_CTX_set_group_name(context_.get(), "P-256"));
  }

  void make(const std::string& host, const std::string& directory, bool sync) const {
    EVP_PKEY* generated = nullptr;
    must(EVP_PKEY_generate(context_.get(), &generated));
    const Key key(generated);
    const Point point = point_of(key.get());
    sys(::mkdir(directory.c_str(), 0755), directory);
    const Descriptor into = open_directory(directory);
    write_file(into.number(), "cert.pem", root_.certify(host, point), 0644, sync);
    write_file(into.number(), "key.pem", key_pem(key.get(), point), 0600, sync);
    if (sync) sys(::fsync(into.number()), directory);
  }

 private:
  const Root& root_;
  KeyContext context_;
};

const std::string staging = ".floor.new";

void publish(const std::string& from, const std::string& to) {
  sys(::rename(from.c_str(), to.c_str()), to);
}

void make_one(const Root& root, const std::string& host, bool durable) {
  const Maker maker(root);
  if (!durable) {
    maker.make(host, host, false);
    return;
  }
  maker.make(host, staging, true);
  publish(staging, host);
  sys(::fsync(open_directory(".").number()), ".");
}

void make_many(const Root& root, const std::vector<std::string>& hosts, unsigned jobs,
               bool durable) {
  if (durable) sys(::mkdir(staging.c_str(), 0700), staging);
  const std::string before = durable ? staging + "/" : "";
  std::atomic<std::size_t> next = 0;
  std::exception_ptr failure;
  std::atomic_flag failed;
  const auto work = [&] {
    try {
      const Maker maker(root);
      for (std::size_t i = next++; i < hosts.size(); i = next++) {
        maker.make(hosts[i], before + hosts[i], false);
      }
    } catch (...) {
      if (!failed.test_and_set()) failure = std::current_exception();
    }
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < jobs; ++i) threads.emplace_back(work);
  work();
  threads.clear();
  if (failure) std::rethrow_exception(failure);
  if (!durable) return;

  const Descriptor here = open_directory(".");
  sys(::syncfs(here.number()), ".");
  for (const std::string& host : hosts) publish(before + host, host);
  sys(::rmdir(staging.c_str()), staging);
  sys(::fsync(here.number()), ".");
}

std::vector<std::string> lines_of(const char* path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(std::string(path) + ": cannot be read");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

}  // namespace

int main(int argc, char** argv) {
  std::span<char*> arguments(argv + 1, static_cast<std::size_t>(argc - 1));
  const bool durable = !arguments.empty() && std::string_view(arguments[0]) == "--durable";
  if (durable) arguments = arguments.subspan(1);
  const bool many = arguments.size() == 5 && std::string_view(arguments[2]) == "--hosts";
  if (!many && arguments.size() != 3) {
    std::fputs("usage: floor [--durable] ROOT ROOT-KEY NAME | --hosts FILE JOBS\n", stderr);
    return 2;
  }
  ::umask(0);
  try {
    // As pki starts it: without its configuration and its tables, and with a random generator that
    // needs nothing but the digest.
    must(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
                                 OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS |
                                 OPENSSL_INIT_NO_ATEXIT,
                             nullptr));
    must(RAND_set_DRBG_type(nullptr, "HASH-DRBG", nullptr, nullptr, "SHA256"));
    const Root root(arguments[0], arguments[1]);
    if (many) {
      make_many(root, lines_of(arguments[3]), static_cast<unsigned>(std::atoi(arguments[4])),
                durable);
    } else {
      make_one(root, arguments[2], durable);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "floor: %s\n", error.what());
    return 1;
  }
  return 0;
}
