#include "pipeline/binding.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::pipeline {
namespace {

using core::UsageError;

const stages::StageEntry& stage_of(const PlanSection& section) {
  if (const auto* entry = stages::find_stage(section.stage)) return *entry;
  std::vector<std::string> known;
  for (const auto& entry : stages::stage_registry()) known.emplace_back(entry.name);
  const auto nearest = core::nearest_word(section.stage, known);
  throw UsageError(fmt::format(
      "{}: [{}]: there is no stage '{}'; {}", section.origin, section.name, section.stage,
      nearest.empty() ? fmt::format("stages are {}", fmt::join(known, ", "))
                      : "did you mean " + nearest + "?"));
}

/// Relative paths of inputs, seen from `base`. Pieces of a list are taken one by one.
std::string from_base(const std::string& text, const std::filesystem::path& base) {
  std::vector<std::string> paths;
  for (std::size_t at = 0; at <= text.size();) {
    const auto comma = std::min(text.find(',', at), text.size());
    const std::filesystem::path path = text.substr(at, comma - at);
    paths.push_back(path.empty() || path.is_absolute() ? path.string() : (base / path).string());
    at = comma + 1;
  }
  return fmt::format("{}", fmt::join(paths, ","));
}

bool is_below(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const auto relative = std::filesystem::absolute(path).lexically_normal().lexically_relative(
      std::filesystem::absolute(folder).lexically_normal());
  return !relative.empty() && *relative.begin() != "..";
}

bool is_reference(const std::string& text) {
  const auto pieces = value_pieces(text);
  return std::any_of(pieces.begin(), pieces.end(),
                     [](const ValuePiece& piece) { return piece.section.has_value(); });
}

/// Options of the section as given to the stage. `declared`: the stage's options, for their effect.
std::vector<stages::GivenOption> given_options(const Plan& plan, const Graph& graph,
                                               const Instance& instance, const Place& place,
                                               const core::OptionTable& declared) {
  const auto& section = plan.sections[instance.section];
  std::vector<stages::GivenOption> given;
  bool has_seed = false;
  for (const auto& option : section.options) {
    auto text = resolve(plan, graph, instance, option.text, place.run);
    const auto* known = declared.find(option.name);
    if (known && known->effect == core::OptionEffect::input && !place.base.empty() &&
        !is_reference(option.text))
      text = from_base(text, place.base);
    has_seed = has_seed || option.name == "seed";
    given.push_back({option.name, text, fmt::format("{}: [{}]", option.origin, section.name)});
  }
  const auto origin = fmt::format("{}: [{}]", section.origin, section.name);
  if (instance.seed && !section.seeds.empty()) {
    if (has_seed)
      throw UsageError(fmt::format("{}: both seeds and seed are given; keep one", origin));
    if (!declared.find("seed"))
      throw UsageError(fmt::format(
          "{}: stage {} has no seed: every run would be the same; remove seeds from this section",
          origin, section.stage));
  }
  if (instance.seed && !has_seed && declared.find("seed"))
    given.push_back({"seed", fmt::format("{}", *instance.seed), origin});
  if (!declared.find("out"))
    throw UsageError(
        fmt::format("{}: stage {} writes no folder; a plan can't hold it", origin, section.stage));
  given.push_back({"out", (place.run / instance.name).string(), origin});
  return given;
}

}  // namespace

BoundSection bind(const Plan& plan, const Graph& graph, const Instance& instance,
                  const Place& place) {
  const auto& section = plan.sections[instance.section];
  const auto& entry = stage_of(section);
  const auto scratch = entry.make();
  core::OptionTable declared;
  scratch->declare(declared);
  const auto given = given_options(plan, graph, instance, place, declared);

  BoundSection bound;
  bound.stage_name = section.stage;
  bound.stage = entry.make();
  bound.folder = place.run / instance.name;
  try {
    stages::apply_options(*bound.stage, bound.table, given);
  } catch (const UsageError& error) {
    // Errors of a single option name its origin; the others belong to the section as a whole.
    const std::string text = error.what();
    const bool located = std::any_of(given.begin(), given.end(), [&text](const auto& option) {
      return text.rfind(option.origin, 0) == 0;
    });
    if (located) throw;
    throw UsageError(fmt::format("{}: [{}]: {}", origin_of(section, text), section.name, text));
  }
  return bound;
}

void check_inputs(const Plan& plan, const Graph& graph, const Instance& instance,
                  const Place& place) {
  const auto& section = plan.sections[instance.section];
  const auto bound = bind(plan, graph, instance, place);
  for (const auto& option : section.options) {
    const auto* known = bound.table.find(option.name);
    if (!known || known->effect != core::OptionEffect::input || is_reference(option.text)) continue;
    const std::string path = known->print();
    // What lies in the run folder may be a section's that is still to run.
    if (path.empty() || is_below(path, place.run) || stages::is_there(path)) continue;
    throw UsageError(
        fmt::format("{}: [{}]: {} = {}: there is no such file or folder; check the path",
                    option.origin, section.name, option.name, path));
  }
  try {
    bound.stage->check_inputs();
  } catch (const UsageError& error) {
    throw UsageError(
        fmt::format("{}: [{}]: {}", origin_of(section, error.what()), section.name, error.what()));
  } catch (const core::DataError&) {
    // Named when the section comes to it; others may run before.
  }
}

std::string origin_of(const PlanSection& section, const std::string& message) {
  for (const auto& option : section.options) {
    const std::string words = "--" + option.name;
    if (message.rfind(words, 0) != 0) continue;
    const std::size_t end = words.size();
    if (end == message.size() || message[end] == ' ' || message[end] == ':') return option.origin;
  }
  return section.origin;
}

std::vector<BoundSection> bind_all(const Plan& plan, const Graph& graph, const Place& place) {
  std::vector<BoundSection> bound;
  for (const auto& instance : graph.instances) bound.push_back(bind(plan, graph, instance, place));
  return bound;
}

}  // namespace retort::pipeline
