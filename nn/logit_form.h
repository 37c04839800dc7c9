// What a model's last layer makes of an embedding x and a class's weights w: options of every
// architecture.
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include "core/options.h"

namespace retort::nn {

enum class LogitKind {
  linear,  // x w, and a bias where the architecture has one
  cosine,  // scale * x w / (|x| |w|), without bias: NormFace (Wang et al., ACM MM 2017, section 3),
           // and with a margin in training (nn/class_head/margin.h) ArcFace and CosFace
};

struct LogitForm {
  LogitKind kind = LogitKind::linear;
  double scale = 64;
  bool operator==(const LogitForm&) const = default;
  bool cosine() const { return kind == LogitKind::cosine; }
  /// Declares --logit-form and --logit-scale.
  void declare(core::OptionTable& table);
  /// Whether declare() declares an option of this name. A description names them only where logits
  /// are not linear.
  static bool declares(std::string_view option);
  /// UsageError: a scale that is not above 0.
  void validate() const;
};

/// The least length that a row is divided by: torch.nn.functional.normalize's.
inline constexpr double kLeastLength = 1e-12;
/// Rows [n, features] divided by their lengths. Differentiable.
at::Tensor unit_rows(const at::Tensor& rows);

}  // namespace retort::nn
