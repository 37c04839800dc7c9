#include "io/model_folder.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/manifest.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using ::testing::HasSubstr;

ModelDescription description() {
  ModelDescription d;
  d.name = "mlp";
  d.options = {{"hidden", "64,32"}, {"dropout", "0.1"}};
  d.input = {28, 27, 1};
  d.class_names = {"zero", "ŒȢ", ""};
  d.class_digest = std::string(64, 'c');
  d.scale = {{0.1307}, {1.0 / 3}};
  return d;
}

TensorMap tensors(std::uint64_t elements = 6) {
  TensorMap map;
  Tensor& weight = map["fc.weight"];
  weight.shape = {elements};
  for (std::uint64_t i = 0; i < elements * 4; ++i) weight.bytes.push_back(std::byte(i * 37));
  map["bn.num_batches_tracked"] = {DType::i64, {}, std::vector<std::byte>(8, std::byte{1})};
  return map;
}

class ModelFolderTest : public ::testing::Test {
 protected:
  core::TemporaryFolder temporary_;
  std::filesystem::path folder_ = temporary_.path() / "run" / "model";
};

TEST_F(ModelFolderTest, ComesBackFromItsFolderAndFromItsSection) {
  write_model(folder_, description(), tensors());
  for (const auto& path : {folder_, folder_.parent_path()}) {
    const ModelFile model = read_model(path);
    EXPECT_EQ(model.description.name, "mlp");
    EXPECT_EQ(model.description.options, description().options);
    EXPECT_EQ(model.description.input, description().input);
    EXPECT_EQ(model.description.class_names, description().class_names);
    EXPECT_EQ(model.description.class_digest, description().class_digest);
    EXPECT_EQ(model.description.scale.mean, description().scale.mean);
    EXPECT_EQ(model.description.scale.deviation, description().scale.deviation);
    EXPECT_EQ(digest(model.tensors), digest(tensors()));
    EXPECT_EQ(model.digest, read_manifest(folder_, "model").content_digest);
  }
}

TEST_F(ModelFolderTest, EqualModelsAreEqualBytesAndDigests) {
  write_model(folder_, description(), tensors());
  const FileSeal first = seal_of(folder_ / "manifest.json");
  write_model(folder_, description(), tensors());  // a second run into the same folder
  EXPECT_EQ(seal_of(folder_ / "manifest.json"), first);
  ModelDescription other = description();
  other.scale.mean[0] = 0.1308;
  write_model(folder_, other, tensors());
  EXPECT_NE(read_model(folder_).digest, "");
  EXPECT_FALSE(seal_of(folder_ / "manifest.json") == first);
}

TEST_F(ModelFolderTest, DamageIsADataErrorThatNamesTheFile) {
  const auto message = [&]() -> std::string {
    try {
      read_model(folder_);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message(), HasSubstr("missing"));
  for (const std::string name : {"model.h5", "model.json", "manifest.json"}) {
    write_model(folder_, description(), tensors());
    std::fstream file(folder_ / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(40);
    file.put('~');
    file.close();
    EXPECT_THAT(message(), HasSubstr((folder_ / name).string()));
    write_model(folder_, description(), tensors());
    EXPECT_EQ(message(), "no error");
    std::filesystem::resize_file(folder_ / name, 30);
    EXPECT_THAT(message(), HasSubstr((folder_ / name).string()));
    std::filesystem::remove(folder_ / name);
    EXPECT_THAT(message(), HasSubstr((folder_ / name).string()));
  }
}

TEST_F(ModelFolderTest, WeightsThatAreNoNumbersAreRefused) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float value : {std::nanf(""), kInfinity, -kInfinity}) {
    TensorMap weights = tensors();
    std::memcpy(weights["fc.weight"].bytes.data() + 8, &value, sizeof value);
    std::memcpy(weights["fc.weight"].bytes.data() + 20, &value, sizeof value);
    write_model(folder_, description(), weights);
    try {
      read_model(folder_);
      ADD_FAILURE() << value;
    } catch (const core::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(folder_.string() + ": tensor fc.weight: 2 of 6 values"));
      EXPECT_THAT(error.what(), HasSubstr("the first is element 2"));
    }
  }
}

TEST_F(ModelFolderTest, EveryFloatingPointTypeIsLookedThrough) {
  const auto refused = [](DType type, auto bits) {
    Tensor tensor{type, {1}, std::vector<std::byte>(sizeof bits)};
    std::memcpy(tensor.bytes.data(), &bits, sizeof bits);
    try {
      require_finite({{"t", tensor}}, "x");
    } catch (const core::DataError&) {
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refused(DType::f16, std::uint16_t{0x7C00}));
  EXPECT_FALSE(refused(DType::f16, std::uint16_t{0xFBFF}));  // the largest number, negative
  EXPECT_TRUE(refused(DType::f64, std::numeric_limits<double>::quiet_NaN()));
  EXPECT_FALSE(refused(DType::f64, -std::numeric_limits<double>::max()));
  EXPECT_FALSE(refused(DType::f32, std::numeric_limits<float>::max()));
  EXPECT_FALSE(refused(DType::i64, std::int64_t{-1}));
}

TEST_F(ModelFolderTest, AManifestOfOtherContentIsADataError) {
  write_model(folder_, description(), tensors());
  Manifest manifest = read_manifest(folder_, "model");
  manifest.content_digest = std::string(64, '0');
  write_manifest(folder_, manifest);
  EXPECT_THROW(read_model(folder_), core::DataError);
  manifest.format_version = 2;
  write_manifest(folder_, manifest);
  EXPECT_THROW(read_model(folder_), core::DataError);
}

}  // namespace
}  // namespace retort::io
