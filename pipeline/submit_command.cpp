// submit: the sections of a plan that are not up to date, as Slurm jobs.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "pipeline/job.h"
#include "pipeline/slurm_settings.h"
#include "pipeline/slurm_site.h"
#include "pipeline/submission.h"
#include "stages/stage.h"

namespace retort::pipeline {
namespace {

using core::OptionEffect;
using stages::StageContext;
using stages::StageOutcome;

class Submit : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Plan");
    auto& plan = table.add("plan", &plan_, "the plan, an INI file, or the run folder of one");
    plan.effect = OptionEffect::input;
    plan.positional = true;
    plan.required = true;
    plan.value_name = "PLAN|RUN";
    auto& out = table.add("out", &out_, "run folder; by default runs/NAME of the plan");
    out.effect = OptionEffect::output;
    out.value_name = "DIR";
    auto& set = table.add_repeated("set", &set_,
                                   "set an option of a section, over what the plan says; may be "
                                   "given several times");
    set.value_name = "SECTION.KEY=VALUE";
    auto& only = table.add("only", &only_, "submit these sections and what they need, no others");
    only.effect = OptionEffect::run;
    only.value_name = "SECTION,...";
    table
        .add("retry", &retry_,
             "sections, too, that made no progress in 3 restarts: their count begins anew")
        .effect = OptionEffect::run;
    table.group("Jobs");
    auto& site = table.add("site", &site_,
                           "site file: partition, account, modules, container and so on, for all "
                           "stages and for single ones (slurm/site.ini is one with comments)");
    site.effect = OptionEffect::run;
    site.value_name = "FILE";
    table.add("one-job", &one_job_, "one job with a step for each section, not a job for each")
        .effect = OptionEffect::run;
    table
        .add("dry-run", &dry_run_,
             "print the batch scripts and the calls of sbatch, and end; works without Slurm")
        .effect = OptionEffect::run;
    settings_.declare_request(table);
  }

  StageOutcome run(StageContext& context) override {
    const bool is_run = std::filesystem::is_directory(plan_);
    if (is_run && (!set_.empty() || !out_.empty()))
      throw core::UsageError(fmt::format(
          "{} is a run folder, whose plan and options are fixed: --set and --out are for a plan",
          plan_.string()));
    const Job job = is_run ? load_run(context.communicator, plan_)
                           : load_plan(context.communicator, plan_, set_, out_);
    SubmissionRecord record;
    if (!site_.empty()) {
      record.site_name = site_.string();
      record.site_text = text_of(site_);
    }
    record.given = given(context);
    record.layout = one_job_ ? JobLayout::one_job : JobLayout::per_section;
    record.only = only_;
    submit_run(job, std::move(record), dry_run_ ? RunMode::dry : RunMode::run,
               retry_ ? AfterRestarts::retry : AfterRestarts::refuse, context);
    return StageOutcome::done;
  }

 private:
  static std::string text_of(const std::filesystem::path& file) {
    std::error_code code;
    if (!std::filesystem::is_regular_file(file, code))
      throw core::UsageError(
          fmt::format("--site: there is no file {}; copy slurm/site.ini", file.string()));
    const auto bytes = io::read_file(file);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  /// What the command line says over the site file.
  std::vector<std::pair<std::string, std::string>> given(const StageContext& context) const {
    JobSettings said = settings_;
    core::OptionTable table;
    said.declare_request(table);
    std::vector<std::pair<std::string, std::string>> options;
    for (const auto& option : table.options())
      if (const auto value = option.print(); !value.empty())
        options.emplace_back(option.name, value);
    if (context.ranks_wanted > 0)
      options.emplace_back("ranks", std::to_string(context.ranks_wanted));
    return options;
  }

  std::filesystem::path plan_;
  std::filesystem::path out_;
  std::vector<std::string> set_;
  std::vector<std::string> only_;
  bool retry_ = false;
  std::filesystem::path site_;
  bool one_job_ = false;
  bool dry_run_ = false;
  JobSettings settings_;
};

}  // namespace

std::unique_ptr<stages::Stage> make_submit() { return std::make_unique<Submit>(); }

}  // namespace retort::pipeline
