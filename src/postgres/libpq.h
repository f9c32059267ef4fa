// libpq, loaded when it is needed: the program is built without its headers, and starts without it.
//
// What is declared here is the part that is used, as in PostgreSQL's libpq-fe.h.
#pragma once

#include <memory>

namespace pki {

struct PGconn;
struct PGresult;

struct PQconninfoOption {
  char* keyword;
  char* envvar;
  char* compiled;
  char* val;
  char* label;
  char* dispchar;
  int dispsize;
};

/// ConnStatusType; what is left out here lies between a login and its end.
namespace connection_status {
inline constexpr int bad = 1;
inline constexpr int started = 2;
inline constexpr int made = 3;
inline constexpr int tls_startup = 7;
inline constexpr int needed = 8;
}  // namespace connection_status

/// PostgresPollingStatusType
namespace polling {
inline constexpr int failed = 0;
inline constexpr int reading = 1;
inline constexpr int writing = 2;
inline constexpr int ok = 3;
}  // namespace polling

/// ExecStatusType
namespace result_status {
inline constexpr int rows = 2;
inline constexpr int error = 7;
}  // namespace result_status

using KeyPasswordHook = int (*)(char* buffer, int size, PGconn* connection);
using NoticeProcessor = void (*)(void* argument, const char* message);

struct Libpq {
  PQconninfoOption* (*PQconninfoParse)(const char* conninfo, char** error);
  PQconninfoOption* (*PQconninfo)(PGconn* connection);
  void (*PQconninfoFree)(PQconninfoOption* options);
  void (*PQfreemem)(void* memory);

  PGconn* (*PQconnectStartParams)(const char* const* keywords, const char* const* values,
                                  int expand_dbname);
  int (*PQconnectPoll)(PGconn* connection);
  int (*PQstatus)(const PGconn* connection);
  int (*PQsocket)(const PGconn* connection);
  char* (*PQerrorMessage)(const PGconn* connection);
  int (*PQconnectionNeedsPassword)(const PGconn* connection);
  NoticeProcessor (*PQsetNoticeProcessor)(PGconn* connection, NoticeProcessor processor,
                                          void* argument);
  void (*PQfinish)(PGconn* connection);

  int (*PQbackendPID)(const PGconn* connection);
  const char* (*PQsslAttribute)(PGconn* connection, const char* name);

  int (*PQsetnonblocking)(PGconn* connection, int nonblocking);
  int (*PQsendQuery)(PGconn* connection, const char* query);
  int (*PQflush)(PGconn* connection);
  int (*PQconsumeInput)(PGconn* connection);
  int (*PQisBusy)(PGconn* connection);
  PGresult* (*PQgetResult)(PGconn* connection);
  int (*PQresultStatus)(const PGresult* result);
  char* (*PQresultErrorMessage)(const PGresult* result);
  int (*PQntuples)(const PGresult* result);
  int (*PQnfields)(const PGresult* result);
  char* (*PQgetvalue)(const PGresult* result, int row, int column);
  void (*PQclear)(PGresult* result);

  KeyPasswordHook PQdefaultSSLKeyPassHook_OpenSSL;
  void (*PQsetSSLKeyPassHook_OpenSSL)(KeyPasswordHook hook);
};

/// Loads it, once. Throws Error if it is not installed.
[[nodiscard]] const Libpq& libpq();

template <auto Function>
struct LibpqFree {
  template <class T>
  void operator()(T* object) const {
    (libpq().*Function)(object);
  }
};

using LibpqOptions = std::unique_ptr<PQconninfoOption, LibpqFree<&Libpq::PQconninfoFree>>;
using LibpqConnection = std::unique_ptr<PGconn, LibpqFree<&Libpq::PQfinish>>;
using LibpqResult = std::unique_ptr<PGresult, LibpqFree<&Libpq::PQclear>>;
using LibpqText = std::unique_ptr<char, LibpqFree<&Libpq::PQfreemem>>;

}  // namespace pki
