// A plan: an INI file whose sections are stages. Syntax: docs/plans.md. Pure: no file is touched.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort::pipeline {

/// An option of a section as written, environment variables expanded, references not.
struct PlanOption {
  std::string name;
  std::string text;
  std::string origin;  // "glyphs.ini:12" or "--set teacher.steps=5": for error messages
};

struct PlanSection {
  std::string name;
  std::string stage;
  std::vector<std::uint64_t> seeds;  // empty: runs once (or as what it follows from)
  std::vector<PlanOption> options;
  std::string origin;
};

/// The section [plan]: settings of the plan itself.
struct PlanSettings {
  std::string name;  // empty: the file's name without .ini
  int threads = 0;   // 0: what the command line says
};

struct Plan {
  std::string where;
  PlanSettings settings;
  std::vector<PlanSection> sections;  // in the file's order
  const PlanSection* find(std::string_view name) const;
};

/// The value of an environment variable, if set.
using Environment = std::function<std::optional<std::string>(const std::string&)>;

/// Parses the text of a plan and applies `overrides` ("SECTION.KEY=VALUE") in order. UsageError
/// with file and line for what core::parse_ini refuses, an empty plan, a bad section name, a
/// section without `stage`, bad seeds, an unset environment variable, an override of an unknown
/// section, a `like` that names no section or goes round in a circle.
Plan parse_plan(std::string_view text, const std::string& where,
                std::span<const std::string> overrides, const Environment& environment);

/// Names of the environment variables that a text refers to as ${NAME}.
std::vector<std::string> environment_names(std::string_view text);

/// "1..3", "1,2,5" or both mixed, in the order written; each at most once, at most 1000. UsageError
/// with the reason only.
std::vector<std::uint64_t> parse_seeds(std::string_view text);

/// A value taken apart: pieces between commas, each a reference to a section or plain text.
struct ValuePiece {
  std::optional<std::string> section;  // of a reference; as written, perhaps empty
  std::string text;  // plain text (@@ at its start made @), or what follows @section: "/model"
};
std::vector<ValuePiece> value_pieces(std::string_view value);

}  // namespace retort::pipeline
