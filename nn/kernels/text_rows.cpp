#include "nn/kernels/text_rows.h"

#include <algorithm>
#include <limits>
#include <string>

#include "core/error.h"

namespace retort::nn {
namespace {

void add_row(float* __restrict to, const float* __restrict from, std::int64_t dim) {
  for (std::int64_t i = 0; i < dim; ++i) to[i] += from[i];
}

void add_scaled_row(float* __restrict to, const float* __restrict from, float scale,
                    std::int64_t dim) {
  for (std::int64_t i = 0; i < dim; ++i) to[i] += scale * from[i];
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

void pick_rows(std::span<const std::int64_t> ids, std::int64_t dim, const float* table,
               float* out) {
  for (const std::int64_t id : ids) out = std::copy_n(table + id * dim, dim, out);
}

RowPlaces places_of_rows(std::span<const std::int64_t> ids) {
  if (ids.size() > std::numeric_limits<std::uint32_t>::max())
    throw core::InternalError("texts of " + std::to_string(ids.size()) + " ids in one batch");
  // Row above place in one number: sorted, they come row by row, each in the order of the ids.
  std::vector<std::uint64_t> keys(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i)
    keys[i] = (static_cast<std::uint64_t>(ids[i]) << 32) | i;
  std::sort(keys.begin(), keys.end());
  RowPlaces places;
  places.places.resize(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto row = static_cast<std::int64_t>(keys[i] >> 32);
    if (places.rows.empty() || places.rows.back() != row) {
      places.rows.push_back(row);
      places.begin.push_back(static_cast<std::uint32_t>(i));
    }
    places.places[i] = static_cast<std::uint32_t>(keys[i]);
  }
  places.begin.push_back(static_cast<std::uint32_t>(keys.size()));
  return places;
}

void mean_rows_gradient(const TextIds& texts, const RowPlaces& places, std::int64_t dim,
                        const float* grad_out, float* out) {
  std::vector<std::uint32_t> text_of(texts.ids.size());
  std::vector<float> share(texts.texts());
  for (std::size_t text = 0; text < texts.texts(); ++text) {
    const std::int64_t begin = texts.begin[text], end = texts.begin[text + 1];
    std::fill(text_of.begin() + begin, text_of.begin() + end, static_cast<std::uint32_t>(text));
    share[text] = 1.0f / static_cast<float>(std::max<std::int64_t>(end - begin, 1));
  }
  std::fill_n(out, static_cast<std::int64_t>(places.rows.size()) * dim, 0.0f);
  for (std::size_t row = 0; row < places.rows.size(); ++row, out += dim)
    for (std::uint32_t i = places.begin[row]; i < places.begin[row + 1]; ++i) {
      const std::uint32_t text = text_of[places.places[i]];
      add_scaled_row(out, grad_out + text * dim, share[text], dim);
    }
}

void picked_rows_gradient(const RowPlaces& places, std::int64_t dim, const float* grad_out,
                          float* out) {
  std::fill_n(out, static_cast<std::int64_t>(places.rows.size()) * dim, 0.0f);
  for (std::size_t row = 0; row < places.rows.size(); ++row, out += dim)
    for (std::uint32_t i = places.begin[row]; i < places.begin[row + 1]; ++i)
      add_row(out, grad_out + places.places[i] * dim, dim);
}

}  // namespace retort::nn
