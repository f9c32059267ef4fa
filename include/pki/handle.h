// Owning handles to OpenSSL objects.
//
// One deleter serves every type, and works on forward declarations, so that the public headers do
// not drag in OpenSSL's.
#pragma once

#include <memory>

struct asn1_string_st;
struct AUTHORITY_KEYID_st;
struct bignum_ctx;
struct bignum_st;
struct bio_st;
struct ec_group_st;
struct ec_point_st;
struct ECDSA_SIG_st;
struct evp_md_ctx_st;
struct evp_pkey_ctx_st;
struct evp_pkey_st;
struct NAME_CONSTRAINTS_st;
struct PKCS12_st;
struct pkcs8_priv_key_info_st;
struct stack_st_GENERAL_NAME;
struct stack_st_X509;
struct X509_crl_st;
struct X509_name_st;
struct x509_revoked_st;
struct x509_st;
struct x509_store_ctx_st;
struct x509_store_st;

namespace pki {

struct OpensslDeleter {
  void operator()(asn1_string_st* p) const noexcept;
  void operator()(AUTHORITY_KEYID_st* p) const noexcept;
  void operator()(bignum_ctx* p) const noexcept;
  void operator()(bignum_st* p) const noexcept;  // cleansed: it may be a private key
  void operator()(bio_st* p) const noexcept;
  void operator()(ec_group_st* p) const noexcept;
  void operator()(ec_point_st* p) const noexcept;
  void operator()(ECDSA_SIG_st* p) const noexcept;
  void operator()(evp_md_ctx_st* p) const noexcept;
  void operator()(evp_pkey_ctx_st* p) const noexcept;
  void operator()(evp_pkey_st* p) const noexcept;
  void operator()(NAME_CONSTRAINTS_st* p) const noexcept;
  void operator()(PKCS12_st* p) const noexcept;
  void operator()(pkcs8_priv_key_info_st* p) const noexcept;
  void operator()(stack_st_GENERAL_NAME* p) const noexcept;
  void operator()(stack_st_X509* p) const noexcept;  // and the certificates in it
  void operator()(X509_crl_st* p) const noexcept;
  void operator()(X509_name_st* p) const noexcept;
  void operator()(x509_revoked_st* p) const noexcept;
  void operator()(x509_st* p) const noexcept;
  void operator()(x509_store_ctx_st* p) const noexcept;
  void operator()(x509_store_st* p) const noexcept;
};

template <class T>
using Handle = std::unique_ptr<T, OpensslDeleter>;

}  // namespace pki
