// From the rows that ranks hold by tiles to the files of a label matrix, whose ranges of classes
// depend on neither: each file is written by one rank, which gets its rows from the others.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/communicator.h"
#include "io/label_matrix.h"
#include "io/manifest.h"
#include "nn/similarity/class_columns.h"
#include "nn/similarity/similar_rows.h"
#include "nn/similarity/similarity_weight.h"
#include "stages/pair_schedule.h"

namespace retort::stages {

/// What there is to say of rows; sums in the order of classes.
struct LabelSummary {
  static constexpr std::size_t kBins = 40;  // of cosines, [-1, 1]
  std::uint64_t rows = 0, entries = 0;
  std::uint64_t degenerate = 0, alone = 0;  // by status
  std::uint64_t one_hot = 0;                // rows that name no other class, for whatever reason
  double self = 0, discarded = 0;           // sums of shares
  std::array<std::uint64_t, kBins> nearest{}, kept{};  // the most similar other; all others kept

  void add(const io::LabelRows& rows, const nn::SimilarRows& found);
  LabelSummary& operator+=(const LabelSummary& other);
  nlohmann::json to_json() const;
  static LabelSummary from_json(const nlohmann::json& json);
};

/// Where the files of a matrix go.
struct LabelOutput {
  comm::Communicator& communicator;
  io::MemberLedger& ledger;
  const io::LabelMatrixFacts& facts;
  const TileSplit& split;
  const nn::SimilarityOptions& options;
};

/// Collective. Writes the files that `ledger` does not hold yet; a file's facts are the summary of
/// its rows. `own`, `rows`: this rank's tiles and what was found for them; of each class all.
void write_label_files(const LabelOutput& output, std::span<const nn::ClassTile> own,
                       std::span<nn::SimilarRows> rows);

}  // namespace retort::stages
