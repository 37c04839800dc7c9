#include "stages/head_share.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "core/error.h"

namespace retort::stages {

HeadShare::HeadShare(const nn::Model& model, core::Range classes,
                     const nn::OptimiserOptions& options, std::uint64_t seed, bool keep_best)
    : features_(static_cast<std::uint64_t>(model.embedding_size())), classes_(classes) {
  const nn::Model::Head head = model.head();
  if (head.weight < 0) throw core::InternalError("a model without a head has no share of one");
  const auto& specs = model.parameters().specs();
  all_classes_ = static_cast<std::uint64_t>(specs[static_cast<std::size_t>(head.weight)].shape[0]);
  std::vector<std::size_t> indices{static_cast<std::size_t>(head.weight)};
  if (head.bias >= 0) indices.push_back(static_cast<std::size_t>(head.bias));
  for (const std::size_t index : indices) {
    nn::ParameterSpec spec = specs[index];
    spec.shape[0] = static_cast<std::int64_t>(classes.size());
    layout_.add(spec.name, spec.shape, spec.initialise, spec.decay, spec.fan);
  }
  parameters_ = nn::make_flat(layout_);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const nn::ParameterSpec& own = layout_.specs()[i];
    const std::uint64_t row = own.elements / classes.size();
    nn::initialise_part(model.parameters(), indices[i], seed, classes.begin * row,
                        {parameters_.data_ptr<float>() + own.offset, own.elements});
  }
  optimiser_ = nn::make_optimiser(options, layout_);
  if (options.average_decay > 0) average_ = parameters_.clone();
  if (keep_best) best_ = parameters_.clone();
}

nn::HeadWeights HeadShare::view(const at::Tensor& flat) const {
  const float* data = flat.const_data_ptr<float>();
  const auto& specs = layout_.specs();
  return {classes_.begin, data + specs[0].offset,
          specs.size() > 1 ? data + specs[1].offset : nullptr};
}

void HeadShare::keep_best() { best_.copy_(evaluated_flat()); }

void HeadShare::step(const nn::ClassGradients& gradients, float factor, double rate,
                     std::uint64_t step) {
  const auto& specs = layout_.specs();
  std::vector<float> row(features_);
  for (std::size_t i = 0; i < gradients.classes.size(); ++i) {
    const std::uint64_t own = gradients.classes[i] - classes_.begin;
    const float* of_class = gradients.weight + static_cast<std::int64_t>(i) * gradients.row;
    if (factor != 1) {
      std::transform(of_class, of_class + features_, row.begin(),
                     [factor](float g) { return g * factor; });
      of_class = row.data();
    }
    optimiser_->step_part(rate, step, parameters_, specs[0].offset + own * features_,
                          {of_class, features_}, average_);
    if (gradients.bias == nullptr) continue;
    const float bias = gradients.bias[i] * factor;
    optimiser_->step_part(rate, step, parameters_, specs[1].offset + own, {&bias, 1}, average_);
  }
}

std::vector<HeadShare::Named> HeadShare::vectors() const {
  std::vector<Named> all = {{"parameters/", parameters_}};
  if (average_.defined()) all.push_back({"average/", average_});
  for (auto& [name, flat] : optimiser_->state()) all.push_back({"optimiser/" + name + "/", flat});
  if (best_.defined()) all.push_back({"best/parameters/", best_});
  return all;
}

HeadShare::Trained HeadShare::trained() const {
  Trained trained{parameters_, average_, {}};
  for (auto& [name, flat] : optimiser_->state()) trained.optimiser.push_back(flat);
  return trained;
}

bool HeadShare::owns(const std::string& tensor) const {
  const std::string_view name = std::string_view(tensor).substr(tensor.rfind('/') + 1);
  return std::any_of(layout_.specs().begin(), layout_.specs().end(),
                     [&](const nn::ParameterSpec& spec) { return spec.name == name; });
}

io::RowSelection HeadShare::selection() const {
  return [this](const std::string& tensor) -> std::optional<core::Range> {
    if (!owns(tensor)) return std::nullopt;
    return classes_;
  };
}

std::vector<io::TensorRange> HeadShare::ranges() const {
  std::vector<io::TensorRange> ranges;
  for (const Named& vector : vectors())
    for (const nn::ParameterSpec& spec : layout_.specs()) {
      io::TensorRange range;
      range.name = vector.prefix + spec.name;
      range.shape.assign(spec.shape.begin(), spec.shape.end());
      range.shape[0] = all_classes_;
      range.offset = classes_.begin * (spec.elements / classes_.size());
      const auto* data = reinterpret_cast<const std::byte*>(vector.flat.const_data_ptr<float>());
      range.bytes = {data + spec.offset * sizeof(float), spec.elements * sizeof(float)};
      ranges.push_back(std::move(range));
    }
  return ranges;
}

void HeadShare::restore(const io::TensorMap& tensors) {
  for (Named& vector : vectors()) nn::from_tensors(layout_, tensors, vector.prefix, vector.flat);
}

void HeadShare::start_from(const io::TensorSource& tensors) {
  for (const nn::ParameterSpec& spec : layout_.specs()) {
    const auto whole = tensors.specs.find(spec.name);
    if (whole == tensors.specs.end()) continue;
    if (whole->second.shape.at(0) != all_classes_)
      throw core::InternalError("weights of another head to start from");
    tensors.read(spec.name, classes_.begin * (spec.elements / classes_.size()),
                 std::as_writable_bytes(
                     std::span(parameters_.data_ptr<float>() + spec.offset, spec.elements)));
  }
  if (average_.defined()) average_.copy_(parameters_);
}

}  // namespace retort::stages
