#include "stages/source_stamp.h"

#include <fmt/format.h>

#include "core/error.h"
#include "io/companions.h"
#include "io/json_text.h"
#include "io/manifest.h"

namespace retort::stages {

namespace fs = std::filesystem;

bool same_source_stamp(const fs::path& folder, const std::string& stamp) {
  std::error_code error;
  if (stamp.empty() || !fs::exists(folder / kSourceStampName, error)) return true;
  nlohmann::json kept;
  try {
    kept = io::read_sealed(folder, kSourceStampName);
  } catch (const core::DataError&) {
    if (io::has_manifest(folder)) throw;
    return false;  // unfinished: it is made anew
  }
  return stamp == io::read_fields((folder / kSourceStampName).string(),
                                  [&] { return kept.at("stamp").get<std::string>(); });
}

void check_source_stamp(const fs::path& folder, const fs::path& source, const std::string& stamp) {
  if (!same_source_stamp(folder, stamp))
    throw core::OtherRecipeError(
        fmt::format("{}: was packed from {}, whose files have changed since (sizes or times): "
                    "choose another --out or remove the folder",
                    folder.string(), source.string()));
}

void keep_source_stamp(const fs::path& folder, const fs::path& source, const std::string& stamp) {
  check_source_stamp(folder, source, stamp);
  std::error_code error;
  if (!stamp.empty() && !fs::exists(folder / kSourceStampName, error))
    io::write_sealed(folder, kSourceStampName, {{"stamp", stamp}});
}

}  // namespace retort::stages
