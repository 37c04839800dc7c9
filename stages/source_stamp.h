// What the files of a source looked like when packing began. A list of names and sizes, which is
// what a recipe hash covers, does not see a picture that was changed in place.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace retort::stages {

inline constexpr std::string_view kSourceStampName = "source.json";

/// False if FOLDER/source.json holds another stamp than `stamp`.
bool same_source_stamp(const std::filesystem::path& folder, const std::string& stamp);
/// UsageError if FOLDER/source.json holds another stamp than `stamp` (io::Catalogue::stamp); says
/// that `source` changed. An empty stamp, or a folder without the file, has nothing to say.
void check_source_stamp(const std::filesystem::path& folder, const std::filesystem::path& source,
                        const std::string& stamp);
/// check_source_stamp(), then writes the file if it is not there. Nothing for an empty stamp.
void keep_source_stamp(const std::filesystem::path& folder, const std::filesystem::path& source,
                       const std::string& stamp);

}  // namespace retort::stages
