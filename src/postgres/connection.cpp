#include "postgres/connection.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

namespace pki {
namespace {

using std::chrono::milliseconds;

[[noreturn]] void fail(const std::string& doing, int error) {
  throw NetworkError(error == ECONNRESET || error == EPIPE ? "closed" : "unreachable",
                     fmt::format("{}: {}", doing, std::generic_category().message(error)),
                     "see that the server runs, listens there, and that no firewall is between");
}

[[noreturn]] void time_out(const std::string& doing) {
  throw NetworkError("timed-out", fmt::format("{}: no answer in time", doing),
                     "see that the server runs and is not stuck, or raise --timeout");
}

std::string numeric(const addrinfo& info) {
  std::array<char, NI_MAXHOST> text{};
  if (::getnameinfo(info.ai_addr, info.ai_addrlen, text.data(), text.size(), nullptr, 0,
                    NI_NUMERICHOST) != 0) {
    return "?";
  }
  return text.data();
}

// getaddrinfo(3) knows no limit of time; this one runs beside us.
struct Lookup {
  Lookup(const std::string& of_host, std::uint16_t port)
      : host(of_host), service(std::to_string(port)) {
    hints.ai_socktype = SOCK_STREAM;
    request.ar_name = host.c_str();
    request.ar_service = service.c_str();
    request.ar_request = &hints;
  }

  std::string host;
  std::string service;
  addrinfo hints{};
  gaicb request{};
};

// How it ended: 0, or an error; EAI_INPROGRESS if it has not, and cannot be cancelled.
int wait_for(Lookup& lookup, milliseconds timeout) {
  const Connection::Clock::time_point until = Connection::Clock::now() + timeout;
  const std::array<const gaicb*, 1> requests = {&lookup.request};
  while (::gai_error(&lookup.request) == EAI_INPROGRESS) {
    const std::chrono::nanoseconds left = until - Connection::Clock::now();
    if (left.count() <= 0) {
      (void)::gai_cancel(&lookup.request);
      break;
    }
    const auto whole = std::chrono::floor<std::chrono::seconds>(left);
    const timespec limit = {whole.count(), (left - whole).count()};
    (void)::gai_suspend(requests.data(), 1, &limit);
  }
  return ::gai_error(&lookup.request);
}

}  // namespace

std::vector<SocketAddress> resolve(const std::string& host, std::uint16_t port,
                                   milliseconds timeout) {
  auto lookup = std::make_unique<Lookup>(host, port);
  const std::string doing = fmt::format("cannot resolve {}", quote(host));
  std::array<gaicb*, 1> requests = {&lookup->request};
  int error = ::getaddrinfo_a(GAI_NOWAIT, requests.data(), 1, nullptr);
  if (error == 0) error = wait_for(*lookup, timeout);
  if (error == EAI_INPROGRESS) {
    // The resolver gives up some day, and writes into this until then.
    static_cast<void>(lookup.release());
    time_out(doing);
  }
  if (error == EAI_CANCELED) time_out(doing);
  if (error != 0) {
    throw NetworkError("unreachable", fmt::format("{}: {}", doing, ::gai_strerror(error)),
                       "give the name or the address by which clients reach the server");
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> found(lookup->request.ar_result,
                                                                   ::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* info = found.get(); info != nullptr; info = info->ai_next) {
    const char* const bytes = reinterpret_cast<const char*>(info->ai_addr);
    SocketAddress address{numeric(*info), {bytes, bytes + info->ai_addrlen}};
    const bool known =
        std::ranges::find(addresses, address.text, &SocketAddress::text) != addresses.end();
    if (!known) addresses.push_back(std::move(address));
  }
  return addresses;
}

Connection Connection::open(const SocketAddress& address, milliseconds timeout) {
  const auto* const native = reinterpret_cast<const sockaddr*>(address.native.data());
  const std::string doing = fmt::format("cannot connect to {}", address.text);
  Connection connection(
      Descriptor(::socket(native->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
      timeout);
  if (!connection.socket_.is_open()) fail(doing, errno);
  const int fd = connection.descriptor();
  if (::connect(fd, native, static_cast<socklen_t>(address.native.size())) != 0) {
    if (errno != EINPROGRESS) fail(doing, errno);
    connection.wait(POLLOUT, connection.deadline());
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error != 0) fail(doing, error);
  }
  return connection;
}

void Connection::wait(short events, Clock::time_point until) const {
  for (;;) {
    // Looked at before poll(2): a server that never stops sending is always ready.
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    if (left.count() <= 0) time_out("the server does not come to an end");
    pollfd polled = {descriptor(), events, 0};
    const int ready = ::poll(&polled, 1, static_cast<int>(left.count()));
    if (ready > 0) return;
    if (ready == 0) time_out("the server is silent");
    if (errno != EINTR) fail("cannot wait for the server", errno);
  }
}

bool Connection::wait_for_input(Clock::time_point until) const {
  try {
    wait(POLLIN, until);
    return true;
  } catch (const NetworkError& error) {
    if (error.id() == "timed-out") return false;
    throw;
  }
}

void Connection::send(std::span<const char> bytes) {
  const Clock::time_point until = deadline();
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      wait(POLLOUT, until);
    } else if (errno != EINTR) {
      fail("cannot send to the server", errno);
    }
  }
}

std::size_t Connection::receive(std::span<char> bytes, Clock::time_point until) {
  for (;;) {
    wait(POLLIN, until);
    const ssize_t got = ::recv(descriptor(), bytes.data(), bytes.size(), 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EAGAIN && errno != EINTR) fail("the server ended the connection", errno);
  }
}

std::string Connection::pending() const {
  std::array<char, 256> bytes{};
  const ssize_t got = ::recv(descriptor(), bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  return got > 0 ? std::string(bytes.data(), static_cast<std::size_t>(got)) : std::string();
}

}  // namespace pki
