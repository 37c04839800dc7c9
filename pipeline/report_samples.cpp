#include "pipeline/report_samples.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "io/image_codec.h"
#include "io/image_encode.h"
#include "pipeline/html.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kLongestSide = 64;  // pixels; larger pictures are shrunk to it
constexpr std::uint32_t kShownSide = 56;    // CSS pixels of the longer side
constexpr std::size_t kLongestText = 240;   // characters

/// Where the data set of an evaluation may lie now: as its option says, seen from here or from
/// where the plan was started, or in a run folder that was moved as a whole.
std::vector<fs::path> places(const Report& report, const std::string& option) {
  std::vector<fs::path> all = {option};
  if (!report.base.empty()) all.push_back(report.base / option);
  if (const auto* section = report.behind(option)) all.push_back(report.folder / section->name);
  return all;
}

}  // namespace

EvaluatedSamples::EvaluatedSamples(const Report& report, const ReportSection& evaluation) {
  const std::string wanted = evaluation.details.value("data_digest", "");
  // Without a single example the data set is not to be shown (--examples 0).
  if (wanted.empty() || evaluation.details.value("examples", nlohmann::json()).empty()) {
    obstacle_ = "this evaluation recorded no samples";
    return;
  }
  obstacle_ = "the data set is not there any more";
  for (const auto& place : places(report, evaluation.option("data"))) {
    std::error_code code;
    if (!fs::is_directory(place, code)) continue;
    try {
      data_.emplace(place, evaluation.option("split"));
      if (data_->digest() == wanted) {
        obstacle_.clear();
        return;
      }
      obstacle_ = "the data set holds other samples now";
    } catch (const core::Error& error) {
      obstacle_ = error.what();
    }
    data_.reset();
  }
}

bool EvaluatedSamples::has_texts() const {
  return data_ && data_->facts().form == io::SampleForm::text;
}

std::string EvaluatedSamples::picture(std::uint64_t sample) const {
  const auto& facts = data_->facts();
  std::vector<std::byte> row;
  data_->read(sample, row);
  const std::string where = fmt::format("sample {}", sample);
  io::DecodedImage image;
  if (facts.form == io::SampleForm::encoded_image) {
    image = io::decode_image(row, 0, where);
  } else {
    image.shape = {facts.height, facts.width, facts.channels};
    const auto* pixels = reinterpret_cast<const std::uint8_t*>(row.data());
    image.pixels.assign(pixels, pixels + row.size());
  }
  const std::uint32_t longest = std::max(image.shape.height, image.shape.width);
  if (longest > kLongestSide) {
    const auto scaled = [&](std::uint32_t side) {
      return std::max<std::uint32_t>(
          1, static_cast<std::uint32_t>(std::uint64_t{side} * kLongestSide / longest));
    };
    const io::ImageShape to{scaled(image.shape.height), scaled(image.shape.width),
                            image.shape.channels};
    std::vector<std::uint8_t> smaller(to.elements());
    io::resize_image(image.pixels, image.shape, to, io::ImageFit::stretch, smaller);
    image = {to, std::move(smaller)};
  }
  const std::uint32_t side = std::max(image.shape.height, image.shape.width);
  return fmt::format(
      "<img src=\"{}\" alt=\"sample {}\" title=\"sample {}\" width=\"{}\" height=\"{}\">",
      png_uri(io::encode_png(image.shape, image.pixels)), sample, sample,
      std::max(1U, kShownSide * image.shape.width / side),
      std::max(1U, kShownSide * image.shape.height / side));
}

std::string EvaluatedSamples::text(std::uint64_t sample) const {
  std::vector<std::byte> row;
  data_->read(sample, row);
  const std::string_view text(reinterpret_cast<const char*>(row.data()), row.size());
  return fmt::format("<q title=\"sample {}\">{}</q>", sample,
                     escape_html(shortened(text, kLongestText)));
}

std::string EvaluatedSamples::html(std::uint64_t sample, std::size_t& room) {
  if (!data_ || sample >= data_->size()) return "";
  std::string& html = shown_[sample];
  try {
    if (html.empty()) html = has_texts() ? text(sample) : picture(sample);
  } catch (const core::Error& error) {
    return fmt::format("<span class=\"muted\">{}</span>", escape_html(error.what()));
  }
  if (html.size() > room) return "";
  room -= html.size();
  return html;
}

std::optional<std::uint64_t> EvaluatedSamples::first_of(std::uint32_t label) {
  if (!data_) return std::nullopt;
  if (first_.empty())
    for (std::uint64_t i = 0; i < data_->size(); ++i)
      for (const std::uint32_t gold : data_->labels(i)) first_.emplace(gold, i);
  const auto found = first_.find(label);
  if (found == first_.end()) return std::nullopt;
  return found->second;
}

}  // namespace retort::pipeline
