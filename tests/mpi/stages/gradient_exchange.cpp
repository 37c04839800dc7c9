// GradientExchange on 1 to 4 ranks against a serial walk down the tree.
#include "stages/gradient_exchange.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <thread>

#include <ATen/ops/_sparse_coo_tensor_unsafe.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "core/random.h"
#include "tests/mpi/mpi_main.h"

namespace retort::stages {
namespace {

using tests::ranks;

nn::ParameterLayout make_layout() {
  nn::ParameterLayout layout;
  layout.add("a.weight", {7, 3}, nn::Initialise::zeros, nn::WeightDecay::yes, 1);
  layout.add("a.bias", {5}, nn::Initialise::zeros, nn::WeightDecay::no, 1);
  layout.add("b.weight", {40, 33}, nn::Initialise::zeros, nn::WeightDecay::yes, 1);
  layout.add("c.weight", {1}, nn::Initialise::zeros, nn::WeightDecay::yes, 1);
  layout.add("d.weight", {64, 17}, nn::Initialise::zeros, nn::WeightDecay::yes, 1);
  layout.add("e.table", {50, 9}, nn::Initialise::zeros, nn::WeightDecay::yes, 1);
  return layout;
}

constexpr int kTable = 5;   // its gradient comes by rows
constexpr int kAbsent = 1;  // has no gradient

/// A few rows of the table, -0 and a value and its opposite among them.
std::vector<float> table_gradient(std::uint64_t step, std::uint32_t shard) {
  core::RandomStream stream(step, core::RandomUse::test, {shard, kTable});
  std::vector<float> values(50 * 9, 0.0F);
  for (int n = static_cast<int>(stream.below(12)); n > 0; --n) {
    float* row = values.data() + 9 * stream.below(50);
    for (int i = 0; i < 6; ++i) row[i] = stream.normal() * std::exp(4 * stream.normal());
    row[6] = -0.0F;
    row[7] = shard % 2 == 0 ? 3.0F : -3.0F;
  }
  return values;
}

at::Tensor rows_of(const std::vector<float>& dense) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < 50; ++row)
    if (std::any_of(dense.begin() + 9 * row, dense.begin() + 9 * row + 9,
                    [](float v) { return v != 0; }))
      rows.push_back(row);
  const auto n = static_cast<std::int64_t>(rows.size());
  at::Tensor indices = at::empty({1, n}, at::kLong), values = at::empty({n, 9}, at::kFloat);
  for (std::int64_t i = 0; i < n; ++i) {
    indices.data_ptr<std::int64_t>()[i] = rows[static_cast<std::size_t>(i)];
    std::copy_n(dense.begin() + 9 * rows[static_cast<std::size_t>(i)], 9,
                values.data_ptr<float>() + 9 * i);
  }
  return at::_sparse_coo_tensor_unsafe(indices, values, {50, 9},
                                       values.options().layout(at::kSparse), true);
}

/// Values of very different sizes, so that another order of additions shows in the bits.
std::vector<float> gradient_of(std::uint64_t step, std::uint32_t shard, int parameter,
                               std::uint64_t elements) {
  if (parameter == kTable) return table_gradient(step, shard);
  core::RandomStream stream(step, core::RandomUse::test,
                            {shard, static_cast<std::uint64_t>(parameter)});
  std::vector<float> values(elements);
  for (auto& v : values) v = stream.normal() * std::exp(4 * stream.normal());
  return values;
}

/// The sum over leaves [first, first + width) that are below `active`, as the tree adds them.
std::optional<std::vector<float>> tree_sum(std::uint64_t step, std::uint32_t first,
                                           std::uint32_t width, std::uint32_t active, int parameter,
                                           std::uint64_t elements) {
  if (first >= active) return std::nullopt;
  if (width == 1) return gradient_of(step, first, parameter, elements);
  auto left = tree_sum(step, first, width / 2, active, parameter, elements);
  const auto right = tree_sum(step, first + width / 2, width / 2, active, parameter, elements);
  if (right)
    for (std::size_t i = 0; i < left->size(); ++i) (*left)[i] += (*right)[i];
  return left;
}

void run_step(GradientExchange& exchange, const nn::ParameterLayout& layout, std::uint32_t shards,
              std::uint32_t active, std::uint64_t step, int workers) {
  const core::Range mine = comm::rank_shards(shards, ranks().size(), ranks().rank());
  exchange.begin(active);
  std::atomic<std::uint64_t> next{mine.begin};
  std::vector<std::thread> threads;
  for (int w = 0; w < workers; ++w)
    threads.emplace_back([&] {
      for (std::uint64_t shard = next++; shard < std::min<std::uint64_t>(mine.end, active);
           shard = next++) {
        auto* slot = exchange.open(static_cast<std::uint32_t>(shard));
        for (int p = static_cast<int>(layout.specs().size()) - 1; p >= 0; --p) {
          const auto& spec = layout.specs()[static_cast<std::size_t>(p)];
          if (p == kAbsent) continue;  // counts as zero
          auto values = gradient_of(step, static_cast<std::uint32_t>(shard), p, spec.elements);
          if (p == kTable)
            exchange.ready(slot, p, rows_of(values));
          else
            exchange.ready(slot, p, at::from_blob(values.data(), spec.shape, at::kFloat));
        }
        exchange.close(slot);
      }
    });
  for (auto& thread : threads) thread.join();
}

TEST(GradientExchange, SumsAlongTheTreeWhateverTheRanksWorkersAndBuckets) {
  const auto layout = make_layout();
  std::uint64_t step = 0;
  for (const std::uint32_t shards : {4U, 8U, 16U})
    for (const std::uint64_t bucket : {1U, 1000U, 1000000U}) {
      GradientExchange exchange(ranks(), layout, shards, bucket);
      for (const std::uint32_t active : {shards, shards - 1, shards / 2 + 1, 1U})
        for (const int workers : {1, 3}) {
          run_step(exchange, layout, shards, active, ++step, workers);
          const at::Tensor& sum = exchange.finish();
          for (std::size_t p = 0; p < layout.specs().size(); ++p) {
            const auto& spec = layout.specs()[p];
            auto expected = *tree_sum(step, 0, shards, active, static_cast<int>(p), spec.elements);
            if (p == kAbsent) std::fill(expected.begin(), expected.end(), 0.0F);
            if (p == kTable)  // whether a -0 meets a zero depends on how many are added
              for (float& v : expected) v += 0.0F;
            ASSERT_EQ(std::memcmp(sum.data_ptr<float>() + spec.offset, expected.data(),
                                  expected.size() * sizeof(float)),
                      0)
                << spec.name << " shards " << shards << " active " << active << " bucket "
                << bucket;
          }
        }
    }
}

TEST(GradientExchange, MemoryGrowsWithTheDepthOfTheTreeNotItsLeaves) {
  const auto layout = make_layout();
  GradientExchange exchange(ranks(), layout, 256, 1000);
  run_step(exchange, layout, 256, 256, 1, 1);
  exchange.finish();
  EXPECT_LE(exchange.slots(), 20U);
}

}  // namespace
}  // namespace retort::stages
