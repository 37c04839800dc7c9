#include "pipeline/repair.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/generation.h"
#include "io/label_matrix.h"
#include "io/manifest.h"
#include "io/posix.h"
#include "io/run_fence.h"
#include "pipeline/job.h"
#include "pipeline/kept_twice.h"
#include "pipeline/section_state.h"
#include "stages/section_output.h"
#include "stages/source_stamp.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

enum class OwnerKind {
  generation,
  generations,
  claim,
  ledger,
  section,
  model,
  plan,
  record,
  unknown
};

constexpr const char* kBeginsAnew = "no generation is right: the training begins anew";

/// The folder whose content is made anew as far as it is damaged.
struct Owner {
  fs::path folder;
  OwnerKind kind = OwnerKind::unknown;
};

OwnerKind kind_of(const fs::path& folder) {
  // A kill can leave "members" in a folder that is finished.
  if (io::has_manifest(folder)) try {
      const auto manifest = io::read_manifest(folder);
      if (manifest.kind == "packed_dataset" || manifest.kind == "logits" ||
          manifest.kind == io::kLabelMatrixKind)
        return OwnerKind::ledger;
      if (manifest.kind == "section") return OwnerKind::section;
      if (manifest.kind == "model") return OwnerKind::model;
    } catch (const core::DataError&) {
    }
  return fs::is_directory(folder / "members") ? OwnerKind::ledger : OwnerKind::unknown;
}

/// The plan's folder above a section's, if there is one.
std::optional<fs::path> plan_above(const fs::path& folder) {
  for (fs::path run = folder.parent_path(); run.has_relative_path(); run = run.parent_path())
    if (is_plan_run(run)) return run;
  return std::nullopt;
}
std::string section_name(const fs::path& run, const fs::path& folder) {
  return folder.lexically_relative(run).generic_string();
}

/// Whether a plan above keeps a record of this folder as a section's.
bool is_section_of_plan(const fs::path& folder) {
  const auto run = plan_above(folder);
  try {
    return run && SectionStates(*run).record(section_name(*run, folder));
  } catch (const core::DataError&) {
    return false;
  }
}

Owner owner_of(const fs::path& path) {
  if (is_plan_run(path.parent_path()) && path == plan_copy(path.parent_path()))
    return {path, OwnerKind::plan};
  for (fs::path folder = path; folder.has_relative_path(); folder = folder.parent_path()) {
    if (folder.filename() == ".plan" || folder.filename() == ".slurm")
      return {folder, OwnerKind::record};
    if (io::generation_id(folder.filename().string())) return {folder, OwnerKind::generation};
    if (io::claim_epoch(folder.filename().string()) &&
        folder.parent_path() == io::claims_folder(folder.parent_path().parent_path()))
      return {folder, OwnerKind::claim};
    if (folder == io::generations_folder(folder.parent_path()))
      return {folder, OwnerKind::generations};
    // Its manifest is gone, or all of it.
    if (!io::has_manifest(folder) && !fs::is_directory(folder / "members") &&
        is_section_of_plan(folder))
      return {folder, OwnerKind::section};
    if (!fs::is_directory(folder)) continue;
    if (!io::has_manifest(folder) && !fs::is_directory(folder / "members")) continue;
    const OwnerKind kind = kind_of(folder);
    const fs::path above = folder.parent_path();
    // A section's model is written again by the section.
    if (folder.filename() == "model" && (io::has_manifest(above) || fs::exists(above / "claims")))
      return {above, OwnerKind::section};
    return {folder, kind};
  }
  return {path.parent_path(), OwnerKind::unknown};
}

/// Nobody else works on these folders while they are repaired.
class Fences {
 public:
  void hold(fs::path folder) {
    for (; folder.has_relative_path(); folder = folder.parent_path()) {
      for (const auto& run : {folder, folder / ".plan"}) hold_one(run);
      // Sections that run alone, as jobs.
      std::error_code code;
      for (const auto& start : fs::directory_iterator(folder / ".plan" / "starts", code))
        hold_one(start.path());
    }
  }

 private:
  void hold_one(const fs::path& run) {
    if (fs::exists(run / "lock") && held_.insert(run).second)
      fences_.push_back(std::make_unique<io::RunFence>(run, io::RunFolder::TakeOver::no));
  }
  std::set<fs::path> held_;
  std::vector<std::unique_ptr<io::RunFence>> fences_;
};

class Repair {
 public:
  RepairReport run(const CheckReport& report) {
    std::map<fs::path, std::vector<Fault>> faults;
    std::map<fs::path, OwnerKind> kinds;
    Fences fences;
    for (auto fault : report.faults) {
      fault.path = fs::absolute(fault.path).lexically_normal().string();
      const Owner owner = owner_of(fault.path);
      faults[owner.folder].push_back(fault);
      kinds[owner.folder] = owner.kind;
      fences.hold(owner.folder);
    }
    // The plan's records last: what they tell is needed for their sections.
    for (const bool records : {false, true})
      for (const auto& [folder, of_folder] : faults)
        if ((kinds[folder] == OwnerKind::record) == records) mend(folder, kinds[folder], of_folder);
    finish_generations();
    return std::move(report_);
  }

 private:
  void aside(const fs::path& path, const std::string& next) {
    report_.set_aside.push_back({path.string(), next});
  }
  void left(const Fault& fault, const std::string& advice) {
    report_.left.push_back({fault.path, fault.what + "; " + advice});
  }

  /// The plan that keeps a record of this section, if there is one, is to resume it.
  static void reopen_section(const fs::path& folder) {
    const auto run = plan_above(folder);
    if (run) try {
        SectionStates(*run).mark_reopened(section_name(*run, folder));
      } catch (const core::DataError&) {
        // A damaged record: the section goes on anyway.
      }
  }

  void mend(const fs::path& folder, OwnerKind kind, const std::vector<Fault>& faults) {
    switch (kind) {
      case OwnerKind::generation:
        return mend_generation(folder);
      case OwnerKind::generations:  // all were set aside by a start, which then refused to go on
        for (const auto& fault : faults)
          if (fault.what == kMixedGenerations)
            return report_.left.push_back({fault.path, fault.what});
        io::set_aside(folder);
        return aside(folder, kBeginsAnew);
      case OwnerKind::claim:
        io::set_aside(folder);
        return aside(folder, "a start goes by the claims before it");
      case OwnerKind::ledger:
        return mend_ledger(folder, faults);
      case OwnerKind::section:
        return mend_section(folder, faults);
      case OwnerKind::record:
        for (const auto& fault : faults) {
          const std::string advice = advice_of(fs::path(fault.path).filename().string());
          const auto& mended = report_.set_aside;
          if (std::any_of(mended.begin(), mended.end(),
                          [&](const Fault& other) { return other.path == fault.path; }))
            continue;
          if (restore_twice(fault.path)) {
            aside(fault.path, "it is written again from its copy");
            continue;
          }
          if (!fs::exists(fault.path)) {
            left(fault, advice);
            continue;
          }
          io::set_aside(fault.path);
          aside(fault.path, advice);
        }
        return;
      case OwnerKind::plan:  // the file itself
        io::set_aside(folder);
        io::write_file(folder, std::string_view(kept_plan(folder.parent_path())));
        return aside(folder, "it is written again, as the run was started with it");
      case OwnerKind::model:
        for (const auto& fault : faults) left(fault, "restore it, no run of this folder makes it");
        return;
      case OwnerKind::unknown:
        break;
    }
    if (io::has_manifest(folder)) {
      reopen_section(folder);
      io::set_aside(folder / "manifest.json");
      aside(folder / "manifest.json", "all that it named is made anew");
      return;
    }
    for (const auto& fault : faults) left(fault, "restore it or remove its folder");
  }

  static std::string advice_of(const std::string& record) {
    if (record == "settings.json")
      return "start the plan again by `retort run`, with its --set options";
    if (record == "jobs.json")
      return "end jobs of this run that still wait or run by scancel, then submit it again";
    if (!record.ends_with(".json")) return "a start makes the folder anew";
    return "its section goes on with what is there";
  }

  void mend_generation(const fs::path& folder) {
    io::set_aside(folder);
    generations_[folder.parent_path().parent_path()].push_back(folder);
  }

  /// Once all are set aside: a start refuses to begin anew where generations were; here it was
  /// asked for.
  void finish_generations() {
    for (const auto& [run, folders] : generations_) {
      const auto chain = io::chain_of(io::list_run(run, io::recipe_of_run(run)));
      const bool another = std::any_of(chain.begin(), chain.end(),
                                       [](const auto& entry) { return !entry.set_aside; });
      for (const auto& folder : folders)
        aside(folder, another ? "a start resumes from the generation before"
                              : "no generation is right: the training begins anew");
      if (!another) io::set_aside(io::generations_folder(run));
    }
  }

  /// The files among the faults that are there.
  std::vector<fs::path> files_of(const std::vector<Fault>& faults) const {
    std::set<fs::path> files;
    for (const auto& fault : faults)
      if (fs::is_regular_file(fault.path)) files.insert(fault.path);
    return {files.begin(), files.end()};
  }

  void mend_ledger(const fs::path& folder, const std::vector<Fault>& faults) {
    bool of_records = false;
    if (io::has_manifest(folder)) try {
        io::read_manifest(folder);
      } catch (const core::DataError&) {
        io::set_aside(folder / "manifest.json");
        aside(folder / "manifest.json", "it is made of the records again");
        of_records = true;
      }
    const auto ledger =
        io::MemberLedger::existing(folder, stages::kept_source_stamp(folder).value_or(""));
    std::set<std::string> members;
    for (const auto& member :
         io::has_manifest(folder) ? io::read_manifest(folder).members : ledger.records())
      members.insert(member.name);
    reopen_section(folder);
    const auto good = ledger.reopen();
    for (const auto& member : good) members.erase(member.name);
    for (const auto& name : members) aside(folder / name, "it is made anew, it alone");
    std::set<fs::path> done;
    for (const auto& path : files_of(faults)) {
      done.insert(path);
      if (members.contains(path.lexically_relative(folder).generic_string())) continue;
      io::set_aside(path);
      aside(path, "it is written again");
    }
    for (const auto& fault : faults) {
      const fs::path path = fault.path;
      // Its bytes are those that were written, and wrong: writing them again gives the same.
      if (path == folder && of_records) continue;
      if (path == folder && members.empty())
        left(fault, "remove the folder; if it comes again, report it");
      else if (!done.contains(path) && !fs::exists(path) &&
               !members.contains(path.lexically_relative(folder)))
        aside(path, "it is written again");
    }
  }

  void mend_section(const fs::path& folder, const std::vector<Fault>& faults) {
    // Record and manifest go first: from then on the section is not done.
    const bool model = std::any_of(faults.begin(), faults.end(), [&](const Fault& fault) {
      return fault.path.rfind((folder / "model").string(), 0) == 0;
    });
    reopen_section(folder);
    if (fs::exists(folder)) remove_section_manifest(folder);  // all of it may be gone
    if (model && fs::exists(folder / "model")) io::remove_manifest(folder / "model");
    for (const auto& path : files_of(faults)) io::set_aside(path);
    aside(folder, "the section ends anew from its last generation, or as a whole");
  }

  /// The command that made the folder knows it again.
  static void remove_section_manifest(const fs::path& folder) {
    std::string recipe;
    if (io::has_manifest(folder)) try {
        recipe = io::read_manifest(folder).recipe_hash;
      } catch (const core::DataError&) {
      }
    // First: with the manifest gone nothing else would tell.
    if (!recipe.empty() && !stages::keeps_records(folder)) stages::mark_begun(folder, recipe);
    io::remove_manifest(folder);
  }

  RepairReport report_;
  std::map<fs::path, std::vector<fs::path>> generations_;  // set aside, by run folder
};

}  // namespace

RepairReport repair(const CheckReport& report) { return Repair().run(report); }

}  // namespace retort::pipeline
