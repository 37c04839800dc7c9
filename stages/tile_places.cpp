#include "stages/tile_places.h"

#include <atomic>
#include <vector>

#include "nn/similarity/tile_pair.h"

namespace retort::stages {

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
    for (std::size_t at; (at = next++) < all.size();) work(*all[at]);
  });
}

void TilePlaces::prepare(Workers& workers) {
  if (precision_ == CosinePrecision::exact) return;
  // Cosines that weigh nothing need not be offered.
  const double least = options_.negatives == nn::Negatives::clamp ? options_.floor : -1;
  each(workers, [&](Place& place) {
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
  each(workers, [&](Place& place) {
    nn::resolve(*place.tile, *place.rows, place.candidates, options_, tile_of_);
  });
}

}  // namespace retort::stages
