#include "x509/stack.h"

#include <openssl/x509.h>

#include "base/openssl.h"

namespace pki {

Handle<stack_st_X509> stack_of(std::span<const Certificate> certificates) {
  constexpr const char* collecting = "collecting certificates";
  Handle<stack_st_X509> stack(sk_X509_new_null());
  if (stack == nullptr) throw_openssl_error(collecting);
  for (const Certificate& certificate : certificates) {
    // The stack owns what is in it.
    check(X509_up_ref(certificate.native()), collecting);
    check(sk_X509_push(stack.get(), certificate.native()), collecting);
  }
  return stack;
}

}  // namespace pki
