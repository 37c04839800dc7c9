// The last linear layer of a trained classifier: a column for each class, of a model folder or of a
// safetensors file (methods/similarity-labels.md, "Method", step 2).
#pragma once

#include <cstdint>
#include <filesystem>
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

struct ClassWeights {
  std::vector<std::string> class_names;
  std::string class_digest;
  std::string source;  // digest of the model, or of the file
  std::string digest;  // of the columns, with the bias if that is asked for
  std::uint64_t features = 0;
  std::vector<float> weight;  // [classes, features]
  std::vector<float> bias;    // [classes], or none

  std::uint64_t classes() const { return class_names.size(); }
  std::span<const float> columns(core::Range classes) const {
    return std::span(weight).subspan(classes.begin * features, classes.size() * features);
  }
  /// Gives their memory back; names and digests stay.
  void forget_columns() { weight = bias = std::vector<float>(); }
  /// Whether all numbers of a class's column are.
  bool finite(std::uint64_t of_class) const;
  /// Whether its norm, with the bias, is above `norm_floor`.
  bool has_direction(std::uint64_t of_class, double norm_floor) const;
  std::span<const float> biases(core::Range classes) const {
    return bias.empty() ? std::span<const float>()
                        : std::span(bias).subspan(classes.begin, classes.size());
  }
};

/// The cosine of two classes (methods/similarity-labels.md, "Exact definition"); 0 where one has no
/// direction.
double cosine(const ClassWeights& weights, std::uint64_t a, std::uint64_t b, double norm_floor);

/// `model`: a model folder, a section's or an exported one, whose classes must be those of `data`
/// if that is given; or a safetensors file, whose classes are those of `data`, in that order.
/// UsageError for a file without `data`, a `weight` beside a folder, or a bias that is not there.
/// DataError for classes that differ, a tensor that is missing, of another shape or type.
ClassWeights read_class_weights(const ClassWeightOptions& options);

}  // namespace retort::stages
