// A teacher that answers with given logits, and pictures for it.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/stages/small_teacher.h"

namespace retort::stages {

/// Writes FOLDER/data, whose sample i is a picture with pixel i mod `rows` alone lit, and
/// FOLDER/exact, a model that answers to it with row i mod `rows` of `dense` [rows, classes]: its
/// last layer holds them.
inline void write_exact_teacher(const std::filesystem::path& folder, std::size_t rows,
                                std::size_t classes, const std::vector<float>& dense,
                                std::size_t samples) {
  SmallProblem problem;
  problem.shape = {1, static_cast<std::uint32_t>(rows), 1};
  problem.classes = classes;
  problem.samples = samples;
  io::write_packed(
      folder / "data",
      {io::SampleForm::raw_image, problem.shape, class_names(classes), samples, samples},
      [&](std::uint64_t i) {
        io::PackedSample sample{std::vector<std::byte>(rows), {0}};
        sample.payload[i % rows] = std::byte{1};
        return sample;
      });
  write_teacher(folder / "teacher", problem, "mlp", {{"hidden", std::to_string(rows)}}, 1);
  io::ModelFile file = io::read_model(folder / "teacher");
  for (auto& [name, tensor] : file.tensors)
    std::fill(tensor.bytes.begin(), tensor.bytes.end(), std::byte{0});
  std::vector<float> identity(rows * rows, 0), answers(classes * rows);
  for (std::size_t row = 0; row < rows; ++row) {
    identity[row * rows + row] = 1;
    for (std::size_t c = 0; c < classes; ++c) answers[c * rows + row] = dense[row * classes + c];
  }
  const auto set = [&](const std::string& name, const std::vector<float>& values) {
    auto& bytes = file.tensors.at(name).bytes;
    ASSERT_EQ(bytes.size(), values.size() * sizeof(float)) << name;
    std::memcpy(bytes.data(), values.data(), bytes.size());
  };
  set("hidden.0.linear.weight", identity);
  set("fc.weight", answers);
  file.description.scale = {{0}, {1.0 / 255}};
  io::write_model(folder / "exact", file.description, file.tensors);
}

}  // namespace retort::stages
