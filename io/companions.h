// Companions of a complete folder: files that its manifest names without a hash, because they hold
// what differs between equal results (times, paths, placement). Each carries a checksum of its own.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace retort::io {

inline constexpr std::string_view kConfigurationName = "config.ini";
inline constexpr std::string_view kResultsName = "results.json";

/// FOLDER/NAME as a sealed document (json_text.h). Numbers that are not finite become null.
void write_sealed(const std::filesystem::path& folder, std::string_view name,
                  const nlohmann::json& object);
/// Its object. DataError that names the file if it is missing or damaged.
nlohmann::json read_sealed(const std::filesystem::path& folder, std::string_view name);

/// FOLDER/results.json. DataError as read_sealed()'s; also if it is of another result than the
/// folder's manifest: each names the recipe that it was made with and the content digest that it
/// speaks of, as far as they were known; those of earlier programs neither.
nlohmann::json read_results_file(const std::filesystem::path& folder);
/// Its fields.
inline constexpr std::string_view kResultsRecipe = "recipe_hash";
inline constexpr std::string_view kResultsContent = "content_digest";

/// FOLDER/config.ini: the text, and a comment line with its SHA-256 at the end.
void write_configuration(const std::filesystem::path& folder, std::string_view text);

/// What is wrong with the companion FOLDER/NAME (config.ini, or a sealed document): missing, or
/// another text than its checksum is of, or results of another recipe. Empty: nothing.
std::string companion_fault(const std::filesystem::path& folder, const std::string& name);

}  // namespace retort::io
