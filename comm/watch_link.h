// The watchdog's own way from rank to rank, apart from MPI: one TCP connection from each rank to
// rank 0. Private to comm.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/watch_judge.h"

namespace retort::comm {

enum class WatchKind : std::uint8_t { hello, sign, goodbye, end };
/// One message. `sign` travels with kind sign, `token` with hello.
struct WatchMessage {
  WatchKind kind = WatchKind::sign;
  int rank = 0;
  std::uint64_t token = 0;
  RankSign sign;
};

/// A connected socket that closes itself, with the bytes of a message that has not come whole.
class WatchSocket {
 public:
  WatchSocket() = default;
  explicit WatchSocket(int descriptor) : descriptor_(descriptor) {}
  ~WatchSocket();
  WatchSocket(WatchSocket&& other) noexcept;
  WatchSocket& operator=(WatchSocket&& other) noexcept;

  int descriptor() const { return descriptor_; }
  bool open() const { return descriptor_ >= 0; }
  void close();
  /// Never blocks. A peer that reads nothing loses messages, not the connection.
  void send(const WatchMessage& message);
  /// What has come; `broken` if the other end is gone (the messages before that are there, too).
  struct Received {
    std::vector<WatchMessage> messages;
    bool broken = false;
  };
  Received receive();

 private:
  int descriptor_ = -1;
  std::string buffer_;   // received, not yet a whole message
  std::string waiting_;  // not yet sent
};

enum class WatchReach { this_host, all_hosts };

/// Rank 0's end: listens on the loopback interface, or on all if there are ranks on other hosts.
class WatchListener {
 public:
  /// IoError if no port can be had.
  explicit WatchListener(WatchReach reach);
  /// "127.0.0.1,10.0.0.5:40123": the addresses of this host and the port, for connect_to().
  const std::string& address() const { return address_; }
  int descriptor() const { return socket_.descriptor(); }
  /// The next connection, if one waits.
  std::optional<WatchSocket> accept();

 private:
  WatchSocket socket_;
  std::string address_;
};

/// Tries the addresses in turn, each for `patience`. Not open: none answers.
WatchSocket connect_to(const std::string& address, std::chrono::milliseconds patience);

}  // namespace retort::comm
