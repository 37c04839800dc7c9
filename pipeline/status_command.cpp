// status: how far the sections of a plan are. Changes nothing, and may look on while a run goes on.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "pipeline/folder_progress.h"
#include "pipeline/graph.h"
#include "pipeline/job.h"
#include "pipeline/judge.h"
#include "pipeline/plan_fence.h"
#include "pipeline/results.h"
#include "pipeline/slurm_script.h"
#include "pipeline/submission_record.h"
#include "stages/stage.h"

namespace retort::pipeline {
namespace {

using stages::StageContext;
using stages::StageOutcome;
using Json = nlohmann::ordered_json;

bool is_alive(const FolderProgress& progress) {
  return progress.heartbeat_age && *progress.heartbeat_age < kFreshHeartbeat;
}

std::string_view state_text(Standing standing, const FolderProgress& progress, bool plan_alive) {
  switch (standing) {
    case Standing::up_to_date:
      return "done";
    case Standing::resume:
      return plan_alive || is_alive(progress) ? "running" : "partial";
    case Standing::replace:
    case Standing::waiting:  // it holds something, made before what it needs
      return "out of date";
    case Standing::start:
      break;
  }
  return "not started";
}

class Status : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Plan");
    auto& path = table.add("path", &path_, "a plan, or the run folder of one");
    path.effect = core::OptionEffect::input;
    path.positional = true;
    path.required = true;
    path.value_name = "RUN|PLAN";
    auto& out = table.add("out", &out_, "run folder of the plan; by default runs/NAME of the plan");
    out.effect = core::OptionEffect::run;
    out.value_name = "DIR";
    auto& decide =
        table.add("decide", &decide_,
                  "for job scripts: end with 0 if the section is done, 75 if it is to go "
                  "on, 65 and the reason if it was restarted without progress too often");
    decide.effect = core::OptionEffect::run;
    decide.value_name = "SECTION";
  }

  StageOutcome run(StageContext& context) override {
    const Job job = std::filesystem::is_directory(path_)
                        ? load_run(context.communicator, path_)
                        : load_plan(context.communicator, path_, {}, out_);
    if (!decide_.empty()) return decide(job);
    if (!context.communicator.root()) return StageOutcome::done;
    const auto plan = folder_progress(job.place.run / ".plan");
    const Json sections = describe(job, is_alive(plan), jobs_of(job.place.run));
    if (context.json) {
      Json json = {{"plan", job.plan.settings.name},
                   {"run", job.place.run.string()},
                   {"alive", is_alive(plan)},
                   {"sections", sections}};
      fmt::print("{}\n", json.dump());
    } else {
      print(job, plan, sections);
    }
    std::fflush(stdout);
    return StageOutcome::done;
  }

 private:
  /// A section with seeds is done when each of them is. A name with its seed names that one alone.
  StageOutcome decide(const Job& job) const {
    const auto chosen = alone(job.plan, job.graph, decide_, "--decide");
    // What it has nothing to do with may be missing or large: not looked at.
    auto concerned = chosen;
    for (std::size_t i = concerned.size(); i-- > 0;)
      if (concerned[i] != 0)
        for (const std::size_t need : job.graph.instances[i].needs) concerned[need] = 1;
    Judge judge(job);
    std::vector<char> runs(job.graph.instances.size(), 0);
    auto outcome = StageOutcome::done;
    std::vector<std::string> unfinished;
    bool begun = false;
    for (std::size_t i = 0; i < job.graph.instances.size(); ++i) {
      if (concerned[i] == 0) continue;
      const auto& instance = job.graph.instances[i];
      const auto judged = judge.forecast(i, runs);
      runs[i] = judged.standing != Standing::up_to_date;
      if (!runs[i]) continue;
      if (chosen[i]) {
        outcome = StageOutcome::stopped;
        // A job whose section waits for what nobody makes begins nothing, either.
        begun = is_begun(judge, instance.name) || begun;
        unfinished.push_back(instance.name);
      }
      // What it waits for may start no more, either.
      if (!judged.recipe) continue;
      if (const auto why = judge.states().refusal(instance.name, *judged.recipe); !why.empty())
        throw core::DataError(why);
    }
    require_jobs(job.place.run, unfinished);
    if (!unfinished.empty() && !begun)
      fmt::print("section {} has not begun in this start of the job\n", decide_);
    return outcome;
  }

  /// Who waits for a section whose job has ended would wait for ever. A job's own script asks for
  /// what it is to do next.
  static void require_jobs(const std::filesystem::path& run,
                           const std::vector<std::string>& sections) {
    std::optional<SubmissionRecord> record;
    try {
      record = read_submission(run);
    } catch (const core::DataError& error) {
      core::log_warning("{}", error.what());  // the sections' own records decide
    }
    if (!record || !has_slurm() || std::getenv("SLURM_JOB_ID") != nullptr) return;
    std::map<std::string, JobState> states;
    try {
      states = section_jobs(*record);
    } catch (const core::IoError& error) {
      core::log_warning("{}", error.what());  // who waits asks again
    }
    for (const auto& section : sections) {
      const auto at = states.find(section);
      if (at != states.end() && at->second.given_up())
        throw core::DataError(fmt::format(
            "section {}: its job {} is {}, and no other is queued; its log in {} says why; go on "
            "with: retort resume {}",
            section, record->jobs.at(section), at->second.state, (run / ".slurm").string(),
            run.string()));
    }
  }

  /// Whether it began in this start of the Slurm job that asks; outside Slurm it did. A job whose
  /// starts never get as far would requeue itself for ever: DataError.
  static bool is_begun(const Judge& judge, const std::string& name) {
    StartHistory last;
    std::vector<StartHistory> others;
    for (const auto& section : judge.states().names()) {
      std::optional<SectionRecord> record;
      try {
        record = judge.states().record(section);
      } catch (const core::DataError&) {
        // Damaged with its copy: nothing is known of its starts.
      }
      if (!record) continue;
      if (section == name)
        last = record->starts;
      else
        others.push_back(record->starts);
    }
    const auto idle = idle_starts(last, others);
    if (idle > kRestartsWithoutProgress)
      throw core::DataError(
          fmt::format("the last {} starts of Slurm job {} did not even begin section {}; the job's "
                      "log says why (retort not found? no PMIx? the run folder in use? what it "
                      "needs not done?)",
                      idle, std::getenv("SLURM_JOB_ID"), name));
    return idle == 0;
  }

  /// A section's job and what Slurm says of it.
  struct SectionJob {
    std::string job;
    std::string state;
  };
  static std::map<std::string, SectionJob> jobs_of(const std::filesystem::path& run) {
    std::map<std::string, SectionJob> jobs;
    const auto record = read_submission(run);
    if (!record) return jobs;
    const bool cancelled = std::filesystem::exists(cancel_mark(run));
    for (const auto& [section, id] : record->jobs) jobs[section].job = id;
    try {
      if (has_slurm())
        for (const auto& [section, state] : section_jobs(*record)) {
          // Its script ends with 75, so that no job that waits for it begins.
          const bool told_to = state.state == "FAILED" && state.reason.empty() && cancelled;
          const std::string reason = told_to ? "by retort cancel" : state.reason;
          jobs[section].state = state.state + (reason.empty() ? "" : " (" + reason + ")");
        }
    } catch (const core::IoError& error) {
      core::log_warning("{}", error.what());  // the folders tell enough
    }
    return jobs;
  }

  /// What its last start said when it failed; a damaged record says nothing.
  static std::string failure_of(const SectionStates& states, const std::string& name) {
    try {
      const auto record = states.record(name);
      return record && record->completion == Completion::started ? record->failure : "";
    } catch (const core::DataError&) {
      return "";
    }
  }

  static Json describe(const Job& job, bool plan_alive,
                       const std::map<std::string, SectionJob>& jobs) {
    Judge judge(job);
    Json sections = Json::array();
    std::vector<char> runs(job.graph.instances.size(), 0);
    for (std::size_t i = 0; i < job.graph.instances.size(); ++i) {
      const auto& name = job.graph.instances[i].name;
      const auto judged = judge.forecast(i, runs);
      runs[i] = judged.standing != Standing::up_to_date;
      const auto progress = folder_progress(job.place.run / name);
      Json row = {
          {"name", name},
          {"stage", job.plan.sections[job.graph.instances[i].section].stage},
          {"state",
           state_text(judged.standing, progress,
                      plan_alive || is_alive(folder_progress(start_folder(job.place.run, name))))}};
      if (progress.step) row["step"] = *progress.step;
      if (progress.generation_age) row["checkpoint_age"] = *progress.generation_age;
      if (progress.members > 0) row["shards"] = progress.members;
      if (progress.heartbeat_age) row["heartbeat_age"] = *progress.heartbeat_age;
      if (const auto at = jobs.find(name); at != jobs.end()) {
        row["job"] = at->second.job;
        if (!at->second.state.empty()) row["job_state"] = at->second.state;
      }
      row["why"] = judged.why;
      if (const auto failure = failure_of(judge.states(), name);
          runs[i] && !failure.empty() && row["state"] != "running") {
        row["state"] = "failed";
        row["why"] = failure;
      }
      sections.push_back(std::move(row));
    }
    return sections;
  }

  static void print(const Job& job, const FolderProgress& plan, const Json& sections) {
    fmt::print("plan {} in {}: {}\n", job.plan.settings.name, job.place.run.string(),
               is_alive(plan)
                   ? "running, last sign " + core::duration_text(*plan.heartbeat_age) + " ago"
                   : "not running");
    std::vector<std::vector<std::string>> rows = {
        {"section", "stage", "state", "step", "checkpoint", "shards", "job", "why"}};
    for (const auto& row : sections) {
      const auto job_text = row.value("job", "") + (row.contains("job_state") ? " " : "") +
                            row.value("job_state", "");
      const auto number = [&row](const char* key) {
        return row.contains(key) ? row[key].dump() : std::string();
      };
      rows.push_back({row["name"], row["stage"], row["state"], number("step"),
                      row.contains("checkpoint_age")
                          ? core::duration_text(row["checkpoint_age"].get<double>()) + " ago"
                          : "",
                      number("shards"), job_text, row["why"]});
    }
    fmt::print("{}", aligned(rows));
  }

  std::filesystem::path path_;
  std::filesystem::path out_;
  std::string decide_;
};

}  // namespace

std::unique_ptr<stages::Stage> make_status() { return std::make_unique<Status>(); }

}  // namespace retort::pipeline
