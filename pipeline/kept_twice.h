// Small sealed JSON files that a whole run depends on: the plan's records, its settings, its jobs.
// Each has a copy in a folder `.copies` beside it, so that a bit that flips in one of them, or one
// that is lost, costs nothing. Each names its run by a number that the first of them drew: one that
// came from another run, right in itself, counts as damaged. What most of them say is the run's; as
// many of one run as of another is a DataError.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include <nlohmann/json.hpp>

namespace retort::pipeline {

std::filesystem::path copy_of(const std::filesystem::path& path);
/// Whether the file or its copy is there.
bool is_kept(const std::filesystem::path& path);
/// Throws a DataError for what is right in itself and is another's.
using Accept = std::function<void(const nlohmann::json&)>;
/// The file; if it is damaged or lost, its copy, with a warning. Nothing: there is neither.
/// DataError about the file: neither is right.
std::optional<nlohmann::json> read_twice(const std::filesystem::path& path,
                                         const Accept& accept = {});
/// DataError: this one, the file or its copy, is damaged or another run's.
void require_right(const std::filesystem::path& path);
/// The file as a whole, with fault points; then its copy, which no failure makes an error.
void write_twice(const std::filesystem::path& path, nlohmann::json json);
/// Both. No error if there is none.
void remove_twice(const std::filesystem::path& path);
/// Of a file that is damaged or lost while the other of the two is right: written again from that
/// one, what was damaged set aside. False: the other is not right, either. `path`: the file or its
/// copy.
bool restore_twice(const std::filesystem::path& path);

}  // namespace retort::pipeline
