// Progress of a long computation: a bar with rate and remaining time on a terminal, a line every
// 30 s elsewhere. Only where information is logged (rank 0), so every rank may own one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace retort::core {

class Progress {
 public:
  /// `label`: "teach"; `total` in `unit`s ("samples", "steps"); 0: the total is not known.
  /// `start`: what an earlier run had done already; the rate does not count it.
  Progress(std::string label, std::uint64_t total, std::string unit, std::uint64_t start = 0);
  ~Progress();
  Progress(Progress&&) noexcept;
  Progress& operator=(Progress&&) noexcept;

  /// `done` in units, with the start. Cheap enough for every step; thread-safe.
  void update(std::uint64_t done);
  /// The same with a short remark behind the numbers ("loss 1.234").
  void update(std::uint64_t done, const std::string& remark);
  /// Leaves a last line with the total, how much of it was done since the start, and the time and
  /// rate of that. The destructor leaves none.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;  // empty: nothing is shown
};

/// The text of one state, without bar: "teach 1,200/60,000 samples (2 %), 1.52 k/s, 38 s left".
/// `rate`: units per second, 0 when not yet known. Pure, for tests and for logs.
std::string progress_text(const std::string& label, std::uint64_t done, std::uint64_t total,
                          const std::string& unit, double rate);

}  // namespace retort::core
