// cancel: ends the Slurm jobs of a run. Those that wait go, those that run checkpoint first.
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "pipeline/job.h"
#include "pipeline/slurm_script.h"
#include "pipeline/submission_record.h"
#include "stages/stage.h"

namespace retort::pipeline {
namespace {

using core::OptionEffect;
using stages::StageContext;
using stages::StageOutcome;

constexpr auto kLook = std::chrono::seconds(1);
constexpr double kAskAgain = 5;   // seconds: a step that had no ranks yet did not hear
constexpr double kKillWait = 60;  // seconds for Slurm to end what did not end itself

class Cancel : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Plan");
    declare_run_folder(table, &run_, "the run folder of a plan that was submitted");
    auto& grace = table.add("grace", &grace_,
                            "seconds that running sections have to write a checkpoint; 0: end them "
                            "at once");
    grace.effect = OptionEffect::run;
  }

  StageOutcome run(StageContext& context) override {
    const auto record = read_submission(run_);
    if (!record)
      throw core::UsageError(fmt::format(
          "{} has no jobs on record (no .slurm/jobs.json): it was not submitted by retort submit",
          run_.string()));
    require_slurm();
    const auto before = section_jobs(*record);
    // First the mark: a job that is asked to stop is not to requeue itself.
    io::write_file(cancel_mark(run_), std::string_view("cancelled\n"));
    const auto unrecorded = unrecorded_jobs(run_, *record);
    end_jobs(*record);
    print(context, *record, before, unrecorded);
    return StageOutcome::done;
  }

 private:
  struct Active {
    std::vector<std::string> waiting;
    std::vector<std::string> running;
    bool none() const { return waiting.empty() && running.empty(); }
  };
  Active active_jobs(const SubmissionRecord& record) const {
    Active active;
    for (const auto& [section, state] : section_jobs(record)) {
      if (!state.active()) continue;
      auto& list = state.state == "PENDING" ? active.waiting : active.running;
      list.push_back(record.jobs.at(section));
    }
    for (const auto& [job, state] : unrecorded_jobs(run_, record))
      (state.state == "PENDING" ? active.waiting : active.running).push_back(job);
    return active;
  }

  void end_jobs(const SubmissionRecord& record) const {
    const core::Stopwatch watch;
    double asked = -kAskAgain;
    bool told = false;
    for (auto active = active_jobs(record); !active.none(); active = active_jobs(record)) {
      cancel_jobs(active.waiting);
      if (watch.seconds() >= grace()) {
        cancel_jobs(active.running);
        if (watch.seconds() > grace() + kKillWait)
          throw core::IoError(fmt::format("Slurm has not ended {} in {:.0f} s; look with squeue",
                                          fmt::join(active.running, ", "), kKillWait));
      } else if (watch.seconds() - asked >= kAskAgain) {
        asked = watch.seconds();
        ask_for_checkpoint(active.running);
        if (!active.running.empty() && !told)
          core::log_info("asked {} for a checkpoint; at most {} s, then they are ended",
                         fmt::join(active.running, ", "), grace_);
        told = told || !active.running.empty();
      }
      std::this_thread::sleep_for(kLook);
    }
  }

  static void print(const StageContext& context, const SubmissionRecord& record,
                    const std::map<std::string, JobState>& before,
                    const std::map<std::string, JobState>& unrecorded) {
    const auto after = section_jobs(record);
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const auto& [section, state] : before) {
      if (!state.active()) continue;
      const auto now = after.find(section);
      const auto ended = now == after.end() ? std::string("gone") : now->second.state;
      if (!context.json)
        fmt::print("{}: job {}, which was {}, is {}\n", section, record.jobs.at(section),
                   state.state, ended);
      rows.push_back({{"section", section},
                      {"job", record.jobs.at(section)},
                      {"was", state.state},
                      {"is", ended}});
    }
    for (const auto& [job, state] : unrecorded) {
      if (!context.json)
        fmt::print("{}: job {}, which was {} and on no record, is ended\n", state.reason, job,
                   state.state);
      rows.push_back({{"script", state.reason}, {"job", job}, {"was", state.state}});
    }
    if (context.json) fmt::print("{}\n", nlohmann::ordered_json({{"jobs", rows}}).dump());
    if (!context.json && rows.empty()) fmt::print("no job of this run waits or runs\n");
    std::fflush(stdout);
  }

  double grace() const { return static_cast<double>(grace_); }

  std::filesystem::path run_;
  std::uint64_t grace_ = 300;
};

}  // namespace

std::unique_ptr<stages::Stage> make_cancel() { return std::make_unique<Cancel>(); }

}  // namespace retort::pipeline
