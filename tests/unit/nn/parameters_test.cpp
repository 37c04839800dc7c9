#include "nn/parameters.h"

#include <cmath>
#include <cstring>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::nn {
namespace {

using ::testing::HasSubstr;

ParameterLayout sample_layout() {
  ParameterLayout layout;
  layout.add("a.weight", {3, 5}, Initialise::kaiming_normal, WeightDecay::yes, 9);
  layout.add("a.bias", {3}, Initialise::zeros, WeightDecay::no, 1);
  layout.add("b.weight", {40, 30}, Initialise::uniform_fan_in, WeightDecay::yes, 30);
  layout.add("b.scale", {40}, Initialise::ones, WeightDecay::no, 1);
  return layout;
}

TEST(Parameters, OffsetsAreMultiplesOf16AndViewsShareMemory) {
  const ParameterLayout layout = sample_layout();
  EXPECT_EQ(layout.count(), 15u + 3 + 1200 + 40);
  EXPECT_EQ(layout.flat_size(), 16u + 16 + 1200 + 48);
  at::Tensor flat = make_flat(layout);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(flat.data_ptr()) % 64, 0u);
  const auto parts = views(layout, flat);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    EXPECT_EQ(layout.specs()[i].offset % 16, 0u);
    EXPECT_EQ(parts[i].data_ptr<float>(), flat.data_ptr<float>() + layout.specs()[i].offset);
  }
}

TEST(Parameters, InitialiseDependsOnSeedAndIndexOnly) {
  const ParameterLayout layout = sample_layout();
  at::Tensor first = make_flat(layout), again = make_flat(layout), other = make_flat(layout);
  initialise(layout, 5, first);
  initialise(layout, 5, again);
  initialise(layout, 6, other);
  EXPECT_TRUE(at::equal(first, again));
  EXPECT_FALSE(at::equal(first, other));
  const auto parts = views(layout, first);
  EXPECT_TRUE((parts[1] == 0).all().item<bool>());
  EXPECT_TRUE((parts[3] == 1).all().item<bool>());
  const float bound = 1 / std::sqrt(30.0f);
  EXPECT_LE(parts[2].abs().max().item<float>(), bound);
  EXPECT_NEAR(parts[2].std().item<float>(), bound / std::sqrt(3.0f), 0.01);
  EXPECT_NE(parts[0][0][0].item<float>(), parts[2][0][0].item<float>());
}

TEST(Parameters, KaimingNormalHasItsDeviation) {
  ParameterLayout layout;
  layout.add("w", {100, 100}, Initialise::kaiming_normal, WeightDecay::yes, 50);
  at::Tensor flat = make_flat(layout);
  initialise(layout, 1, flat);
  EXPECT_NEAR(flat.std().item<float>(), 0.2, 0.005);
  EXPECT_NEAR(flat.mean().item<float>(), 0, 0.01);
}

TEST(Parameters, DuplicateNameIsRefused) {
  ParameterLayout layout = sample_layout();
  EXPECT_THROW(layout.add("a.bias", {1}, Initialise::zeros, WeightDecay::no, 1),
               core::InternalError);
}

TEST(Parameters, TensorsRoundTrip) {
  const ParameterLayout layout = sample_layout();
  at::Tensor flat = make_flat(layout), back = make_flat(layout);
  initialise(layout, 5, flat);
  io::TensorMap tensors = to_tensors(layout, flat, "parameters/");
  tensors.emplace("optimiser/momentum", io::Tensor{});  // another prefix does not matter
  EXPECT_EQ(tensors.at("parameters/a.weight").shape, (std::vector<std::uint64_t>{3, 5}));
  from_tensors(layout, tensors, "parameters/", back);
  EXPECT_TRUE(at::equal(flat, back));
}

TEST(Parameters, WrongTensorsAreNamedAndNothingIsChanged) {
  const ParameterLayout layout = sample_layout();
  at::Tensor flat = make_flat(layout);
  initialise(layout, 5, flat);
  const io::TensorMap good = to_tensors(layout, flat, "p/");
  const auto error_of = [&](const io::TensorMap& tensors) -> std::string {
    at::Tensor target = make_flat(layout);
    try {
      from_tensors(layout, tensors, "p/", target);
    } catch (const core::DataError& error) {
      EXPECT_EQ(target.abs().max().item<float>(), 0);
      return error.what();
    }
    return "no error";
  };
  io::TensorMap missing = good;
  missing.erase("p/b.weight");
  EXPECT_THAT(error_of(missing), HasSubstr("p/b.weight is missing"));
  io::TensorMap shape = good;
  shape.at("p/b.weight").shape = {30, 40};
  EXPECT_THAT(error_of(shape), HasSubstr("has shape [30, 40], the model needs [40, 30]"));
  io::TensorMap type = good;
  type.at("p/b.weight").type = io::DType::f64;
  EXPECT_THAT(error_of(type), HasSubstr("not f32"));
  io::TensorMap extra = good;
  extra.emplace("p/c", io::Tensor{});
  EXPECT_THAT(error_of(extra), HasSubstr("p/c is not part of the model"));
}

}  // namespace
}  // namespace retort::nn
