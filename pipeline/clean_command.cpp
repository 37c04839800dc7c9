// clean: removes from a run folder what nobody needs any more.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/checkpoint.h"
#include "io/posix.h"
#include "pipeline/cleaning.h"
#include "pipeline/job.h"
#include "pipeline/plan_fence.h"
#include "pipeline/results.h"
#include "pipeline/submission_record.h"
#include "stages/stage.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using core::OptionEffect;
using stages::StageContext;
using stages::StageOutcome;

class Clean : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Plan");
    declare_run_folder(table, &run_, "the run folder of a plan");
    auto& keep = table.add("keep", &keep_,
                           "generations that each section keeps, the newest ones; one that is not "
                           "done keeps at least 2, verified, to resume from");
    keep.effect = OptionEffect::run;
    table
        .add(
            "keep-best", &keep_best_,
            "keep the generation with the lowest validation loss, too (train --keep-best wrote it)")
        .effect = OptionEffect::run;
    table.add("dry-run", &dry_run_, "say what would be removed, and end").effect =
        OptionEffect::run;
  }

  StageOutcome run(StageContext& context) override {
    const Job job = load_run(context.communicator, run_);
    if (dry_run_) {
      print(context, removable(job, keep_, best()));
      return StageOutcome::done;
    }
    require_no_active_jobs(job.place.run);
    const auto fence =
        fence_plan(context.communicator, job.place.run,
                   context.take_over ? io::RunFolder::TakeOver::yes : io::RunFolder::TakeOver::no);
    const auto removals = removable(job, keep_, best());
    for (const auto& removal : removals) remove(removal.path);
    print(context, removals);
    return StageOutcome::done;
  }

 private:
  BestGeneration best() const {
    return keep_best_ ? BestGeneration::keep : BestGeneration::as_others;
  }

  /// Without its manifest a generation is none: a kill in between leaves nothing that looks whole.
  static void remove(const fs::path& path) {
    if (fs::is_directory(path)) io::remove_tree(path / "manifest.json");
    io::remove_tree(path);
  }

  void print(const StageContext& context, const std::vector<Removal>& removals) const {
    std::uint64_t bytes = 0;
    std::vector<std::vector<std::string>> rows;
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const auto& removal : removals) {
      bytes += removal.bytes;
      rows.push_back({removal.path.string(), std::to_string(removal.bytes), removal.why});
      json.push_back(
          {{"path", removal.path.string()}, {"bytes", removal.bytes}, {"why", removal.why}});
    }
    if (context.json) {
      fmt::print(
          "{}\n",
          nlohmann::ordered_json(
              {{"run", run_.string()}, {"dry_run", dry_run_}, {"bytes", bytes}, {"removed", json}})
              .dump());
    } else {
      fmt::print("{}{} {}, {} bytes\n", aligned(rows), dry_run_ ? "would remove" : "removed",
                 removals.size(), bytes);
    }
    std::fflush(stdout);
  }

  fs::path run_;
  std::uint64_t keep_ = 2;
  bool keep_best_ = false;
  bool dry_run_ = false;
};

}  // namespace

std::unique_ptr<stages::Stage> make_clean() { return std::make_unique<Clean>(); }

}  // namespace retort::pipeline
