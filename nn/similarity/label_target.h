// Rows of a label matrix as targets of a batch: methods/similarity-labels.md, "Training with a
// class-sharded softmax".
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "io/label_rows.h"
#include "nn/loss.h"

namespace retort::nn {

/// Where the mass goes that a row's entries leave out: to each other class alike, to the entries in
/// proportion, to the sample's class.
enum class LabelTail { uniform, renormalise, self };
/// UsageError that lists the words for an unknown one.
LabelTail label_tail_of(std::string_view word);

struct LabelMix {
  double mix = 1;  // epsilon in [0, 1]: target = (1 - e) one-hot + e row
  LabelTail tail = LabelTail::uniform;
};

/// One row of a label matrix.
struct LabelRow {
  std::span<const std::uint32_t> ids;
  std::span<const double> weights;
  double normaliser = 1;
  double discarded = 0;
};
LabelRow label_row(const io::LabelRows& rows, std::uint64_t row);

/// Targets of samples in the making. T is float or double.
template <class T>
class LabelTargets {
 public:
  LabelTargets(std::uint64_t classes, const LabelMix& mix) : classes_(classes), mix_(mix) {}

  /// A sample of one class, or a part 1/parts of one of several classes (then all parts before
  /// end_sample()). DataError if the row has no entries.
  void add(std::uint32_t gold, const LabelRow& row, double part = 1);
  void end_sample();
  void clear();
  BackgroundTargets<T> view() const { return {begin_, ids_, excess_, background_}; }

 private:
  std::uint64_t classes_;
  LabelMix mix_;
  std::vector<std::uint64_t> begin_ = {0};
  std::vector<std::uint32_t> ids_;
  std::vector<T> excess_, background_;
  double now_ = 0;  // background of the sample under way
};

}  // namespace retort::nn
