#include "nn/similarity/label_rows.h"

#include <algorithm>
#include <cmath>

namespace retort::nn {
namespace {

constexpr double kLeastRawNormaliser = 1e-12;

void append_entry(io::LabelRows& rows, std::uint32_t id, double weight, io::FixedSum& kept) {
  rows.ids.push_back(id);
  rows.weights.push_back(weight);
  kept += io::FixedSum(weight);
}

}  // namespace

std::uint32_t others_kept(const SimilarityOptions& options, std::uint32_t top_m) {
  return options.self == SelfWeight::keep ? top_m - 1 : top_m;
}

io::LabelRows finish_rows(const SimilarRows& rows, std::span<const std::uint8_t> degenerate,
                          const SimilarityOptions& options) {
  const io::FixedSum one(1.0);
  io::LabelRows out;
  out.classes = rows.classes();
  const std::uint64_t most = rows.size() * (std::uint64_t{rows.most()} + 1);
  out.ids.reserve(most);
  out.weights.reserve(most);
  for (std::uint64_t r = 0; r < rows.size(); ++r) {
    const auto own = static_cast<std::uint32_t>(rows.classes().begin + r);
    io::FixedSum sum = rows.sum(r), kept;
    auto status = io::LabelStatus::ok;
    if (degenerate[r] != 0)
      status = io::LabelStatus::degenerate;
    else if (options.self == SelfWeight::exclude && sum.zero())
      status = io::LabelStatus::alone;
    const bool one_hot = status != io::LabelStatus::ok;
    if (one_hot) sum = io::FixedSum();
    if (one_hot || options.self == SelfWeight::keep) {
      sum += one;
      append_entry(out, own, 1.0, kept);
    }
    if (!one_hot)
      with_weight(options, [&](const auto& weight) {
        for (const auto& other : rows.neighbours(r))
          append_entry(out, other.id, weight(other.cosine), kept);
      });
    if (sum < kept) sum = kept;  // a sum of approximate weights may be short of the exact ones
    io::FixedSum rest = sum;
    rest -= kept;
    out.row_begin.push_back(out.ids.size());
    out.normaliser.push_back(sum.words());
    out.discarded.push_back(rest.value() / sum.value());
    out.status.push_back(status);
  }
  return out;
}

bool RawRow::usable() const { return normaliser > kLeastRawNormaliser; }

RawRow raw_row(const ClassTile& all, std::uint64_t row, SelfWeight self) {
  RawRow raw;
  raw.weight.assign(all.size(), 0);
  if (all.degenerate[row] != 0) {
    raw.weight[row] = 1;
  } else {
    for (std::uint64_t j = 0; j < all.size(); ++j)
      if (j != row && all.degenerate[j] == 0) raw.weight[j] = cosine(all, row, all, j);
    if (self == SelfWeight::keep) raw.weight[row] = 1;
  }
  for (const double w : raw.weight) {
    (w < 0 ? raw.negative : raw.positive) += io::FixedSum(std::abs(w));
    raw.has_negative = raw.has_negative || w < 0;
  }
  const bool below = raw.positive.value() < raw.negative.value();
  io::FixedSum difference = below ? raw.negative : raw.positive;
  difference -= below ? raw.positive : raw.negative;
  raw.normaliser = below ? -difference.value() : difference.value();
  return raw;
}

}  // namespace retort::nn
