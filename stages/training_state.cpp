#include "stages/training_state.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "core/range.h"
#include "stages/loaded_model.h"

namespace retort::stages {

nlohmann::json to_json(const EvaluationRecord& record) {
  nlohmann::json json = {{"step", record.step},
                         {"train_loss", record.train_loss},
                         {"train_top1", record.train_top1},
                         {"learning_rate", record.learning_rate},
                         {"gradient_norm", record.gradient_norm}};
  if (record.train_unlabelled_loss) json["train_unlabelled_loss"] = *record.train_unlabelled_loss;
  if (record.validated) {
    json["validation_loss"] = record.validation_loss;
    json["validation_top1"] = record.validation_top1;
    json["validation_top5"] = record.validation_top5;
  }
  return json;
}

EvaluationRecord evaluation_from_json(const nlohmann::json& json) {
  EvaluationRecord record;
  record.step = json.at("step");
  record.train_loss = json.at("train_loss");
  record.train_top1 = json.at("train_top1");
  record.learning_rate = json.at("learning_rate");
  record.gradient_norm = json.at("gradient_norm");
  if (json.contains("train_unlabelled_loss"))
    record.train_unlabelled_loss = json.at("train_unlabelled_loss").get<double>();
  record.validated = json.contains("validation_loss");
  if (record.validated) {
    record.validation_loss = json.at("validation_loss");
    record.validation_top1 = json.at("validation_top1");
    record.validation_top5 = json.at("validation_top5");
  }
  return record;
}

TrainingState::TrainingState(const nn::Model& model, const nn::OptimiserOptions& options,
                             std::uint64_t seed, bool keep_best,
                             std::optional<core::Range> head_classes)
    : model_(model), layout_(head_classes ? model.body() : model.parameters()) {
  parameters = nn::make_flat(layout_);
  buffers = nn::make_flat(model.buffers());
  nn::initialise(layout_, seed, parameters);
  nn::initialise(model.buffers(), seed, buffers);
  optimiser = nn::make_optimiser(options, layout_);
  if (head_classes)
    head = std::make_unique<HeadShare>(model, *head_classes, options, seed, keep_best);
  if (options.average_decay > 0) average = parameters.clone();
  if (keep_best) {
    best_parameters = parameters.clone();
    best_buffers = buffers.clone();
  }
}

std::vector<TrainingState::Named> TrainingState::vectors() const {
  const auto* layout = &layout_;
  std::vector<Named> all = {{"parameters/", layout, parameters},
                            {"buffers/", &model_.buffers(), buffers}};
  if (average.defined()) all.push_back({"average/", layout, average});
  for (auto& [name, flat] : optimiser->state())
    all.push_back({"optimiser/" + name + "/", layout, flat});
  if (best_parameters.defined()) {
    all.push_back({"best/parameters/", layout, best_parameters});
    all.push_back({"best/buffers/", &model_.buffers(), best_buffers});
  }
  return all;
}

void TrainingState::keep_best() {
  best_parameters.copy_(evaluated());
  best_buffers.copy_(buffers);
  if (head) head->keep_best();
}

namespace {

/// Takes the tensors of the head out of `tensors`.
io::TensorMap taken_out(const HeadShare& head, io::TensorMap& tensors) {
  io::TensorMap of_head;
  for (auto next = tensors.begin(); next != tensors.end();) {
    const auto at = next++;
    if (head.owns(at->first)) of_head.insert(tensors.extract(at));
  }
  return of_head;
}

}  // namespace

void TrainingState::start_from(const io::TensorSource& tensors) {
  if (head) head->start_from(tensors);
  const auto fill = [&](const nn::ParameterLayout& layout, at::Tensor& flat) {
    for (const auto& spec : layout.specs())
      if (tensors.specs.contains(spec.name))
        tensors.read(
            spec.name, 0,
            std::as_writable_bytes(std::span(flat.data_ptr<float>() + spec.offset, spec.elements)));
  };
  fill(layout_, parameters);
  fill(model_.buffers(), buffers);
  if (average.defined()) average.copy_(parameters);
}

nlohmann::json TrainingState::to_json() const {
  nlohmann::json json = {{"step", step},          {"samples_computed", samples_computed},
                         {"hard_sum", sums.hard}, {"soft_sum", sums.soft},
                         {"kl_sum", sums.kl},     {"correct", sums.correct},
                         {"rows", rows.labelled}, {"last_norm", last_norm},
                         {"best", best},          {"history", nlohmann::json::array()}};
  if (rows.unlabelled > 0) {  // absent where there are none, as in older checkpoints
    json["unlabelled_sum"] = sums.unlabelled;
    json["unlabelled_rows"] = rows.unlabelled;
  }
  for (const auto& record : history) json["history"].push_back(stages::to_json(record));
  return json;
}

std::vector<io::TensorRange> TrainingState::ranges(int rank, int size) const {
  const auto all = vectors();
  std::uint64_t total = 0;
  for (const auto& vector : all) total += vector.layout->count();
  const core::Range mine =
      core::partition(total, static_cast<std::uint64_t>(size), static_cast<std::uint64_t>(rank));
  std::vector<io::TensorRange> ranges;
  std::uint64_t position = 0;
  for (const auto& vector : all) {
    const auto* data = reinterpret_cast<const std::byte*>(vector.flat.data_ptr<float>());
    for (const auto& spec : vector.layout->specs()) {
      const std::uint64_t begin = std::max(mine.begin, position);
      const std::uint64_t end = std::min(mine.end, position + spec.elements);
      if (begin < end) {
        io::TensorRange range;
        range.name = vector.prefix + spec.name;
        range.shape.assign(spec.shape.begin(), spec.shape.end());
        range.offset = begin - position;
        range.bytes = {data + (spec.offset + range.offset) * sizeof(float),
                       (end - begin) * sizeof(float)};
        ranges.push_back(std::move(range));
      }
      position += spec.elements;
    }
  }
  if (head)
    for (io::TensorRange& range : head->ranges()) ranges.push_back(std::move(range));
  return ranges;
}

io::RowSelection TrainingState::selection() const {
  return head ? head->selection() : io::RowSelection{};
}

void TrainingState::restore(io::Checkpoint checkpoint) {
  const auto& json = checkpoint.state;
  step = json.at("step");
  samples_computed = json.at("samples_computed");
  sums.hard = json.at("hard_sum");
  sums.soft = json.at("soft_sum");
  sums.kl = json.at("kl_sum");
  sums.correct = json.at("correct");
  sums.unlabelled = json.value("unlabelled_sum", 0.0);
  rows = {json.at("rows"), json.value("unlabelled_rows", std::uint64_t{0})};
  last_norm = json.at("last_norm");
  best = json.at("best");
  history.clear();
  for (const auto& record : json.at("history")) history.push_back(evaluation_from_json(record));
  if (head) head->restore(taken_out(*head, checkpoint.tensors));
  for (auto& vector : vectors())
    nn::from_tensors(*vector.layout, checkpoint.tensors, vector.prefix, vector.flat);
}

io::TensorSource TrainingState::model_source(const io::TensorFiles& generation, Which which) const {
  const bool best = which == Which::best;
  const std::string weights = best                ? "best/parameters/"
                              : average.defined() ? "average/"
                                                  : "parameters/";
  std::map<std::string, std::string> stored;
  for (const auto& spec : model_.parameters().specs()) stored[spec.name] = weights + spec.name;
  for (const auto& spec : model_.buffers().specs())
    stored[spec.name] = (best ? "best/buffers/" : "buffers/") + spec.name;
  io::TensorSource source;
  for (const auto& [name, within] : stored) source.specs[name] = generation.specs().at(within);
  source.read = [&generation, stored = std::move(stored),
                 where = fmt::format("after {} steps", step)](
                    const std::string& name, std::uint64_t first, std::span<std::byte> into) {
    generation.read(stored.at(name), first, into);
    io::require_finite(name, generation.specs().at(stored.at(name)).type, into, first, where);
  };
  return source;
}

}  // namespace retort::stages
