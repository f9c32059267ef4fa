// verify: checks a certificate authority's files, at any instant of a run or after its end.
//
// Reads requests from stdin, a line each, four paths between tabs: the root's certificate, its key,
// the ledger, the directory of the leaves. Answers each with a line: "ok", or the faults between
// "; ". A file that is not there yet is no fault. What must never be, however the program ended:
//  - a file under its final name that is not whole;
//  - a key without its certificate, or a pair that does not match;
//  - a leaf without a complete root, or one that does not verify against it;
//  - a certificate that the ledger does not know, a torn line in it other than the last, or a
//    serial number that comes twice;
//  - a revocation list that is not the root's, or has on it what the ledger does not say is
//  revoked;
//  - a private key, staged or published, that anybody but its owner can open.
// What is published last is looked at first, so that runs may be in progress meanwhile.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

template <auto Function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    Function(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Crl = std::unique_ptr<X509_CRL, Free<X509_CRL_free>>;
using Store = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using Context = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>>;

struct Ca {
  fs::path certificate;
  fs::path key;
  fs::path ledger;
  fs::path leaves;
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> fields;
  for (;;) {
    const std::size_t end = text.find(separator);
    fields.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return fields;
    text.remove_prefix(end + 1);
  }
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Bio open(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// None of the files is encrypted: never ask the terminal.
int no_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) { return -1; }

std::string hex(const ASN1_INTEGER* number) {
  const std::unique_ptr<BIGNUM, Free<BN_free>> value(ASN1_INTEGER_to_BN(number, nullptr));
  char* const digits = BN_bn2hex(value.get());
  std::string text(digits);
  OPENSSL_free(digits);
  return text;
}

std::string one_line(const X509_NAME* name) {
  char* const line = X509_NAME_oneline(name, nullptr, 0);
  std::string text(line);
  OPENSSL_free(line);
  return text;
}

// The fields of the line that the ledger must hold for it, but for status and revocation.
std::vector<std::string> ledger_fields(const X509* certificate) {
  const ASN1_TIME* const end = X509_get0_notAfter(certificate);
  const std::string date(reinterpret_cast<const char*>(ASN1_STRING_get0_data(end)),
                         static_cast<std::size_t>(ASN1_STRING_length(end)));
  return {date, hex(X509_get0_serialNumber(certificate)), "unknown",
          one_line(X509_get_subject_name(certificate))};
}

bool verifies(X509* leaf, X509* root) {
  const Store store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), root);
  const Context context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf, nullptr);
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
  return X509_verify_cert(context.get()) == 1;
}

// A staged directory vanishes when it is published: what is gone holds nothing.
std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code gone;
  for (fs::directory_iterator at(directory, gone); !gone && at != fs::directory_iterator();
       at.increment(gone)) {
    found.push_back(at->path());
  }
  return found;
}

class Examination {
 public:
  explicit Examination(Ca ca) : ca_(std::move(ca)) {}

  std::string run() {
    const fs::path list_path =
        ca_.certificate.parent_path() / (ca_.certificate.stem().string() + "-crl.pem");
    const Crl list = look_at_list(list_path);
    std::vector<Published> leaves;
    for (const fs::path& directory : entries(ca_.leaves)) {
      if (directory.filename().string().starts_with('.')) continue;  // staged
      leaves.push_back(look_at_pair(directory / "cert.pem", directory / "key.pem"));
    }
    const Published root = look_at_pair(ca_.certificate, ca_.key);
    look_at_chains(leaves, root);
    look_at_ledger(leaves, root, list.get(), list_path);
    std::set<fs::path> directories = {ca_.leaves, ca_.certificate.parent_path(),
                                      ca_.key.parent_path()};
    for (const fs::path& entry : entries(ca_.leaves)) {
      directories.insert(entry);
      for (const fs::path& within : entries(entry)) directories.insert(within);  // staged
    }
    for (const fs::path& directory : directories) look_at_modes(directory);
    return faults_.empty() ? "ok" : faults_;
  }

 private:
  struct Published {
    fs::path path;
    Certificate certificate;  // none if it is not there, or damaged
    bool has_key;
  };

  void fault(const fs::path& path, std::string_view what) {
    if (!faults_.empty()) faults_ += "; ";
    faults_ += path.lexically_relative(ca_.leaves).string();
    faults_ += ' ';
    faults_ += what;
  }

  Published look_at_pair(const fs::path& certificate_path, const fs::path& key_path) {
    const bool has_key = is_there(key_path);
    const bool has_certificate = is_there(certificate_path);
    Published published{certificate_path, nullptr, has_key};
    if (has_certificate) {
      const std::string text = read(certificate_path);
      published.certificate.reset(
          PEM_read_bio_X509(open(text).get(), nullptr, no_password, nullptr));
      if (published.certificate == nullptr || !text.ends_with("-----\n")) {
        fault(certificate_path, "is not whole");
      }
    }
    if (!has_key) return published;
    if (!has_certificate) fault(key_path, "has no certificate");
    const std::string text = read(key_path);
    const Key key(PEM_read_bio_PrivateKey(open(text).get(), nullptr, no_password, nullptr));
    if (key == nullptr || !text.ends_with("-----\n")) fault(key_path, "is not whole");
    if (key != nullptr && published.certificate != nullptr &&
        X509_check_private_key(published.certificate.get(), key.get()) != 1) {
      fault(key_path, "does not match its certificate");
    }
    return published;
  }

  Crl look_at_list(const fs::path& path) {
    if (!is_there(path)) return nullptr;
    const std::string text = read(path);
    Crl list(PEM_read_bio_X509_CRL(open(text).get(), nullptr, no_password, nullptr));
    if (list == nullptr || !text.ends_with("-----\n")) fault(path, "is not whole");
    return list;
  }

  void look_at_chains(const std::vector<Published>& leaves, const Published& root) {
    for (const Published& leaf : leaves) {
      if (leaf.certificate == nullptr) continue;
      if (root.certificate == nullptr || !root.has_key) {
        fault(leaf.path, "has no root");
      } else if (!verifies(leaf.certificate.get(), root.certificate.get())) {
        fault(leaf.path, "does not chain to the root");
      }
    }
  }

  void look_at_ledger(const std::vector<Published>& leaves, const Published& root, X509_CRL* list,
                      const fs::path& list_path) {
    std::vector<std::string> lines = split(read(ca_.ledger), '\n');
    lines.pop_back();  // behind the last newline: nothing, or a torn line
    std::set<std::string> serials;
    std::set<std::string> revoked;
    std::set<std::vector<std::string>> known;
    for (const std::string& line : lines) {
      constexpr std::size_t fields = 6;
      constexpr std::size_t serial = 3;
      constexpr std::size_t revocation = 2;
      const std::vector<std::string> parts = split(line, '\t');
      if (parts.size() != fields) {
        fault(ca_.ledger, "has a torn line");
      } else if (!serials.insert(parts[serial]).second) {
        fault(ca_.ledger, "has a serial number twice");
      } else {
        const bool is_revoked = parts[0] == "R";
        if (is_revoked == parts[revocation].empty()) fault(ca_.ledger, "has half a revocation");
        if (is_revoked) revoked.insert(parts[serial]);
        known.insert({parts[1], parts[3], parts[4], parts[5]});
      }
    }
    const auto look_for = [&](const Published& published) {
      if (published.certificate != nullptr &&
          !known.contains(ledger_fields(published.certificate.get()))) {
        fault(published.path, "is not in the ledger");
      }
    };
    for (const Published& leaf : leaves) look_for(leaf);
    look_for(root);
    if (list == nullptr) return;
    const Key key(root.certificate == nullptr ? nullptr : X509_get_pubkey(root.certificate.get()));
    if (key == nullptr || X509_CRL_verify(list, key.get()) != 1) {
      fault(list_path, "is not the root's");
    }
    STACK_OF(X509_REVOKED)* const entries = X509_CRL_get_REVOKED(list);
    for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
      const X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
      if (!revoked.contains(hex(X509_REVOKED_get0_serialNumber(entry)))) {
        fault(list_path, "has on it what is not revoked");
      }
    }
  }

  void look_at_modes(const fs::path& directory) {
    for (const fs::path& path : entries(directory)) {
      struct stat status {};
      if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
      constexpr mode_t owner = S_IRUSR | S_IWUSR;
      if ((status.st_mode & ALLPERMS & ~owner) == 0) continue;
      // An empty key file is told by its name: it would be open to others when it is filled.
      if (path.filename().string().find("key") != std::string::npos ||
          read(path).find("PRIVATE KEY") != std::string::npos) {
        fault(path, "can be opened by others");
      }
    }
  }

  Ca ca_;
  std::string faults_;
};

}  // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const std::vector<std::string> paths = split(line, '\t');
    if (paths.size() != 4) {
      std::cerr << "verify: a request is four paths between tabs\n";
      return 1;
    }
    std::cout << Examination({paths[0], paths[1], paths[2], paths[3]}).run() << std::endl;
  }
  return 0;
}
