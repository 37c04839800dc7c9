#include "io/companions.h"

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "io/manifest.h"

namespace retort::io {
namespace {

constexpr std::string_view kSealLine = "# sha256 of the lines above: ";

std::string text_of(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string sealed_configuration(std::string_view text) {
  return std::string(text) + std::string(kSealLine) + core::sha256_hex(text) + "\n";
}

}  // namespace

void write_sealed(const std::filesystem::path& folder, std::string_view name,
                  const nlohmann::json& object) {
  // Through text, where a number that JSON cannot hold becomes null.
  write_file(folder / name, std::string_view(sealed_text(nlohmann::json::parse(object.dump()))));
}

nlohmann::json read_sealed(const std::filesystem::path& folder, std::string_view name) {
  const std::filesystem::path path = folder / name;
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    throw core::DataError(path.string() + " is missing; restore it or make its folder anew");
  return parse_sealed(text_of(path), path.string());
}

nlohmann::json read_results_file(const std::filesystem::path& folder) {
  nlohmann::json results = read_sealed(folder, kResultsName);
  if (!has_manifest(folder)) return results;
  const Manifest manifest = read_manifest(folder);
  const auto differs = [&](std::string_view field, const std::string& own) {
    const auto named = results.find(field);
    return named != results.end() && *named != own;
  };
  if (differs(kResultsRecipe, manifest.recipe_hash) ||
      differs(kResultsContent, manifest.content_digest))
    throw core::DataError((folder / kResultsName).string() +
                          " is of another result than its folder's: restore it or make its folder "
                          "anew");
  return results;
}

void write_configuration(const std::filesystem::path& folder, std::string_view text) {
  write_file(folder / kConfigurationName, std::string_view(sealed_configuration(text)));
}

std::string companion_fault(const std::filesystem::path& folder, const std::string& name) {
  const std::filesystem::path path = folder / name;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return "missing";
  try {
    if (name == kResultsName) {
      (void)read_results_file(folder);
      return "";
    }
    const std::string text = text_of(path);
    if (name != kConfigurationName) {
      (void)parse_sealed(text, path.string());
      return "";
    }
    const std::size_t end = text.rfind(kSealLine);
    if (end == std::string::npos || text != sealed_configuration(text.substr(0, end)))
      return "its checksum, in its last line, does not fit its text";
  } catch (const core::Error& fault) {
    return fault.what();
  }
  return "";
}

}  // namespace retort::io
