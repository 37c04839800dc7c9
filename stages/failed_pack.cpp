#include "stages/failed_pack.h"

#include <exception>

#include "core/error.h"
#include "core/log.h"
#include "io/companions.h"
#include "io/posix.h"
#include "io/utf8.h"
#include "stages/source_stamp.h"

namespace retort::stages {

namespace fs = std::filesystem;

namespace {

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

/// What is written when a dataset is completed is there, though its manifest may be gone.
bool was_complete(const fs::path& folder) {
  return is_there(folder / io::kConfigurationName) || is_there(folder / io::kResultsName);
}

void remove_file(const fs::path& path) {
  if (is_there(path)) io::remove_tree(path);
}

}  // namespace

void keep_pack_failure(const io::RunFolder& live, const std::string& reason) noexcept {
  try {
    const fs::path& folder = live.path();
    live.require_newest();  // what a later start packs is not this one's to judge
    if (was_complete(folder)) return;
    std::string text = reason;
    io::replace_invalid_utf8(text);  // it may name a path of any bytes
    io::write_sealed(folder, kFailedPackName, {{"error", text}});
  } catch (const std::exception& error) {
    core::log_debug("{}", error.what());
  }
}

void clear_failed_pack(const fs::path& folder, const io::MemberLedger& ledger,
                       const std::string& stamp) {
  if (!is_there(folder / kFailedPackName) || was_complete(folder)) return;
  // Damaged, it still says that a start failed here: only members are removed, which are packed
  // anew.
  const bool whole = io::companion_fault(folder, std::string(kFailedPackName)).empty();
  if (whole && !ledger.holds_others() && compare_source_stamp(folder, stamp) == SourceStamp::same) {
    remove_file(folder / kFailedPackName);  // goes on: from here on it did not end with an error
    return;
  }
  core::log_info("{}: an earlier start ended with an error; what it packed is packed anew",
                 folder.string());
  ledger.discard();
  remove_file(folder / kSourceStampName);
  remove_file(folder / kFailedPackName);  // last: a kill before lets the next start go on here
}

void forget_pack_failure(const fs::path& folder) { remove_file(folder / kFailedPackName); }

}  // namespace retort::stages
