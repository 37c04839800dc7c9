// A pack that ended with an error before its dataset was complete. Its next start must work
// whatever was mended, the pictures or the options, so what it left may be replaced. A pack that
// was killed or stopped is another matter: its shards are kept for the same command.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "io/checkpoint.h"
#include "io/manifest.h"

namespace retort::stages {

inline constexpr std::string_view kFailedPackName = "failed.json";

/// Writes failed.json with `reason` into the folder, unless it once held a finished dataset (that
/// has results.json) or was taken over. Throws nothing: the error that it keeps is the one to be
/// told. For rank 0.
void keep_pack_failure(const io::RunFolder& live, const std::string& reason) noexcept;

/// If the folder holds failed.json, and its members are of another recipe than `ledger`'s or of a
/// source with another stamp: removes them, what is known of their source, and failed.json; says
/// so.
void clear_failed_pack(const std::filesystem::path& folder, const io::MemberLedger& ledger,
                       const std::string& stamp);

/// Before a dataset is completed: from now on nothing of it may be replaced.
void forget_pack_failure(const std::filesystem::path& folder);

}  // namespace retort::stages
