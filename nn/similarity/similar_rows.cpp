#include "nn/similarity/similar_rows.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::nn {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}

SimilarRows::SimilarRows(core::Range classes, std::uint32_t most)
    : classes_(classes),
      most_(most),
      sums_(classes.size()),
      cosines_(classes.size() * most),
      ids_(classes.size() * most),
      filled_(classes.size(), 0),
      threshold_(classes.size(), most == 0 ? kInfinity : -kInfinity) {}

void SimilarRows::insert(std::uint64_t row, double c, std::uint32_t id) {
  double* const cosines = cosines_.data() + row * most_;
  std::uint32_t* const ids = ids_.data() + row * most_;
  const auto worse = [&](std::uint32_t a, std::uint32_t b) {
    return better_neighbour(cosines[b], ids[b], cosines[a], ids[a]);
  };
  const auto swap = [&](std::uint32_t a, std::uint32_t b) {
    std::swap(cosines[a], cosines[b]);
    std::swap(ids[a], ids[b]);
  };
  std::uint32_t& filled = filled_[row];
  if (filled < most_) {
    std::uint32_t at = filled++;
    cosines[at] = c;
    ids[at] = id;
    for (; at > 0 && worse(at, (at - 1) / 2); at = (at - 1) / 2) swap(at, (at - 1) / 2);
  } else {
    if (!better_neighbour(c, id, cosines[0], ids[0])) return;
    cosines[0] = c;
    ids[0] = id;
    for (std::uint32_t at = 0;;) {
      std::uint32_t worst = at;
      for (const std::uint32_t child : {2 * at + 1, 2 * at + 2})
        if (child < filled && worse(child, worst)) worst = child;
      if (worst == at) break;
      swap(at, worst);
      at = worst;
    }
  }
  if (filled == most_) threshold_[row] = cosines[0];
}

void SimilarRows::merge(const SimilarRows& other) {
  if (!(classes_ == other.classes_) || most_ != other.most_)
    throw core::InternalError(
        fmt::format("rows of classes {} to {} are merged with those of {} to {}", classes_.begin,
                    classes_.end, other.classes_.begin, other.classes_.end));
  for (std::uint64_t row = 0; row < size(); ++row) {
    sums_[row] += other.sums_[row];
    for (std::uint32_t i = 0; i < other.filled_[row]; ++i)
      offer(row, other.cosines_[row * most_ + i], other.ids_[row * most_ + i]);
  }
}

std::array<std::span<std::byte>, 4> SimilarRows::storage(const core::Range& classes) {
  const std::uint64_t first = classes.begin - classes_.begin, count = classes.size();
  const auto part = [&](auto& values, std::uint64_t of_a_class) {
    return std::as_writable_bytes(
        std::span(values).subspan(first * of_a_class, count * of_a_class));
  };
  return {part(sums_, 1), part(cosines_, most_), part(ids_, most_), part(filled_, 1)};
}

void SimilarRows::restore() {
  for (std::uint64_t row = 0; row < size(); ++row)
    threshold_[row] = filled_[row] < most_ ? -kInfinity
                      : most_ == 0         ? kInfinity
                                           : cosines_[row * most_];
}

std::vector<SimilarRows::Neighbour> SimilarRows::neighbours(std::uint64_t row) const {
  std::vector<Neighbour> list(filled_[row]);
  for (std::uint32_t i = 0; i < filled_[row]; ++i)
    list[i] = {cosines_[row * most_ + i], ids_[row * most_ + i]};
  std::sort(list.begin(), list.end(), [](const Neighbour& a, const Neighbour& b) {
    return better_neighbour(a.cosine, a.id, b.cosine, b.id);
  });
  return list;
}

}  // namespace retort::nn
