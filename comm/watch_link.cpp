#include "comm/watch_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::comm {
namespace {

constexpr std::size_t kOperationBytes = 31;
constexpr std::size_t kUnitBytes = 15;
// A peer that reads nothing (it is stopped) must not make this grow.
constexpr std::size_t kMostWaiting = 4096;

/// As it goes over the wire; both ends are the same program on the same kind of machine.
struct Wire {
  std::uint64_t token, collective, place, processor_ms;
  std::int32_t rank;
  std::uint8_t kind;
  char operation[kOperationBytes];  // texts end with the first zero or the last byte
  char unit[kUnitBytes];
};

template <std::size_t size>
void put_text(const std::string& text, char (&to)[size]) {
  std::memcpy(to, text.data(), std::min(text.size(), size));
}
template <std::size_t size>
std::string text_of(const char (&from)[size]) {
  return {from, strnlen(from, size)};
}

std::string encode(const WatchMessage& message) {
  Wire wire{};
  wire.token = message.token;
  wire.collective = message.sign.collective;
  wire.place = message.sign.place;
  wire.processor_ms = static_cast<std::uint64_t>(message.sign.processor.count());
  wire.rank = message.rank;
  wire.kind = static_cast<std::uint8_t>(message.kind);
  put_text(message.sign.operation, wire.operation);
  put_text(message.sign.unit, wire.unit);
  return {reinterpret_cast<const char*>(&wire), sizeof wire};
}

WatchMessage decode(const char* bytes) {
  Wire wire;
  std::memcpy(&wire, bytes, sizeof wire);
  WatchMessage message;
  message.kind = static_cast<WatchKind>(wire.kind);
  message.rank = wire.rank;
  message.token = wire.token;
  message.sign = {wire.collective, wire.place, text_of(wire.unit), text_of(wire.operation),
                  std::chrono::milliseconds(wire.processor_ms)};
  return message;
}

int tcp_socket() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor >= 0) {
    const int on = 1;
    ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return descriptor;
}

std::vector<std::string> own_addresses() {
  std::vector<std::string> addresses;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return addresses;
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    const auto* inet = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
    std::array<char, INET_ADDRSTRLEN> text{};
    if (::inet_ntop(AF_INET, &inet->sin_addr, text.data(), text.size()) == nullptr) continue;
    if (std::string_view(text.data()).substr(0, 4) != "127.") addresses.emplace_back(text.data());
  }
  ::freeifaddrs(list);
  return addresses;
}

WatchSocket try_address(const std::string& host, std::uint16_t port,
                        std::chrono::milliseconds patience) {
  WatchSocket made(tcp_socket());
  if (!made.open()) return {};
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &to.sin_addr) != 1) return {};
  if (::connect(made.descriptor(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    if (errno != EINPROGRESS) return {};
    pollfd wait{made.descriptor(), POLLOUT, 0};
    if (::poll(&wait, 1, static_cast<int>(patience.count())) != 1) return {};
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(made.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
      return {};
  }
  return made;
}

}  // namespace

WatchSocket::~WatchSocket() { close(); }
WatchSocket::WatchSocket(WatchSocket&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      buffer_(std::move(other.buffer_)),
      waiting_(std::move(other.waiting_)) {}
WatchSocket& WatchSocket::operator=(WatchSocket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(buffer_, other.buffer_);
  std::swap(waiting_, other.waiting_);
  return *this;
}

void WatchSocket::close() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

void WatchSocket::send(const WatchMessage& message) {
  if (!open()) return;
  if (waiting_.size() < kMostWaiting) waiting_ += encode(message);
  while (!waiting_.empty()) {
    const ssize_t sent =
        ::send(descriptor_, waiting_.data(), waiting_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) return;  // full, or broken: receive() finds out
    waiting_.erase(0, static_cast<std::size_t>(sent));
  }
}

WatchSocket::Received WatchSocket::receive() {
  Received received;
  if (!open()) return received;
  std::array<char, 4096> piece;
  for (;;) {
    const ssize_t got = ::recv(descriptor_, piece.data(), piece.size(), MSG_DONTWAIT);
    if (got > 0) {
      buffer_.append(piece.data(), static_cast<std::size_t>(got));
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    received.broken = got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
    break;
  }
  std::size_t at = 0;
  for (; buffer_.size() - at >= sizeof(Wire); at += sizeof(Wire))
    received.messages.push_back(decode(buffer_.data() + at));
  buffer_.erase(0, at);
  return received;
}

WatchListener::WatchListener(WatchReach reach) : socket_(tcp_socket()) {
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(reach == WatchReach::all_hosts ? INADDR_ANY : INADDR_LOOPBACK);
  socklen_t size = sizeof any;
  if (!socket_.open() ||
      ::bind(socket_.descriptor(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
      ::listen(socket_.descriptor(), SOMAXCONN) != 0 ||
      ::getsockname(socket_.descriptor(), reinterpret_cast<sockaddr*>(&any), &size) != 0)
    throw core::IoError(fmt::format(
        "the watchdog cannot listen on a TCP port: {}; give --watchdog 0 to do without it",
        std::strerror(errno)));
  std::vector<std::string> hosts = {"127.0.0.1"};
  if (reach == WatchReach::all_hosts)
    for (std::string& host : own_addresses()) hosts.push_back(std::move(host));
  address_ = fmt::format("{}:{}", fmt::join(hosts, ","), ntohs(any.sin_port));
}

std::optional<WatchSocket> WatchListener::accept() {
  const int descriptor =
      ::accept4(socket_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (descriptor < 0) return std::nullopt;
  return WatchSocket(descriptor);
}

WatchSocket connect_to(const std::string& address, std::chrono::milliseconds patience) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return {};
  const auto port = static_cast<std::uint16_t>(std::strtoul(&address[colon + 1], nullptr, 10));
  std::vector<std::string> hosts;
  for (std::size_t at = 0; at < colon;) {
    const std::size_t end = std::min(address.find(',', at), colon);
    hosts.push_back(address.substr(at, end - at));
    at = end + 1;
  }
  for (const std::string& host : hosts) {
    WatchSocket made = try_address(host, port, patience);
    if (made.open()) return made;
  }
  return {};
}

}  // namespace retort::comm
