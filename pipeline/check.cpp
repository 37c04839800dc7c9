#include "pipeline/check.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>
#include <span>

#include <fmt/format.h>

#include "core/error.h"
#include "core/progress.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"
#include "io/companions.h"
#include "io/generation.h"
#include "io/json_text.h"
#include "io/label_matrix.h"
#include "io/logit_store.h"
#include "io/manifest.h"
#include "io/model_folder.h"
#include "io/packed_dataset.h"
#include "pipeline/file_kinds.h"
#include "pipeline/job.h"
#include "pipeline/kept_twice.h"
#include "pipeline/results.h"
#include "pipeline/section_state.h"
#include "pipeline/submission_record.h"
#include "stages/source_stamp.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kRowsAtOnce = 1024;
constexpr std::uint64_t kMostRowFaults = 20;  // of one data set; more say no more

bool starts_with(const std::string& text, std::string_view start) {
  return text.rfind(start, 0) == 0;
}

class Checker {
 public:
  CheckReport check(const fs::path& path) {
    std::error_code code;
    if (!fs::exists(path, code))
      throw core::UsageError(fmt::format("{} does not exist; check the path", path.string()));
    if (fs::is_directory(path, code)) {
      check_folder(path);
    } else {
      ++report_.files;
      found_ = guarded(path, [&] { check_file(path); }) || !report_.faults.empty();
    }
    if (!found_)
      throw core::DataError(fmt::format(
          "{} holds nothing that Retort wrote (no manifest, no HDF5 file); check the path",
          path.string()));
    return std::move(report_);
  }

 private:
  void fault(const fs::path& path, const std::string& what) {
    if (!of_generation_that_is_gone(path)) report_.faults.push_back({path.string(), what});
  }
  void note(const fs::path& path, const std::string& what) {
    report_.notes.push_back({path.string(), what});
  }

  /// Runs a part of the check; what it throws is a fault of `path`. True if it threw nothing.
  template <class Work>
  bool guarded(const fs::path& path, Work work) {
    try {
      work();
      return true;
    } catch (const std::exception& error) {
      std::string what = error.what();
      const auto prefix = path.string() + ": ";  // the report names the path itself
      if (starts_with(what, prefix)) what.erase(0, prefix.size());
      fault(path, what);
      return false;
    }
  }

  void check_folder(const fs::path& folder) {
    if (is_plan_run(folder)) {
      check_plan_run(folder);
    } else if (fs::exists(folder / ".plan" / "sections")) {
      found_ = true;
      fault(folder / ".plan" / "settings.json",
            "is missing: it held the plan and its --set options");
    }
    if (io::has_manifest(folder)) {
      found_ = true;
      ++report_.manifests;
      guarded(folder, [&] { check_complete(folder, io::read_manifest(folder)); });
    } else if (fs::is_directory(folder / "members")) {
      found_ = true;
      note(folder, "unfinished: no manifest yet");
      check_ledger(folder);
    } else if (io::all_lost(io::chain_of(io::list_run(folder, io::recipe_of_run(folder))))) {
      fault(io::generations_folder(folder), "no start can go on from any generation that was here");
    }
    check_recipes(folder);
    for (const auto& claim : io::foreign_claims(folder))
      fault(io::claims_folder(folder) / io::claim_name(claim.epoch),
            "names another recipe than the generations of its start have");
    check_claims(folder);
    std::vector<fs::path> folders;
    for (const auto& path : listing(folder)) {
      const auto name = path.filename().string();
      if (fs::is_directory(path)) {
        if (name == ".old" || name.ends_with(".bad")) {
          note(path, "was set aside; not checked");
        } else if (name != "members" && name != ".plan" && name != "claims") {
          folders.push_back(path);
        }
      } else if (name.ends_with(".tmp") || name.ends_with(".bad")) {
        note(path, name.ends_with(".tmp") ? "left by a write that never ended"
                                          : "was set aside; not checked");
      } else if (name.ends_with(".h5") && !named_.contains(path)) {
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
      note(folder, "is on its way out");
      return;
    }
    try {
      check_folder(folder);
    } catch (const core::Error&) {
      if (!of_generation_that_is_gone(folder)) throw;
    }
  }
  static bool of_generation_that_is_gone(fs::path path) {
    std::error_code code;
    for (; path.has_relative_path(); path = path.parent_path())
      if (is_generation(path)) return !fs::exists(path, code);
    return false;
  }
  static bool is_generation(const fs::path& path) {
    return path.parent_path().filename() == "checkpoints" &&
           starts_with(path.filename().string(), "gen-");
  }

  void check_claims(const fs::path& folder) {
    for (const auto& claim : io::list_run(folder).damaged_claims)
      guarded(claim.path, [&] { throw core::DataError(claim.why); });
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
      fault(io::generations_folder(folder), std::string(kMixedGenerations));
    if (own.empty()) return;
    for (const auto& entry : io::list_run(folder).generations) {
      const auto generation = io::generations_folder(folder) / io::name_of(entry.id);
      if (!entry.set_aside)
        guarded(generation, [&] {
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

  /// A file that no manifest and no record names.
  void check_unnamed(const fs::path& folder, const fs::path& path) {
    found_ = true;
    const auto generation = folder.filename().string();
    if (starts_with(generation, "gen-") && !io::has_manifest(folder)) {
      note(path, "belongs to a generation that was never committed");
    } else if (inside_finished(folder)) {
      note(path, "is named by no manifest: left over");
    } else if (inside_unfinished(folder)) {
      note(path, "is not recorded yet: it will be written again");
    } else {
      fault(path, "no manifest names it: manifest.json of its folder is missing");
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
      return fs::is_directory(f / "members") || fs::is_directory(f / "claims");
    });
  }

  void check_complete(const fs::path& folder, const io::Manifest& manifest) {
    for (const auto& member : manifest.members) check_member(folder, member);
    for (const auto& name : manifest.companions) {
      guarded(folder / name, [&] {
        if (const auto wrong = io::companion_fault(folder, name); !wrong.empty())
          throw core::DataError(wrong);
        if (name == stages::kSourceStampName) stages::require_source_stamp(folder);
        ++report_.files;
      });
    }
    if (manifest.kind == "packed_dataset") {
      guarded(folder, [&] { check_dataset_rows(folder, manifest); });
    } else if (manifest.kind == "logits") {
      guarded(folder, [&] { check_logit_rows(folder, manifest); });
    } else if (manifest.kind == io::kLabelMatrixKind) {
      guarded(folder, [&] { check_label_rows(folder); });
    } else if (manifest.kind == "model") {
      guarded(folder, [&] { io::read_model(folder); });
    } else if (manifest.kind == "checkpoint") {
      guarded(folder, [&] { io::open_generation(folder); });
    } else if (manifest.kind != "section") {
      fault(folder, fmt::format("its manifest has the unknown kind '{}'; use a newer Retort",
                                manifest.kind));
    }
  }

  void check_member(const fs::path& folder, const io::Member& member) {
    const auto path = folder / member.name;
    named_.insert(path);
    if (const auto wrong = io::member_fault(folder, member); !wrong.empty()) {
      fault(path, wrong);
      return;
    }
    ++report_.files;
    report_.bytes += member.seal.size;
    if (path.extension() == ".h5") guarded(path, [&] { check_file(path); });
  }

  void check_file(const fs::path& path) {
    const auto opened = open_file(path);
    for (const auto& name : opened.reader.datasets()) content(opened.reader, name);
  }

  void check_dataset_rows(const fs::path& folder, const io::Manifest& manifest) {
    std::vector<std::string> splits;
    for (const auto& split : manifest.facts.at("splits"))
      splits.push_back(split.at("name").get<std::string>());
    for (const auto& split : splits) {
      const io::PackedDataset data(folder, split);
      core::Progress progress("check " + (folder / split).string(), data.size(), "rows");
      std::vector<std::byte> row;
      std::uint64_t faults = 0;
      for (std::uint64_t i = 0; i < data.size() && faults < kMostRowFaults; ++i) {
        if (!guarded(folder, [&] { data.read(i, row); })) ++faults;
        if (i % kRowsAtOnce == 0) progress.update(i);
      }
      if (faults == kMostRowFaults) fault(folder, "further rows were not read");
      report_.rows += data.size();
    }
  }

  void check_logit_rows(const fs::path& folder, const io::Manifest& manifest) {
    using enum io::LogitPart;
    if (has_part(manifest.facts, unlabelled)) check_part(folder, unlabelled);
    // Facts that name neither part are wrong: opening says how.
    if (has_part(manifest.facts, labelled) || !has_part(manifest.facts, unlabelled))
      check_part(folder, labelled);
  }

  void check_part(const fs::path& folder, io::LogitPart part) {
    const io::LogitStore store(folder, part);
    const auto& facts = store.facts();
    core::Progress progress("check " + folder.string(), facts.samples * facts.passes, "rows");
    std::vector<std::uint64_t> samples(kRowsAtOnce);
    std::uint64_t faults = 0;
    for (std::uint64_t pass = 0; pass < facts.passes; ++pass) {
      const auto read = [&](std::uint64_t first, std::uint64_t n) {
        std::iota(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(n), first);
        read_rows(store, pass, std::span(samples).first(n));
      };
      for (std::uint64_t first = 0; first < facts.samples; first += kRowsAtOnce) {
        const auto n = std::min(kRowsAtOnce, facts.samples - first);
        try {
          read(first, n);
        } catch (const core::Error&) {  // find the rows, one by one
          for (std::uint64_t i = 0; i < n && faults < kMostRowFaults; ++i)
            if (!guarded(folder, [&] { read(first + i, 1); })) ++faults;
        }
        if (faults >= kMostRowFaults) {
          fault(folder, "further rows were not read");
          return;
        }
        report_.rows += n;
        progress.update(pass * facts.samples + first);
      }
    }
  }

  void check_label_rows(const fs::path& folder) {
    const io::LabelMatrix matrix(folder);
    for (std::uint64_t file = 0; file < matrix.files(); ++file)
      guarded(folder, [&] { report_.rows += matrix.read(file).classes.size(); });
  }

  /// Rows of any form, for their checks alone.
  static void read_rows(const io::LogitStore& store, std::uint64_t pass,
                        std::span<const std::uint64_t> samples) {
    const auto& layout = store.facts().layout;
    if (layout.ragged()) {
      store.read_sampled(pass, samples);
      return;
    }
    std::vector<std::uint32_t> ids(samples.size() * layout.top_k);
    std::vector<float> values(ids.size()), tails(samples.size() * layout.temperatures.size());
    if (layout.form == io::RowForm::top_h)
      store.read_labels(pass, samples, ids, values);
    else
      store.read(pass, samples, ids, values, tails);
  }

  /// Members of a folder that is still being written: those with records must be right.
  void check_ledger(const fs::path& folder) {
    const auto root = folder / "members";
    if (const auto stamp = folder / stages::kSourceStampName; fs::exists(stamp))
      guarded(stamp, [&] { stages::require_source_stamp(folder); });
    for (auto entry = fs::recursive_directory_iterator(root);
         entry != fs::recursive_directory_iterator(); ++entry) {
      if (entry->path().extension() != ".json") continue;
      guarded(entry->path(), [&] {
        const auto bytes = io::read_file(entry->path());
        const auto where = entry->path().string();
        check_member(folder,
                     io::member_from_json(
                         io::parse_sealed(
                             {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where),
                         where));
      });
    }
  }

  /// The file and its copy, each for itself; `read`: by either. True if that threw nothing.
  template <class Read>
  bool check_twice(const fs::path& path, Read read) {
    const auto before = report_.faults.size();
    for (const auto& each : {path, copy_of(path)})
      if (fs::exists(each))
        guarded(each, [&] { require_right(each); });
      else if (each == path && fs::exists(copy_of(path)))
        fault(path, "is missing");
    if (report_.faults.size() == before) return guarded(path, read);
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
        fault(folder, "is a file where a folder should be");
    const auto settings = run / ".plan" / "settings.json";
    const bool right = check_twice(settings, [&] { kept_plan(run); });
    if (right && plan_copy_differs(run))
      fault(plan_copy(run),
            "is not the plan that the run was started with, which its settings keep");
    const auto jobs = run / ".slurm" / "jobs.json";
    check_twice(jobs, [&] { read_submission(run); });
    for (const fs::path& starts : {run / ".plan", run / ".slurm"})
      guarded(io::claims_folder(starts), [&] { check_claims(starts); });
    if (fs::is_directory(run / ".plan" / "starts"))
      for (const auto& section : listing(run / ".plan" / "starts")) check_claims(section);
    const SectionStates states(run);
    if (right)
      guarded(settings, [&] {
        for (const auto& section : planned_sections(run))
          if (holds_anything(run / section.name) && !is_kept(states.record_path(section.name)))
            note(run / section.name, "has no record: the next run of the plan makes it anew");
      });
    for (const auto& name : states.names()) {
      std::optional<SectionRecord> record;
      check_twice(states.record_path(name), [&] { record = states.record(name); });
      if (!record || record->completion == Completion::started) continue;
      if (!io::has_manifest(run / name)) {
        fault(run / name, "was complete, but its manifest.json is missing");
      } else {
        guarded(run / name, [&] {
          const auto wrong = quick_fault(run / name, record->manifest_sha256);
          if (wrong == kForeignManifest) throw core::DataError(wrong);
        });
      }
      const auto results = run / name / io::kResultsName;
      if (!fs::exists(run / name)) continue;
      guarded(results, [&] {
        if (read_results(run / name) != record->results)
          fault(results, "holds other numbers than the stage reported");
      });
    }
  }

  CheckReport report_;
  std::set<fs::path> named_;  // files that a manifest or record speaks of
  bool found_ = false;
};

}  // namespace

CheckReport check(const fs::path& path) { return Checker().check(path); }

}  // namespace retort::pipeline
