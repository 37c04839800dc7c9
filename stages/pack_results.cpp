#include "stages/pack_results.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/atomic_file.h"
#include "stages/section_output.h"

namespace retort::stages {

using core::DataError;

PackTally tally_up(const std::vector<io::Member>& members, const io::Catalogue& catalogue,
                   const io::ShardPlan& plan) {
  PackTally tally;
  std::map<std::pair<std::string, std::uint64_t>, io::PackedShardFacts> shards;
  std::map<std::string, std::uint64_t> bytes;
  for (const io::Member& member : members) {
    tally.bytes += member.seal.size;
    if (member.name == io::kPackedClassesName) continue;
    auto facts = io::PackedShardFacts::from_json(member.facts, member.name);
    bytes[facts.split] += member.seal.size;
    shards.emplace(std::pair(facts.split, facts.shard), std::move(facts));
  }
  if (shards.size() != plan.parts.size())
    throw core::InternalError(
        fmt::format("{} shards were written, {} planned", shards.size(), plan.parts.size()));
  for (std::size_t s = 0; s < catalogue.splits.size(); ++s) {
    PackTally::Split split;
    split.name = catalogue.splits[s];
    split.bytes = bytes[split.name];
    split.class_counts.resize(catalogue.class_names.size());
    for (const std::uint64_t item : plan.items[s]) {
      const auto labels = catalogue.labels(item);
      split.unlabelled += labels.empty() ? 1 : 0;
      split.several_labels += labels.size() > 1 ? 1 : 0;
      for (const std::uint32_t label : labels) ++split.class_counts[label];
    }
    for (auto it = shards.lower_bound({split.name, 0});
         it != shards.end() && it->first.first == split.name; ++it) {
      const io::PackedShardFacts& facts = it->second;
      split.digest.append(facts.digest);
      split.bad += facts.bad_items.size();
      for (const std::uint64_t bad : facts.bad_items) {
        const auto labels = catalogue.labels(plan.items[s].at(bad));
        split.unlabelled -= labels.empty() ? 1 : 0;
        split.several_labels -= labels.size() > 1 ? 1 : 0;
        for (const std::uint32_t label : labels) --split.class_counts[label];
      }
      for (const auto& bad : facts.bad_samples)
        if (tally.bad_samples.size() < 20) tally.bad_samples.push_back(bad);
    }
    tally.bad += split.bad;
    tally.splits.push_back(std::move(split));
  }
  return tally;
}

void check_packed(const PackTally& tally, const io::Catalogue& catalogue) {
  std::vector<std::uint64_t> sound(catalogue.class_names.size()), listed(sound);
  for (std::uint64_t i = 0; i < catalogue.size(); ++i)
    for (const std::uint32_t label : catalogue.labels(i)) ++listed[label];
  for (const auto& split : tally.splits) {
    if (split.digest.count() == 0)
      throw DataError(
          fmt::format("split {} is empty: all its {} pictures are broken", split.name, split.bad));
    for (std::size_t c = 0; c < sound.size(); ++c) sound[c] += split.class_counts[c];
  }
  for (std::size_t c = 0; c < sound.size(); ++c)
    if (listed[c] > 0 && sound[c] == 0)
      throw DataError(fmt::format("class {} has no sound picture; add one or remove the class",
                                  catalogue.class_names[c]));
  for (const auto& split : tally.splits) {
    if (split.name != "train") continue;
    const auto& counts = split.class_counts;
    const auto absent = std::count(counts.begin(), counts.end(), 0u);
    if (absent == 0 || split.unlabelled == split.digest.count()) continue;
    const auto first = std::find(counts.begin(), counts.end(), 0u) - counts.begin();
    core::log_warning("{} of {} classes have no sample in split train, the first is {}", absent,
                      sound.size(), catalogue.class_names[static_cast<std::size_t>(first)]);
  }
}

io::Manifest packed_manifest(const PackTally& tally, const io::Catalogue& catalogue,
                             const io::PackForm& form, const std::string& source,
                             std::uint64_t shard_samples) {
  io::Manifest manifest;
  manifest.kind = io::kPackedManifestKind;
  manifest.format_version = io::kPackedFormatVersion;
  const std::string class_digest = io::packed_class_digest(catalogue.class_names);
  manifest.facts = {{"form", io::name_of(form.form)},
                    {"height", form.shape.height},
                    {"width", form.shape.width},
                    {"channels", form.shape.channels},
                    {"classes", catalogue.class_names.size()},
                    {"class_digest", class_digest},
                    {"shard_samples", shard_samples},
                    {"source", catalogue.facts},
                    {"splits", nlohmann::json::array()}};
  manifest.facts["source"]["kind"] = source;
  std::map<std::string, std::string> digests;
  for (const auto& split : tally.splits) {
    digests[split.name] =
        io::packed_split_digest(form.form, form.shape, class_digest, split.digest);
    manifest.facts["splits"].push_back({{"name", split.name},
                                        {"samples", split.digest.count()},
                                        {"bad", split.bad},
                                        {"digest", digests[split.name]}});
  }
  core::Sha256 content;
  content.update("retort packed dataset 1").update(class_digest);
  for (const auto& [name, digest] : digests)
    content.update_u64(name.size()).update(name).update(digest);
  manifest.content_digest = content.hex();
  return manifest;
}

nlohmann::json pack_results(const io::Manifest& manifest, const PackTally& tally,
                            const io::Catalogue& catalogue) {
  nlohmann::json results = {{"form", manifest.facts.at("form")},
                            {"height", manifest.facts.at("height")},
                            {"width", manifest.facts.at("width")},
                            {"channels", manifest.facts.at("channels")},
                            {"classes", catalogue.class_names.size()},
                            {"bytes", tally.bytes},
                            {"bad", tally.bad},
                            {"class_digest", manifest.facts.at("class_digest")},
                            {"digest", manifest.content_digest},
                            {"source", manifest.facts.at("source")}};
  std::uint64_t samples = 0;
  for (std::size_t s = 0; s < tally.splits.size(); ++s) {
    const auto& split = tally.splits[s];
    std::vector<std::uint64_t> counts;
    for (const std::uint64_t count : split.class_counts)
      if (count > 0) counts.push_back(count);
    std::sort(counts.begin(), counts.end());
    samples += split.digest.count();
    results["splits"].push_back(
        {{"name", split.name},
         {"samples", split.digest.count()},
         {"bad", split.bad},
         {"classes", counts.size()},
         {"per_class_min", counts.empty() ? 0 : counts.front()},
         {"per_class_median", counts.empty() ? 0 : counts[counts.size() / 2]},
         {"per_class_max", counts.empty() ? 0 : counts.back()},
         {"bytes", split.bytes},
         {"digest", manifest.facts.at("splits").at(s).at("digest")}});
    if (split.unlabelled > 0) results["splits"].back()["unlabelled"] = split.unlabelled;
    if (split.several_labels > 0) results["splits"].back()["several_labels"] = split.several_labels;
  }
  results["samples"] = samples;
  for (const auto& bad : tally.bad_samples)
    results["bad_samples"].push_back({{"name", bad.name}, {"reason", bad.reason}});
  return results;
}

void print_pack(const StageContext& context, const nlohmann::json& results) {
  if (context.json || context.in_plan) {
    print_results(context, results);
    return;
  }
  if (results.contains("bad_samples")) {
    fmt::print("{} broken pictures were left out:\n", results.at("bad").get<std::uint64_t>());
    for (const auto& bad : results.at("bad_samples"))
      fmt::print("  {}: {}\n", bad.at("name").get<std::string>(),
                 bad.at("reason").get<std::string>());
  }
  fmt::print("{:<12} {:>10} {:>8}  {:<20} {:>12}  digest\n", "split", "samples", "classes",
             "per class", "bytes");
  for (const auto& split : results.at("splits"))
    fmt::print("{:<12} {:>10} {:>8}  {:<20} {:>12}  {:.16}\n", split.at("name").get<std::string>(),
               split.at("samples").get<std::uint64_t>(), split.at("classes").get<std::uint64_t>(),
               fmt::format("{}..{}, median {}", split.at("per_class_min").get<std::uint64_t>(),
                           split.at("per_class_max").get<std::uint64_t>(),
                           split.at("per_class_median").get<std::uint64_t>()),
               split.at("bytes").get<std::uint64_t>(), split.at("digest").get<std::string>());
  for (const auto& split : results.at("splits"))
    for (const auto& [field, what] : {std::pair("unlabelled", "without label"),
                                      std::pair("several_labels", "of several labels")})
      if (split.contains(field))
        fmt::print("{}: {} samples {}\n", split.at("name").get<std::string>(),
                   split.at(field).get<std::uint64_t>(), what);
  const std::string form = results.at("form").get<std::string>();
  const std::string shape =
      form == io::name_of(io::SampleForm::text)
          ? ""
          : fmt::format(" {}x{}x{}", results.at("height").get<std::uint64_t>(),
                        results.at("width").get<std::uint64_t>(),
                        results.at("channels").get<std::uint64_t>());
  fmt::print("{}{}, {} classes, digest {}\n", form, shape,
             results.at("classes").get<std::uint64_t>(), results.at("digest").get<std::string>());
  std::fflush(stdout);
}

}  // namespace retort::stages
