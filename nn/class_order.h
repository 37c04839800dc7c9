// Another order of classes on a model's outputs: what a class map means for logits.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "nn/model.h"

namespace retort::nn {

/// `model` with its logits picked: column d of the result is column order[d] of `model`'s, an
/// order without repeats or gaps. Parameters and buffers stay those of `model`.
std::unique_ptr<Model> with_class_order(std::unique_ptr<Model> model,
                                        const std::vector<std::uint32_t>& order);

}  // namespace retort::nn
