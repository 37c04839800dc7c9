// What one rank's part of a head over many classes knows of a step, wherever it is computed: which
// classes take part, and what their logits add up to (class_head.h on this rank's cores,
// device_head.h on its GPU).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/reduction_tree.h"
#include "nn/class_head/class_sample.h"
#include "nn/class_head/class_tiles.h"
#include "nn/class_head/listed_classes.h"
#include "nn/class_head/tile_pass.h"

namespace retort::nn {

struct HeadSettings {
  std::uint64_t classes = 0, features = 0;
  HeadForm form;
  ClassSampling sampling;
};

class HeadPart {
 public:
  const ClassTiles& tiles() const { return tiles_; }
  core::Range own_tiles() const { return own_; }
  core::Range own_classes() const { return tiles_.classes_of(own_); }
  /// How many of this rank's classes take part. After begin().
  std::uint64_t taking_part() const { return taking_part_; }

  struct Wanted {
    double soft_temperature = 1;  // of the second sum; 1: no second sum
    bool totals = false;
    /// Room for the logits of all rows and this rank's classes, for the second pass.
    bool kept_logits = false;
  };
  // After sums():
  /// HighestLogit::key of each row, over this rank's classes.
  std::vector<std::uint64_t> highest() const;
  /// Of each place of `listed`; 0 for those of other ranks.
  std::span<const double> logits() const { return logits_; }
  /// For a node of the tree over tiles, each row's exp_sum, then soft_exp_sum and total where they
  /// are wanted, relative to the row's highest over all ranks: [sums, rows].
  std::vector<double> node_sums(const comm::TreeNode& node,
                                std::span<const std::uint64_t> highest) const;

 protected:
  /// UsageError for a rate outside (0, 1].
  HeadPart(const HeadSettings& settings, core::Range tiles);
  ~HeadPart() = default;

  /// `leaf_level`: that of the nodes whose sums are found at once, 0: tiles.
  void begin_step(const ListedClasses& listed, int leaf_level);
  /// Nodes of at most that level that cover a range of tiles, left to right.
  static std::vector<comm::TreeNode> split(core::Range tiles, int level);
  /// Of this rank's tiles: whose sums are found at once.
  std::span<const comm::TreeNode> leaves() const { return leaves_; }
  /// Room for the sums of a pass.
  void want(const Wanted& wanted);
  /// Of the leaf number `index`.
  TileSums sums_of(std::size_t index);
  std::span<const ListedByClass::Entry> listed_of(std::uint64_t tile) const;

  HeadSettings settings_;
  ClassTiles tiles_;
  core::Range own_;
  // Of the step.
  std::size_t rows_of_step_ = 0;
  std::unique_ptr<ListedByClass> listed_;
  std::uint64_t taking_part_ = 0;
  Wanted wanted_;
  std::vector<double> logits_;

 private:
  std::vector<comm::TreeNode> leaves_;
  int leaf_level_ = 0;
  // [leaves, rows]
  std::vector<float> highest_;
  std::vector<std::uint32_t> first_;
  std::vector<double> exp_sum_, soft_exp_sum_, total_;
};

}  // namespace retort::nn
