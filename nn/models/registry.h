// The built-in architectures, one maker each, and the checks of options that they share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nn/model.h"

namespace retort::nn {

std::unique_ptr<ModelFactory> make_mlp();
std::unique_ptr<ModelFactory> make_convnet();
std::unique_ptr<ModelFactory> make_resnet20();
std::unique_ptr<ModelFactory> make_resnet56();
std::unique_ptr<ModelFactory> make_bag();
std::unique_ptr<ModelFactory> make_textcnn();
std::unique_ptr<ModelFactory> make_resnet18();
std::unique_ptr<ModelFactory> make_resnet50();
std::unique_ptr<ModelFactory> make_iresnet18();
std::unique_ptr<ModelFactory> make_iresnet34();
std::unique_ptr<ModelFactory> make_iresnet50();
std::unique_ptr<ModelFactory> make_deit_tiny();
std::unique_ptr<ModelFactory> make_deit_small();

// UsageErrors that name the model, the option and the allowed range.
/// Pictures with pixels, no text; at least two classes.
void check_shape(const std::string& model, const ModelShape& shape);
void check_dropout(const std::string& model, double rate);
/// Every entry in [1, 65536].
void check_widths(const std::string& model, const std::string& option,
                  const std::vector<std::int64_t>& widths);

}  // namespace retort::nn
