// A section's recipe: everything that decides its result. Equal recipes give equal results, so a
// section whose output was made by an equal recipe is not run again.
#pragma once

#include <map>
#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "core/options.h"
#include "pipeline/content_digest.h"
#include "stages/stage.h"

namespace retort::pipeline {

/// Raised when a stage computes something else from the same options and inputs.
inline constexpr int kRecipeVersion = 1;

struct Recipe {
  std::string stage;
  int version = kRecipeVersion;
  std::map<std::string, std::string> options;  // those with OptionEffect::result
  std::map<std::string, std::string> inputs;   // option -> digest of the content behind its path
  bool operator==(const Recipe&) const = default;
  std::string hash() const;
  nlohmann::json to_json() const;
  /// DataError naming `where` if it is not what to_json gives.
  static Recipe from_json(const nlohmann::json& json, const std::string& where);
};

/// The present recipe of a stage with its options set, and the files that it finds by itself.
/// DataError naming the option if an input is missing.
Recipe recipe_of(const std::string& stage, const core::OptionTable& table,
                 std::span<const stages::Stage::FoundInput> found, ContentDigests& digests);

/// What differs, for people: "learning-rate was 0.1, is 0.2; input data changed".
std::string difference(const Recipe& was, const Recipe& is);

}  // namespace retort::pipeline
