#include "stages/device_head_share.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

namespace retort::stages {

DeviceHeadShare::DeviceHeadShare(const nn::Accelerator& accelerator, HeadShare& host,
                                 const nn::OptimiserOptions& options)
    : accelerator_(accelerator), options_(options), layout_(host.layout()) {
  const auto copied = [&](const at::Tensor& flat) {
    pairs_.push_back({flat, flat.to(accelerator.device(), flat.scalar_type(), false, true)});
    return pairs_.back().device;
  };
  const HeadShare::Trained trained = host.trained();
  parameters_ = copied(trained.parameters);
  if (trained.average.defined()) average_ = copied(trained.average);
  for (const at::Tensor& flat : trained.optimiser) state_.push_back(copied(flat));
  sum_ = at::zeros({}, at::TensorOptions(accelerator.device()).dtype(at::kDouble));
}

nn::DeviceHeadWeights DeviceHeadShare::weights() const {
  const auto view = [&](std::size_t index) {
    const nn::ParameterSpec& spec = layout_.specs()[index];
    return parameters_
        .narrow(0, static_cast<std::int64_t>(spec.offset), static_cast<std::int64_t>(spec.elements))
        .view(spec.shape);
  };
  return {view(0), layout_.specs().size() > 1 ? view(1) : at::Tensor()};
}

float* DeviceHeadShare::at(const at::Tensor& flat, std::size_t spec) const {
  return flat.mutable_data_ptr<float>() + layout_.specs()[spec].offset;
}

void DeviceHeadShare::step_rows(std::size_t spec, nn::ClassStep rows, double rate,
                                std::uint64_t step) {
  if (average_.defined()) rows.average = at(average_, spec);
  rows.averaging = nn::average_update(options_, step);
  const double decay =
      layout_.specs()[spec].decay == nn::WeightDecay::yes ? options_.weight_decay : 0.0;
  const nn::HeadKernels& kernels = accelerator_.kernels().head;
  if (options_.kind == nn::OptimiserKind::adamw) {
    nn::AdamWClassStep adamw;
    adamw.rows = rows;
    adamw.update = nn::adamw_update(options_, decay, rate, step);
    adamw.first = at(state_[0], spec);
    adamw.second = at(state_[1], spec);
    kernels.adamw(accelerator_.stream(), adamw);
  } else {
    nn::SgdClassStep sgd;
    sgd.rows = rows;
    sgd.update = nn::sgd_update(options_, decay, rate);
    sgd.nesterov = options_.nesterov;
    if (!state_.empty()) sgd.momentum = at(state_[0], spec);
    kernels.sgd(accelerator_.stream(), sgd);
  }
}

template <class Use>
void DeviceHeadShare::for_each_spec(const nn::DeviceClassGradients& gradients, const Use& use) {
  nn::ClassStep rows;
  rows.classes = gradients.classes;
  rows.features = static_cast<std::uint64_t>(gradients.weight.size(1));
  rows.gradient = gradients.weight.const_data_ptr<float>();
  if (gradients.inverse_norm.defined())
    rows.inverse_norm = gradients.inverse_norm.const_data_ptr<double>();
  rows.parameters = at(parameters_, 0);
  use(0, rows);
  if (!gradients.bias.defined()) return;
  rows.features = 1;
  rows.gradient = gradients.bias.const_data_ptr<float>();
  rows.inverse_norm = nullptr;
  rows.parameters = at(parameters_, 1);
  use(1, rows);
}

template <class Use>
void DeviceHeadShare::with_squares(const nn::DeviceClassGradients& gradients, const Use& use) {
  const auto count = static_cast<std::int64_t>(gradients.classes.count);
  if (!squares_.defined() || squares_.numel() < count)
    squares_ = at::empty({count}, at::TensorOptions(accelerator_.device()).dtype(at::kDouble));
  for_each_spec(gradients, [&](std::size_t spec, nn::ClassStep rows) {
    rows.squares = squares_.mutable_data_ptr<double>();
    use(spec, rows);
    sum_.add_(squares_.narrow(0, 0, count).sum());
  });
}

void DeviceHeadShare::add_squares(const nn::DeviceClassGradients& gradients) {
  with_squares(gradients, [&](std::size_t, const nn::ClassStep& rows) {
    accelerator_.kernels().head.squares(accelerator_.stream(), rows);
  });
}

void DeviceHeadShare::step(const nn::DeviceClassGradients& gradients, double rate,
                           std::uint64_t step) {
  with_squares(gradients, [&](std::size_t spec, const nn::ClassStep& rows) {
    step_rows(spec, rows, rate, step);
  });
}

void DeviceHeadShare::step_scaled(const nn::DeviceClassGradients& gradients, float factor,
                                  double rate, std::uint64_t step) {
  for_each_spec(gradients, [&](std::size_t spec, nn::ClassStep rows) {
    rows.factor = factor;
    step_rows(spec, rows, rate, step);
  });
}

double DeviceHeadShare::take_squares() {
  const double sum = sum_.item<double>();
  sum_.zero_();
  return sum;
}

void DeviceHeadShare::to_host() {
  for (Pair& pair : pairs_) pair.host.copy_(pair.device);
}

}  // namespace retort::stages
