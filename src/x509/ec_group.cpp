#include "x509/ec_group.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/objects.h>

#include "base/openssl.h"
#include "pki/error.h"

namespace pki {
namespace {

// Kept: to set it up takes longer than what is done with it.
const EC_GROUP* group_of(const EcEncoding& encoding) {
  thread_local int at_hand = NID_undef;
  thread_local Handle<ec_group_st> group;
  if (at_hand != encoding.nid) {
    group.reset(EC_GROUP_new_by_curve_name(encoding.nid));
    at_hand = group != nullptr ? encoding.nid : NID_undef;
  }
  if (group == nullptr) throw_openssl_error("arithmetic in a group");
  return group.get();
}

bool is_in(const EC_GROUP* group, const bignum_st* scalar) {
  return BN_is_zero(scalar) == 0 && BN_is_negative(scalar) == 0 &&
         BN_cmp(scalar, EC_GROUP_get0_order(group)) < 0;
}

Handle<bignum_st> number_from(std::span<const unsigned char> bytes) {
  return check(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr),
               "reading a number");
}

}  // namespace

std::vector<unsigned char> ec_point_of(const EcEncoding& encoding, const bignum_st* scalar) {
  constexpr const char* doing = "checking a key";
  const EC_GROUP* const group = group_of(encoding);
  if (!is_in(group, scalar)) return {};
  const Handle<ec_point_st> product = check(EC_POINT_new(group), doing);
  check(EC_POINT_mul(group, product.get(), scalar, nullptr, nullptr, nullptr), doing);
  std::vector<unsigned char> point(encoding.point_size());
  if (EC_POINT_point2oct(group, product.get(), POINT_CONVERSION_UNCOMPRESSED, point.data(),
                         point.size(), nullptr) != point.size()) {
    throw_openssl_error(doing);
  }
  return point;
}

bool ec_has_signed(const EcEncoding& encoding, const bignum_st* scalar,
                   std::span<const unsigned char> digest,
                   std::span<const unsigned char> signature) {
  constexpr const char* doing = "verifying a signature";
  if (digest.size() != encoding.field_size) throw Error("a digest of the wrong length");
  const EC_GROUP* const group = group_of(encoding);
  const BIGNUM* const order = EC_GROUP_get0_order(group);
  const unsigned char* cursor = signature.data();
  const Handle<ECDSA_SIG_st> parsed(
      d2i_ECDSA_SIG(nullptr, &cursor, static_cast<long>(signature.size())));
  if (parsed == nullptr || cursor != signature.data() + signature.size()) {
    forget_openssl_errors();
    return false;
  }
  const BIGNUM* const r = ECDSA_SIG_get0_r(parsed.get());
  const BIGNUM* const s = ECDSA_SIG_get0_s(parsed.get());
  if (!is_in(group, r) || !is_in(group, s)) return false;

  // The nonce that it was made with, (digest + r * scalar) / s: as secret as the key.
  const Handle<bignum_ctx> context = check(BN_CTX_new(), doing);
  BN_CTX* const scratch = context.get();
  const Handle<bignum_st> key = check(BN_dup(scalar), doing);
  const Handle<bignum_st> nonce = check(BN_new(), doing);
  const Handle<bignum_st> inverse = check(BN_mod_inverse(nullptr, s, order, scratch), doing);
  BN_set_flags(key.get(), BN_FLG_CONSTTIME);
  BN_set_flags(nonce.get(), BN_FLG_CONSTTIME);
  check(BN_mod_mul(nonce.get(), r, key.get(), order, scratch), doing);
  check(BN_mod_add(nonce.get(), nonce.get(), number_from(digest).get(), order, scratch), doing);
  check(BN_mod_mul(nonce.get(), nonce.get(), inverse.get(), order, scratch), doing);

  const std::vector<unsigned char> point = ec_point_of(encoding, nonce.get());
  if (point.empty()) return false;
  const Handle<bignum_st> x = number_from(std::span(point).subspan(1, encoding.field_size));
  check(BN_nnmod(x.get(), x.get(), order, scratch), doing);
  return BN_cmp(x.get(), r) == 0;
}

}  // namespace pki
