// Memory that the ranks of one host share: slots of bytes per rank, and counters to wait on.
// Private to comm.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "comm/communicator.h"

namespace retort::comm {

/// A counter in shared memory. One rank raises it, the others wait for it.
class SharedCounter {
 public:
  /// Wakes those who wait.
  void raise(std::uint32_t value);
  /// Until the counter has reached `value` (it may wrap). Spins for microseconds, then sleeps and
  /// calls `meanwhile` every fraction of a millisecond.
  void wait(std::uint32_t value, const std::function<void()>& meanwhile);

 private:
  bool reached(std::uint32_t value) const {
    return static_cast<std::int32_t>(value_.load(std::memory_order_acquire) - value) >= 0;
  }
  alignas(64) std::atomic<std::uint32_t> value_{0};
  std::atomic<std::uint32_t> waiting_{0};
};

class SharedWindow {
 public:
  static constexpr int kSlots = 4;

  /// Collective. Null when the ranks are not all on one host or shared memory is not to be had.
  static std::unique_ptr<SharedWindow> open(Communicator& communicator);
  ~SharedWindow();
  SharedWindow(const SharedWindow&) = delete;
  SharedWindow& operator=(const SharedWindow&) = delete;

  /// Of each slot; a multiple of 64, as are their addresses.
  std::size_t slot_bytes() const { return slot_bytes_; }
  std::byte* slot(int rank, std::uint32_t round) const;
  /// How many rounds a rank has brought its inputs for, added its part of, copied the results of.
  struct Counters {
    SharedCounter written, added, copied;
  };
  Counters& counters(int rank) const;

 private:
  SharedWindow(void* memory, std::size_t bytes, std::size_t slot_bytes, int ranks);

  std::byte* memory_;
  std::size_t bytes_;
  std::size_t slot_bytes_;
  int ranks_;
};

}  // namespace retort::comm
