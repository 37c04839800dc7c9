#include "pipeline/recipe.h"

#include <filesystem>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"

namespace retort::pipeline {
namespace {

constexpr std::size_t kMostDifferences = 4;  // more would not fit in a line

/// The paths of an input option: one, or a comma-separated list.
std::vector<std::filesystem::path> input_paths(const std::string& text) {
  if (std::filesystem::exists(text)) return {text};
  std::vector<std::filesystem::path> paths;
  for (std::size_t at = 0; at <= text.size();) {
    const auto comma = std::min(text.find(',', at), text.size());
    if (comma > at) paths.emplace_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return paths;
}

template <class Tell>
void compare(const std::map<std::string, std::string>& was,
             const std::map<std::string, std::string>& is, Tell tell) {
  std::set<std::string> names;
  for (const auto& [name, value] : was) names.insert(name);
  for (const auto& [name, value] : is) names.insert(name);
  for (const auto& name : names) {
    const auto old_value = was.find(name);
    const auto new_value = is.find(name);
    const std::string* before = old_value == was.end() ? nullptr : &old_value->second;
    const std::string* now = new_value == is.end() ? nullptr : &new_value->second;
    if (!before || !now || *before != *now) tell(name, before, now);
  }
}

}  // namespace

nlohmann::json Recipe::to_json() const {
  return {{"stage", stage}, {"version", version}, {"options", options}, {"inputs", inputs}};
}

Recipe Recipe::from_json(const nlohmann::json& json, const std::string& where) {
  try {
    Recipe recipe;
    recipe.stage = json.at("stage").get<std::string>();
    recipe.version = json.at("version").get<int>();
    recipe.options = json.at("options").get<std::map<std::string, std::string>>();
    recipe.inputs = json.at("inputs").get<std::map<std::string, std::string>>();
    return recipe;
  } catch (const nlohmann::json::exception& error) {
    throw core::DataError(fmt::format("{}: holds no recipe ({})", where, error.what()));
  }
}

std::string Recipe::hash() const { return core::sha256_hex(std::string_view(to_json().dump())); }

Recipe recipe_of(const std::string& stage, const core::OptionTable& table,
                 std::span<const stages::Stage::FoundInput> found, ContentDigests& digests) {
  Recipe recipe;
  recipe.stage = stage;
  for (const auto& option : table.options()) {
    const auto value = option.print();
    if (option.effect == core::OptionEffect::result) {
      recipe.options[option.name] = value;
    } else if (option.effect == core::OptionEffect::input) {
      std::string all;
      for (const auto& path : input_paths(value)) {
        try {
          if (!all.empty()) all += ',';
          all += digests.of(path);
        } catch (const core::DataError& error) {
          throw core::DataError(fmt::format("option {}: {}", option.name, error.what()));
        } catch (const core::UsageError& error) {
          throw core::UsageError(fmt::format("option {}: {}", option.name, error.what()));
        }
      }
      recipe.inputs[option.name] = all;
    }
  }
  for (const auto& input : found) {
    core::Sha256 sha;
    for (const auto& file : input.files) {
      const auto name = file.filename().string();  // where it lies does not matter
      sha.update_u64(name.size()).update(name).update(digests.of(file));
    }
    recipe.inputs[input.name] = "files:" + sha.hex();
  }
  return recipe;
}

std::string difference(const Recipe& was, const Recipe& is) {
  std::vector<std::string> parts;
  if (was.stage != is.stage)
    parts.push_back(fmt::format("stage was {}, is {}", was.stage, is.stage));
  if (was.version != is.version)
    parts.push_back(
        fmt::format("recipe version of the program was {}, is {}", was.version, is.version));
  compare(was.inputs, is.inputs, [&](const auto& name, const auto* before, const auto* now) {
    const bool gone = before && (!now || now->empty());
    const bool fresh = now && (!before || before->empty());
    parts.push_back(fmt::format("input {} {}", name,
                                gone    ? "is no longer given"
                                : fresh ? "is new"
                                        : "changed"));
  });
  compare(was.options, is.options, [&](const auto& name, const auto* before, const auto* now) {
    if (before && now) {
      parts.push_back(fmt::format("{} was {}, is {}", name, before->empty() ? "''" : *before,
                                  now->empty() ? "''" : *now));
    } else {
      parts.push_back(now ? fmt::format("{} = {} is new", name, *now)
                          : fmt::format("{} = {} is gone", name, *before));
    }
  });
  if (parts.size() > kMostDifferences) {
    const auto more = parts.size() - kMostDifferences;
    parts.resize(kMostDifferences);
    parts.push_back(fmt::format("and {} more", more));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace retort::pipeline
