#include "stages/section_output.h"

#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/fault_point.h"
#include "core/hash.h"
#include "core/warnings.h"
#include "io/agreement.h"
#include "io/atomic_file.h"
#include "io/companions.h"
#include "io/manifest.h"
#include "io/posix.h"
#include "io/utf8.h"
#include "stages/environment.h"

namespace retort::stages {

namespace {

/// OtherRecipeError if begin_section() was called in `folder` by another one.
void require_begun_by(const std::filesystem::path& folder, const std::string& recipe) {
  std::error_code code;
  if (!std::filesystem::exists(folder / kBegunRecipe, code)) return;
  std::string begun;
  try {
    begun = io::read_sealed(folder, kBegunRecipe).value("recipe_hash", "");
  } catch (const core::DataError&) {
    throw core::OtherRecipeError(fmt::format(
        "{} is damaged, so that nothing tells which options and inputs the files beside it "
        "are of: choose another --out or remove the folder",
        (folder / kBegunRecipe).string()));
  }
  if (begun != recipe)
    throw core::OtherRecipeError(fmt::format(
        "{}: holds what a start with other options or inputs left ({:.12}, now {:.12}): choose "
        "another --out or remove the folder",
        folder.string(), begun, recipe));
}

}  // namespace

std::string recipe_hash(const StageContext& context, const std::string& inputs) {
  core::Sha256 hash;
  hash.update("retort recipe 1\n").update(context.stage).update("\n").update(context.recipe);
  hash.update("\n").update(inputs);
  return hash.hex();
}

bool keeps_records(const std::filesystem::path& folder) {
  std::error_code code;
  for (const char* kept : {"claims", "checkpoints", "members"})
    if (std::filesystem::exists(folder / kept, code)) return true;
  return false;
}

bool made_by_retort(const std::filesystem::path& folder) {
  std::error_code code;
  return io::has_manifest(folder) || io::is_set_aside(folder / "manifest.json") ||
         keeps_records(folder) || std::filesystem::exists(folder / kBegunName, code);
}

void require_own_folder(const StageContext& context, const std::filesystem::path& folder) {
  if (context.in_plan || made_by_retort(folder)) return;
  std::error_code code;
  for (auto entry = std::filesystem::directory_iterator(folder, code);
       !code && entry != std::filesystem::directory_iterator(); entry.increment(code))
    if (!io::is_temporary(entry->path()))
      throw core::UsageError(fmt::format(
          "{} holds files and no result of Retort: choose another --out, or move them away",
          folder.string()));
}

bool is_complete(StageContext& context, const std::filesystem::path& folder,
                 const std::string& recipe, std::string_view kind) {
  io::require_same(context.communicator, recipe,
                   folder.string() +
                       ": its inputs changed while the ranks read them; start again when nobody "
                       "writes to them");
  std::uint64_t complete = 0;
  io::on_root(context.communicator, [&] {
    require_own_folder(context, folder);
    if (!io::has_manifest(folder)) return require_begun_by(folder, recipe);
    const io::Manifest manifest = io::read_manifest(folder);
    if (manifest.kind != kind || manifest.recipe_hash != recipe)
      throw core::OtherRecipeError(fmt::format(
          "{}: holds a finished result made with other options or inputs ({} {:.12}, now {:.12}): "
          "choose another --out or remove the folder",
          folder.string(), manifest.kind, manifest.recipe_hash, recipe));
    complete = 1;
    io::remove_tree(folder / kBegunName);  // a kill may have left it
  });
  return context.communicator.all_reduce_max(complete) == 1;
}

bool is_sealed(StageContext& context, const std::filesystem::path& folder,
               const std::string& recipe) {
  io::on_root(context.communicator, [&] {
    if (!io::has_manifest(folder) && keeps_records(folder))
      throw core::OtherRecipeError(fmt::format(
          "{}: holds what another stage has begun: choose another --out or remove the folder",
          folder.string()));
  });
  return is_complete(context, folder, recipe);
}

void begin_section(const StageContext& context, const std::filesystem::path& folder,
                   const std::string& recipe) {
  if (context.in_plan)
    io::make_folder(folder / kBegunName);
  else
    mark_begun(folder, recipe);
}

void mark_begun(const std::filesystem::path& folder, const std::string& recipe) {
  io::make_folder(folder / kBegunName);
  io::write_sealed(folder, kBegunRecipe, {{"recipe_hash", recipe}});
}

void print_results(const StageContext& context, const nlohmann::json& results) {
  if (!context.communicator.root()) return;
  if (context.in_plan) return;
  nlohmann::json shown = results;
  // What results.json keeps of the start that made them is no result.
  for (const char* kept : {"environment", "warnings", "recipe_hash", "content_digest"})
    shown.erase(kept);
  if (context.json) {
    fmt::print("{}\n", shown.dump());
  } else {
    for (const auto& [name, value] : shown.items())
      if (!value.is_structured()) fmt::print("{:<24} {}\n", name, value.dump());
  }
  std::fflush(stdout);
}

nlohmann::json with_circumstances(const StageContext& context, nlohmann::json results) {
  results["environment"] = environment(context);
  for (std::string warning : core::take_warnings()) {
    io::replace_invalid_utf8(warning);  // it may name a path of any bytes
    results["warnings"].push_back(std::move(warning));
  }
  return results;
}

std::vector<std::string> write_companions(const StageContext& context,
                                          const std::filesystem::path& folder,
                                          const std::string& recipe,
                                          const std::string& content_digest,
                                          nlohmann::json results) {
  const core::FaultPlace place("commit");
  io::write_configuration(folder, context.configuration);
  results[std::string(io::kResultsRecipe)] = recipe;
  results[std::string(io::kResultsContent)] = content_digest;
  io::write_sealed(folder, io::kResultsName, results);
  return {std::string(io::kConfigurationName), std::string(io::kResultsName)};
}

void seal_section(StageContext& context, const std::filesystem::path& folder,
                  const std::string& recipe, const std::string& content_digest,
                  std::vector<io::Member> members, const nlohmann::json& results) {
  const core::FaultPlace place("commit");
  io::on_root(context.communicator, [&] {
    io::Manifest manifest;
    manifest.companions = write_companions(context, folder, recipe, content_digest,
                                           with_circumstances(context, results));
    manifest.kind = "section";
    manifest.recipe_hash = recipe;
    manifest.content_digest = content_digest;
    manifest.facts["stage"] = context.stage;
    manifest.members = std::move(members);
    io::write_manifest(folder, std::move(manifest));
    io::remove_tree(folder / kBegunName);
    print_results(context, results);
  });
}

}  // namespace retort::stages
