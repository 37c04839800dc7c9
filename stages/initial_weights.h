// Weights that a training starts from: of a model folder, or a safetensors file with the names that
// timm and torchvision use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "io/model_folder.h"
#include "io/tensor_file.h"
#include "nn/model.h"

namespace retort::stages {

/// The last linear layer, which knows the classes.
enum class InitialHead {
  keep,   // as the file has it: it must have this model's classes
  fresh,  // random: what the file has under its names does not count
};

struct InitialWeights {
  io::TensorMap tensors;  // every parameter and buffer of the model, fp32
  std::string digest;     // of the model folder's content, or of the file's bytes
};

/// `path`: a model folder, a section's or an exported one, or a safetensors file; F16, BF16 and F64
/// become fp32, PyTorch's num_batches_tracked is left out. `seed`: of a fresh head, the values that
/// a training without initial weights would have. DataError that names the first tensor and counts
/// the rest of those that are missing, too many or of another shape, for other classes where the
/// head is kept, and for a file that is no safetensors file.
InitialWeights read_initial_weights(const std::filesystem::path& path, const nn::Model& model,
                                    const io::ModelDescription& description, InitialHead head,
                                    std::uint64_t seed);

}  // namespace retort::stages
