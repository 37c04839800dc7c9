#include "stages/hard_labels.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "io/label_matrix.h"
#include "stages/said.h"

namespace retort::stages {

using core::DataError;
using core::UsageError;

void HardLabelOptions::declare(core::OptionTable& table) {
  table.add("label-smoothing", &smoothing,
            "Share of the hard target spread evenly over all classes, in [0, 1)");
  table
      .add("label-matrix", &matrix,
           "Label matrix, as smooth wrote it: classes that are alike share the hard target; empty: "
           "none")
      .effect = core::OptionEffect::input;
  table.add("label-mix", &mix.mix,
            "Share of the hard target that follows the row of --label-matrix, in [0, 1]; -1: 1 for "
            "up to 100 classes, else 0.1");
  table.add_choice("label-tail", &mix.tail,
                   {{"uniform", nn::LabelTail::uniform},
                    {"renormalise", nn::LabelTail::renormalise},
                    {"self", nn::LabelTail::self}},
                   "Where the share goes that a row does not store: to every other class alike, to "
                   "those stored in proportion, to the sample's class");
}

void HardLabelOptions::check_given(const core::OptionTable& table) const {
  if (!matrix.empty()) return;
  for (const char* option : {"label-mix", "label-tail"})
    if (is_said(table, option)) throw UsageError(fmt::format("--{}: needs --label-matrix", option));
}

void HardLabelOptions::validate() const {
  if (!(smoothing >= 0 && smoothing < 1))
    throw UsageError(fmt::format("--label-smoothing {}: must be in [0, 1)", smoothing));
  if (!(mix.mix >= 0 && mix.mix <= 1) && mix.mix != kMixByClasses)
    throw UsageError(fmt::format("--label-mix {}: must be in [0, 1]", mix.mix));
  if (smoothing > 0 && !matrix.empty())
    throw UsageError(
        "--label-smoothing and --label-matrix both say how the hard target is spread: "
        "leave one out");
}

HardLabels::HardLabels(const HardLabelOptions& options, const io::PackedDataset& data,
                       const std::filesystem::path& data_path)
    : smoothing_(options.smoothing), mix_(options.mix) {
  if (options.matrix.empty()) return;
  const std::string where = options.matrix.string();
  const io::LabelMatrix matrix(options.matrix);
  const io::LabelMatrixFacts& facts = matrix.facts();
  const std::uint64_t classes = data.facts().class_names.size();
  if (facts.classes != classes)
    throw DataError(
        fmt::format("{}: a label matrix of {} classes, {} has {}: run smooth on a model "
                    "of the same classes",
                    where, facts.classes, data_path.string(), classes));
  if (facts.class_digest != data.class_digest())
    throw DataError(
        fmt::format("{}: a label matrix of other class names than those of {}, or of "
                    "another order",
                    where, data_path.string()));
  if (mix_.mix == HardLabelOptions::kMixByClasses) mix_.mix = classes <= 100 ? 1 : 0.1;
  if (facts.self == "exclude" && mix_.mix == 1)
    throw UsageError(
        fmt::format("--label-mix 1: the rows of {} leave the class itself out: take "
                    "less, or run smooth with --self keep",
                    where));
  matrix_ = std::make_unique<const io::LabelRowReader>(matrix);
  inputs_ = fmt::format("label matrix {}\n", matrix.digest());
  const double own = 1 - mix_.mix + mix_.mix * matrix_->mean_self();
  if (own < 0.5)
    core::log_warning(
        "--label-mix {}: a sample's own class keeps {:.3f} of its target on average; "
        "take less, or run smooth with --negatives softmax or a --floor",
        mix_.mix, own);
  results_ = {{"label_mix", mix_.mix}, {"label_self", own}};
}

std::string HardLabels::gpu_obstacle() const {
  return matrix_ ? "targets of a label matrix are computed on the CPU alone" : "";
}

HardLabels::Rows::Rows(const HardLabels& labels, const io::MicroBatch& micro)
    : targets_{std::span(micro.label_begin).first(micro.labelled + 1), micro.labels,
               static_cast<float>(labels.smoothing_)} {
  if (!labels.matrix_) return;
  mixed_.emplace(labels.matrix_->classes(), labels.mix_);
  io::LabelRowReader::Row of_class;
  for (std::uint64_t row = 0; row < micro.labelled; ++row) {
    const std::uint32_t begin = targets_.label_begin[row], end = targets_.label_begin[row + 1];
    for (std::uint32_t i = begin; i < end; ++i) {
      labels.matrix_->read(micro.labels[i], of_class);
      mixed_->add(micro.labels[i],
                  {of_class.ids, of_class.weights, of_class.normaliser, of_class.discarded},
                  1.0 / static_cast<double>(end - begin));
    }
    mixed_->end_sample();
  }
  view_ = mixed_->view();
  targets_.soft_labels = &view_;
}

}  // namespace retort::stages
