// Rows of an embedding table that texts look up: their mean, or one row per unit, with gradients.
// fp32, in the order of the texts, one thread: the bits depend on nothing but the input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

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
/// table [rows, dim] -> out [ids, dim].
void pick_rows(std::span<const std::int64_t> ids, std::int64_t dim, const float* table, float* out);

/// The rows of a table that occur among ids, ascending, and where: rows[r] is
/// ids[places[begin[r]]] to ids[places[begin[r + 1] - 1]], in the order of the ids. A table's
/// gradient is zero in all its other rows, which are most: it is kept and added by rows.
struct RowPlaces {
  std::vector<std::int64_t> rows;
  std::vector<std::uint32_t> begin;  // rows + 1
  std::vector<std::uint32_t> places;
};
/// InternalError for 2^32 ids and more. ids >= 0.
RowPlaces places_of_rows(std::span<const std::int64_t> ids);

/// Gradient of mean_rows() on those rows, out [rows, dim]; grad_out [texts, dim].
void mean_rows_gradient(const TextIds& texts, const RowPlaces& places, std::int64_t dim,
                        const float* grad_out, float* out);
/// The same of pick_rows(); grad_out [ids, dim].
void picked_rows_gradient(const RowPlaces& places, std::int64_t dim, const float* grad_out,
                          float* out);

}  // namespace retort::nn
