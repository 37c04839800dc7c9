// What the files of a source looked like when packing began. A list of names and sizes, which is
// what a recipe hash covers, does not see a picture that was changed in place.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace retort::stages {

inline constexpr std::string_view kSourceStampName = "source.json";

/// That of FOLDER/source.json; nothing if the file is missing or damaged.
std::optional<std::string> kept_source_stamp(const std::filesystem::path& folder);

/// DataError: it is missing or damaged.
void require_source_stamp(const std::filesystem::path& folder);

/// What FOLDER/source.json says of a stamp (io::Catalogue::stamp). unknown: it is damaged or
/// missing.
enum class SourceStamp { same, other, unknown };
/// `same` for an empty stamp, and for a complete folder of an earlier program, which kept none.
SourceStamp compare_source_stamp(const std::filesystem::path& folder, const std::string& stamp);
/// The same, but UsageError for another stamp: says that `source` changed.
SourceStamp check_source_stamp(const std::filesystem::path& folder,
                               const std::filesystem::path& source, const std::string& stamp);
/// check_source_stamp(), then writes the file if it is missing or damaged. Nothing for an empty
/// stamp.
void keep_source_stamp(const std::filesystem::path& folder, const std::filesystem::path& source,
                       const std::string& stamp);

}  // namespace retort::stages
