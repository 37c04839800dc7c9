// What a Communicator stands on: one rank alone, or MPI. Private to comm.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace retort::comm {

enum class ReduceOp { sum, max, min };

/// The contracts are those of Communicator's members.
struct Communicator::Backend {
  virtual ~Backend() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void barrier() = 0;
  virtual void broadcast(std::span<std::byte> bytes) = 0;
  virtual std::string broadcast_text(const std::string& text) = 0;
  virtual std::vector<std::string> all_gather(const std::string& text) = 0;
  virtual std::vector<std::uint64_t> all_gather(std::uint64_t value) = 0;
  /// In place, element by element.
  virtual void all_reduce(std::span<std::uint64_t> values, ReduceOp op) = 0;
  virtual Pending exchange(std::vector<PeerTransfer> transfers) = 0;
  virtual Pending run(std::function<void()> work) = 0;
  virtual void progress() = 0;
  virtual void watch(std::chrono::milliseconds limit) = 0;
  virtual void at(const char* unit, std::uint64_t place) = 0;
  virtual std::uint64_t claim(const std::string& name, std::uint64_t count) = 0;
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

/// A Pending that is complete already, with this outcome.
Pending completed(std::exception_ptr error);
/// Checks an exchange against the number of ranks; InternalError. Copies what goes to oneself.
void check_transfers(std::span<const PeerTransfer> transfers, int rank, int size);

}  // namespace retort::comm
