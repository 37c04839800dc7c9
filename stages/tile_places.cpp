#include "stages/tile_places.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "nn/similarity/tile_pair.h"

namespace retort::stages {

namespace {
/// Of each tile a part of the rows at a time: what they find waits for the other tiles, and is
/// small beside what rows keep.
constexpr std::uint64_t kParts = 8;
}  // namespace

TilePlaces::TilePlaces(const TileSplit& split, const nn::SimilarityOptions& options,
                       std::uint32_t others, CosinePrecision precision)
    : split_(split), options_(options), others_(others), precision_(precision) {
  tile_of_ = [this](std::uint32_t id) -> const nn::ClassTile& {
    return *places_.at(id / split_.edge).tile;
  };
}

void TilePlaces::add(std::uint64_t id, const nn::ClassTile& tile, nn::SimilarRows& rows) {
  Place& place = places_[id];
  place.tile = &tile;
  place.rows = &rows;
}

template <class Work>
void TilePlaces::each(Workers& workers, Work work) {
  std::vector<Place*> all;
  all.reserve(places_.size());
  for (auto& [id, place] : places_) all.push_back(&place);
  std::atomic<std::size_t> next{0};
  workers.run([&](int) {
    for (std::size_t at; (at = next++) < all.size();) work(*all[at], at);
  });
}

void TilePlaces::prepare(Workers& workers) {
  if (precision_ == CosinePrecision::exact) return;
  // Cosines that weigh nothing need not be offered.
  const double least = options_.negatives == nn::Negatives::clamp ? options_.floor : -1;
  each(workers, [&](Place& place, std::size_t) {
    if (place.prepared) return;
    place.panels = nn::unit_panels(*place.tile);
    place.candidates = nn::Candidates(place.tile->size(), others_,
                                      nn::fast_cosine_bound(place.tile->features), least);
    for (std::uint64_t row = 0; row < place.tile->size(); ++row)
      place.candidates.clear(row, place.rows->threshold(row));
    place.prepared = true;
  });
}

void TilePlaces::meet(std::uint64_t i, std::uint64_t j) {
  Place& a = places_.at(i);
  Place& b = places_.at(j);
  const bool exact = precision_ == CosinePrecision::exact;
  if (exact && i == j) {
    nn::credit_pairs_within(*a.tile, *a.rows, options_);
  } else if (exact) {
    nn::credit_pairs(*a.tile, *a.rows, *b.tile, *b.rows, options_);
  } else if (i == j) {
    nn::credit_pairs_within_fast(a.side(), options_, tile_of_);
  } else {
    nn::credit_pairs_fast(a.side(), b.side(), options_, tile_of_);
  }
}

void TilePlaces::resolve(Workers& workers) {
  if (precision_ == CosinePrecision::exact) return;
  // By the tile that found them, sorted by the class that they are for.
  std::vector<std::vector<nn::FoundPair>> found(places_.size());
  const auto of_class = [](const nn::FoundPair& pair, std::uint64_t id) { return pair.id < id; };
  const std::uint64_t at_once = (split_.edge + kParts - 1) / kParts;
  each(workers, [](Place& place, std::size_t) { nn::begin_resolving(place.side()); });
  for (std::uint64_t from = 0; from < split_.edge; from += at_once) {
    each(workers, [&](Place& place, std::size_t index) {
      // Away from other threads' while it grows.
      std::vector<nn::FoundPair> own = std::move(found[index]);
      own.clear();
      const std::uint64_t size = place.tile->size();
      nn::resolve_above(place.side(), {std::min(from, size), std::min(from + at_once, size)},
                        options_, tile_of_,
                        [&](const nn::FoundPair& pair) { own.push_back(pair); });
      std::sort(own.begin(), own.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
      found[index] = std::move(own);
    });
    each(workers, [&](Place& place, std::size_t) {
      const core::Range& classes = place.tile->classes;
      for (const auto& of_tile : found) {
        const auto begin =
            std::lower_bound(of_tile.begin(), of_tile.end(), classes.begin, of_class);
        const auto end = std::lower_bound(begin, of_tile.end(), classes.end, of_class);
        nn::take_found(place.side(), {begin, end});
      }
    });
  }
  each(workers,
       [&](Place& place, std::size_t) { nn::resolve_rest(place.side(), options_, tile_of_); });
}

}  // namespace retort::stages
