// Rows of an embedding table that texts look up: their mean, or one row per unit, with gradients.
// fp32, in the order of the texts, one thread: the bits depend on nothing but the input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace retort::nn {

/// Texts one after another: text t is ids[begin[t]] to ids[begin[t + 1] - 1].
struct TextIds {
  std::span<const std::int64_t> ids;
  std::span<const std::int64_t> begin;  // texts + 1; 0 first, ids.size() last
  std::size_t texts() const { return begin.size() - 1; }
};
/// InternalError unless `begin` cuts `ids` so, and every id is in [0, table_rows).
void check_text_ids(const TextIds& texts, std::int64_t table_rows);

/// table [rows, dim] -> out [texts, dim], the mean over the ids of each text, summed in their
/// order; zeros for a text without ids.
void mean_rows(const TextIds& texts, std::int64_t dim, const float* table, float* out);
/// Adds the gradient of the above to grad_table [rows, dim]; rows that no text has stay as they
/// are.
void add_mean_rows_gradient(const TextIds& texts, std::int64_t dim, const float* grad_out,
                            float* grad_table);

/// table [rows, dim] -> out [ids, dim].
void pick_rows(std::span<const std::int64_t> ids, std::int64_t dim, const float* table, float* out);
/// Adds the gradient of the above to grad_table, one id after another.
void add_picked_rows_gradient(std::span<const std::int64_t> ids, std::int64_t dim,
                              const float* grad_out, float* grad_table);

}  // namespace retort::nn
