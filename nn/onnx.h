// Models as ONNX files: docs/export.md, "ONNX".
#pragma once

#include <string>

#include "io/model_folder.h"

namespace retort::nn {

/// The bytes of an ONNX file of the model with these tensors in evaluation: opset 13, "pixels" fp32
/// [n, channels, height, width] (scaled as the description says) or "ids" int64 [n, length] ->
/// "logits" [n, classes]. Equal models give equal bytes. UsageError naming an architecture with
/// layers that are not written as ONNX.
std::string onnx_model(const io::ModelDescription& description, const io::TensorMap& tensors);

}  // namespace retort::nn
