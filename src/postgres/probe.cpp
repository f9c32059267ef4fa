#include "pki/probe.h"

#include <fmt/format.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <future>
#include <memory>
#include <system_error>
#include <utility>

#include "base/openssl.h"
#include "pki/error.h"
#include "pki/inspection.h"
#include "pki/snippets.h"
#include "postgres/connection.h"
#include "postgres/greeting.h"
#include "postgres/verdicts.h"
#include "x509/presented.h"
#include "x509/stack.h"

namespace pki {
namespace {

using Level = Finding::Level;
using std::chrono::milliseconds;

// Length 8 and the code 80877103 (protocol-message-formats, SSLRequest).
constexpr std::array<char, 8> ssl_request = {0, 0, 0, 8, 0x04, char(0xd2), 0x16, 0x2f};

// The one protocol that PostgreSQL 17 and PgBouncer 1.25 take; any other list is refused by them.
constexpr std::string_view alpn = "\x0apostgresql";

// More names than a private CA would have: the system's bundle.
constexpr int many_authorities = 20;

struct SslDeleter {
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};
using Context = std::unique_ptr<SSL_CTX, SslDeleter>;
using Session = std::unique_ptr<SSL, SslDeleter>;

// Whatever is shown is looked at afterwards, as a whole.
int take_any_certificate(X509_STORE_CTX*, void*) { return 1; }

std::vector<Certificate> served_chain(const SSL* ssl) {
  std::vector<Certificate> chain;
  const stack_st_X509* served = SSL_get_peer_cert_chain(ssl);
  for (int i = 0; i < sk_X509_num(served); ++i) {
    x509_st* certificate = sk_X509_value(served, i);
    check(X509_up_ref(certificate), "reading the server's certificates");
    chain.emplace_back(Handle<x509_st>(certificate));
  }
  return chain;
}

// Whether the server wants a certificate, and what it was answered.
struct CertificateRequest {
  const ServerCheck& check;
  const std::string& host;
  bool asked = false;
  bool shown = false;
  int authorities = 0;
};

void show(SSL* ssl, const ClientIdentity& identity) {
  const Handle<stack_st_X509> rest = stack_of(std::span(identity.chain).subspan(1));
  constexpr int override = 1;
  check(SSL_use_cert_and_key(ssl, identity.chain.front().native(), identity.key.native(),
                             rest.get(), override),
        "showing the client certificate");
}

// Called when the server asks for a certificate, which it does after it has shown its own. Who we
// are is not told to strangers.
int answer_request(SSL* ssl, void* argument) noexcept {
  auto& request = *static_cast<CertificateRequest*>(argument);
  const ServerCheck& check = request.check;
  request.asked = true;
  request.authorities = std::max(0, sk_X509_NAME_num(SSL_get0_peer_CA_list(ssl)));
  if (check.identity == nullptr) return 1;
  try {
    const std::vector<Certificate> chain = served_chain(ssl);
    if (chain.empty() || !is_verified(chain, check.roots, request.host, check.now)) return 1;
    show(ssl, *check.identity);
    request.shown = true;
  } catch (const std::exception&) {
    return 1;  // none is shown; what is wrong with the server's is found afterwards
  }
  return 1;
}

// OpenSSL reads on as long as there is something that it passes over by itself: without an end, if
// the server wants it so. The end is put below it.
long stop_reading_in_time(BIO* bio, int operation, const char*, std::size_t, int, long, int result,
                          std::size_t*) {
  if (operation != BIO_CB_READ) return result;
  const auto* until =
      reinterpret_cast<const Connection::Clock::time_point*>(BIO_get_callback_arg(bio));
  if (Connection::Clock::now() < *until) return result;
  BIO_clear_retry_flags(bio);
  return -1;
}

void read_until(const SSL* ssl, Connection::Clock::time_point& until) {
  BIO* const bio = SSL_get_rbio(ssl);
  BIO_set_callback_ex(bio, stop_reading_in_time);
  BIO_set_callback_arg(bio, reinterpret_cast<char*>(&until));
}

Context make_context(CertificateRequest& request) {
  constexpr const char* starting = "starting TLS";
  Context context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) throw_openssl_error(starting);
  // What clients refuse must be seen to be named, so nothing is refused here.
  SSL_CTX_set_security_level(context.get(), 0);
  check(static_cast<int>(SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION)), starting);
  SSL_CTX_set_cert_verify_callback(context.get(), take_any_certificate, nullptr);
  SSL_CTX_set_cert_cb(context.get(), answer_request, &request);
  return context;
}

std::string place_of(const ServerCheck& check) {
  const bool has_colon = check.host.find(':') != std::string::npos;
  return printable(has_colon ? fmt::format("[{}]:{}", check.host, check.port)
                             : fmt::format("{}:{}", check.host, check.port));
}

// Whether the peer said so itself: the end of a connection is an error of OpenSSL's too.
bool is_alert(std::string_view reason) { return reason.find(" alert ") != std::string::npos; }

class Probe {
 public:
  Probe(const ServerCheck& check, const SocketAddress& address)
      : check_(check), address_(address), host_(check.name.value_or(check.host)) {}

  Report run() {
    report_.target = place_of(check_);
    fact("address", address_.text);
    try {
      if (probe_tls() && check_.probe_plaintext) probe_plaintext();
    } catch (const NetworkError& error) {
      add(Level::unknown, error.id(), error.what(), error.hint());
    }
    return std::move(report_);
  }

  ServedCertificate look() {
    ServedCertificate served{.address = address_.text, .certificate = {}};
    try {
      Connection connection = Connection::open(address_, check_.timeout);
      if (check_.direct || is_tls_offered(connection)) {
        CertificateRequest request{.check = check_, .host = host_};
        const Context context = make_context(request);
        const Session session = start_session(context.get(), connection);
        // A server that wants one of ours has shown its own before it fails.
        shake_hands(session.get(), connection, request);
        const std::vector<Certificate> chain = served_chain(session.get());
        if (!chain.empty()) served.certificate = chain.front();
      }
      if (!report_.findings.empty()) served.fault = report_.findings.front().what;
    } catch (const Error& error) {
      served.fault = error.what();
    }
    if (!served.certificate.has_value() && served.fault.empty()) {
      served.fault = "it shows no certificate";
    }
    return served;
  }

 private:
  void fact(const char* name, std::string value) {
    report_.facts.push_back({name, std::move(value)});
  }
  void add(Level level, std::string id, std::string what, std::string remedy) {
    report_.findings.push_back({level, std::move(id), std::move(what), std::move(remedy)});
  }
  void problem(const char* id, std::string what, std::string remedy) {
    add(Level::problem, id, std::move(what), std::move(remedy));
  }

  // Whether it has TLS, so that the question remains whether it can be left out.
  bool probe_tls() {
    const auto start = Connection::Clock::now();
    Connection connection = Connection::open(address_, check_.timeout);
    const auto round_trip = Connection::Clock::now() - start;
    fact("connected in",
         fmt::format("{:.1f} ms", std::chrono::duration<double, std::milli>(round_trip).count()));
    if (!check_.direct && !is_tls_offered(connection)) return false;
    CertificateRequest request{.check = check_, .host = host_};
    const Context context = make_context(request);
    const Session session = start_session(context.get(), connection);
    const bool shaken = shake_hands(session.get(), connection, request);
    if (shaken) look_at_session(session.get());
    // They may have come before the handshake failed.
    look_at_certificates(served_chain(session.get()));
    if (shaken) look_at_request(session.get(), connection, request, round_trip);
    if (check_.identity != nullptr) look_at_identity(*check_.identity, request);
    return true;
  }

  // Reads exactly one byte: what follows it unencrypted must not be taken for the server's word
  // (CVE-2021-23222).
  bool is_tls_offered(Connection& connection) {
    connection.send(ssl_request);
    char answer = 0;
    if (connection.receive({&answer, 1}, connection.deadline()) == 0) {
      throw NetworkError("closed", "the server ended the connection without an answer",
                         "see that this is PostgreSQL or PgBouncer, and that it takes connections "
                         "from here");
    }
    const std::string more = connection.pending();
    const std::string bytes = answer + more;
    if (const std::string_view protocol = foreign_protocol(bytes); !protocol.empty()) {
      add(Level::unknown, "not-postgres",
          fmt::format("this is a server of {}, not of PostgreSQL's protocol", protocol),
          "give PgBouncer's or PostgreSQL's port");
      return false;
    }
    switch (read_greeting(answer)) {
      case Greeting::tls:
        if (more.empty()) return true;
        problem("injected-bytes",
                fmt::format("{} bytes came unencrypted between the server's answer and TLS",
                            more.size()),
                "somebody may be in between: connect from elsewhere, and look at the network");
        return false;
      case Greeting::no_tls:
        fact("encryption", "none");
        problem("plaintext", "the server has no TLS: everything goes in the clear",
                fmt::format("set client_tls_sslmode in PgBouncer, or ssl in PostgreSQL: pki config "
                            "pgbouncer {}",
                            printable(host_)));
        return false;
      case Greeting::error: report_error(connection, answer); return false;
      case Greeting::other: break;
    }
    add(Level::unknown, "not-postgres", "the server does not speak PostgreSQL's protocol",
        "give PgBouncer's or PostgreSQL's port");
    return false;
  }

  void report_error(Connection& connection, char first) {
    const std::optional<ServerMessage> message = read_message(connection, std::string(1, first));
    report_server_error(message.has_value() ? message->message : "it cannot be read");
  }

  Session start_session(SSL_CTX* context, const Connection& connection) {
    constexpr const char* starting = "starting TLS";
    Session session(SSL_new(context));
    if (session == nullptr) throw_openssl_error(starting);
    check(SSL_set_fd(session.get(), connection.descriptor()), starting);
    read_until(session.get(), until_);
    check(SSL_set_alpn_protos(session.get(), reinterpret_cast<const unsigned char*>(alpn.data()),
                              static_cast<unsigned>(alpn.size())) == 0
              ? 1
              : 0,
          starting);
    // RFC 6066 3: a name, never an address.
    if (address_text(host_).empty()) {
      // As SSL_set_tlsext_host_name does, which casts in the old style.
      check(static_cast<int>(SSL_ctrl(session.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME,
                                      TLSEXT_NAMETYPE_host_name, const_cast<char*>(host_.c_str()))),
            starting);
    }
    return session;
  }

  bool shake_hands(SSL* ssl, const Connection& connection, const CertificateRequest& request) {
    until_ = connection.deadline();
    for (;;) {
      const int result = SSL_connect(ssl);
      if (result == 1) return true;
      switch (SSL_get_error(ssl, result)) {
        case SSL_ERROR_WANT_READ: connection.wait(POLLIN, until_); break;
        case SSL_ERROR_WANT_WRITE: connection.wait(POLLOUT, until_); break;
        default:
          if (Connection::Clock::now() >= until_) connection.wait(POLLIN, until_);  // throws
          report_handshake(request);
          return false;
      }
    }
  }

  void report_required(const CertificateRequest& request, const std::string& reason) {
    if (request.shown) {
      fact("client certificate", "refused");
      problem("client-certificate-refused",
              fmt::format("the server refuses {}: {}", shown_file(), reason),
              "show one of a root that client_tls_ca_file or ssl_ca_file names, and see the "
              "server's log");
      return;
    }
    fact("client certificate", "required");
    add(Level::note, "client-certificate-required",
        fmt::format("clients must show a certificate ({})", reason),
        "make one for each role: pki --user ROLE");
  }

  void report_handshake(const CertificateRequest& request) {
    const std::string reason = take_openssl_reason();
    if (request.asked && is_alert(reason)) {
      report_required(request, reason);
    } else if (check_.direct) {
      problem("no-direct-tls", fmt::format("no TLS from the first byte: {}", reason),
              "leave --direct out: PostgreSQL before 17 and PgBouncer before 1.25 have none");
    } else {
      problem("handshake-failed", fmt::format("the TLS handshake fails: {}", reason),
              "see the server's log, its certificate and its protocols");
    }
  }

  void look_at_session(SSL* ssl) {
    fact("protocol", SSL_get_version(ssl));
    fact("cipher", SSL_get_cipher_name(ssl));
    if (const char* group =
            SSL_group_to_name(ssl, static_cast<int>(SSL_get_negotiated_group(ssl)))) {
      fact("group", group);
    }
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl, &chosen, &size);
    if (size > 0) fact("alpn", one_line({reinterpret_cast<const char*>(chosen), size}));
    if (SSL_version(ssl) < TLS1_2_VERSION) {
      problem("old-protocol",
              fmt::format("the server chose {}, which clients refuse", SSL_get_version(ssl)),
              "leave client_tls_protocols or ssl_min_protocol_version at its default");
    }
  }

  void look_at_certificates(const std::vector<Certificate>& chain) {
    if (chain.empty()) return;  // the handshake failed: OpenSSL takes none without
    try {
      inspect_chain(chain);
    } catch (const Error& error) {
      problem("damaged-certificate", error.what(), "give the server another certificate");
    }
  }

  void inspect_chain(const std::vector<Certificate>& chain) {
    const Certificate& leaf = chain.front();
    const Validity validity = leaf.validity();
    const auto left = std::chrono::floor<std::chrono::days>(validity.not_after - check_.now);
    fact("certificate", one_line(leaf.subject()));
    fact("key", leaf.public_key().description());
    fact("valid until", fmt::format("{} ({} left)", text(validity.not_after), text(left)));
    fact("serial", leaf.serial().text());
    fact("sent", fmt::format("{} certificate{}", chain.size(), chain.size() == 1 ? "" : "s"));
    report_.verdicts = client_verdicts(chain, check_.roots, host_, check_.now);
    for (Finding& finding : inspect({.chain = chain,
                            .roots = check_.roots,
                            .host = host_,
                            .now = check_.now,
                            .warn = check_.warn})) {
      report_.findings.push_back(std::move(finding));
    }
    if (check_.on_disk.has_value() && check_.on_disk->der() != leaf.der()) {
      problem("not-reloaded",
              fmt::format("the server does not serve {}, but an older or another certificate",
                          check_.on_disk_file.string()),
              "let it load the file: RELOAD in PgBouncer's console, pg_ctl reload for PostgreSQL; "
              "then look again, for PgBouncer before 1.25 says RELOAD when it failed");
    }
    report_.command =
        "psql " +
        shell_word(conninfo({.host = host_, .port = check_.port, .root = check_.roots_file}));
  }

  // With TLS 1.3 a handshake is over before the server says that it misses a certificate: RFC 8446
  // 4.4.2.4. Our close_notify makes a server that misses none end the connection.
  void look_at_request(SSL* ssl, const Connection& connection, const CertificateRequest& request,
                       Connection::Clock::duration round_trip) {
    if (!request.asked) {
      fact("client certificate", "not asked for");
      return;
    }
    const auto pause = std::max<Connection::Clock::duration>(milliseconds{100}, 3 * round_trip);
    until_ = connection.deadline();
    bool is_closing = false;
    std::string answer = "asked for";
    while (true) {
      char byte = 0;
      const int error = SSL_get_error(ssl, SSL_read(ssl, &byte, 1));
      if (Connection::Clock::now() >= until_) break;
      const std::string reason = error == SSL_ERROR_SSL ? take_openssl_reason() : "";
      if (is_alert(reason)) {
        report_required(request, reason);
        return;
      }
      if (error != SSL_ERROR_WANT_READ) {
        answer = request.shown ? "asked for, and taken" : "asked for, not required";
        break;
      }
      const bool has_input =
          connection.wait_for_input(is_closing ? until_ : Connection::Clock::now() + pause);
      if (has_input) continue;
      if (std::exchange(is_closing, true)) break;
      SSL_shutdown(ssl);
    }
    fact("client certificate", answer);
    forget_openssl_errors();
    if (request.authorities > many_authorities) {
      problem(
          "many-authorities",
          fmt::format("the server takes client certificates of {} authorities",
                      request.authorities),
          "name only your root in client_tls_ca_file or ssl_ca_file: without the first PgBouncer "
          "takes the system's bundle");
    }
  }

  [[nodiscard]] std::string shown_file() const {
    return printable(check_.identity->certificate_file.string());
  }

  void look_at_identity(const ClientIdentity& identity, const CertificateRequest& request) {
    if (request.asked && !request.shown) {
      add(Level::note, "client-certificate-not-shown",
          fmt::format("{} is not shown to a server that is not verified", shown_file()),
          "mend first what is said about the server's certificate");
    }
    for (Finding& finding : inspect({.chain = identity.chain,
                            .roots = {},
                            .host = std::nullopt,
                            .for_client = true,
                            .now = check_.now,
                            .warn = check_.warn})) {
      finding.what = fmt::format("{}: {}", shown_file(), finding.what);
      report_.findings.push_back(std::move(finding));
    }
  }

  // A message whose first bytes are there already.
  static std::optional<ServerMessage> read_message(Connection& connection, std::string bytes) {
    const Connection::Clock::time_point until = connection.deadline();
    const auto fill = [&](std::size_t size) {
      while (bytes.size() < size) {
        std::array<char, 4096> more{};
        const std::size_t got = connection.receive(
            std::span(more).first(std::min(more.size(), size - bytes.size())), until);
        if (got == 0) return false;
        bytes.append(more.data(), got);
      }
      return true;
    };
    if (!fill(message_header_size)) return std::nullopt;
    const std::optional<std::size_t> size = message_size(bytes);
    if (!size.has_value() || !fill(*size)) return std::nullopt;
    return parse_message(bytes);
  }

  // A connection of its own, with a user that nobody has: nothing secret is said.
  void probe_plaintext() {
    Connection connection = Connection::open(address_, check_.timeout);
    constexpr std::string_view parameters("user\0pki_check\0database\0pki_check\0\0", 35);
    std::string startup = {0, 0, 0, static_cast<char>(8 + parameters.size()), 0, 3, 0, 0};
    startup += parameters;
    connection.send(startup);
    try {
      char first = 0;
      if (connection.receive({&first, 1}, connection.deadline()) > 0) {
        report_plaintext(read_message(connection, std::string(1, first)));
        return;
      }
    } catch (const NetworkError& error) {
      if (error.id() != "closed") throw;
    }
    fact("without TLS", "refused: the connection is closed");
  }

  void report_plaintext(const std::optional<ServerMessage>& message) {
    if (!message.has_value()) {
      fact("without TLS", "cannot be told");
      add(Level::unknown, "server-error",
          "the server's answer to a login without TLS is unreadable",
          "see its log, and what stands between it and here");
    } else if (is_refusal(*message)) {
      fact("without TLS", fmt::format("refused: {}", message->message));
    } else if (message->code == "53300" || message->code == "57P03") {  // too many, or not yet
      fact("without TLS", "cannot be told");
      report_server_error(message->message);
    } else {
      fact("without TLS", "accepted");
      problem("plaintext-accepted",
              "the server talks to clients without TLS: one with sslmode=disable or prefer may "
              "send all in the clear",
              "client_tls_sslmode = require in PgBouncer; only hostssl lines in pg_hba.conf");
    }
  }

  void report_server_error(const std::string& message) {
    add(Level::unknown, "server-error",
        fmt::format("the server answers with an error, unauthenticated: {}", message),
        "see its log; run this again when it takes connections");
  }

  // PgBouncer's "SSL required", and PostgreSQL's in whatever language: no line of pg_hba.conf is
  // for such a connection. A role that does not exist has 28000 too, without the file's name.
  static bool is_refusal(const ServerMessage& message) {
    const auto is = [&](std::string_view code, std::string_view words) {
      return message.code == code && message.message.find(words) != std::string::npos;
    };
    return message.type == 'E' && (is("08P01", "SSL") || is("28000", "pg_hba.conf"));
  }

  const ServerCheck& check_;
  const SocketAddress& address_;
  const std::string host_;
  Connection::Clock::time_point until_;  // when the step in hand must end
  Report report_;
};

}  // namespace

std::vector<Report> check_server(const ServerCheck& check) {
  std::vector<Report> reports;
  try {
    for (const SocketAddress& address : resolve(check.host, check.port, check.timeout)) {
      reports.push_back(Probe(check, address).run());
    }
  } catch (const NetworkError& error) {
    reports.push_back(report_unknown(place_of(check), error.id(), error));
  } catch (const Error& error) {
    reports.push_back(report_unknown(place_of(check), "not-checked", error));
  }
  return reports;
}

std::vector<ServedCertificate> served_certificates(const ServerCheck& check) {
  std::vector<ServedCertificate> served;
  try {
    for (const SocketAddress& address : resolve(check.host, check.port, check.timeout)) {
      served.push_back(Probe(check, address).look());
    }
  } catch (const NetworkError& error) {
    served.push_back({.address = check.host, .certificate = {}, .fault = error.what()});
  }
  return served;
}

std::vector<std::vector<Report>> check_servers(std::span<const ServerCheck> checks) {
  constexpr std::size_t most = 32;
  std::vector<std::vector<Report>> reports(checks.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < checks.size(); i = next++)
      reports[i] = check_server(checks[i]);
  };
  std::vector<std::future<void>> others;
  try {
    for (std::size_t i = 1; i < std::min(checks.size(), most); ++i) {
      others.push_back(std::async(std::launch::async, work));
    }
  } catch (const std::system_error&) {
    // No more threads: those that are there do it all.
  }
  work();
  for (std::future<void>& other : others) other.get();
  return reports;
}

}  // namespace pki
