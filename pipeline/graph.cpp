#include "pipeline/graph.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/options.h"

namespace retort::pipeline {
namespace {

using core::UsageError;

/// A reference of one section to another.
struct Edge {
  std::size_t target = 0;
  std::optional<std::uint64_t> seed;  // pinned by "/seed-N"
  std::string origin;                 // of the option that holds it
};

std::vector<std::string> section_names(const Plan& plan) {
  std::vector<std::string> names;
  for (const auto& section : plan.sections) names.push_back(section.name);
  return names;
}

std::size_t index_of(const Plan& plan, const std::string& name, const std::string& origin) {
  const auto names = section_names(plan);
  const auto at = std::find(names.begin(), names.end(), name);
  if (at != names.end()) return static_cast<std::size_t>(at - names.begin());
  const auto nearest = core::nearest_word(name, names);
  throw UsageError(fmt::format("{}: there is no section [{}]; {}", origin, name,
                               nearest.empty()
                                   ? fmt::format("the plan has {}", fmt::join(names, ", "))
                                   : "did you mean " + nearest + "?"));
}

std::string seed_folder(std::uint64_t seed) { return fmt::format("seed-{}", seed); }

/// The seed that "/seed-2/model" pins, if it pins one.
std::optional<std::uint64_t> pinned_seed(const std::string& suffix) {
  constexpr std::string_view mark = "/seed-";
  if (suffix.rfind(mark, 0) != 0) return std::nullopt;
  const auto end = std::min(suffix.find('/', mark.size()), suffix.size());
  try {
    return parse_seeds(suffix.substr(mark.size(), end - mark.size())).at(0);
  } catch (const UsageError&) {
    return std::nullopt;
  }
}

std::vector<Edge> edges_of(const Plan& plan, std::size_t index) {
  const auto& section = plan.sections[index];
  std::vector<Edge> edges;
  for (const auto& option : section.options) {
    for (const auto& piece : value_pieces(option.text)) {
      if (!piece.section) continue;
      if (piece.section->empty() || (!piece.text.empty() && piece.text.front() != '/'))
        throw UsageError(fmt::format(
            "{}: '{}' is no reference; write @section or @section/file (@@ for a plain @)",
            option.origin, option.text));
      const auto target = index_of(plan, *piece.section, option.origin);
      if (target == index)
        throw UsageError(fmt::format("{}: section [{}] refers to itself; name another section",
                                     option.origin, section.name));
      edges.push_back({target, pinned_seed(piece.text), option.origin});
    }
  }
  return edges;
}

class Ordering {
 public:
  explicit Ordering(const Plan& plan) : plan_(plan), marks_(plan.sections.size(), Mark::fresh) {
    for (std::size_t i = 0; i < plan.sections.size(); ++i) edges_.push_back(edges_of(plan, i));
  }

  /// Depth first in the file's order: a section comes right after what it needs.
  std::vector<std::size_t> order() {
    for (std::size_t i = 0; i < plan_.sections.size(); ++i) visit(i);
    return order_;
  }
  const std::vector<Edge>& edges(std::size_t section) const { return edges_[section]; }

 private:
  enum class Mark { fresh, open, done };

  void visit(std::size_t section) {
    if (marks_[section] == Mark::done) return;
    marks_[section] = Mark::open;
    way_.push_back(section);
    for (const auto& edge : edges_[section]) {
      if (marks_[edge.target] == Mark::open) fail_cycle(edge);
      visit(edge.target);
    }
    way_.pop_back();
    marks_[section] = Mark::done;
    order_.push_back(section);
  }

  [[noreturn]] void fail_cycle(const Edge& edge) const {
    std::string text;
    for (auto at = std::find(way_.begin(), way_.end(), edge.target); at != way_.end(); ++at)
      text += plan_.sections[*at].name + " -> ";
    throw UsageError(fmt::format("{}: the sections need each other in a circle: {}{}; break it",
                                 edge.origin, text, plan_.sections[edge.target].name));
  }

  const Plan& plan_;
  std::vector<std::vector<Edge>> edges_;
  std::vector<Mark> marks_;
  std::vector<std::size_t> way_;
  std::vector<std::size_t> order_;
};

std::string seeds_text(const std::vector<std::uint64_t>& seeds) {
  return fmt::format("{}", fmt::join(seeds, ","));
}

/// The seeds at which a section runs: its own, or those of what it follows from.
std::vector<std::uint64_t> seeds_of(const Plan& plan, std::size_t index,
                                    const std::vector<Edge>& edges,
                                    const std::vector<std::vector<std::uint64_t>>& seeds) {
  const auto& section = plan.sections[index];
  auto own = section.seeds;
  std::string from = section.origin;
  for (const auto& edge : edges) {
    const auto& theirs = seeds[edge.target];
    const auto& target = plan.sections[edge.target].name;
    if (edge.seed) {
      if (std::find(theirs.begin(), theirs.end(), *edge.seed) == theirs.end())
        throw UsageError(fmt::format(
            "{}: section [{}] does not run at seed {}{}", edge.origin, target, *edge.seed,
            theirs.empty() ? "; it has no seeds" : "; its seeds are " + seeds_text(theirs)));
      continue;
    }
    if (theirs.empty()) continue;
    if (own.empty()) own = theirs;
    if (own != theirs)
      throw UsageError(fmt::format(
          "{}: section [{}] runs at seeds {} but [{}], which it needs, at {}; give both the same "
          "seeds, or name one as @{}/{}",
          edge.origin, section.name, seeds_text(own), target, seeds_text(theirs), target,
          seed_folder(theirs.front())));
  }
  return own;
}

}  // namespace

Graph build_graph(const Plan& plan) {
  Ordering ordering(plan);
  Graph graph;
  std::vector<std::vector<std::uint64_t>> seeds(plan.sections.size());
  std::vector<std::size_t> first(plan.sections.size());  // a section's first instance
  const auto instance_of = [&](const Edge& edge, std::optional<std::uint64_t> seed) {
    const auto& theirs = seeds[edge.target];
    if (theirs.empty()) return first[edge.target];
    const auto wanted = edge.seed ? *edge.seed : *seed;
    const auto at = std::find(theirs.begin(), theirs.end(), wanted) - theirs.begin();
    return first[edge.target] + static_cast<std::size_t>(at);
  };
  for (const auto section : ordering.order()) {
    const auto& edges = ordering.edges(section);
    seeds[section] = seeds_of(plan, section, edges, seeds);
    first[section] = graph.instances.size();
    std::vector<std::optional<std::uint64_t>> runs(seeds[section].begin(), seeds[section].end());
    if (runs.empty()) runs.push_back(std::nullopt);
    for (const auto seed : runs) {
      Instance instance{section, seed, {}, plan.sections[section].name};
      if (seed) instance.name += fmt::format("/{}", seed_folder(*seed));
      for (const auto& edge : edges) instance.needs.push_back(instance_of(edge, seed));
      std::sort(instance.needs.begin(), instance.needs.end());
      instance.needs.erase(std::unique(instance.needs.begin(), instance.needs.end()),
                           instance.needs.end());
      graph.instances.push_back(std::move(instance));
    }
  }
  return graph;
}

std::string resolve(const Plan& plan, const Graph& graph, const Instance& instance,
                    const std::string& value, const std::filesystem::path& run) {
  std::vector<std::string> parts;
  for (const auto& piece : value_pieces(value)) {
    if (!piece.section) {
      parts.push_back(piece.text);
      continue;
    }
    std::string folder = *piece.section;  // a pinned seed stands in the text behind it
    if (!pinned_seed(piece.text)) {
      for (const auto need : instance.needs) {
        const auto& other = graph.instances[need];
        const bool ours = !other.seed || other.seed == instance.seed;
        if (ours && plan.sections[other.section].name == folder) folder = other.name;
      }
    }
    parts.push_back((run / folder).string() + piece.text);
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

std::vector<char> selection(const Plan& plan, const Graph& graph,
                            const std::vector<std::string>& wanted) {
  std::vector<char> chosen(graph.instances.size(), wanted.empty() ? 1 : 0);
  for (const auto& name : wanted) {
    const auto section = index_of(plan, name, "--only " + name);
    for (std::size_t i = 0; i < graph.instances.size(); ++i)
      if (graph.instances[i].section == section) chosen[i] = 1;
  }
  for (std::size_t i = graph.instances.size(); i-- > 0;)
    if (chosen[i])
      for (const auto need : graph.instances[i].needs) chosen[need] = 1;
  return chosen;
}

std::vector<char> alone(const Plan& plan, const Graph& graph, const std::string& wanted,
                        const std::string& option) {
  const auto origin = fmt::format("{} {}", option, wanted);
  const auto section = index_of(plan, wanted.substr(0, wanted.find('/')), origin);
  std::vector<char> chosen(graph.instances.size(), 0);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < graph.instances.size(); ++i) {
    const auto& instance = graph.instances[i];
    if (instance.section != section) continue;
    names.push_back(instance.name);
    if (wanted == instance.name || wanted == plan.sections[section].name) chosen[i] = 1;
  }
  if (std::find(chosen.begin(), chosen.end(), 1) == chosen.end())
    throw UsageError(
        fmt::format("{}: the section has no such seed; it is {}", origin, fmt::join(names, ", ")));
  return chosen;
}

}  // namespace retort::pipeline
