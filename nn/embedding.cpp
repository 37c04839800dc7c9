#include "nn/embedding.h"

#include <algorithm>

#include <ATen/ops/_sparse_coo_tensor_unsafe.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "nn/kernels/text_rows.h"

namespace retort::nn {
namespace {

std::span<const std::int64_t> numbers(const at::Tensor& t) {
  return {t.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(t.numel())};
}

TextIds texts_of(const at::Tensor& table, const at::Tensor& ids, const at::Tensor& begin) {
  if (!table.is_cpu() || !ids.is_cpu() || !begin.is_cpu())
    throw core::InternalError("an embedding table and its ids are looked up on the CPU");
  const TextIds texts{numbers(ids), numbers(begin)};
  check_text_ids(texts, table.size(0));
  return texts;
}

enum class Rows { mean, each };

template <Rows kRows>
struct EmbeddingFunction : torch::autograd::Function<EmbeddingFunction<kRows>> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& table_in,
                            const at::Tensor& ids_in, const at::Tensor& begin_in) {
    const at::Tensor table = table_in.contiguous(), ids = ids_in.contiguous();
    const at::Tensor begin = begin_in.contiguous();
    const TextIds texts = texts_of(table, ids, begin);
    const std::int64_t dim = table.size(1);
    at::Tensor out =
        at::empty({kRows == Rows::mean ? begin.numel() - 1 : ids.numel(), dim}, at::kFloat);
    if constexpr (kRows == Rows::mean)
      mean_rows(texts, dim, table.const_data_ptr<float>(), out.data_ptr<float>());
    else
      pick_rows(texts.ids, dim, table.const_data_ptr<float>(), out.data_ptr<float>());
    context->save_for_backward({ids, begin});
    context->saved_data["rows"] = table.size(0);
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grad_outputs) {
    const auto saved = context->get_saved_variables();
    const at::Tensor grad = grad_outputs[0].contiguous();
    const std::int64_t dim = grad.size(1);
    const TextIds texts{numbers(saved[0]), numbers(saved[1])};
    const RowPlaces places = places_of_rows(texts.ids);
    const auto rows = static_cast<std::int64_t>(places.rows.size());
    at::Tensor indices = at::empty({1, rows}, at::kLong),
               values = at::empty({rows, dim}, at::kFloat);
    std::copy(places.rows.begin(), places.rows.end(), indices.data_ptr<std::int64_t>());
    if constexpr (kRows == Rows::mean)
      mean_rows_gradient(texts, places, dim, grad.const_data_ptr<float>(),
                         values.data_ptr<float>());
    else
      picked_rows_gradient(places, dim, grad.const_data_ptr<float>(), values.data_ptr<float>());
    const at::Tensor grad_table =
        at::_sparse_coo_tensor_unsafe(indices, values, {context->saved_data["rows"].toInt(), dim},
                                      values.options().layout(at::kSparse), true);
    return {grad_table, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor mean_embedding(const at::Tensor& table, const at::Tensor& ids, const at::Tensor& begin) {
  return EmbeddingFunction<Rows::mean>::apply(table, ids, begin);
}

at::Tensor embedding(const at::Tensor& table, const at::Tensor& ids, const at::Tensor& begin) {
  return EmbeddingFunction<Rows::each>::apply(table, ids, begin);
}

}  // namespace retort::nn
