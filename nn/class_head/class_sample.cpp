#include "nn/class_head/class_sample.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::nn {

void ClassSampling::validate() const {
  if (!(rate > 0 && rate <= 1))
    throw core::UsageError(fmt::format("--sample-rate {}: must be above 0 and at most 1", rate));
}

std::vector<std::uint32_t> sample_classes(const ClassSampling& sampling, std::uint64_t step,
                                          std::uint64_t tile, core::Range classes,
                                          const std::vector<std::uint32_t>& listed) {
  // Rounded up or down by chance, so that the share is right on average however small the tile is.
  core::RandomStream random(sampling.seed, core::RandomUse::sampled_classes, {step, tile, 1});
  const auto wanted = static_cast<std::uint64_t>(std::floor(
      sampling.rate * static_cast<double>(classes.size()) + static_cast<double>(random.uniform())));
  std::vector<std::uint32_t> ids = listed;
  const core::Permutation order(classes.size(), sampling.seed, core::RandomUse::sampled_classes,
                                {step, tile});
  for (std::uint64_t i = 0; ids.size() < wanted && i < classes.size(); ++i) {
    const auto id = static_cast<std::uint32_t>(classes.begin + order(i));
    if (!std::binary_search(listed.begin(), listed.end(), id)) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace retort::nn
