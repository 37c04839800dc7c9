// evaluate: how good a model is on a labelled split.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/fault_point.h"
#include "core/hash.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/atomic_file.h"
#include "io/manifest.h"
#include "stages/classifier.h"
#include "stages/scoring.h"
#include "stages/section_output.h"
#include "stages/sharded_scoring.h"
#include "stages/stage.h"

namespace retort::stages {

namespace {

constexpr std::size_t kTogether = std::size_t{1}
                                  << 20;  // bytes of predictions that are written at once

struct EvaluateOptions {
  ClassifierOptions classifier;
  std::filesystem::path data, out, predictions;
  std::string split = "test";
  std::uint64_t batch = 256;
  std::uint64_t bins = 15;
  std::uint64_t confusions = 20;
  std::uint64_t top_n = 5;
  std::uint64_t examples = 4;
};

/// UsageError for a file that a finished result above it names.
void require_no_member(const std::filesystem::path& file) {
  std::error_code code;
  if (file.empty() || !std::filesystem::is_regular_file(file, code)) return;
  const auto path = std::filesystem::absolute(file).lexically_normal();
  for (auto folder = path.parent_path(); folder.has_relative_path();
       folder = folder.parent_path()) {
    if (!io::has_manifest(folder)) continue;
    std::vector<std::string> names{"manifest.json"};
    try {
      const io::Manifest manifest = io::read_manifest(folder);
      names.insert(names.end(), manifest.companions.begin(), manifest.companions.end());
      for (const auto& member : manifest.members) names.push_back(member.name);
    } catch (const core::DataError&) {
      // Somebody else's, or damaged: it names nothing.
    }
    if (std::find(names.begin(), names.end(), path.lexically_relative(folder).generic_string()) !=
        names.end())
      throw core::UsageError(
          fmt::format("--predictions {}: is a file of the result in {}; name another file",
                      file.string(), folder.string()));
  }
}

/// Expected calibration error over equal-width bins of confidence (Guo et al. 2017, eq. 3).
double calibration_error(std::span<const SampleScore> scores, std::uint64_t bins) {
  struct Bin {
    double confidence = 0, correct = 0, count = 0;
  };
  std::vector<Bin> table(bins);
  double total = 0;
  for (const auto& score : scores) {
    if (score.gold_rank == kUnlabelled) continue;
    const auto index = static_cast<std::size_t>(score.confidence * static_cast<float>(bins));
    Bin& bin = table[std::min<std::size_t>(index, bins - 1)];
    bin.confidence += static_cast<double>(score.confidence);
    bin.correct += score.gold_rank == 0 ? 1 : 0;
    bin.count += 1;
    total += 1;
  }
  double error = 0;
  for (const Bin& bin : table)
    if (bin.count > 0) error += std::abs(bin.correct - bin.confidence) / total;
  return error;
}

struct ClassScore {
  std::uint64_t samples = 0, right = 0;
};

std::vector<ClassScore> per_class(std::span<const SampleScore> scores,
                                  const io::PackedDataset& data) {
  std::vector<ClassScore> table(data.facts().class_names.size());
  for (std::uint64_t i = 0; i < scores.size(); ++i)
    for (const std::uint32_t gold : data.labels(i)) {
      ++table[gold].samples;
      table[gold].right += scores[i].predicted == gold ? 1 : 0;
    }
  return table;
}

struct Confusion {
  std::uint32_t gold = 0, predicted = 0;
  std::uint64_t count = 0;
};

std::vector<Confusion> worst_confusions(std::span<const SampleScore> scores,
                                        const io::PackedDataset& data, std::uint64_t most) {
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> counts;
  for (std::uint64_t i = 0; i < scores.size(); ++i)
    if (scores[i].gold_rank != 0)
      for (const std::uint32_t gold : data.labels(i)) ++counts[{gold, scores[i].predicted}];
  std::vector<Confusion> list;
  list.reserve(counts.size());
  for (const auto& [pair, count] : counts) list.push_back({pair.first, pair.second, count});
  std::stable_sort(list.begin(), list.end(),
                   [](const auto& a, const auto& b) { return a.count > b.count; });
  list.resize(std::min<std::size_t>(list.size(), most));
  return list;
}

constexpr std::size_t kClassesWithExamples = 20;

/// Of the labelled classes with the lowest recall (ties: the lower id): each with its wrongly
/// answered samples, the most confident first.
nlohmann::json worst_examples(std::span<const SampleScore> scores, const io::PackedDataset& data,
                              std::span<const ClassScore> classes, std::uint64_t most) {
  std::vector<std::uint32_t> worst;
  for (std::uint32_t c = 0; c < classes.size(); ++c)
    if (classes[c].right < classes[c].samples) worst.push_back(c);
  const auto recall = [&](std::uint32_t c) {
    return static_cast<double>(classes[c].right) / static_cast<double>(classes[c].samples);
  };
  std::stable_sort(worst.begin(), worst.end(),
                   [&](auto a, auto b) { return recall(a) < recall(b); });
  worst.resize(std::min(worst.size(), kClassesWithExamples));
  std::map<std::uint32_t, std::vector<std::uint64_t>> samples;
  for (const std::uint32_t c : worst) samples[c];
  for (std::uint64_t i = 0; i < scores.size(); ++i)
    for (const std::uint32_t gold : data.labels(i))
      if (const auto found = samples.find(gold);
          found != samples.end() && scores[i].predicted != gold)
        found->second.push_back(i);
  nlohmann::json examples = nlohmann::json::array();
  for (const std::uint32_t c : worst) {
    auto& wrong = samples[c];
    std::stable_sort(wrong.begin(), wrong.end(),
                     [&](auto a, auto b) { return scores[a].confidence > scores[b].confidence; });
    wrong.resize(std::min<std::size_t>(wrong.size(), most));
    for (const std::uint64_t i : wrong)
      examples.push_back({{"class", c},
                          {"sample", i},
                          {"predicted", scores[i].predicted},
                          {"confidence", std::round(1e4 * scores[i].confidence) / 1e4}});
  }
  return examples;
}

class Evaluate : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    using core::OptionEffect;
    table.group("Evaluation");
    options_.classifier.declare(table,
                                "Model folder, the folder of its section, or a TorchScript file");
    auto& data = table.add("data", &options_.data, "Packed dataset folder");
    data.effect = OptionEffect::input;
    data.required = true;
    table.add("split", &options_.split, "Split to score");
    table.add("out", &options_.out, "Folder for results.json and details.json; empty: print only")
        .effect = OptionEffect::output;
    table.add("batch", &options_.batch, "Samples computed together");
    table.add("bins", &options_.bins, "Bins of the calibration error");
    table.add("confusions", &options_.confusions, "Confused pairs to list, most frequent first");
    table
        .add("predictions", &options_.predictions,
             "File for one line of JSON a sample: its labels and the best classes; empty: none")
        .effect = OptionEffect::output;
    table.add("top-n", &options_.top_n, "Classes that --predictions lists of each sample").effect =
        OptionEffect::run;
    table.add("examples", &options_.examples,
              "Wrongly answered samples to list of each class with low recall");
    options_.classifier.torchscript.declare(table);
  }
  void validate() const override {
    if (options_.batch < 1) throw core::UsageError("--batch 0: must be at least 1");
    if (options_.top_n < 1) throw core::UsageError("--top-n 0: must be at least 1");
    if (options_.bins < 1) throw core::UsageError("--bins 0: must be at least 1");
    io::require_no_folder(options_.predictions, "--predictions");
    require_no_member(options_.predictions);
  }

  StageOutcome run(StageContext& context) override {
    const auto start = std::chrono::steady_clock::now();
    const io::PackedDataset data(options_.data, options_.split);
    const Classifier classifier =
        open_classifier(context.communicator, options_.classifier, data, options_.data);
    const LoadedModel& loaded = classifier.model;
    const std::string recipe = recipe_hash(context, classifier.inputs);
    if (!options_.out.empty() && is_sealed(context, options_.out, recipe) &&
        options_.predictions.empty()) {
      core::log_info("{}: already complete", options_.out.string());
      return StageOutcome::done;
    }
    Workers workers(context.threads);
    const SplitScores split = score(context.communicator, workers, loaded, data);
    const std::vector<SampleScore>& scores = split.samples;
    const ScoreSummary summary = summarise(scores);
    if (summary.samples == 0)
      throw core::DataError(fmt::format("{}: split {} has no labelled samples: nothing to score",
                                        options_.data.string(), options_.split));
    const auto classes = per_class(scores, data);
    double recall = 0, seen = 0;
    for (const auto& c : classes)
      if (c.samples > 0) {
        recall += static_cast<double>(c.right) / static_cast<double>(c.samples);
        seen += 1;
      }
    nlohmann::json results = {{"top1", summary.top1},
                              {"top5", summary.top5},
                              {"loss", summary.loss},
                              {"mean_recall", recall / seen},
                              {"calibration_error", calibration_error(scores, options_.bins)},
                              {"samples", summary.samples}};
    if (loaded.parameter_count > 0) results["parameters"] = loaded.parameter_count;
    if (!classifier.class_map.empty()) results["class_map"] = classifier.class_map;
    const nlohmann::json details = describe(loaded, data, scores, classes);
    results["seconds"] =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!context.json && !context.in_plan) print(context, details);
    if (!options_.predictions.empty()) write_predictions(context, data, split);
    write(context, recipe, results, details);
    return StageOutcome::done;
  }

 private:
  SplitScores score(comm::Communicator& communicator, Workers& workers, const LoadedModel& loaded,
                    const io::PackedDataset& data) const {
    const std::uint64_t top_n = options_.predictions.empty() ? 0 : options_.top_n;
    if (!loaded.head)
      return score_split_with_labels(communicator, workers, network_of(loaded), data,
                                     loaded.description, options_.batch, top_n);
    ShardedHead head(communicator, workers, head_settings(loaded));
    return score_split_sharded(communicator, workers, network_of(loaded), head,
                               loaded.head->weights(), data, loaded.description, options_.batch,
                               top_n);
  }

  nlohmann::json describe(const LoadedModel& loaded, const io::PackedDataset& data,
                          std::span<const SampleScore> scores,
                          std::span<const ClassScore> classes) const {
    const auto& names = loaded.description.class_names;
    nlohmann::json details = {
        {"classes", nlohmann::json::array()},
        {"confusions", nlohmann::json::array()},
        {"data_digest", data.digest()},
        {"examples", worst_examples(scores, data, classes, options_.examples)}};
    for (std::size_t c = 0; c < classes.size(); ++c)
      details["classes"].push_back(
          {{"name", names[c]}, {"samples", classes[c].samples}, {"right", classes[c].right}});
    for (const auto& pair : worst_confusions(scores, data, options_.confusions))
      details["confusions"].push_back({{"gold", names[pair.gold]},
                                       {"predicted", names[pair.predicted]},
                                       {"count", pair.count}});
    return details;
  }

  void print(StageContext& context, const nlohmann::json& details) const {
    if (!context.communicator.root()) return;
    std::vector<const nlohmann::json*> worst;
    for (const auto& c : details["classes"])
      if (c["samples"] > 0) worst.push_back(&c);
    const auto rate = [](const nlohmann::json& c) {
      return c["right"].get<double>() / c["samples"].get<double>();
    };
    std::stable_sort(worst.begin(), worst.end(),
                     [&](const auto* a, const auto* b) { return rate(*a) < rate(*b); });
    // Names of classes may hold blanks and commas.
    std::vector<std::string> items;
    for (std::size_t i = 0; i < std::min<std::size_t>(10, worst.size()); ++i)
      items.push_back(fmt::format("{} {}/{}", (*worst[i])["name"].get<std::string>(),
                                  (*worst[i])["right"].get<std::uint64_t>(),
                                  (*worst[i])["samples"].get<std::uint64_t>()));
    if (!items.empty()) fmt::print("lowest recall: {}\n", fmt::join(items, "; "));
    items.clear();
    for (const auto& pair : details["confusions"])
      items.push_back(fmt::format("{} as {} {}x", pair["gold"].get<std::string>(),
                                  pair["predicted"].get<std::string>(),
                                  pair["count"].get<std::uint64_t>()));
    if (!items.empty())
      fmt::print("most confused (gold as predicted): {}\n", fmt::join(items, "; "));
  }

  void write_predictions(StageContext& context, const io::PackedDataset& data,
                         const SplitScores& scores) const {
    io::on_root(context.communicator, [&] {
      const auto& names = data.facts().class_names;
      io::AtomicFile file(options_.predictions);
      std::string text;
      for (std::uint64_t sample = 0; sample < scores.samples.size(); ++sample) {
        nlohmann::ordered_json line = {{"sample", sample}, {"labels", nlohmann::json::array()}};
        for (const std::uint32_t gold : data.labels(sample)) line["labels"].push_back(names[gold]);
        for (std::uint64_t i = 0; i < scores.top_n; ++i) {
          const Label& label = scores.labels[sample * scores.top_n + i];
          line["best"].push_back({{"name", names[label.id]}, {"probability", label.probability}});
        }
        text += line.dump() + "\n";
        if (text.size() < kTogether && sample + 1 < scores.samples.size()) continue;
        file.write(text);
        text.clear();
      }
      file.commit();
    });
  }

  void write(StageContext& context, const std::string& recipe, const nlohmann::json& results,
             const nlohmann::json& details) const {
    if (options_.out.empty()) {
      print_results(context, results);
      return;
    }
    nlohmann::json content = results;
    content.erase("seconds");
    content["details"] = details;
    io::Member member{"details.json", {}};
    io::on_root(context.communicator, [&] {
      const core::FaultPlace place("commit");
      begin_section(context, options_.out, recipe);
      member.seal =
          io::write_file(options_.out / member.name, std::string_view(details.dump(1) + "\n"));
    });
    seal_section(context, options_.out, recipe, core::sha256_hex(std::string_view(content.dump())),
                 {std::move(member)}, results);
  }

  EvaluateOptions options_;
};

}  // namespace

std::unique_ptr<Stage> make_evaluate() { return std::make_unique<Evaluate>(); }

}  // namespace retort::stages
