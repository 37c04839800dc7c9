#include "pipeline/judge.h"

#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "io/manifest.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

/// True if the folder of a section with seeds holds what a run without seeds left.
bool holds_unseeded_output(const fs::path& folder) {
  if (!fs::is_directory(folder)) return fs::exists(folder);
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().rfind("seed-", 0) != 0) return true;
  return false;
}

}  // namespace

std::string_view standing_text(Standing standing) {
  switch (standing) {
    case Standing::up_to_date:
      return "up to date";
    case Standing::start:
      return "run";
    case Standing::resume:
      return "resume";
    case Standing::replace:
      return "run again";
    case Standing::waiting:
      break;
  }
  return "wait";
}

Judge::Judge(const Job& job, DigestCache cache)
    : job_(job),
      cache_(cache),
      digests_(job.place.run / ".plan" / "digests.json"),
      states_(job.place.run) {}

Recipe Judge::recipe(std::size_t instance) {
  const auto& section = job_.plan.sections[job_.graph.instances[instance].section];
  const auto bound = bind(job_.plan, job_.graph, job_.graph.instances[instance], job_.place);
  try {
    return recipe_of(bound.stage_name, bound.table, bound.stage->found_inputs(), digests_);
  } catch (const core::Error& error) {
    throw core::Error(error.code(),
                      fmt::format("{}: [{}]: {}", section.origin, section.name, error.what()));
  }
}

Assessment Judge::forecast(std::size_t instance, const std::vector<char>& runs) {
  std::vector<std::string> before;
  for (const auto need : job_.graph.instances[instance].needs)
    if (runs[need]) before.push_back(job_.graph.instances[need].name);
  const auto& name = job_.graph.instances[instance].name;
  if (!before.empty()) {
    const auto after = fmt::format("after {}", fmt::join(before, ", "));
    if (!holds_anything(job_.place.run / name)) return {Standing::start, after, std::nullopt};
    return {Standing::waiting, after + "; skipped if that gives the same as before", std::nullopt};
  }
  return states_.assess(name, recipe(instance));
}

Assessment Judge::prepare(std::size_t instance, AfterRestarts after) {
  started_.reset();
  const auto& name = job_.graph.instances[instance].name;
  auto judged = states_.assess(name, recipe(instance));
  if (cache_ == DigestCache::kept) digests_.save();
  switch (judged.standing) {
    case Standing::replace: {
      const auto old = states_.set_aside(name);
      judged.why += fmt::format("; the old output is in {}", old.string());
      begin(instance, *judged.recipe, after);
      break;
    }
    case Standing::start:
    case Standing::resume:
      begin(instance, *judged.recipe, after);
      break;
    case Standing::up_to_date:
    case Standing::waiting:
      break;
  }
  return judged;
}

void Judge::begin(std::size_t instance, const Recipe& recipe, AfterRestarts after) {
  start_ = states_.mark_started(job_.graph.instances[instance].name, recipe, after);
  recipe_ = recipe;
  started_ = instance;
}

std::string Judge::replace(std::size_t instance) {
  const auto& name = job_.graph.instances[instance].name;
  const auto old = states_.set_aside(name);
  begin(instance, Recipe(recipe_), AfterRestarts::retry);
  return old.string();
}

void Judge::finished(std::size_t instance, double seconds) {
  const auto& name = job_.graph.instances[instance].name;
  if (!io::has_manifest(job_.place.run / name))
    throw core::UsageError(fmt::format(
        "section {} ended without a result (no manifest.json in {}); remove options that only look "
        "ahead, such as estimate",
        name, (job_.place.run / name).string()));
  states_.mark_complete(name, recipe_, seconds);
}

void Judge::stopped(std::size_t instance) {
  if (started_ == instance) states_.mark_stopped(job_.graph.instances[instance].name, start_);
}

void Judge::failed(std::size_t instance, const core::Error& error) {
  if (started_ != instance) return;  // what the start before said stays the reason
  try {
    states_.mark_failed(job_.graph.instances[instance].name, start_, error);
  } catch (const core::Error& second) {
    core::log_debug("{}", second.what());
  }
}

Results Judge::results(std::size_t instance) const {
  const auto record = states_.record(job_.graph.instances[instance].name);
  return record ? record->results : Results();
}

std::vector<std::string> Judge::clear_ways() {
  std::vector<std::string> lines;
  std::set<std::string> seen;
  for (const auto& instance : job_.graph.instances) {
    const auto& section = job_.plan.sections[instance.section].name;
    if (!instance.seed || !seen.insert(section).second) continue;
    const auto folder = job_.place.run / section;
    if (!fs::exists(folder) || !holds_unseeded_output(folder)) continue;
    lines.push_back(fmt::format("{} was made without seeds; it is now in {}", folder.string(),
                                states_.set_aside(section).string()));
  }
  return lines;
}

}  // namespace retort::pipeline
