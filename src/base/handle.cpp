#include "pki/handle.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace pki {

void OpensslDeleter::operator()(asn1_string_st* p) const noexcept { ASN1_STRING_free(p); }
void OpensslDeleter::operator()(AUTHORITY_KEYID_st* p) const noexcept { AUTHORITY_KEYID_free(p); }
void OpensslDeleter::operator()(bignum_ctx* p) const noexcept { BN_CTX_free(p); }
void OpensslDeleter::operator()(bignum_st* p) const noexcept { BN_clear_free(p); }
void OpensslDeleter::operator()(bio_st* p) const noexcept { BIO_free(p); }
void OpensslDeleter::operator()(ec_group_st* p) const noexcept { EC_GROUP_free(p); }
void OpensslDeleter::operator()(ec_point_st* p) const noexcept { EC_POINT_free(p); }
void OpensslDeleter::operator()(ECDSA_SIG_st* p) const noexcept { ECDSA_SIG_free(p); }
void OpensslDeleter::operator()(evp_md_ctx_st* p) const noexcept { EVP_MD_CTX_free(p); }
void OpensslDeleter::operator()(evp_pkey_ctx_st* p) const noexcept { EVP_PKEY_CTX_free(p); }
void OpensslDeleter::operator()(evp_pkey_st* p) const noexcept { EVP_PKEY_free(p); }
void OpensslDeleter::operator()(NAME_CONSTRAINTS_st* p) const noexcept { NAME_CONSTRAINTS_free(p); }
void OpensslDeleter::operator()(PKCS12_st* p) const noexcept { PKCS12_free(p); }
void OpensslDeleter::operator()(pkcs8_priv_key_info_st* p) const noexcept {
  PKCS8_PRIV_KEY_INFO_free(p);
}
void OpensslDeleter::operator()(stack_st_GENERAL_NAME* p) const noexcept { GENERAL_NAMES_free(p); }
void OpensslDeleter::operator()(stack_st_X509* p) const noexcept { sk_X509_pop_free(p, X509_free); }
void OpensslDeleter::operator()(X509_crl_st* p) const noexcept { X509_CRL_free(p); }
void OpensslDeleter::operator()(X509_name_st* p) const noexcept { X509_NAME_free(p); }
void OpensslDeleter::operator()(x509_revoked_st* p) const noexcept { X509_REVOKED_free(p); }
void OpensslDeleter::operator()(x509_st* p) const noexcept { X509_free(p); }
void OpensslDeleter::operator()(x509_store_ctx_st* p) const noexcept { X509_STORE_CTX_free(p); }
void OpensslDeleter::operator()(x509_store_st* p) const noexcept { X509_STORE_free(p); }

}  // namespace pki
