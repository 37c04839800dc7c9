// teach: a frozen teacher's top-K logits of every sample, with the log-sum-exp of the rest, to
// shards (methods/topk-distillation.md, "Captured per sample"; docs/logit_shard_format.md).
#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"
#include "io/sequence_digest.h"
#include "stages/capture.h"
#include "stages/capture_run.h"
#include "stages/classifier.h"
#include "stages/section_output.h"
#include "stages/stage.h"

namespace retort::stages {

namespace {

struct TeachOptions {
  std::filesystem::path data, out;
  ClassifierOptions teacher;
  std::string split = "train";
  std::uint64_t top_k = 20;
  std::uint64_t passes = 1;
  std::vector<double> temperatures = {1, 2, 3, 4};
  io::LogitPrecision precision = io::LogitPrecision::fp16_gaps;
  io::IdForm ids = io::IdForm::packed;
  std::uint64_t shard_samples = 4096;
  std::uint64_t batch = 256;
  std::uint64_t seed = 1;
  io::AugmentOptions augment;
  bool estimate = false;
};

/// Whatever the cut into shards and the form of ids: facts that change values, then the rows of
/// each pass in order.
std::string content_digest(const io::LogitFacts& facts, std::span<const io::Member> members) {
  nlohmann::json logical = facts.to_json();
  for (const char* layout : {"ids", "shard_samples", "row_bytes"}) logical.erase(layout);
  core::Sha256 hash;
  hash.update("retort logits 1\n").update(logical.dump());
  // Names are of fixed width: sorted, they are in the order of passes and samples.
  io::SequenceDigest rows;
  for (const io::Member& member : members)
    rows.append(
        io::SequenceDigest::parse(member.facts.at("rows_digest").get<std::string>(), member.name));
  return hash.update("\n").update(rows.text()).hex();
}

class Teach : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    using core::OptionEffect;
    table.group("Teacher and data");
    auto& data = table.add("data", &options_.data, "Packed dataset folder");
    data.effect = OptionEffect::input;
    data.required = true;
    options_.teacher.declare(
        table, "Teacher: a model folder, the folder of its section, or a TorchScript file");
    auto& out = table.add("out", &options_.out, "Folder for the logit shards");
    out.effect = OptionEffect::output;
    out.required = true;
    table.add("split", &options_.split, "Split whose samples the teacher answers for");
    table.add("batch", &options_.batch, "Samples that the teacher computes together");
    table
        .add("estimate", &options_.estimate,
             "Print rows, bytes and the time that it would take, and write nothing")
        .effect = OptionEffect::run;
    table.group("What is stored");
    table.add("top-k", &options_.top_k, "Classes stored for each sample, the best ones");
    table.add("temperatures", &options_.temperatures,
              "Temperatures at which the tail's log-sum-exp is stored, ascending");
    table.add_choice(
        "stored-precision", &options_.precision,
        {{"fp16-gaps", io::LogitPrecision::fp16_gaps}, {"fp32", io::LogitPrecision::fp32}},
        "Logits as fp32 maximum and fp16 gaps below it, or all as fp32");
    table.add_choice(
        "ids", &options_.ids,
        {{"packed", io::IdForm::packed}, {"u16", io::IdForm::u16}, {"u32", io::IdForm::u32}},
        "Class ids in as many bits as the class count needs, or in whole words");
    table.add("shard-samples", &options_.shard_samples,
              "Samples per shard file; what a kill can cost each rank to compute again");
    table.group("Augmentation");
    table.add("passes", &options_.passes,
              "Passes over the data, each with its own augmentation; epoch e of a student uses "
              "pass e mod passes");
    table.add("seed", &options_.seed, "Seed of the augmentation");
    options_.augment.declare(table);
    options_.teacher.torchscript.declare(table);
  }

  void validate() const override {
    const auto at_least_one = [](const char* name, std::uint64_t value) {
      if (value < 1) throw core::UsageError(fmt::format("--{} 0: must be at least 1", name));
    };
    at_least_one("top-k", options_.top_k);
    at_least_one("passes", options_.passes);
    at_least_one("shard-samples", options_.shard_samples);
    at_least_one("batch", options_.batch);
    if (options_.passes > 1 && !options_.augment.any())
      throw core::UsageError(fmt::format(
          "--passes {}: without augmentation all passes would be equal; add augmentation options "
          "or take one pass",
          options_.passes));
    if (options_.passes > kMostPasses)
      throw core::UsageError(
          fmt::format("--passes {}: at most {} are possible", options_.passes, kMostPasses));
    double last = 0;
    for (const double temperature : options_.temperatures) {
      if (!(temperature > last && temperature < 1e6))
        throw core::UsageError(
            fmt::format("--temperatures: {} does not follow {}: give positive numbers in ascending "
                        "order",
                        temperature, last));
      last = temperature;
    }
  }

  StageOutcome run(StageContext& context) override {
    const io::PackedDataset data(options_.data, options_.split);
    const Classifier classifier =
        open_classifier(context.communicator, options_.teacher, data, options_.data);
    const LoadedModel& teacher = classifier.model;
    io::check_augmentable(data.facts(), options_.augment);
    if (data.size() == 0)
      throw core::DataError(fmt::format("{}: split {} is empty: nothing to teach",
                                        options_.data.string(), options_.split));
    const io::LogitFacts facts = describe(classifier, data);
    const Capture capture{teacher, data, facts, options_.augment, options_.batch};
    if (options_.estimate) return estimate(context, capture);

    const std::string recipe = recipe_hash(context, classifier.inputs);
    if (is_complete(context.communicator, options_.out, recipe, "logits")) {
      core::log_info("{}: already complete", options_.out.string());
      return StageOutcome::done;
    }
    const io::RunFolder folder = io::RunFolder::open(
        context.communicator, options_.out, recipe,
        context.take_over ? io::RunFolder::TakeOver::yes : io::RunFolder::TakeOver::no);
    const core::Stopwatch watch;
    io::MemberLedger ledger(options_.out, recipe);
    const CaptureOutcome outcome = run_capture(context, capture, ledger);
    if (outcome.stopped) {
      core::log_info("{}: stopped on request with {} of {} shards complete; start again to go on",
                     options_.out.string(), outcome.complete, outcome.shards);
      return StageOutcome::stopped;
    }
    nlohmann::json results = size_of_all(facts);
    results["computed"] = outcome.computed_samples;
    results["computed_by_rank"] = outcome.computed_by_rank;
    results["shards_by_rank"] = outcome.shards_by_rank;
    results["time"] = outcome.time;
    core::log_info("{}", phase_line(outcome.time));
    results["seconds"] = watch.seconds();
    seal(context, facts, ledger, results);
    return StageOutcome::done;
  }

 private:
  static constexpr std::uint64_t kMostPasses = 100;  // two digits in names of folders
  static constexpr std::uint64_t kLargestRows = std::uint64_t{240} << 20;

  io::LogitFacts describe(const Classifier& classifier, const io::PackedDataset& data) const {
    const LoadedModel& teacher = classifier.model;
    io::LogitFacts facts;
    facts.layout.classes = teacher.description.class_names.size();
    if (options_.top_k > facts.layout.classes)
      throw core::UsageError(fmt::format("--top-k {}: {} knows only {} classes", options_.top_k,
                                         options_.teacher.model.string(), facts.layout.classes));
    facts.layout.top_k = static_cast<std::uint32_t>(options_.top_k);
    facts.layout.ids = options_.ids;
    facts.layout.precision = options_.precision;
    facts.layout.temperatures = options_.temperatures;
    facts.layout.validate();
    facts.samples = data.size();
    facts.passes = options_.passes;
    facts.shard_samples = options_.shard_samples;
    facts.seed = options_.seed;
    facts.augment = options_.augment.text();
    facts.data_digest = data.digest();
    facts.class_digest = data.class_digest();
    facts.teacher_digest = teacher.digest;
    facts.class_map = classifier.class_map;
    facts.split = options_.split;
    const std::uint64_t largest = std::min(facts.shard_samples, facts.samples);
    if (largest > kLargestRows / facts.layout.row_bytes())
      throw core::UsageError(fmt::format(
          "--shard-samples {}: rows of {} bytes would make shards above 256 MB; take at most {}",
          facts.shard_samples, facts.layout.row_bytes(), kLargestRows / facts.layout.row_bytes()));
    return facts;
  }

  static nlohmann::json size_of_all(const io::LogitFacts& facts) {
    const std::uint64_t rows = facts.samples * facts.passes;
    return {{"rows", rows},
            {"bytes_per_row", facts.layout.row_bytes()},
            {"bytes", rows * facts.layout.row_bytes()},
            {"shards", io::logit_shard_count(facts) * facts.passes}};
  }

  StageOutcome estimate(StageContext& context, const Capture& capture) const {
    nlohmann::json results = size_of_all(capture.facts);
    const double rate = measure_rate(context, capture);
    results["samples_per_second"] = rate;
    results["seconds"] = results["rows"].get<double>() / rate;
    print_results(context, results);
    if (!context.json)
      core::log_info("would take about {} on {} ranks with {} threads each",
                     core::duration_text(results["seconds"]), context.communicator.size(),
                     context.threads);
    return StageOutcome::done;
  }

  void seal(StageContext& context, const io::LogitFacts& facts, io::MemberLedger& ledger,
            const nlohmann::json& results) const {
    io::Manifest manifest;
    manifest.kind = "logits";
    manifest.facts = facts.to_json();
    io::on_root(context.communicator, [&] {
      manifest.companions = write_companions(context, options_.out, results);
      manifest.content_digest = content_digest(facts, ledger.records());
    });
    ledger.seal(context.communicator, manifest);
    print_results(context, results);
  }

  TeachOptions options_;
};

}  // namespace

std::unique_ptr<Stage> make_teach() { return std::make_unique<Teach>(); }

}  // namespace retort::stages
