// A model folder, built and filled: what teach, evaluate and every command that answers share.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comm/communicator.h"
#include "core/range.h"
#include "io/model_folder.h"
#include "io/packed_dataset.h"
#include "nn/accelerator.h"
#include "nn/class_head/class_head.h"
#include "nn/model.h"

namespace retort::stages {

/// A rank's share of the last layer of a model whose classes are divided among ranks.
struct LoadedHead {
  core::Range classes;
  at::Tensor weight, bias;  // of these classes; bias undefined: there is none
  nn::HeadWeights weights() const {
    return {classes.begin, weight.const_data_ptr<float>(),
            bias.defined() ? bias.const_data_ptr<float>() : nullptr};
  }
};

/// Used by several threads at once.
struct LoadedModel {
  io::ModelDescription description;
  std::string digest;
  std::unique_ptr<nn::Model> model;
  std::vector<at::Tensor> parameters, buffers;    // by layout index, in any memory order
  std::uint64_t parameter_count = 0;              // learnt numbers; 0: not known
  nn::Precision precision = nn::Precision::fp32;  // that it answers in
  std::shared_ptr<nn::Accelerator> accelerator;   // where its tensors are; null: the CPU
  std::optional<LoadedHead> head;  // instead of the head's parameters, which are undefined then

  /// Moves its tensors there; a share of the head stays.
  void move_to(std::shared_ptr<nn::Accelerator> place);
};

/// `path`: a model folder or a section's folder. DataError for an unknown architecture, options it
/// does not know or tensors that do not fit.
LoadedModel load_model(const std::filesystem::path& path);
/// The same with this rank's share of the head alone. UsageError: more ranks than tiles of classes.
LoadedModel load_model_sharded(const std::filesystem::path& path,
                               const comm::Communicator& communicator);
/// Names of the last linear layer's tensors, weight first; none: the model has no such layer.
/// DataError as load_model().
std::vector<std::string> head_names(const io::ModelDescription& description,
                                    const std::filesystem::path& path);
/// Of a model with a share of its head.
nn::HeadSettings head_settings(const LoadedModel& model);

/// Fills flat parameters and buffers from a model's tensors; DataError names what is missing, too
/// many or of another shape.
void assign_tensors(const nn::ParameterLayout& parameter_layout,
                    const nn::ParameterLayout& buffer_layout, const io::TensorMap& tensors,
                    at::Tensor& parameters, at::Tensor& buffers);

/// DataError unless the data set has the model's picture shape; its classes don't matter.
/// UsageError for texts where the model takes pictures, or the other way round.
void check_input_fit(const LoadedModel& model, const std::filesystem::path& model_path,
                     const io::PackedDataset& data, const std::filesystem::path& data_path);

/// DataError unless the data set has the model's classes (count and names) and picture shape.
/// UsageError for texts where the model takes pictures, or the other way round.
void check_fit(const LoadedModel& model, const std::filesystem::path& model_path,
               const io::PackedDataset& data, const std::filesystem::path& data_path);

}  // namespace retort::stages
