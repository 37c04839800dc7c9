// Weights that a training starts from: of a model folder, or a safetensors file with the names that
// timm and torchvision use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "io/model_folder.h"
#include "io/model_parts.h"
#include "io/tensor_file.h"
#include "nn/model.h"

namespace retort::stages {

/// The last linear layer, which knows the classes.
enum class InitialHead {
  keep,   // as the file has it: it must have this model's classes
  fresh,  // random: what the file has under its names does not count
};

struct InitialWeights {
  /// Every parameter and buffer of the model, fp32, on disk; none of the head's if that is fresh.
  /// Reading one that is NaN or infinite is a DataError.
  io::TensorSource tensors;
  std::string digest;                              // of the model's content, or of the file's bytes
  std::unique_ptr<const io::StoredModel> model{};  // behind `tensors`, or
  std::unique_ptr<const io::ModelParts> file{};
};

/// `path`: a model folder, a section's or an exported one, or a safetensors file; F16, BF16 and F64
/// become fp32, PyTorch's num_batches_tracked is left out. DataError that names the first tensor
/// and counts the rest of those that are missing, too many or of another shape, for other classes
/// where the head is kept, and for a file that is no safetensors file.
InitialWeights read_initial_weights(const std::filesystem::path& path, const nn::Model& model,
                                    const io::ModelDescription& description, InitialHead head);

}  // namespace retort::stages
