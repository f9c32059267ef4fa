#include "x509/certificate_file.h"

#include <fmt/format.h>

#include "pki/error.h"
#include "x509/pem.h"

namespace pki {
namespace {

constexpr std::string_view begin = "-----BEGIN ";

// Where the next line starts that begins a block; npos if there is none.
std::size_t find_block(std::string_view text, std::size_t from) {
  for (std::size_t at = text.find(begin, from); at != std::string_view::npos;
       at = text.find(begin, at + 1)) {
    if (at == 0 || text[at - 1] == '\n') return at;
  }
  return std::string_view::npos;
}

}  // namespace

CertificateFile parse_certificate_file(std::string_view pem) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (pem.starts_with(byte_order_mark)) pem.remove_prefix(byte_order_mark.size());
  CertificateFile file;
  std::size_t number = 0;
  for (std::size_t at = find_block(pem, 0); at != std::string_view::npos;) {
    const std::size_t next = find_block(pem, at + begin.size());
    const std::string_view block = pem.substr(at, next - at);
    at = next;
    const std::string_view line = block.substr(begin.size(), block.find('\n') - begin.size());
    const std::string_view label = line.substr(0, line.find("-----"));
    file.has_private_key = file.has_private_key || label.ends_with("PRIVATE KEY");
    if (!label.ends_with("CERTIFICATE")) continue;
    ++number;
    const std::vector<SecretBytes> contents = all_pem(block, label);
    if (contents.empty()) {
      file.damage.push_back(fmt::format("certificate {}: its block is torn, or no base64", number));
      continue;
    }
    try {
      file.certificates.push_back(Certificate::from_der(contents.front()));
    } catch (const Error& error) {
      file.damage.push_back(fmt::format("certificate {}: {}", number, error.what()));
    }
  }
  return file;
}

}  // namespace pki
