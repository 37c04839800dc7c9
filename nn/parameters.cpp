#include "nn/parameters.h"

#include <cmath>
#include <cstring>
#include <utility>

#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::nn {
namespace {

constexpr std::uint64_t kAlignElements = 16;

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::vector<std::uint64_t> file_shape(const ParameterSpec& spec) {
  return {spec.shape.begin(), spec.shape.end()};
}

}  // namespace

int ParameterLayout::add(std::string name, std::vector<std::int64_t> shape, Initialise initialise,
                         WeightDecay decay, std::int64_t fan) {
  for (const ParameterSpec& spec : specs_)
    if (spec.name == name) throw core::InternalError("parameter " + name + " was added twice");
  ParameterSpec spec;
  spec.name = std::move(name);
  spec.elements = 1;
  for (std::int64_t extent : shape) {
    if (extent < 1) throw core::InternalError("parameter " + spec.name + " has an empty dimension");
    spec.elements *= static_cast<std::uint64_t>(extent);
  }
  spec.shape = std::move(shape);
  spec.initialise = initialise;
  spec.decay = decay;
  spec.fan = fan;
  spec.offset = flat_size_;
  flat_size_ += (spec.elements + kAlignElements - 1) / kAlignElements * kAlignElements;
  count_ += spec.elements;
  specs_.push_back(std::move(spec));
  return static_cast<int>(specs_.size()) - 1;
}

ParameterLayout ParameterLayout::first(std::size_t parameters) const {
  ParameterLayout part;
  for (const ParameterSpec& spec : std::span(specs_).first(parameters))
    part.add(spec.name, spec.shape, spec.initialise, spec.decay, spec.fan);
  return part;
}

at::Tensor make_flat(const ParameterLayout& layout) {
  return at::zeros({static_cast<std::int64_t>(layout.flat_size())}, at::kFloat);
}

void initialise_part(const ParameterLayout& layout, std::size_t index, std::uint64_t seed,
                     std::uint64_t first, std::span<float> values) {
  const ParameterSpec& spec = layout.specs()[index];
  if (spec.initialise != Initialise::uniform_fan_in)
    throw core::InternalError("parameter " + spec.name + " is not initialised in parts");
  core::RandomStream stream(seed, core::RandomUse::initialise, {index});
  stream.skip(first);  // one number each
  const auto bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.fan)));
  for (float& value : values) value = stream.uniform(-bound, bound);
}

void initialise(const ParameterLayout& layout, std::uint64_t seed, at::Tensor& flat) {
  float* data = flat.data_ptr<float>();
  const auto& specs = layout.specs();
  for (std::size_t index = 0; index < specs.size(); ++index) {
    const ParameterSpec& spec = specs[index];
    float* values = data + spec.offset;
    core::RandomStream stream(seed, core::RandomUse::initialise, {index});
    const double fan = static_cast<double>(spec.fan);
    switch (spec.initialise) {
      case Initialise::zeros:
        for (std::uint64_t i = 0; i < spec.elements; ++i) values[i] = 0;
        break;
      case Initialise::ones:
        for (std::uint64_t i = 0; i < spec.elements; ++i) values[i] = 1;
        break;
      case Initialise::quarter:
        for (std::uint64_t i = 0; i < spec.elements; ++i) values[i] = 0.25f;
        break;
      case Initialise::normal_small:
        for (std::uint64_t i = 0; i < spec.elements; ++i) values[i] = 0.02f * stream.normal();
        break;
      case Initialise::kaiming_normal: {
        const float deviation = static_cast<float>(std::sqrt(2.0 / fan));
        for (std::uint64_t i = 0; i < spec.elements; ++i) values[i] = deviation * stream.normal();
        break;
      }
      case Initialise::uniform_fan_in:
        initialise_part(layout, index, seed, 0, {values, spec.elements});
        break;
    }
  }
}

std::vector<at::Tensor> views(const ParameterLayout& layout, const at::Tensor& flat) {
  std::vector<at::Tensor> result;
  result.reserve(layout.specs().size());
  for (const ParameterSpec& spec : layout.specs())
    result.push_back(flat.narrow(0, static_cast<std::int64_t>(spec.offset),
                                 static_cast<std::int64_t>(spec.elements))
                         .view(spec.shape));
  return result;
}

io::TensorMap to_tensors(const ParameterLayout& layout, const at::Tensor& flat,
                         const std::string& prefix) {
  io::TensorMap tensors;
  const float* data = flat.const_data_ptr<float>();
  for (const ParameterSpec& spec : layout.specs()) {
    io::Tensor tensor;
    tensor.type = io::DType::f32;
    tensor.shape = file_shape(spec);
    tensor.bytes.resize(spec.elements * sizeof(float));
    std::memcpy(tensor.bytes.data(), data + spec.offset, tensor.bytes.size());
    tensors.emplace(prefix + spec.name, std::move(tensor));
  }
  return tensors;
}

void from_tensors(const ParameterLayout& layout, const io::TensorMap& tensors,
                  const std::string& prefix, at::Tensor& flat) {
  // Everything is checked before the first byte of `flat` changes.
  std::vector<const io::Tensor*> found;
  for (const ParameterSpec& spec : layout.specs()) {
    const std::string name = prefix + spec.name;
    const auto it = tensors.find(name);
    if (it == tensors.end())
      throw core::DataError("tensor " + name + " is missing: the file holds another model; pass " +
                            "the options of the model that wrote it");
    const io::Tensor& tensor = it->second;
    if (tensor.shape != file_shape(spec))
      throw core::DataError("tensor " + name + " has shape " + shape_text(tensor.shape) +
                            ", the model needs " + shape_text(file_shape(spec)) +
                            ": pass the options of the model that wrote it");
    if (tensor.type != io::DType::f32 || tensor.bytes.size() != spec.elements * sizeof(float))
      throw core::DataError("tensor " + name + " is not f32 of " + std::to_string(spec.elements) +
                            " elements: convert it to f32");
    found.push_back(&tensor);
  }
  for (auto it = tensors.lower_bound(prefix); it != tensors.end(); ++it) {
    if (it->first.compare(0, prefix.size(), prefix) != 0) break;
    bool known = false;
    for (const ParameterSpec& spec : layout.specs())
      known = known || it->first.compare(prefix.size(), std::string::npos, spec.name) == 0;
    if (!known)
      throw core::DataError("tensor " + it->first + " is not part of the model: the file holds " +
                            "another model; pass the options of the model that wrote it");
  }
  float* data = flat.data_ptr<float>();
  for (std::size_t i = 0; i < found.size(); ++i)
    std::memcpy(data + layout.specs()[i].offset, found[i]->bytes.data(), found[i]->bytes.size());
}

}  // namespace retort::nn
