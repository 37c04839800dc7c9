// teach: a frozen teacher's answers to shards (methods/topk-distillation.md, "Captured per sample";
// docs/logit_shard_format.md): of labelled samples the best classes with the log-sum-exp of the
// rest, or draws; of unlabelled ones the best labels.
#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

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
  std::filesystem::path data, unlabelled, out;
  ClassifierOptions teacher;
  std::string split = "train", unlabelled_split = "train";
  std::uint64_t top_k = 20, top_h = 1;
  std::uint64_t sample = 0;  // > 0: draws instead of the best classes
  double sample_exponent = 1, sample_temperature = 1;
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

/// One part of the output: the samples and what is to be known of their answers.
struct Part {
  io::PackedDataset data;
  io::LogitFacts facts;
};

/// Whatever the cut into shards and the form of ids: facts that change values, then the rows of
/// each pass in order; part after part.
std::string content_digest(std::span<const Part> parts, std::span<const io::Member> members) {
  core::Sha256 hash;
  hash.update("retort logits 1\n");
  for (const Part& part : parts) {
    nlohmann::json logical = part.facts.to_json();
    for (const char* layout : {"ids", "shard_samples", "row_bytes"}) logical.erase(layout);
    hash.update(logical.dump());
    // Names are of fixed width: sorted, they are in the order of passes and samples.
    const std::string folder = io::part_folder(io::part_of(part.facts));
    io::SequenceDigest rows;
    for (const io::Member& member : members)
      if (member.name.starts_with(folder + "pass-"))
        rows.append(io::SequenceDigest::parse(member.facts.at("rows_digest").get<std::string>(),
                                              member.name));
    hash.update("\n").update(rows.text());
  }
  return hash.hex();
}

/// Bytes of all rows, without what is around them in their files.
std::uint64_t row_bytes_of(const io::LogitFacts& facts, std::span<const io::Member> members) {
  if (!facts.layout.ragged()) return facts.samples * facts.passes * facts.layout.row_bytes();
  std::uint64_t bytes = 0;
  for (const io::Member& member : members)
    if (member.facts.contains("row_begin"))
      bytes += member.facts.at("row_begin").at("end").get<std::uint64_t>();
  return bytes;
}

class Teach : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    using core::OptionEffect;
    table.group("Teacher and data");
    table.add("data", &options_.data, "Packed dataset folder; empty: none, --unlabelled alone")
        .effect = OptionEffect::input;
    options_.teacher.declare(
        table, "Teacher: a model folder, the folder of its section, or a TorchScript file");
    auto& out = table.add("out", &options_.out, "Folder for the logit shards");
    out.effect = OptionEffect::output;
    out.required = true;
    table.add("split", &options_.split, "Split whose samples the teacher answers for");
    table
        .add("unlabelled", &options_.unlabelled,
             "Packed dataset whose labels, if any, are not looked at; empty: none")
        .effect = OptionEffect::input;
    table.add("unlabelled-split", &options_.unlabelled_split, "Split of --unlabelled");
    table.add("batch", &options_.batch, "Samples that the teacher computes together");
    table
        .add("estimate", &options_.estimate,
             "Print rows, bytes and the time that it would take, and write nothing")
        .effect = OptionEffect::run;
    table.group("What is stored");
    table.add("top-k", &options_.top_k, "Classes stored for each sample, the best ones");
    table.add("sample", &options_.sample,
              "Instead of the best classes store this many draws with replacement, for distill "
              "--tail sampled; 0: none");
    table.add("sample-exponent", &options_.sample_exponent,
              "Draws follow exp(exponent * logit / temperature); 0: every class alike");
    table.add("sample-temperature", &options_.sample_temperature,
              "See --sample-exponent; at this one, with exponent 1, the student's weights are "
              "plain counts");
    table.add("top-h", &options_.top_h,
              "Labels stored for each sample of --unlabelled, the best ones with probabilities");
    table.add("temperatures", &options_.temperatures,
              "Temperatures at which the tail's log-sum-exp is stored (of draws: that of all "
              "classes), ascending");
    table.add_choice(
        "stored-precision", &options_.precision,
        {{"fp16-gaps", io::LogitPrecision::fp16_gaps}, {"fp32", io::LogitPrecision::fp32}},
        "Best classes' logits as fp32 maximum and fp16 gaps below it, or all as fp32");
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
    table.add("seed", &options_.seed, "Seed of the augmentation and of the draws");
    options_.augment.declare(table);
    options_.teacher.torchscript.declare(table);
  }

  /// Options that say nothing without another one.
  void declare_dependent(core::OptionTable& table) override {
    const auto need = [&](std::initializer_list<const char*> options, bool used, const char* why) {
      for (const char* option : options)
        if (table.given(option) && !used)
          throw core::UsageError(fmt::format("--{}: {}", option, why));
    };
    const bool labelled = !options_.data.empty();
    need({"split", "top-k", "sample"}, labelled || options_.unlabelled.empty(),
         "needs --data: there is --unlabelled alone");
    need({"unlabelled-split", "top-h"}, !options_.unlabelled.empty(), "needs --unlabelled");
    need({"sample-exponent", "sample-temperature"}, options_.sample > 0, "needs --sample");
    need({"top-k", "stored-precision"}, options_.sample == 0,
         "says how the best classes are stored, but --sample stores draws: leave one out");
  }

  void validate() const override {
    const auto at_least_one = [](const char* name, std::uint64_t value) {
      if (value < 1) throw core::UsageError(fmt::format("--{} 0: must be at least 1", name));
    };
    if (options_.data.empty() && options_.unlabelled.empty())
      throw core::UsageError("--data is required (or --unlabelled, for samples without labels)");
    at_least_one("top-k", options_.top_k);
    at_least_one("top-h", options_.top_h);
    at_least_one("passes", options_.passes);
    at_least_one("shard-samples", options_.shard_samples);
    at_least_one("batch", options_.batch);
    if (options_.sample > kMostDraws)
      throw core::UsageError(
          fmt::format("--sample {}: at most {} draws are possible", options_.sample, kMostDraws));
    if (!(options_.sample_exponent >= 0 && options_.sample_exponent < 1e6))
      throw core::UsageError(
          fmt::format("--sample-exponent {}: must be 0 or above", options_.sample_exponent));
    if (!(options_.sample_temperature > 0 && options_.sample_temperature < 1e6))
      throw core::UsageError(
          fmt::format("--sample-temperature {}: must be above 0", options_.sample_temperature));
    if (options_.passes > 1 && !options_.augment.any())
      throw core::UsageError(fmt::format(
          "--passes {}: without augmentation all passes would be equal; add augmentation options "
          "or take one pass",
          options_.passes));
    if (options_.passes > kMostPasses)
      throw core::UsageError(
          fmt::format("--passes {}: at most {} are possible", options_.passes, kMostPasses));
    if (options_.sample > 0 && options_.teacher.head == HeadPlacement::sharded)
      throw core::UsageError("--sample: draws are made from whole rows: take --head whole");
    double last = 0;
    for (const double temperature : options_.temperatures) {
      if (!(temperature > 0 && temperature < 1e6))
        throw core::UsageError(
            fmt::format("--temperatures: {} is not above 0 and below 1e6", temperature));
      if (temperature <= last)
        throw core::UsageError(
            fmt::format("--temperatures: {} does not follow {}: give positive numbers in ascending "
                        "order",
                        temperature, last));
      last = temperature;
    }
  }

  void check_inputs() const override {
    if (!labelled() || !io::has_manifest(options_.data)) return;
    const std::uint64_t classes = io::packed_class_names(options_.data).size();
    if (options_.sample == 0) check_count("top-k", options_.top_k, options_.data, classes);
    if (!options_.unlabelled.empty()) check_count("top-h", options_.top_h, options_.data, classes);
  }

  StageOutcome run(StageContext& context) override {
    std::vector<Part> parts;
    if (!options_.data.empty()) parts.push_back({open_data(options_.data, options_.split), {}});
    if (!options_.unlabelled.empty())
      parts.push_back({open_data(options_.unlabelled, options_.unlabelled_split), {}});
    const Classifier classifier = open_teacher(context.communicator, parts);
    for (Part& part : parts) part.facts = describe(classifier, part.data, form_of(part, parts));
    std::vector<Capture> captures;
    captures.reserve(parts.size());
    for (const Part& part : parts)
      captures.push_back(
          {classifier.model, part.data, part.facts, options_.augment, options_.batch});
    if (options_.estimate) return estimate(context, captures);

    const std::string recipe = recipe_hash(context, classifier.inputs);
    if (is_complete(context, options_.out, recipe, "logits")) {
      core::log_info("{}: already complete", options_.out.string());
      return StageOutcome::done;
    }
    const io::RunFolder folder = io::RunFolder::open(
        context.communicator, options_.out, recipe,
        context.take_over ? io::RunFolder::TakeOver::yes : io::RunFolder::TakeOver::no);
    io::on_root(context.communicator, [&] { io::remove_marks(options_.out); });
    const auto marks = std::make_shared<io::SampleMarks>(options_.out, context.communicator.rank());
    for (Capture& capture : captures) capture.marks = marks;
    const core::Stopwatch watch;
    io::MemberLedger ledger(options_.out, recipe);
    nlohmann::json results = nlohmann::json::object();
    for (const Capture& capture : captures) {
      const CaptureOutcome outcome = run_capture(context, capture, ledger);
      if (outcome.stopped) {
        core::log_info("{}: stopped on request with {} of {} shards complete; start again to go on",
                       options_.out.string(), outcome.complete, outcome.shards);
        return StageOutcome::stopped;
      }
      const std::string prefix = prefix_of(capture.facts);
      results[prefix + "computed"] = outcome.computed_samples;
      results[prefix + "computed_by_rank"] = outcome.computed_by_rank;
      results[prefix + "shards_by_rank"] = outcome.shards_by_rank;
      results[prefix + "time"] = outcome.time;
      core::log_info("{}", phase_line(outcome.time));
    }
    results["seconds"] = watch.seconds();
    seal(context, parts, recipe, ledger, results);
    return StageOutcome::done;
  }

 private:
  static constexpr std::uint64_t kMostPasses = 100;  // two digits in names of folders
  static constexpr std::uint64_t kMostDraws = 65535;
  static constexpr std::uint64_t kLargestRows = std::uint64_t{240} << 20;

  static io::PackedDataset open_data(const std::filesystem::path& folder,
                                     const std::string& split) {
    io::PackedDataset data(folder, split);
    if (data.size() == 0)
      throw core::DataError(
          fmt::format("{}: split {} is empty: nothing to teach", folder.string(), split));
    return data;
  }

  bool labelled() const { return !options_.data.empty(); }
  io::RowForm form_of(const Part& part, std::span<const Part> parts) const {
    if (!labelled() || &part != parts.data()) return io::RowForm::top_h;
    return options_.sample > 0 ? io::RowForm::sampled : io::RowForm::top_k;
  }

  Classifier open_teacher(comm::Communicator& communicator, std::span<const Part> parts) const {
    Classifier classifier =
        labelled()
            ? open_classifier(communicator, options_.teacher, parts[0].data, options_.data)
            : open_unlabelled(communicator, options_.teacher, parts[0].data, options_.unlabelled);
    if (parts.size() > 1) {
      check_input_fit(classifier.model, options_.teacher.model, parts[1].data, options_.unlabelled);
      classifier.inputs += fmt::format("unlabelled {}\n", parts[1].data.digest());
    }
    for (const Part& part : parts) io::check_augmentable(part.data.facts(), options_.augment);
    return classifier;
  }

  void check_count(const char* option, std::uint64_t count, const std::filesystem::path& knows,
                   std::uint64_t classes) const {
    if (count > classes)
      throw core::UsageError(
          fmt::format("--{} {}: {} knows only {} classes", option, count, knows.string(), classes));
  }

  io::LogitLayout layout_of(std::uint64_t classes, io::RowForm form) const {
    io::LogitLayout layout;
    layout.classes = classes;
    layout.form = form;
    layout.ids = options_.ids;
    const auto listed = [&](const char* option, std::uint64_t count) {
      check_count(option, count, options_.teacher.model, classes);
      return static_cast<std::uint32_t>(count);
    };
    if (form == io::RowForm::top_h) {
      layout.top_k = listed("top-h", options_.top_h);
    } else if (form == io::RowForm::sampled) {
      layout.sampling = {static_cast<std::uint32_t>(options_.sample), options_.sample_exponent,
                         options_.sample_temperature};
    } else {
      layout.top_k = listed("top-k", options_.top_k);
      layout.precision = options_.precision;
    }
    if (form != io::RowForm::top_h) layout.temperatures = options_.temperatures;
    layout.validate();
    return layout;
  }

  io::LogitFacts describe(const Classifier& classifier, const io::PackedDataset& data,
                          io::RowForm form) const {
    const LoadedModel& teacher = classifier.model;
    io::LogitFacts facts;
    facts.layout = layout_of(teacher.description.class_names.size(), form);
    facts.samples = data.size();
    facts.passes = options_.passes;
    facts.shard_samples = options_.shard_samples;
    facts.seed = options_.seed;
    facts.augment = options_.augment.text();
    facts.data_digest = data.digest();
    facts.class_digest = teacher.description.class_digest;
    facts.teacher_digest = teacher.digest;
    facts.class_map = classifier.class_map;
    facts.split = form == io::RowForm::top_h ? options_.unlabelled_split : options_.split;
    const std::uint64_t row_bytes = facts.layout.most_row_bytes();
    if (std::min(facts.shard_samples, facts.samples) > kLargestRows / row_bytes)
      throw core::UsageError(fmt::format(
          "--shard-samples {}: rows of {} bytes would make shards above 256 MB; take at most {}",
          facts.shard_samples, row_bytes, kLargestRows / row_bytes));
    return facts;
  }

  static std::string prefix_of(const io::LogitFacts& facts) {
    return io::part_of(facts) == io::LogitPart::unlabelled ? "unlabelled_" : "";
  }
  static void add_size(nlohmann::json& results, const io::LogitFacts& facts, double bytes) {
    const std::string prefix = prefix_of(facts);
    const std::uint64_t rows = facts.samples * facts.passes;
    results[prefix + "rows"] = rows;
    if (facts.layout.ragged())
      results[prefix + "bytes_per_row"] = bytes / static_cast<double>(rows);
    else
      results[prefix + "bytes_per_row"] = facts.layout.row_bytes();
    results[prefix + "bytes"] = static_cast<std::uint64_t>(bytes);
    results[prefix + "shards"] = io::logit_shard_count(facts) * facts.passes;
  }

  static StageOutcome estimate(StageContext& context, std::span<const Capture> captures) {
    nlohmann::json results = nlohmann::json::object();
    double seconds = 0;
    for (const Capture& capture : captures) {
      const CaptureRate rate = measure_rate(context, capture);
      const auto rows = static_cast<double>(capture.facts.samples * capture.facts.passes);
      add_size(results, capture.facts, rows * rate.bytes_per_row);
      results[prefix_of(capture.facts) + "samples_per_second"] = rate.samples_per_second;
      seconds += rows / rate.samples_per_second;
    }
    results["seconds"] = seconds;
    print_results(context, results);
    if (!context.json)
      core::log_info("would take about {} on {} ranks with {} threads each",
                     core::duration_text(seconds), context.communicator.size(), context.threads);
    return StageOutcome::done;
  }

  void seal(StageContext& context, std::span<const Part> parts, const std::string& recipe,
            io::MemberLedger& ledger, nlohmann::json& results) const {
    io::Manifest manifest;
    manifest.kind = "logits";
    for (const Part& part : parts) io::add_part(manifest.facts, part.facts);
    io::on_root(context.communicator, [&] {
      const std::vector<io::Member> members = ledger.records();
      for (const Part& part : parts)
        add_size(results, part.facts, static_cast<double>(row_bytes_of(part.facts, members)));
      manifest.content_digest = content_digest(parts, members);
      manifest.companions = write_companions(context, options_.out, recipe, manifest.content_digest,
                                             with_circumstances(context, results));
    });
    ledger.seal(context.communicator, manifest);
    print_results(context, results);
  }

  TeachOptions options_;
};

}  // namespace

std::unique_ptr<Stage> make_teach() { return std::make_unique<Teach>(); }

}  // namespace retort::stages
