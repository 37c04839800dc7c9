#include "io/live_claim.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "core/error.h"
#include "io/generation.h"

namespace retort::io {
namespace {

namespace fs = std::filesystem;

struct Starts {
  int live = 0;
  std::uint32_t newest = 0;  // that this process ever made
};
struct Registry {
  std::mutex mutex;
  std::map<fs::path, Starts> of_folder;
};
Registry& registry() {
  static Registry all;
  return all;
}

}  // namespace

std::optional<std::uint32_t> later_claim(const fs::path& run, std::uint32_t epoch) {
  std::error_code error;
  std::optional<std::uint32_t> latest;
  for (auto entry = fs::directory_iterator(claims_folder(run), error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const auto known = claim_epoch(name);
    const auto other = known ? known : set_aside_claim(name);
    if (other && *other > std::max(epoch, latest.value_or(0))) latest = other;
  }
  if (error)  // not throw_io_error(), which asks for claims
    throw core::IoError("cannot list " + claims_folder(run).string() + ": " + error.message());
  return latest;
}

void throw_taken_over(const fs::path& run, std::uint32_t other, std::uint32_t epoch) {
  throw core::UsageError(run.string() + " was taken over by start " + std::to_string(other) +
                         ", this is start " + std::to_string(epoch) +
                         ": nothing is written any more; follow the newer one");
}

LiveClaim::LiveClaim(fs::path run, std::uint32_t epoch) : run_(std::move(run)) {
  const std::lock_guard hold(registry().mutex);
  Starts& starts = registry().of_folder[run_];
  ++starts.live;
  starts.newest = std::max(starts.newest, epoch);
}

LiveClaim::~LiveClaim() {
  const std::lock_guard hold(registry().mutex);
  --registry().of_folder[run_].live;
}

namespace {

struct Later {
  fs::path run;
  std::uint32_t own = 0, other = 0;
};
std::optional<Later> later_start() {
  std::map<fs::path, std::uint32_t> newest;
  {
    const std::lock_guard hold(registry().mutex);
    for (const auto& [run, starts] : registry().of_folder)
      if (starts.live > 0) newest[run] = starts.newest;
  }
  for (const auto& [run, epoch] : newest) {
    std::optional<std::uint32_t> other;
    try {
      other = later_claim(run, epoch);
    } catch (const core::IoError&) {
      continue;  // a folder that is gone: what follows says so
    }
    if (other) return Later{run, epoch, *other};
  }
  return std::nullopt;
}

}  // namespace

bool is_taken_over() { return later_start().has_value(); }

void require_not_taken_over() {
  if (const auto later = later_start()) throw_taken_over(later->run, later->other, later->own);
}

}  // namespace retort::io
