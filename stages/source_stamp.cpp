#include "stages/source_stamp.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "io/companions.h"
#include "io/json_text.h"
#include "io/manifest.h"
#include "io/posix.h"

namespace retort::stages {

namespace fs = std::filesystem;

namespace {

std::string stamp_of(const fs::path& folder) {
  const nlohmann::json kept = io::read_sealed(folder, kSourceStampName);
  // Any other sealed file is right in itself.
  return io::read_fields((folder / kSourceStampName).string(),
                         [&] { return kept.at("stamp").get<std::string>(); });
}

}  // namespace

void require_source_stamp(const fs::path& folder) { stamp_of(folder); }

std::optional<std::string> kept_source_stamp(const fs::path& folder) {
  try {
    return stamp_of(folder);
  } catch (const core::DataError&) {
    return std::nullopt;
  }
}

SourceStamp compare_source_stamp(const fs::path& folder, const std::string& stamp) {
  if (stamp.empty()) return SourceStamp::same;
  const auto kept = kept_source_stamp(folder);
  if (kept) return *kept == stamp ? SourceStamp::same : SourceStamp::other;
  if (!io::has_manifest(folder)) return SourceStamp::unknown;
  // Earlier programs kept none.
  const auto companions = io::read_manifest(folder).companions;
  return std::find(companions.begin(), companions.end(), kSourceStampName) == companions.end()
             ? SourceStamp::same
             : SourceStamp::unknown;
}

SourceStamp check_source_stamp(const fs::path& folder, const fs::path& source,
                               const std::string& stamp) {
  const SourceStamp compared = compare_source_stamp(folder, stamp);
  if (compared == SourceStamp::other)
    throw core::OtherRecipeError(
        fmt::format("{}: was packed from {}, whose files have changed since (sizes or times): "
                    "choose another --out or remove the folder",
                    folder.string(), source.string()));
  return compared;
}

void keep_source_stamp(const fs::path& folder, const fs::path& source, const std::string& stamp) {
  if (check_source_stamp(folder, source, stamp) != SourceStamp::unknown) return;
  std::error_code error;
  if (fs::exists(folder / kSourceStampName, error)) io::set_aside(folder / kSourceStampName);
  io::write_sealed(folder, kSourceStampName, {{"stamp", stamp}});
}

}  // namespace retort::stages
