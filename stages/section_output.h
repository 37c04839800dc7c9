// What every finished section folder holds: results.json, the sealed manifest; and how a stage sees
// that it is already done.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/manifest.h"
#include "stages/stage.h"

namespace retort::stages {

/// SHA-256 over the stage's name, its options that matter and the digests of its inputs.
std::string recipe_hash(const StageContext& context, const std::string& inputs);

/// True if a stage that keeps claims, generations or records of members began in this folder.
bool keeps_records(const std::filesystem::path& folder);
/// True if a stage began or ended in this folder, or `check --repair` set its manifest aside.
bool made_by_retort(const std::filesystem::path& folder);
/// UsageError if `folder` holds anything, and nothing that says that a stage began or ended there:
/// nobody's own files are written over. A plan looks after its folders itself. One rank calls it.
void require_own_folder(const StageContext& context, const std::filesystem::path& folder);

/// True if `folder` holds the finished section (or another `kind` of folder) of this recipe.
/// OtherRecipeError if it holds another recipe's, UsageError as require_own_folder() says.
/// Collective: all ranks get rank 0's answer.
bool is_complete(StageContext& context, const std::filesystem::path& folder,
                 const std::string& recipe, std::string_view kind = "section");

/// As is_complete(), for a stage that writes its few members at once, without a ledger or
/// generations; OtherRecipeError, too, if a stage with such began there.
bool is_sealed(StageContext& context, const std::filesystem::path& folder,
               const std::string& recipe);
/// Before its first member such a stage makes the folder with a mark; in a plan, which keeps
/// records itself, the mark tells no recipe. One rank calls it.
void begin_section(const StageContext& context, const std::filesystem::path& folder,
                   const std::string& recipe);
/// The mark, the folder FOLDER/begun, by which a start that follows a kill or a repair knows what
/// is there; seal_section() takes it away.
void mark_begun(const std::filesystem::path& folder, const std::string& recipe);
inline constexpr std::string_view kBegunName = "begun", kBegunRecipe = "begun/recipe.json";

/// The results of a stage that is measured, with where that was (stages/environment.h) and this
/// rank's warnings. Not for pack, whose folder is the same whatever happened on the way there.
nlohmann::json with_circumstances(const StageContext& context, nlohmann::json results);
/// Writes config.ini and results.json, which names `recipe` and the manifest's `content_digest`
/// (docs/section_folder.md); returns their names, for the manifest. One rank calls it.
std::vector<std::string> write_companions(const StageContext& context,
                                          const std::filesystem::path& folder,
                                          const std::string& recipe,
                                          const std::string& content_digest,
                                          nlohmann::json results);

/// Rank 0 writes config.ini and results.json, then manifest.json (kind "section") over `members`,
/// whose seals are those of what was written: what the disk made of it may differ. Collective:
/// returns when that is done; an error of rank 0 is thrown on all ranks. Prints the results.
void seal_section(StageContext& context, const std::filesystem::path& folder,
                  const std::string& recipe, const std::string& content_digest,
                  std::vector<io::Member> members, const nlohmann::json& results);

/// Rank 0 prints flat results to standard output: one line of JSON, or a line for each.
void print_results(const StageContext& context, const nlohmann::json& results);

}  // namespace retort::stages
