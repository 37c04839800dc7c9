#include "stages/step_input.h"

#include <cstring>

namespace retort::stages {

namespace {

constexpr std::size_t kAlignment = 256;  // of cudaMalloc: vector loads of any kernel are aligned

template <class T>
void put(const StepLayout& layout, StepLayout::Part part, const std::vector<T>& values,
         std::span<std::byte> block) {
  if (!values.empty())
    std::memcpy(block.data() + layout.offset[part], values.data(), values.size() * sizeof(T));
}

}  // namespace

std::vector<Launch> launches(std::uint64_t first, std::span<const std::uint64_t> sizes,
                             std::uint64_t most) {
  std::vector<Launch> all;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (!all.empty() && all.back().rows == sizes[i] && all.back().count < most)
      ++all.back().count;
    else
      all.push_back({first + i, 1, sizes[i]});
  }
  return all;
}

StepLayout layout_of(std::size_t pixels, const RowTargets& targets) {
  StepLayout layout;
  const std::array<std::size_t, StepLayout::kParts> bytes = {
      pixels * sizeof(float),
      targets.label_begin.size() * sizeof(std::uint32_t),
      targets.labels.size() * sizeof(std::uint32_t),
      targets.ids.size() * sizeof(std::uint32_t),
      targets.teacher.size() * sizeof(float),
      targets.tail_lse.size() * sizeof(float)};
  layout.bytes = bytes;
  for (std::size_t part = 0; part < bytes.size(); ++part) {
    layout.offset[part] = layout.size;
    layout.size += (bytes[part] + kAlignment - 1) / kAlignment * kAlignment;
  }
  return layout;
}

void fill_block(const StepLayout& layout, std::span<const io::MicroBatch> batches,
                const RowTargets& targets, std::span<std::byte> block) {
  std::byte* to = block.data() + layout.offset[StepLayout::kPixels];
  for (const io::MicroBatch& batch : batches) {
    std::memcpy(to, batch.pixels.data(), batch.pixels.size() * sizeof(float));
    to += batch.pixels.size() * sizeof(float);
  }
  put(layout, StepLayout::kLabelBegin, targets.label_begin, block);
  put(layout, StepLayout::kLabels, targets.labels, block);
  put(layout, StepLayout::kIds, targets.ids, block);
  put(layout, StepLayout::kTeacher, targets.teacher, block);
  put(layout, StepLayout::kTail, targets.tail_lse, block);
}

}  // namespace retort::stages
