// What a model's forward pass gets: a batch of pictures or of texts.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace retort::nn {

enum class InputKind { pictures, text };

/// Either pixels, or ids and begin, are defined.
struct Input {
  at::Tensor pixels{};  // [n, channels, height, width] fp32
  at::Tensor ids{};     // [total] int64: what the texts consist of, by their rule (io/text_rule.h)
  at::Tensor begin{};   // [n + 1] int64: where in ids a text begins; 0 first, total last

  InputKind kind() const { return begin.defined() ? InputKind::text : InputKind::pictures; }
  std::int64_t rows() const {
    if (begin.defined()) return begin.numel() - 1;
    return pixels.defined() ? pixels.size(0) : 0;
  }
};

}  // namespace retort::nn
