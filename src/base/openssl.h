// The only place that reads OpenSSL's error queue and judges its return codes.
#pragma once

#include <openssl/types.h>

#include <string>

#include "pki/handle.h"

namespace pki {

/// The newest reason in OpenSSL's error queue, in its own words; the queue is empty afterwards.
[[nodiscard]] std::string take_openssl_reason();

/// Empties the queue, where a failure was expected and its reason does not matter.
void forget_openssl_errors();

/// Throws Error("<doing>: <reason from the queue>").
[[noreturn]] void throw_openssl_error(const char* doing);

/// Most OpenSSL functions return 1 for success, and 0 or less for failure.
inline int check(int status, const char* doing) {
  if (status <= 0) throw_openssl_error(doing);
  return status;
}

/// The others return a pointer: ownership of it on success, null for failure.
template <class T>
[[nodiscard]] Handle<T> check(T* object, const char* doing) {
  if (object == nullptr) throw_openssl_error(doing);
  return Handle<T>(object);
}

/// The library context of keys and certificates of the usual kinds: null, which is OpenSSL's own,
/// or a smaller one that start_openssl_for_one_job() made.
[[nodiscard]] OSSL_LIB_CTX* common_context() noexcept;

/// Where prepare_openssl_for() made one, a context in which the public key of a certificate is not
/// decoded along with the certificate: X509_get0_pubkey() is null there. Else the above.
[[nodiscard]] OSSL_LIB_CTX* keyless_context() noexcept;

/// Starts OpenSSL for a short-lived process of ours; to be called before anything else of it. Takes
/// out what our job does not need, openssl.cnf above all: it can load code into a program that root
/// runs. A program that embeds the library decides for itself and does not call this.
void start_openssl_for_one_job();
/// After that, where many certificates are to be made: what pays off only then.
void prepare_openssl_for(std::size_t certificates);

}  // namespace pki
