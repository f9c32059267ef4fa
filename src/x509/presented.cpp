#include "x509/presented.h"

#include <openssl/asn1.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/openssl.h"
#include "pki/error.h"

namespace pki {
namespace {

std::string bytes_of(const ASN1_STRING* string) {
  if (string == nullptr) return {};
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

}  // namespace

PresentedNames presented_names(const Certificate& certificate) {
  PresentedNames names;
  const Handle<stack_st_GENERAL_NAME> sans(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.native(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(sans.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(sans.get(), i);
    if (name->type == GEN_DNS) names.dns.push_back(bytes_of(name->d.dNSName));
    if (name->type == GEN_IPADD) {
      const std::string bytes = bytes_of(name->d.iPAddress);
      if (bytes.size() != 4 && bytes.size() != 16) continue;
      names.addresses.push_back(
          IpAddress::from_bytes({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()})
              .text());
    }
  }
  names.common_name = certificate.common_name();
  forget_openssl_errors();
  return names;
}

std::string address_text(std::string_view host) {
  try {
    return IpAddress::parse(host).text();
  } catch (const Error&) {
    return {};
  }
}

bool matches_dns_name(std::string_view pattern, std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (!pattern.starts_with("*.")) return equal_ignoring_case(pattern, host);
  const std::string_view rest = pattern.substr(1);
  const std::size_t dot = host.find('.');
  return dot != std::string_view::npos && dot > 0 && std::ranges::count(rest, '.') >= 2 &&
         equal_ignoring_case(rest, host.substr(dot));
}

std::string authority_key_identifier(const Certificate& certificate) {
  return bytes_of(X509_get0_authority_key_id(certificate.native()));
}

}  // namespace pki
