// GradientExchange on 1 to 4 ranks against a serial walk down the tree.
#include "stages/gradient_exchange.h"

#include <atomic>
#include <cstring>
#include <optional>
#include <thread>

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
  return layout;
}

/// Values of very different sizes, so that another order of additions shows in the bits.
std::vector<float> gradient_of(std::uint64_t step, std::uint32_t shard, int parameter,
                               std::uint64_t elements) {
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
          if (p == 1) continue;  // no gradient: counts as zero
          auto values = gradient_of(step, static_cast<std::uint32_t>(shard), p, spec.elements);
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
            if (p == 1) std::fill(expected.begin(), expected.end(), 0.0F);
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
