// A run folder, made-up states for it, and what tests of generations ask of it.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "comm/communicator.h"
#include "io/checkpoint.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io::tests {

// The state of a run after `step` steps.
inline Checkpoint state_at(std::uint64_t step) {
  Checkpoint checkpoint;
  checkpoint.step = step;
  checkpoint.state = {{"epoch", step / 10}, {"loss", 1.0 / (1.0 + static_cast<double>(step))}};
  for (int i = 0; i < 3; ++i) {
    Tensor& tensor = checkpoint.tensors["parameters/layer" + std::to_string(i)];
    tensor.shape = {5, 20};
    for (std::size_t k = 0; k < 400; ++k) {
      tensor.bytes.push_back(std::byte((k * 7 + step * 13 + static_cast<std::size_t>(i)) % 251));
    }
  }
  return checkpoint;
}

class CheckpointTest : public ::testing::Test {
 protected:
  RunFolder open(const std::string& recipe = "recipe-1",
                 RunFolder::TakeOver take_over = RunFolder::TakeOver::no) {
    return RunFolder::open(communicator_, run_, recipe, take_over);
  }
  void commit(RunFolder& folder, std::uint64_t step, int keep = 2) {
    const Checkpoint checkpoint = state_at(step);
    folder.commit(step, checkpoint.state, whole_ranges(checkpoint.tensors), {keep});
  }
  // One start that commits these steps and ends.
  void start(std::initializer_list<std::uint64_t> steps, int keep = 2) {
    RunFolder folder = open();
    for (const std::uint64_t step : steps) commit(folder, step, keep);
  }
  template <class AnyCheckpoint>
  void expect_state(const std::optional<AnyCheckpoint>& checkpoint, std::uint64_t step) {
    ASSERT_TRUE(checkpoint.has_value());
    EXPECT_EQ(checkpoint->step, step);
    EXPECT_EQ(digest(*checkpoint), digest(state_at(step)));
  }
  std::vector<std::string> generations() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(run_ / "checkpoints")) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  std::filesystem::path generation(const std::string& name) const {
    return run_ / "checkpoints" / name;
  }
  void damage(const std::filesystem::path& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(0, std::ios::end);
    const auto middle = file.tellg() / 2;
    file.seekg(middle);
    const char old = static_cast<char>(file.get());
    file.seekp(middle);
    file.put(static_cast<char>(old ^ 0x10));
  }

  core::TemporaryFolder temporary_;
  std::filesystem::path run_ = temporary_.path() / "run";
  comm::Communicator communicator_ = comm::Communicator::single();
};

}  // namespace retort::io::tests
