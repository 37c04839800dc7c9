#include "nn/class_order.h"

#include <algorithm>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

namespace retort::nn {
namespace {

class ClassOrderModel : public Model {
 public:
  ClassOrderModel(std::unique_ptr<Model> model, const std::vector<std::uint32_t>& order)
      : model_(std::move(model)),
        order_(at::empty({static_cast<std::int64_t>(order.size())}, at::kLong)) {
    std::copy(order.begin(), order.end(), order_.data_ptr<std::int64_t>());
    parameters_ = model_->parameters();
    buffers_ = model_->buffers();
    layers_ = model_->layers();
    statistics_size_ = model_->statistics_size();
    embedding_size_ = model_->embedding_size();
  }
  at::Tensor forward(const Input& input, Pass& pass) const override {
    return at::index_select(model_->forward(input, pass), 1, order_);
  }
  at::Tensor embed(const Input& input, Pass& pass) const override {
    return model_->embed(input, pass);
  }
  void fold_statistics(std::span<const double> sums, at::Tensor& buffers_flat) const override {
    model_->fold_statistics(sums, buffers_flat);
  }

 private:
  std::unique_ptr<Model> model_;
  at::Tensor order_;
};

}  // namespace

std::unique_ptr<Model> with_class_order(std::unique_ptr<Model> model,
                                        const std::vector<std::uint32_t>& order) {
  return std::make_unique<ClassOrderModel>(std::move(model), order);
}

}  // namespace retort::nn
