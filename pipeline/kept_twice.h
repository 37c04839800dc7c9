// Small sealed JSON files that a whole run depends on: the plan's records, its settings, its jobs.
// Each has a copy in a folder `.copies` beside it, so that a bit that flips in one of them, or one
// that is lost, costs nothing. Each names its run by a number that the first of them drew: one that
// came from another run, right in itself, counts as damaged. What most of them say is the run's; as
// many of one run as of another is a DataError. Each tells when it was written and in which folder
// (by inode number), so that neither an earlier state of the same run in the place of one of the
// two, right in itself, is believed, nor that of a copy of the folder which went on by itself; and
// which file it is, so that no other one stands in its place.
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
/// The file; if it is damaged, lost, older or of another folder, its copy, with a warning. Nothing:
/// there is neither. DataError about the file: neither is right.
std::optional<nlohmann::json> read_twice(const std::filesystem::path& path,
                                         const Accept& accept = {});
/// DataError: this one, the file or its copy, is damaged, another run's, of another folder or older
/// than the other, or a copy that differs.
void require_right(const std::filesystem::path& path);
/// The file as a whole, with fault points; then its copy, which no failure makes an error but that
/// the start was taken over.
void write_twice(const std::filesystem::path& path, nlohmann::json json);
/// Both. No error if there is none.
void remove_twice(const std::filesystem::path& path);
/// Of a file that is damaged, lost or older while the other of the two is right: written again from
/// that one, what was damaged set aside. False: the other is not right, either. `path`: the file or
/// its copy.
bool restore_twice(const std::filesystem::path& path);

}  // namespace retort::pipeline
