// run and resume: a plan from its file, or as a run folder keeps it.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "pipeline/job.h"
#include "pipeline/run_plan.h"
#include "pipeline/submission.h"
#include "stages/stage.h"

namespace retort::pipeline {
namespace {

using core::OptionEffect;
using stages::StageContext;
using stages::StageOutcome;

/// What run and resume share.
struct CommonRunOptions {
  std::vector<std::string> only;
  bool dry_run = false;
  bool keep_going = false;
  bool retry = false;

  void declare(core::OptionTable& table) {
    auto& sections = table.add("only", &only, "run these sections and what they need, no others");
    sections.effect = OptionEffect::run;
    sections.value_name = "SECTION,...";
    table.add("dry-run", &dry_run, "print what would run and why, and end").effect =
        OptionEffect::run;
    table
        .add("keep-going", &keep_going,
             "after a section failed, run those that don't need it (with one rank; with several, "
             "an error ends the job)")
        .effect = OptionEffect::run;
    table
        .add("retry", &retry,
             "start sections, too, that made no progress in 3 restarts: their count begins anew")
        .effect = OptionEffect::run;
  }
  RunOptions options() const {
    return {only, "", dry_run ? RunMode::dry : RunMode::run,
            keep_going ? AfterFailure::keep_going : AfterFailure::stop,
            retry ? AfterRestarts::retry : AfterRestarts::refuse};
  }
};

class Run : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Plan");
    auto& plan = table.add("plan", &plan_, "the plan, an INI file");
    plan.effect = OptionEffect::input;
    plan.positional = true;
    plan.required = true;
    plan.value_name = "PLAN";
    auto& out = table.add("out", &out_, "run folder; by default runs/NAME of the plan");
    out.effect = OptionEffect::output;
    out.value_name = "DIR";
    auto& set = table.add_repeated("set", &set_,
                                   "set an option of a section, over what the plan "
                                   "says; may be given several times");
    set.value_name = "SECTION.KEY=VALUE";
    common_.declare(table);
  }
  StageOutcome run(StageContext& context) override {
    return run_plan(load_plan(context.communicator, plan_, set_, out_), common_.options(), context);
  }

 private:
  std::filesystem::path plan_;
  std::filesystem::path out_;
  std::vector<std::string> set_;
  CommonRunOptions common_;
};

class Resume : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Plan");
    declare_run_folder(table, &run_, "the run folder of a plan");
    auto& section = table.add("section", &section_,
                              "run this section alone (teacher, teacher/seed-2), while other "
                              "sections may run beside it; what it needs must be done");
    section.effect = OptionEffect::run;
    section.value_name = "SECTION";
    table
        .add("here", &here_,
             "run a plan that was submitted in this process; otherwise what is not done is "
             "submitted "
             "again (with several ranks or in a job, it runs here anyway)")
        .effect = OptionEffect::run;
    common_.declare(table);
  }
  void validate() const override {
    if (!section_.empty() && !common_.only.empty())
      throw core::UsageError(
          "--section runs one section alone, --only what it needs, too; "
          "give one of them");
  }
  StageOutcome run(StageContext& context) override {
    auto options = common_.options();
    options.section = section_;
    if (section_.empty() && !here_ && context.communicator.size() == 1 &&
        std::getenv("SLURM_JOB_ID") == nullptr) {
      if (auto record = read_submission(run_)) {
        if (common_.keep_going)
          throw core::UsageError("--keep-going is for a run in this process; give --here, too");
        if (!common_.only.empty()) record->only = common_.only;
        submit_run(load_run(context.communicator, run_), std::move(*record), options.mode,
                   options.after_restarts, context);
        return StageOutcome::done;
      }
    }
    return run_plan(load_run(context.communicator, run_), options, context);
  }

 private:
  std::filesystem::path run_;
  std::string section_;
  bool here_ = false;
  CommonRunOptions common_;
};

}  // namespace

std::unique_ptr<stages::Stage> make_run() { return std::make_unique<Run>(); }
std::unique_ptr<stages::Stage> make_resume() { return std::make_unique<Resume>(); }

}  // namespace retort::pipeline
