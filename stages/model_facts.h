// What a model on disk is, for people: its table of layers. No torch in this header.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace retort::stages {

struct ModelLayer {
  std::string name;
  std::vector<std::int64_t> output;  // shape without the batch
  std::uint64_t parameters = 0;
  std::uint64_t multiply_adds = 0;  // per sample
};

struct ModelFacts {
  std::string architecture;                                  // registry name
  std::vector<std::pair<std::string, std::string>> options;  // all of them, as the table prints
  std::uint32_t height = 0, width = 0, channels = 0;         // of pictures; 0 of text
  std::string text;  // the rule by which texts become ids, as JSON; empty: pictures
  std::uint64_t classes = 0;
  std::string class_digest;
  std::vector<double> pixel_mean, pixel_deviation;
  std::uint64_t parameters = 0;
  std::uint64_t buffers = 0;        // running statistics
  std::uint64_t multiply_adds = 0;  // per sample
  std::vector<ModelLayer> layers;
  std::string digest;  // content digest of the model
};

/// Reads and verifies a model folder (or a section's folder that holds one) and builds it.
/// DataError as load_model's.
ModelFacts describe_model(const std::filesystem::path& path);

}  // namespace retort::stages
