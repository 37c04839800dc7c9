#include "nn/similarity/similarity_weight.h"

#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace retort::nn {
namespace {

constexpr std::array<std::pair<std::string_view, Negatives>, 4> kWords = {
    {{"clamp", Negatives::clamp},
     {"shift", Negatives::shift},
     {"softmax", Negatives::softmax},
     {"raw", Negatives::raw}}};
constexpr double kLeastTemperature = 0.02;  // exp(-2 / it) is still above 2^-145

}  // namespace

Negatives negatives_of(std::string_view word) {
  for (const auto& [name, value] : kWords)
    if (name == word) return value;
  throw core::UsageError(
      fmt::format("negatives: '{}' is none of clamp, shift, softmax, raw", word));
}

std::string_view word_of(Negatives negatives) {
  for (const auto& [name, value] : kWords)
    if (value == negatives) return name;
  throw core::InternalError("a way with negatives without a name");
}

void SimilarityOptions::validate() const {
  if (!(floor >= 0 && floor < 1))
    throw core::UsageError(fmt::format("--floor {}: must be in [0, 1)", floor));
  if (!(temperature >= kLeastTemperature && temperature <= 1e6))
    throw core::UsageError(fmt::format("--temperature {}: must be between {} and 1e6", temperature,
                                       kLeastTemperature));
}

}  // namespace retort::nn
