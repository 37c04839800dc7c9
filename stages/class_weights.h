// The last linear layer of a trained classifier: a column for each class, of a model folder or of a
// safetensors file (methods/similarity-labels.md, "Method", step 2).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "core/range.h"

namespace retort::stages {

/// Where the columns come from.
struct ClassWeightOptions {
  std::filesystem::path model, data;
  std::string weight;  // name of the tensor in a safetensors file; empty: found by its shape
  bool bias = false;
  std::vector<std::string> class_names;  // of a safetensors file, instead of those of `data`

  void declare(core::OptionTable& table);
};

/// The columns stay on disk.
struct ClassWeights {
  std::vector<std::string> class_names;
  std::string class_digest;
  std::string source;  // digest of the file or the model that they are read from
  std::string digest;  // of the columns, with the bias if that is asked for; empty before hash()
  std::uint64_t features = 0;
  std::string weight, bias;  // names of the tensors, [classes, features] and [classes]; or no bias
  std::function<void(const std::string& tensor, std::uint64_t first, std::span<float> into)> read;

  std::uint64_t classes() const { return class_names.size(); }
  /// [classes, features] of these classes. Several threads may read.
  std::vector<float> columns(core::Range of_classes) const;
  /// [classes], or none.
  std::vector<float> biases(core::Range of_classes) const;
  /// Reads all of it, piece by piece, for the digest.
  void hash();
};

/// The cosine of two classes (methods/similarity-labels.md, "Exact definition"); 0 where one has no
/// direction.
double cosine(const ClassWeights& weights, std::uint64_t a, std::uint64_t b, double norm_floor);

/// `model`: a model folder, a section's or an exported one, whose classes must be those of `data`
/// if that is given; or a safetensors file, whose classes are those of `data`, in that order.
/// UsageError for a file without `data`, a `weight` beside a folder, or a bias that is not there.
/// DataError for classes that differ, a tensor that is missing, of another shape or type. The
/// numbers themselves are not looked at.
ClassWeights open_class_weights(const ClassWeightOptions& options);

}  // namespace retort::stages
