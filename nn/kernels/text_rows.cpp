#include "nn/kernels/text_rows.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace retort::nn {
namespace {

void add_row(float* __restrict to, const float* __restrict from, std::int64_t dim) {
  for (std::int64_t i = 0; i < dim; ++i) to[i] += from[i];
}

}  // namespace

void check_text_ids(const TextIds& texts, std::int64_t table_rows) {
  const auto& begin = texts.begin;
  if (begin.empty() || begin.front() != 0 ||
      begin.back() != static_cast<std::int64_t>(texts.ids.size()) ||
      !std::is_sorted(begin.begin(), begin.end()))
    throw core::InternalError("where texts begin does not cut their ids");
  for (const std::int64_t id : texts.ids)
    if (id < 0 || id >= table_rows)
      throw core::InternalError("id " + std::to_string(id) + " of a text is not in a table of " +
                                std::to_string(table_rows) + " rows");
}

void mean_rows(const TextIds& texts, std::int64_t dim, const float* table, float* out) {
  std::fill_n(out, static_cast<std::int64_t>(texts.texts()) * dim, 0.0f);
  for (std::size_t text = 0; text < texts.texts(); ++text, out += dim) {
    const std::int64_t begin = texts.begin[text], end = texts.begin[text + 1];
    if (begin == end) continue;
    for (std::int64_t i = begin; i < end; ++i)
      add_row(out, table + texts.ids[static_cast<std::size_t>(i)] * dim, dim);
    const float share = 1.0f / static_cast<float>(end - begin);
    for (std::int64_t k = 0; k < dim; ++k) out[k] *= share;
  }
}

void add_mean_rows_gradient(const TextIds& texts, std::int64_t dim, const float* grad_out,
                            float* grad_table) {
  for (std::size_t text = 0; text < texts.texts(); ++text, grad_out += dim) {
    const std::int64_t begin = texts.begin[text], end = texts.begin[text + 1];
    const float share = 1.0f / static_cast<float>(std::max<std::int64_t>(end - begin, 1));
    for (std::int64_t i = begin; i < end; ++i) {
      float* __restrict row = grad_table + texts.ids[static_cast<std::size_t>(i)] * dim;
      for (std::int64_t k = 0; k < dim; ++k) row[k] += grad_out[k] * share;
    }
  }
}

void pick_rows(std::span<const std::int64_t> ids, std::int64_t dim, const float* table,
               float* out) {
  for (const std::int64_t id : ids) out = std::copy_n(table + id * dim, dim, out);
}

void add_picked_rows_gradient(std::span<const std::int64_t> ids, std::int64_t dim,
                              const float* grad_out, float* grad_table) {
  for (const std::int64_t id : ids) {
    add_row(grad_table + id * dim, grad_out, dim);
    grad_out += dim;
  }
}

}  // namespace retort::nn
