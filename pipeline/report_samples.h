// Samples of a run's data sets as parts of the page: pictures embedded as PNG, texts escaped.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "io/packed_dataset.h"
#include "pipeline/report.h"

namespace retort::pipeline {

/// What one `evaluate` section was measured on; not available when the data set is gone or holds
/// other samples now.
class EvaluatedSamples {
 public:
  EvaluatedSamples(const Report& report, const ReportSection& evaluation);
  /// Why there are no samples to show; empty: there are.
  const std::string& obstacle() const { return obstacle_; }
  bool has_texts() const;
  /// Of the data set's classes; empty where there are no samples.
  std::string class_digest() const { return data_ ? data_->class_digest() : ""; }
  /// A picture (<img>) or a text, for people. Empty where there is none, or when the page's room is
  /// used up: each call takes its bytes from `room`.
  std::string html(std::uint64_t sample, std::size_t& room);
  /// The first sample of a class: what such a thing looks like.
  std::optional<std::uint64_t> first_of(std::uint32_t label);

 private:
  std::string picture(std::uint64_t sample) const;
  std::string text(std::uint64_t sample) const;

  std::optional<io::PackedDataset> data_;
  std::string obstacle_;
  std::map<std::uint64_t, std::string> shown_;
  std::map<std::uint32_t, std::uint64_t> first_;  // of each class, once looked for
};

/// Bytes of embedded pictures in one page, as text: a page of some megabytes opens anywhere.
inline constexpr std::size_t kPictureRoom = std::size_t{3} << 20;

}  // namespace retort::pipeline
