// What is done: the record that the plan keeps of each section, and what follows from it.
// Format: docs/section_folder.md.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "pipeline/recipe.h"
#include "pipeline/results.h"
#include "pipeline/start_history.h"

namespace retort::pipeline {

enum class Completion { started, complete };

/// RUN/.plan/sections/NAME.json. Written before a section starts, and again when it is complete.
struct SectionRecord {
  Completion completion = Completion::started;
  Recipe recipe;
  std::string manifest_sha256;  // of manifest.json, once complete
  std::string content_digest;   // likewise
  double seconds = 0;           // of the start that completed it
  Results results;              // what the stage reported, once complete
  std::string failure = {};     // what the last start said when it failed; until the next one
  StartHistory starts = {};
};

/// What has to happen for a section.
enum class Standing {
  up_to_date,  // nothing
  start,       // no output is there
  resume,      // its own output is there, unfinished
  replace,     // an output of another recipe, or a damaged one, is set aside first
  waiting,     // a section that it needs runs first; only then can this be known
};

struct Assessment {
  Standing standing = Standing::start;
  std::string why;               // for people
  std::optional<Recipe> recipe;  // unless waiting
};

/// The sections of one run folder. One process uses it.
class SectionStates {
 public:
  explicit SectionStates(std::filesystem::path run) : run_(std::move(run)) {}

  /// Names of the sections that have a record, sorted: seed 2 before seed 10.
  std::vector<std::string> names() const;
  std::filesystem::path record_path(const std::string& name) const;
  /// The record of a section ("teacher", "teacher/seed-2"); nothing if there is none. DataError if
  /// it is damaged.
  std::optional<SectionRecord> record(const std::string& name) const;
  /// Judges a section by its record, its folder and the present recipe. Reads the manifest and the
  /// sizes of its members, not their bytes.
  Assessment assess(const std::string& name, const Recipe& recipe) const;
  /// Puts a start on record and returns its number. DataError, and nothing written, if it would be
  /// one restart without progress too many. A start with another recipe is the first one.
  std::uint64_t mark_started(const std::string& name, const Recipe& recipe,
                             AfterRestarts after = AfterRestarts::refuse) const;
  /// Why mark_started would refuse this start; empty: it would not.
  std::string refusal(const std::string& name, const Recipe& recipe) const;
  /// The count of restarts without progress begins anew. Nothing if the section has no record.
  void forgive(const std::string& name) const;
  /// The section checkpointed on request. `start`: number of the one that says so; nothing if
  /// another has started since, or there is no record.
  void mark_stopped(const std::string& name, std::uint64_t start) const;
  /// Keeps why the section failed, likewise.
  void mark_failed(const std::string& name, std::uint64_t start, const core::Error& error) const;
  /// Called when the section's manifest is there: keeps its hash and the results beside it.
  /// DataError if it is not there or damaged.
  void mark_complete(const std::string& name, const Recipe& recipe, double seconds) const;
  /// The section is finished no more, and what is right of it stays: the next run resumes it.
  /// Nothing if it has no record. DataError if that is damaged.
  void mark_reopened(const std::string& name) const;
  /// Moves the folder of a section to RUN/.old/NAME-NNNN and drops its record; keeps the newest two
  /// of a section. Returns where it went.
  std::filesystem::path set_aside(const std::string& name) const;

 private:
  /// The record that a start with this recipe goes on from: an empty one if it is the first.
  SectionRecord record_before(const std::string& name, const Recipe& recipe) const;
  std::string refusal(const std::string& name, const SectionRecord& before) const;
  void write_record(const std::string& name, const SectionRecord& record) const;

  std::filesystem::path run_;
};

/// What quick_fault says of a manifest that is right in itself but another than was recorded.
inline constexpr std::string_view kForeignManifest =
    "its manifest is not the one that was recorded";

/// What is wrong with a finished folder at a glance: its manifest unreadable or changed, a member
/// missing or of another size. Empty: nothing. `manifest_sha256` may be empty (not compared).
std::string quick_fault(const std::filesystem::path& folder, const std::string& manifest_sha256);

/// True if a folder is there and holds anything.
bool holds_anything(const std::filesystem::path& folder);

}  // namespace retort::pipeline
