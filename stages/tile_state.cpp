#include "stages/tile_state.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "io/fixed_sum.h"
#include "nn/similarity/tile_pair.h"

namespace retort::stages {
namespace {

constexpr const char* kPairs = "pairs";

/// What SimilarRows::storage() gives, in its order.
struct Part {
  const char* name;
  io::DType type;
  std::uint64_t columns;  // of a class
};
std::array<Part, 4> parts_of(std::uint32_t others) {
  return {{{"sums", io::DType::u64, sizeof(io::FixedSum) / sizeof(std::uint64_t)},
           {"cosines", io::DType::f64, others},
           {"ids", io::DType::u32, others},
           {"filled", io::DType::u32, 1}}};
}

}  // namespace

TileState::TileState(comm::Communicator& communicator, std::uint64_t classes, std::uint32_t others,
                     std::uint64_t edge)
    : communicator_(communicator), others_(others), split_{classes, edge}, done_(split_.tiles()) {}

void TileState::load(const io::RunFolder& folder) {
  // Which classes are this rank's depends on the tiles, which the state knows: `pairs` first.
  const auto only_pairs = folder.load([](const std::string& name) {
    return name == kPairs ? std::nullopt : std::optional(core::Range{0, 0});
  });
  if (!only_pairs) return;
  const auto reject = [&](const std::string& why) -> core::DataError {
    return core::DataError(
        fmt::format("{}: its state is of another form: {}; remove the folder to "
                    "start anew",
                    folder.path().string(), why));
  };
  std::uint64_t edge = 0;
  try {
    edge = only_pairs->state.at("tile").get<std::uint64_t>();
  } catch (const nlohmann::json::exception&) {
    throw reject("it names no tile");
  }
  if (edge == 0 || edge > nn::kLargestTile) throw reject("its tiles are of no possible size");
  if (edge != split_.edge)
    core::log_info("{}: goes on with the {} classes of a tile that it began with",
                   folder.path().string(), edge);
  split_.edge = edge;
  const auto pairs = only_pairs->tensors.find(kPairs);
  if (pairs == only_pairs->tensors.end()) throw reject("it has no pairs");
  done_ = TilePairs(split_.tiles());
  done_.restore(pairs->second.bytes);

  const core::Range own = split_.classes_of(communicator_.rank(), communicator_.size());
  const auto checkpoint = folder.load(
      [&](const std::string& name) { return name == kPairs ? std::nullopt : std::optional(own); });
  if (!checkpoint || checkpoint->step != only_pairs->step) throw reject("it changed meanwhile");
  const core::Range tiles = split_.tiles_of(communicator_.rank(), communicator_.size());
  for (std::uint64_t t = tiles.begin; t < tiles.end; ++t) {
    nn::SimilarRows rows(split_.tile(t), others_);
    const auto storage = rows.storage();
    const auto parts = parts_of(others_);
    for (std::size_t p = 0; p < parts.size(); ++p) {
      if (storage[p].empty()) continue;
      const auto found = checkpoint->tensors.find(parts[p].name);
      const std::vector<std::uint64_t> shape{own.size(), parts[p].columns};
      if (found == checkpoint->tensors.end() || found->second.type != parts[p].type ||
          found->second.shape != shape)
        throw reject(fmt::format("tensor {}", parts[p].name));
      const std::uint64_t row = storage[p].size() / rows.size();
      const auto from = std::span(found->second.bytes)
                            .subspan((rows.classes().begin - own.begin) * row, storage[p].size());
      std::copy(from.begin(), from.end(), storage[p].begin());
    }
    rows.restore();
    rows_.push_back(std::move(rows));
  }
  core::log_info("{}: resuming after {} of {} tile pairs", folder.path().string(), done_.count(),
                 done_.total());
}

void TileState::commit(io::RunFolder& folder, PairRun& run) const {
  std::vector<io::TensorRange> ranges;
  for (nn::SimilarRows& rows : run.rows()) {
    const auto storage = rows.storage();
    const auto parts = parts_of(others_);
    for (std::size_t p = 0; p < parts.size(); ++p)
      if (!storage[p].empty())
        ranges.push_back({parts[p].name,
                          parts[p].type,
                          {split_.classes, parts[p].columns},
                          rows.classes().begin * parts[p].columns,
                          storage[p]});
  }
  if (communicator_.root())
    ranges.push_back({kPairs, io::DType::u8, {run.done().bits().size()}, 0, run.done().bits()});
  folder.commit(run.done().count(), {{"tile", split_.edge}}, ranges);
}

}  // namespace retort::stages
