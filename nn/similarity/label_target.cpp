#include "nn/similarity/label_target.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "io/fixed_sum.h"

namespace retort::nn {

LabelTail label_tail_of(std::string_view word) {
  if (word == "uniform") return LabelTail::uniform;
  if (word == "renormalise") return LabelTail::renormalise;
  if (word == "self") return LabelTail::self;
  throw core::UsageError(
      fmt::format("label-tail: '{}' is none of uniform, renormalise, self", word));
}

LabelRow label_row(const io::LabelRows& rows, std::uint64_t row) {
  const std::uint64_t begin = rows.row_begin[row], count = rows.row_begin[row + 1] - begin;
  return {std::span(rows.ids).subspan(begin, count), std::span(rows.weights).subspan(begin, count),
          io::FixedSum::from_words(rows.normaliser[row]).value(), rows.discarded[row]};
}

template <class T>
void LabelTargets<T>::add(std::uint32_t gold, const LabelRow& row, double part) {
  if (row.ids.empty())
    throw core::DataError(fmt::format("the label row of class {} is empty", gold));
  const bool own = std::find(row.ids.begin(), row.ids.end(), gold) != row.ids.end();
  const std::uint64_t listed = row.ids.size() + (own ? 0 : 1);
  double normaliser = row.normaliser;
  if (mix_.tail == LabelTail::renormalise) {
    normaliser = 0;
    for (const double w : row.weights) normaliser += w;
  }
  double background = 0;
  if (mix_.tail == LabelTail::uniform && row.discarded > 0 && classes_ > listed)
    background = mix_.mix * row.discarded / static_cast<double>(classes_ - listed);
  const double gold_share =
      1 - mix_.mix + (mix_.tail == LabelTail::self ? mix_.mix * row.discarded : 0);
  const auto append = [&](std::uint32_t id, double target) {
    ids_.push_back(id);
    excess_.push_back(static_cast<T>(part * (target - background)));
  };
  if (!own) append(gold, gold_share);
  for (std::size_t i = 0; i < row.ids.size(); ++i)
    append(row.ids[i],
           mix_.mix * (row.weights[i] / normaliser) + (row.ids[i] == gold ? gold_share : 0.0));
  now_ += part * background;
}

template <class T>
void LabelTargets<T>::end_sample() {
  begin_.push_back(ids_.size());
  background_.push_back(static_cast<T>(now_));
  now_ = 0;
}

template <class T>
void LabelTargets<T>::clear() {
  begin_ = {0};
  ids_.clear();
  excess_.clear();
  background_.clear();
  now_ = 0;
}

template class LabelTargets<float>;
template class LabelTargets<double>;

}  // namespace retort::nn
