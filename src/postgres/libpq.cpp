#include "postgres/libpq.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "pki/error.h"

namespace pki {
namespace {

constexpr const char* remedy = "apt-get install libpq5";

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function == nullptr) {
    throw Error(fmt::format("the libpq that is installed is older than 13: it has no {}", name),
                remedy);
  }
}

Libpq load() {
  void* const library = ::dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw Error(fmt::format("libpq is not installed: {}", printable(::dlerror())), remedy);
  }
  Libpq found{};
  find(library, "PQconninfoParse", found.PQconninfoParse);
  find(library, "PQconninfo", found.PQconninfo);
  find(library, "PQconninfoFree", found.PQconninfoFree);
  find(library, "PQfreemem", found.PQfreemem);
  find(library, "PQconnectStartParams", found.PQconnectStartParams);
  find(library, "PQconnectPoll", found.PQconnectPoll);
  find(library, "PQstatus", found.PQstatus);
  find(library, "PQsocket", found.PQsocket);
  find(library, "PQerrorMessage", found.PQerrorMessage);
  find(library, "PQconnectionNeedsPassword", found.PQconnectionNeedsPassword);
  find(library, "PQsetNoticeProcessor", found.PQsetNoticeProcessor);
  find(library, "PQfinish", found.PQfinish);
  find(library, "PQbackendPID", found.PQbackendPID);
  find(library, "PQsslAttribute", found.PQsslAttribute);
  find(library, "PQsetnonblocking", found.PQsetnonblocking);
  find(library, "PQsendQuery", found.PQsendQuery);
  find(library, "PQflush", found.PQflush);
  find(library, "PQconsumeInput", found.PQconsumeInput);
  find(library, "PQisBusy", found.PQisBusy);
  find(library, "PQgetResult", found.PQgetResult);
  find(library, "PQresultStatus", found.PQresultStatus);
  find(library, "PQresultErrorMessage", found.PQresultErrorMessage);
  find(library, "PQntuples", found.PQntuples);
  find(library, "PQnfields", found.PQnfields);
  find(library, "PQgetvalue", found.PQgetvalue);
  find(library, "PQclear", found.PQclear);
  find(library, "PQdefaultSSLKeyPassHook_OpenSSL", found.PQdefaultSSLKeyPassHook_OpenSSL);
  find(library, "PQsetSSLKeyPassHook_OpenSSL", found.PQsetSSLKeyPassHook_OpenSSL);
  // Without a hook OpenSSL asks the terminal for an encrypted key's password. This one takes
  // sslpassword, or none.
  found.PQsetSSLKeyPassHook_OpenSSL(found.PQdefaultSSLKeyPassHook_OpenSSL);
  return found;
}

}  // namespace

const Libpq& libpq() {
  static const Libpq loaded = load();
  return loaded;
}

}  // namespace pki
