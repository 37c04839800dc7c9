// The starts of a section: how many there were, how the last one ended and whether starting again
// still leads anywhere. Restarts are bounded, so that a job that requeues itself ends by itself.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "pipeline/folder_progress.h"

namespace retort::pipeline {

/// A section is started again this often without progress, then no more.
inline constexpr int kRestartsWithoutProgress = 3;
/// So often it may be asked to stop before it has completed anything: by then a time limit is
/// shorter than the smallest piece of work, not the cluster busy.
inline constexpr int kStopsWithoutProgress = 10;

/// How the last start ended. running: not on record, so it goes on or died.
enum class StartEnd { running, stopped, failed, done };

/// What happens to a section that has had its restarts.
enum class AfterRestarts { refuse, retry };  // retry: the count begins anew

struct StartHistory {
  std::uint64_t starts = 0;           // so far
  int without_progress = 0;           // restarts in a row, after deaths and failures
  int stops = 0;                      // on request, since the last progress
  std::optional<std::uint64_t> step;  // newest generation when the last start began
  std::uint64_t shards = 0;           // complete ones, likewise
  StartEnd end = StartEnd::done;      // of the last start
  int code = 0;                       // exit code, if it failed
  /// Samples that every start since the last progress was reading when it died; unset: none died.
  std::optional<std::vector<std::uint64_t>> suspects = {};
  std::string slurm_job = {};            // of the last start; empty outside Slurm
  std::string slurm_restart_count = {};  // likewise

  bool operator==(const StartHistory&) const = default;
  nlohmann::json to_json() const;
  /// Throws what nlohmann throws where a field is missing or of another type; DataError for an
  /// unknown end.
  static StartHistory from_json(const nlohmann::json& json, const std::string& where);
};

/// What is on record from now on if a section starts again. A start after a death or a failure
/// without progress counts; progress, or a stop on request, begins that count anew. Stops without
/// progress have a count of their own.
StartHistory next_start(const StartHistory& before, const FolderProgress& now);

/// True if `next` is one restart too many.
bool is_exhausted(const StartHistory& next);

/// How many starts of the Slurm job that this process belongs to have passed, up to this one,
/// without starting the section; `last`: on record. 0 outside Slurm.
/// `others`: on record of other sections; one job may have spent its starts on those before.
std::uint64_t idle_starts(const StartHistory& last, std::span<const StartHistory> others = {});

/// Why a section starts no more and what to do: `before` and `next` as of next_start(). `failure`:
/// what the last start said, if it failed.
std::string exhausted_text(const std::string& section, const StartHistory& before,
                           const StartHistory& next, const std::string& failure);

}  // namespace retort::pipeline
