#include "pipeline/check.h"

#include <algorithm>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"
#include "io/companions.h"
#include "io/generation.h"
#include "io/json_text.h"
#include "io/manifest.h"
#include "io/model_folder.h"
#include "pipeline/check_findings.h"
#include "pipeline/check_rows.h"
#include "pipeline/file_kinds.h"
#include "pipeline/job.h"
#include "pipeline/kept_twice.h"
#include "pipeline/results.h"
#include "pipeline/section_state.h"
#include "pipeline/submission_record.h"
#include "stages/section_output.h"
#include "stages/source_stamp.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

class Checker {
 public:
  CheckReport check(const fs::path& path) {
    std::error_code code;
    if (!fs::exists(path, code))
      throw core::UsageError(fmt::format("{} does not exist; check the path", path.string()));
    if (fs::is_directory(path, code)) {
      check_folder(path);
    } else {
      ++findings_.report.files;
      found_ =
          findings_.guarded(path, [&] { check_file(path); }) || !findings_.report.faults.empty();
    }
    if (!found_)
      throw core::DataError(fmt::format(
          "{} holds nothing that Retort wrote (no manifest, no HDF5 file); check the path",
          path.string()));
    return std::move(findings_.report);
  }

 private:
  void check_folder(const fs::path& folder) {
    if (is_plan_run(folder)) {
      check_plan_run(folder);
    } else if (fs::exists(folder / ".plan" / "sections")) {
      found_ = true;
      findings_.fault(folder / ".plan" / "settings.json",
                      "is missing: it held the plan and its --set options");
    }
    if (io::has_manifest(folder)) {
      found_ = true;
      ++findings_.report.manifests;
      findings_.guarded(folder, [&] { check_complete(folder, io::read_manifest(folder)); });
    } else if (fs::is_directory(folder / "members") || fs::exists(folder / stages::kBegunName)) {
      found_ = true;
      findings_.note(folder, "unfinished: no manifest yet");
      if (fs::exists(folder / stages::kBegunRecipe))
        findings_.guarded(folder / stages::kBegunRecipe,
                          [&] { io::read_sealed(folder, stages::kBegunRecipe); });
      check_ledger(folder);
    } else if (io::all_lost(io::chain_of(io::list_run(folder, io::recipe_of_run(folder))))) {
      findings_.fault(io::generations_folder(folder),
                      "no start can go on from any generation that was here");
    }
    check_recipes(folder);
    for (const auto& claim : io::foreign_claims(folder))
      findings_.fault(io::claims_folder(folder) / io::claim_name(claim.epoch),
                      "names another recipe than the generations of its start have");
    check_claims(folder);
    std::vector<fs::path> folders;
    for (const auto& path : listing(folder)) {
      const auto name = path.filename().string();
      if (fs::is_directory(path)) {
        if (name == ".old" || name.ends_with(".bad")) {
          findings_.note(path, "was set aside; not checked");
        } else if (name == "model" && io::has_manifest(folder) &&
                   !named_.contains(path / "manifest.json")) {
          findings_.note(path, "is named by no manifest: left over");
        } else if (name != "members" && name != ".plan" && name != "claims" &&
                   name != stages::kBegunName) {
          folders.push_back(path);
        }
      } else if (name.ends_with(".tmp") || name.ends_with(".bad")) {
        findings_.note(path, name.ends_with(".tmp") ? "left by a write that never ended"
                                                    : "was set aside; not checked");
      } else if (is_content(folder, name) && !named_.contains(path)) {
        check_unnamed(folder, path);
      }
    }
    for (const auto& path : folders) {
      if (is_generation(path))
        check_generation(path);
      else
        check_folder(path);
    }
  }

  /// A start that lives removes generations, which get another name first, while this reads them.
  void check_generation(const fs::path& folder) {
    if (folder.extension() == ".old") {
      findings_.note(folder, "is on its way out");
      return;
    }
    try {
      check_folder(folder);
    } catch (const core::Error&) {
      if (!of_generation_that_is_gone(folder)) throw;
    }
  }

  void check_claims(const fs::path& folder) {
    for (const auto& claim : io::list_run(folder).damaged_claims)
      findings_.guarded(claim.path, [&] { throw core::DataError(claim.why); });
  }

  /// Generations of other runs: those of a finished section by their names.
  void check_recipes(const fs::path& folder) {
    std::string own;
    if (io::has_manifest(folder)) try {
        own = io::read_manifest(folder).recipe_hash;
      } catch (const core::DataError&) {
        return;  // is told elsewhere
      }
    if (own.empty() && io::generation_recipes(folder).size() > 1)
      findings_.fault(io::generations_folder(folder), std::string(kMixedGenerations));
    if (own.empty()) return;
    for (const auto& entry : io::list_run(folder).generations) {
      const auto generation = io::generations_folder(folder) / io::name_of(entry.id);
      if (!entry.set_aside)
        findings_.guarded(generation, [&] {
          if (io::read_manifest(generation).recipe_hash != own)
            throw core::DataError("is another run's");
        });
    }
  }

  static std::vector<fs::path> listing(const fs::path& folder) {
    std::vector<fs::path> paths;
    std::error_code code;
    for (auto entry = fs::directory_iterator(folder, code);
         !code && entry != fs::directory_iterator(); entry.increment(code))
      paths.push_back(entry->path());
    if (code)
      throw core::IoError(fmt::format("can't list {}: {}", folder.string(), code.message()));
    std::sort(paths.begin(), paths.end());
    return paths;
  }

  /// Files of other formats belong to folders that have a manifest alone.
  static bool is_content(const fs::path& folder, const std::string& name) {
    if (name.ends_with(".h5")) return true;
    return (name.ends_with(".safetensors") || name == "model.json") && io::has_manifest(folder);
  }

  /// A file that no manifest and no record names.
  void check_unnamed(const fs::path& folder, const fs::path& path) {
    found_ = true;
    const auto generation = folder.filename().string();
    if (generation.starts_with("gen-") && !io::has_manifest(folder)) {
      findings_.note(path, "belongs to a generation that was never committed");
    } else if (inside_finished(folder)) {
      findings_.note(path, "is named by no manifest: left over");
    } else if (inside_unfinished(folder)) {
      findings_.note(path, "is not recorded yet: it will be written again");
    } else {
      findings_.fault(path, "no manifest names it: manifest.json of its folder is missing");
    }
  }

  /// True if `folder` or one above it, as far as the walk came, has what `test` looks for.
  template <class Test>
  bool above(fs::path folder, Test test) const {
    for (int level = 0; level < 3 && !folder.empty(); ++level, folder = folder.parent_path())
      if (test(folder)) return true;
    return false;
  }
  bool inside_finished(const fs::path& folder) const {
    return above(folder, [](const fs::path& f) { return io::has_manifest(f); });
  }
  bool inside_unfinished(const fs::path& folder) const {
    return above(folder, [](const fs::path& f) {
      return fs::is_directory(f / "members") || fs::is_directory(f / "claims") ||
             fs::exists(f / stages::kBegunName);
    });
  }

  void check_complete(const fs::path& folder, const io::Manifest& manifest) {
    for (const auto& member : manifest.members) check_member(folder, member);
    for (const auto& name : manifest.companions) {
      findings_.guarded(folder / name, [&] {
        if (const auto wrong = io::companion_fault(folder, name); !wrong.empty())
          throw core::DataError(wrong);
        if (name == stages::kSourceStampName) stages::require_source_stamp(folder);
        ++findings_.report.files;
      });
    }
    if (check_rows(folder, manifest, findings_)) return;
    if (manifest.kind == "model") {
      findings_.guarded(folder, [&] { io::read_model(folder); });
    } else if (manifest.kind == "checkpoint") {
      findings_.guarded(folder, [&] { io::open_generation(folder); });
    } else if (manifest.kind != "section") {
      findings_.fault(
          folder,
          fmt::format("its manifest has the unknown kind '{}'; use a newer Retort", manifest.kind));
    }
  }

  void check_member(const fs::path& folder, const io::Member& member) {
    const auto path = folder / member.name;
    named_.insert(path);
    if (const auto wrong = io::member_fault(folder, member); !wrong.empty()) {
      findings_.fault(path, wrong);
      return;
    }
    ++findings_.report.files;
    findings_.report.bytes += member.seal.size;
    if (path.extension() == ".h5") findings_.guarded(path, [&] { check_file(path); });
  }

  void check_file(const fs::path& path) {
    const auto opened = open_file(path);
    for (const auto& name : opened.reader.datasets()) content(opened.reader, name);
  }

  /// Members of a folder that is still being written: those with records must be right.
  void check_ledger(const fs::path& folder) {
    const auto root = folder / "members";
    if (const auto stamp = folder / stages::kSourceStampName; fs::exists(stamp))
      findings_.guarded(stamp, [&] { stages::require_source_stamp(folder); });
    std::error_code error;
    for (auto entry = fs::recursive_directory_iterator(root, error);
         !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
      if (entry->path().extension() != ".json") continue;
      findings_.guarded(entry->path(), [&] {
        const auto bytes = io::read_file(entry->path());
        const auto where = entry->path().string();
        check_member(folder,
                     io::member_from_json(
                         io::parse_sealed(
                             {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where),
                         where));
      });
    }
    // They go with the last one, of a stage that ends now.
    if (error && error != std::errc::no_such_file_or_directory)
      findings_.fault(root, "can't be listed: " + error.message());
  }

  /// The file and its copy, each for itself; `read`: by either. True if that threw nothing.
  template <class Read>
  bool check_twice(const fs::path& path, Read read) {
    const auto before = findings_.report.faults.size();
    for (const auto& each : {path, copy_of(path)})
      if (fs::exists(each))
        findings_.guarded(each, [&] { require_right(each); });
      else if (each == path && fs::exists(copy_of(path)))
        findings_.fault(path, "is missing");
    if (findings_.report.faults.size() == before) return findings_.guarded(path, read);
    try {
      read();
      return true;
    } catch (const core::Error&) {
      return false;  // why is among the faults
    }
  }

  /// The plan's own records against the folders they speak of.
  void check_plan_run(const fs::path& run) {
    found_ = true;
    for (const char* name : {"sections", "sections/.copies", "claims", "starts", ".copies"})
      if (const auto folder = run / ".plan" / name; fs::exists(folder) && !fs::is_directory(folder))
        findings_.fault(folder, "is a file where a folder should be");
    const auto settings = run / ".plan" / "settings.json";
    const bool right = check_twice(settings, [&] { kept_plan(run); });
    if (right && plan_copy_differs(run))
      findings_.fault(plan_copy(run),
                      "is not the plan that the run was started with, which its settings keep");
    const auto jobs = run / ".slurm" / "jobs.json";
    check_twice(jobs, [&] { read_submission(run); });
    for (const fs::path& starts : {run / ".plan", run / ".slurm"})
      findings_.guarded(io::claims_folder(starts), [&] { check_claims(starts); });
    if (fs::is_directory(run / ".plan" / "starts"))
      for (const auto& section : listing(run / ".plan" / "starts")) check_claims(section);
    const SectionStates states(run);
    if (right)
      findings_.guarded(settings, [&] {
        for (const auto& section : planned_sections(run))
          if (holds_anything(run / section.name) && !is_kept(states.record_path(section.name)))
            findings_.note(run / section.name,
                           "has no record: the next run of the plan makes it anew");
      });
    for (const auto& name : states.names()) {
      std::optional<SectionRecord> record;
      check_twice(states.record_path(name), [&] { record = states.record(name); });
      if (!record || record->completion == Completion::started) continue;
      if (!io::has_manifest(run / name)) {
        findings_.fault(run / name, "was complete, but its manifest.json is missing");
      } else {
        findings_.guarded(run / name, [&] {
          const auto wrong = quick_fault(run / name, record->manifest_sha256);
          if (wrong == kForeignManifest) throw core::DataError(wrong);
        });
      }
      const auto results = run / name / io::kResultsName;
      if (!fs::exists(run / name)) continue;
      findings_.guarded(results, [&] {
        if (read_results(run / name) != record->results)
          findings_.fault(results, "holds other numbers than the stage reported");
      });
    }
  }

  CheckFindings findings_;
  std::set<fs::path> named_;  // files that a manifest or record speaks of
  bool found_ = false;
};

}  // namespace

CheckReport check(const fs::path& path) { return Checker().check(path); }

}  // namespace retort::pipeline
