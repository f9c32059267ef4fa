#include "x509/pem.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/openssl.h"

namespace pki {
namespace {

void append(SecretBytes& out, std::string_view text) {
  out.insert(out.end(), text.begin(), text.end());
}

Handle<bio_st> open_text(std::string_view text) {
  // Editors on Windows put a byte order mark first; OpenSSL wants the dashes at a line's start.
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  return check(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), "reading PEM");
}

// Without a label where there is no further one.
PemBlock next_block(bio_st* bio) {
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* der = nullptr;
  long size = 0;
  if (PEM_read_bio(bio, &label, &header, &der, &size) != 1) {
    forget_openssl_errors();
    return {};
  }
  PemBlock block{label, SecretBytes(der, der + size), std::strstr(header, "ENCRYPTED") != nullptr};
  OPENSSL_free(label);
  OPENSSL_free(header);
  OPENSSL_clear_free(der, static_cast<std::size_t>(size));
  return block;
}

}  // namespace

SecretBytes to_pem(std::string_view label, std::span<const unsigned char> der) {
  constexpr std::size_t bytes_per_line = 48;  // 64 characters, RFC 7468 section 2
  SecretBytes out;
  // Reserved once: a vector that grows would be cleansed on the way, but needlessly copied.
  out.reserve(2 * (label.size() + 17) + der.size() / bytes_per_line * 65 + 70);
  append(out, "-----BEGIN ");
  append(out, label);
  append(out, "-----\n");
  std::array<unsigned char, 65> line{};  // EVP_EncodeBlock ends it with a NUL
  while (!der.empty()) {
    const auto part = der.first(std::min(bytes_per_line, der.size()));
    der = der.subspan(part.size());
    const int length = EVP_EncodeBlock(line.data(), part.data(), static_cast<int>(part.size()));
    out.insert(out.end(), line.data(), line.data() + length);
    out.push_back('\n');
  }
  cleanse(line.data(), line.size());
  append(out, "-----END ");
  append(out, label);
  append(out, "-----\n");
  return out;
}

PemBlock find_pem(std::string_view text,
                  const std::function<bool(std::string_view label)>& wanted) {
  const Handle<bio_st> bio = open_text(text);
  for (;;) {
    PemBlock block = next_block(bio.get());
    if (block.label.empty() || wanted(block.label)) return block;
  }
}

std::vector<SecretBytes> all_pem(std::string_view text, std::string_view label) {
  const Handle<bio_st> bio = open_text(text);
  std::vector<SecretBytes> contents;
  for (;;) {
    PemBlock block = next_block(bio.get());
    if (block.label.empty()) return contents;
    if (block.label == label) contents.push_back(std::move(block.der));
  }
}

}  // namespace pki
