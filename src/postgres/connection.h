// A TCP connection on which nothing takes longer than it may.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pki/error.h"
#include "store/directory.h"

namespace pki {

/// A server that cannot be reached, or does not answer: no fault of its certificate.
class NetworkError : public Error {
 public:
  NetworkError(std::string id, const std::string& what, std::string hint)
      : Error(what, std::move(hint)), id_(std::move(id)) {}

  /// "unreachable", "timed-out" or "closed".
  [[nodiscard]] const std::string& id() const noexcept { return id_; }

 private:
  std::string id_;
};

struct SocketAddress {
  std::string text;          // "10.0.0.5"
  std::vector<char> native;  // a sockaddr
};

/// All addresses of a host, in the resolver's order, each once. Throws NetworkError.
[[nodiscard]] std::vector<SocketAddress> resolve(const std::string& host, std::uint16_t port,
                                                 std::chrono::milliseconds timeout);

class Connection {
 public:
  using Clock = std::chrono::steady_clock;

  /// All of these throw NetworkError.
  static Connection open(const SocketAddress& address, std::chrono::milliseconds timeout);

  void send(std::span<const char> bytes);
  /// One byte or more; none at the end. A server that sends a byte now and then does not gain time:
  /// what belongs together is waited for until one moment.
  [[nodiscard]] std::size_t receive(std::span<char> bytes, Clock::time_point until);
  /// What waits to be read already, without taking it.
  [[nodiscard]] std::string pending() const;
  /// Whether there is something to read (or an end) before that time.
  [[nodiscard]] bool wait_for_input(Clock::time_point until) const;
  /// Waits until the socket is ready, at most until `until`.
  void wait(short events, Clock::time_point until) const;

  [[nodiscard]] int descriptor() const noexcept { return socket_.get(); }
  [[nodiscard]] Clock::time_point deadline() const { return Clock::now() + timeout_; }

 private:
  Connection(Descriptor socket, std::chrono::milliseconds timeout)
      : socket_(std::move(socket)), timeout_(timeout) {}

  Descriptor socket_;
  std::chrono::milliseconds timeout_;
};

}  // namespace pki
