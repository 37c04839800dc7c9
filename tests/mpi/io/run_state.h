// A made-up run whose state after a step is known, and its commit by any number of ranks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/range.h"
#include "io/checkpoint.h"

namespace retort::tests {

inline io::Checkpoint run_state(std::uint64_t step) {
  io::Checkpoint checkpoint;
  checkpoint.step = step;
  checkpoint.state = {{"epoch", step / 7}, {"loss", 1.0 / (1.0 + static_cast<double>(step))}};
  for (std::uint64_t i = 0; i < 5; ++i) {
    io::Tensor& tensor = checkpoint.tensors["parameters/layer" + std::to_string(i) + ".weight"];
    tensor.shape = {13, 1 + i * 11};
    tensor.bytes.resize(tensor.elements() * 4);
    for (std::size_t k = 0; k < tensor.bytes.size(); ++k) {
      tensor.bytes[k] = static_cast<std::byte>((k * 31 + step * 17 + i) % 253);
    }
  }
  checkpoint.tensors["optimiser/step"] = {io::DType::u64, {}, std::vector<std::byte>(8)};
  checkpoint.tensors["buffers/none"] = {io::DType::f32, {0}, {}};
  return checkpoint;
}

/// The part of `rank` of `size`: slices of the flattened tensors, empty ones left out except where
/// rank 0 must speak for a tensor without elements.
inline std::vector<io::TensorRange> part_of(const io::Checkpoint& state, int rank, int size) {
  std::vector<io::TensorRange> ranges;
  for (io::TensorRange range : io::whole_ranges(state.tensors)) {
    const std::uint64_t element = io::size_of(range.type);
    const std::uint64_t total = range.bytes.size() / element;
    const core::Range mine =
        core::partition(total, static_cast<std::uint64_t>(size), static_cast<std::uint64_t>(rank));
    if (mine.empty() && !(total == 0 && rank == 0)) continue;
    range.offset = mine.begin;
    range.bytes = range.bytes.subspan(mine.begin * element, mine.size() * element);
    ranges.push_back(range);
  }
  return ranges;
}

/// Collective, as RunFolder::commit() and begin() are.
inline void commit_part(io::RunFolder& folder, std::uint64_t step, int rank, int size) {
  const io::Checkpoint state = run_state(step);
  folder.commit(step, state.state, part_of(state, rank, size));
}
inline void begin_part(io::RunFolder& folder, std::uint64_t step, int rank, int size) {
  const io::Checkpoint state = run_state(step);  // gone before it is written
  folder.begin(step, state.state, part_of(state, rank, size));
}

}  // namespace retort::tests
