// The class tiles that are on this rank now, own or visiting, in the form in which they meet:
// exact, or in fp32 with exact rows (methods/similarity-labels.md, "Precisions").
#pragma once

#include <cstdint>
#include <map>

#include "nn/similarity/fast_pair.h"
#include "stages/pair_schedule.h"
#include "stages/workers.h"

namespace retort::stages {

enum class CosinePrecision { exact, fp32 };

class TilePlaces {
 public:
  /// `others`: entries that a row keeps.
  TilePlaces(const TileSplit& split, const nn::SimilarityOptions& options, std::uint32_t others,
             CosinePrecision precision);

  /// Both outlive the place.
  void add(std::uint64_t id, const nn::ClassTile& tile, nn::SimilarRows& rows);
  void remove(std::uint64_t id) { places_.erase(id); }
  /// After the last add(): what meet() needs, made side by side.
  void prepare(Workers& workers);
  /// All pairs of two tiles, or within one. Several threads, none with a tile of another one.
  void meet(std::uint64_t i, std::uint64_t j);
  /// Rows then know all that they keep.
  void resolve(Workers& workers);

 private:
  struct Place {
    const nn::ClassTile* tile = nullptr;
    nn::SimilarRows* rows = nullptr;
    bool prepared = false;
    nn::Panels<float> panels;
    nn::Candidates candidates;
    nn::FastSide side() { return {*tile, panels, *rows, candidates}; }
  };
  /// work(place, its number) on each place, side by side.
  template <class Work>
  void each(Workers& workers, Work work);

  TileSplit split_;
  nn::SimilarityOptions options_;
  std::uint32_t others_;
  CosinePrecision precision_;
  std::map<std::uint64_t, Place> places_;
  nn::TileOf tile_of_;
};

}  // namespace retort::stages
