#include "stages/row_encoding.h"

#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "io/logit_row.h"
#include "io/sequence_digest.h"
#include "io/weighted_row.h"
#include "nn/kernels/draws.h"

namespace retort::stages {

namespace {

io::EncodedRows encode_top_k(const io::LogitLayout& layout, std::size_t samples, BestClasses best) {
  const std::size_t k = layout.top_k, temperatures = layout.temperatures.size();
  const std::size_t row_bytes = layout.row_bytes();
  io::EncodedRows rows;
  rows.bytes.resize(samples * row_bytes);
  for (std::size_t row = 0; row < samples; ++row)
    io::encode_row(
        layout,
        {std::span(best.ids).subspan(row * k, k), std::span(best.values).subspan(row * k, k),
         std::span(best.tails).subspan(row * temperatures, temperatures)},
        std::span(rows.bytes).subspan(row * row_bytes, row_bytes));
  return rows;
}

io::EncodedRows encode_labels(const io::LogitLayout& layout, std::size_t samples,
                              BestClasses best) {
  const std::size_t h = layout.top_k, row_bytes = layout.row_bytes();
  io::EncodedRows rows;
  rows.bytes.resize(samples * row_bytes);
  for (std::size_t row = 0; row < samples; ++row) {
    const std::span<float> values = std::span(best.values).subspan(row * h, h);
    // Relative to the best logit, which no exponential passes.
    const auto reference = static_cast<double>(values[0]);
    double sum = std::exp(static_cast<double>(best.tails[row]) - reference);
    for (const float z : values) sum += std::exp(static_cast<double>(z) - reference);
    for (float& z : values)
      z = static_cast<float>(std::exp(static_cast<double>(z) - reference) / sum);
    io::encode_label_row(layout, {std::span(best.ids).subspan(row * h, h), values},
                         std::span(rows.bytes).subspan(row * row_bytes, row_bytes));
  }
  return rows;
}

io::EncodedRows encode_draws(const Capture& capture, std::uint64_t pass,
                             const io::MicroBatch& batch, std::span<const float> logits) {
  const io::LogitLayout& layout = capture.facts.layout;
  const nn::Proposal proposal{layout.sampling.exponent, layout.sampling.temperature};
  std::vector<double> uniforms(layout.sampling.draws);
  std::vector<float> full_lse(layout.temperatures.size());
  io::EncodedRows rows;
  for (std::size_t row = 0; row < batch.samples.size(); ++row) {
    core::RandomStream random(capture.facts.seed, core::RandomUse::sampled_tail,
                              {pass, batch.samples[row]});
    for (double& u : uniforms) u = std::ldexp(static_cast<double>(random.next_u64() >> 11), -53);
    const std::span<const float> values = logits.subspan(row * layout.classes, layout.classes);
    nn::Draws<float> draws = nn::draw_classes<float>(values, proposal, uniforms);
    nn::full_log_sum_exp<float>(values, layout.temperatures, full_lse);
    const std::size_t begin = rows.bytes.size();
    rows.bytes.resize(begin + layout.sampled_row_bytes(draws.ids.size()));
    io::encode_sampled_row(layout,
                           {draws.ids, draws.counts, draws.logits, draws.log_proposal, full_lse},
                           std::span(rows.bytes).subspan(begin));
    rows.ends.push_back(rows.bytes.size());
  }
  return rows;
}

/// Collects the parts of a row's logical content.
class Payload {
 public:
  template <class T>
  void add(const std::vector<T>& values) {
    const auto part = std::as_bytes(std::span(values));
    bytes_.insert(bytes_.end(), part.begin(), part.end());
  }
  std::span<const std::byte> bytes() const { return bytes_; }
  void clear() { bytes_.clear(); }

 private:
  std::vector<std::byte> bytes_;
};

/// Decodes one row: ids, then what else its form holds.
void add_content(const io::LogitLayout& layout, std::span<const std::byte> row, Payload& payload) {
  const std::size_t listed =
      layout.ragged() ? io::sampled_row_classes(layout, row.size()) : std::size_t{layout.top_k};
  std::vector<std::uint32_t> ids(listed), counts;
  std::vector<float> values(listed), more, ends(layout.temperatures.size());
  if (layout.form == io::RowForm::sampled) {
    counts.resize(listed);
    more.resize(listed);
    io::decode_sampled_row(layout, row, {ids, counts, values, more, ends});
  } else if (layout.form == io::RowForm::top_h) {
    io::decode_label_row(layout, row, {ids, values});
  } else {
    io::decode_row(layout, row, {ids, values, ends});
  }
  payload.add(ids);
  payload.add(counts);
  payload.add(values);
  payload.add(more);
  payload.add(ends);
}

}  // namespace

io::EncodedRows encode_best(const io::LogitLayout& layout, std::size_t samples, BestClasses best) {
  return layout.form == io::RowForm::top_h ? encode_labels(layout, samples, std::move(best))
                                           : encode_top_k(layout, samples, std::move(best));
}

io::EncodedRows encode_batch(const Capture& capture, std::uint64_t pass,
                             const io::MicroBatch& batch, std::span<const float> logits) {
  const io::LogitLayout& layout = capture.facts.layout;
  try {
    if (layout.form == io::RowForm::sampled) return encode_draws(capture, pass, batch, logits);
    const std::size_t samples = batch.samples.size();
    return encode_best(layout, samples, best_classes(layout, samples, logits));
  } catch (const core::DataError&) {
    check_finite(batch, logits, layout.classes);
    throw;
  }
}

std::string rows_digest(const io::LogitLayout& layout, const io::EncodedRows& rows) {
  Payload payload;
  io::SequenceDigest digest;
  const std::span<const std::byte> bytes(rows.bytes);
  std::size_t row = 0;
  for (std::size_t begin = 0; begin < bytes.size(); ++row) {
    const std::size_t end = layout.ragged() ? rows.ends[row] : begin + layout.row_bytes();
    payload.clear();
    add_content(layout, bytes.subspan(begin, end - begin), payload);
    digest.add(payload.bytes(), {});
    begin = end;
  }
  return digest.text();
}

}  // namespace retort::stages
