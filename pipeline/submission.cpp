#include "pipeline/submission.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "pipeline/job_units.h"
#include "pipeline/judge.h"
#include "pipeline/plan_fence.h"
#include "pipeline/results.h"
#include "pipeline/slurm_script.h"
#include "pipeline/slurm_site.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using core::UsageError;

std::string flat_name(std::string name) {
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

/// A call of sbatch, made ready.
struct Call {
  JobUnit unit;
  std::string name;  // of the unit, for people
  fs::path script;   // RUN/.slurm/NAME.sh
  std::string text;  // of the script
};

class Submission {
 public:
  Submission(const Job& job, SubmissionRecord record, stages::StageContext& context)
      : job_(job),
        record_(std::move(record)),
        context_(context),
        run_(fs::absolute(job.place.run).lexically_normal()),
        site_(record_.site_text, record_.site_name),
        judge_(job) {
    for (const auto& [name, value] : record_.given) given_.push_back({name, value, "--" + name});
    record_.jobs.clear();
    std::vector<std::string> sections;
    for (const auto& section : job.plan.sections) sections.push_back(section.name);
    for (const auto& line : site_.likely_slips(sections)) core::log_warning("{}", line);
  }

  void look_ahead() {
    bind_all(job_.plan, job_.graph, job_.place);
    std::string unchecked = "there is no Slurm here";
    try {
      if (has_slurm()) limits_ = cluster_limits();
    } catch (const core::IoError& error) {
      unchecked = error.what();
    }
    const auto calls = calls_for(wanted(AfterRestarts::retry));
    for (const auto& call : calls) fmt::print("# {}\n{}\n", call.script.string(), call.text);
    std::vector<std::string> names;
    for (const auto& call : calls) {
      fmt::print("{}\n", fmt::join(words(call, names), " "));
      names.push_back("<" + call.name + ">");
    }
    if (calls.empty()) fmt::print("nothing to submit: everything is up to date\n");
    std::fflush(stdout);
    if (!checked()) core::log_warning("nothing was checked against a cluster: {}", unchecked);
  }

  void submit(AfterRestarts after_restarts) {
    const auto take_over =
        context_.take_over ? io::RunFolder::TakeOver::yes : io::RunFolder::TakeOver::no;
    require_slurm();
    bind_all(job_.plan, job_.graph, job_.place);
    require_no_active_jobs(job_.place.run);
    limits_ = cluster_limits();
    // Before anything is written: with all sections, as if none were done.
    calls_for(selection(job_.plan, job_.graph, record_.only));
    // One submission at a time, until all its jobs are on record.
    const auto alone = claim_submission(context_.communicator, job_.place.run, take_over);
    require_no_active_jobs(job_.place.run);
    std::vector<Call> calls;
    {
      const auto fence = claim_plan(context_.communicator, job_.place.run, take_over);
      // First, so that a run whose submission is killed is submitted by whoever resumes it. What an
      // earlier submission knew of sections that are done now is of no use.
      write_submission(run_, record_);
      store(job_);
      for (const auto& line : judge_.clear_ways()) core::log_info("{}", line);
      calls = calls_for(wanted(after_restarts));
      judge_.keep_digests();  // jobs run beside each other and only read them
      io::make_folder(run_ / ".slurm");
      for (const auto& call : calls) io::write_file(call.script, std::string_view(call.text));
      std::error_code code;
      fs::remove(cancel_mark(run_), code);
    }
    send(calls);
    print();
  }

 private:
  /// Flags of the instances that have to run.
  std::vector<char> wanted(AfterRestarts after_restarts) {
    auto chosen = selection(job_.plan, job_.graph, record_.only);
    std::vector<char> runs(chosen.size(), 0);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      if (!chosen[i]) continue;
      const auto judged = judge_.forecast(i, runs);
      runs[i] = judged.standing != Standing::up_to_date;
      if (!runs[i] || !judged.recipe) continue;
      const auto& name = job_.graph.instances[i].name;
      if (judge_.states().refusal(name, *judged.recipe).empty()) continue;
      if (after_restarts == AfterRestarts::refuse)
        throw core::DataError(judge_.states().refusal(name, *judged.recipe));
      retried_.push_back(name);
    }
    return runs;
  }

  JobSettings settings_of(std::size_t section) const {
    const auto& planned = job_.plan.sections[section];
    return site_.settings(planned.stage, planned.name, given_);
  }

  JobRequest request_for(const JobSettings& settings, const std::string& stage,
                         const std::string& where) const {
    const auto* entry = stages::find_stage(stage);
    const bool one = entry != nullptr && entry->ranks == stages::Ranks::one;
    try {
      return request_of(settings, one ? RankUse::one : RankUse::many, job_.plan.settings.threads);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", where, error.what()));
    }
  }

  void require_fit(const JobSettings& settings, const JobRequest& request,
                   const std::string& where) const {
    if (!checked()) return;
    if (const auto why = refusal(limits_, settings.partition, request); !why.empty())
      throw UsageError(fmt::format("{}: {}", where, why));
  }
  /// A job that its section would refuse.
  void require_ranks(std::size_t instance, int ranks, const std::string& where) const {
    try {
      bind(job_.plan, job_.graph, job_.graph.instances[instance], job_.place)
          .stage->check_ranks(ranks);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", where, error.what()));
    }
  }
  bool checked() const { return !limits_.partitions.empty(); }

  std::vector<Call> calls_for(const std::vector<char>& chosen) {
    if (std::find(chosen.begin(), chosen.end(), 1) == chosen.end()) return {};
    std::vector<Call> calls;
    if (record_.layout == JobLayout::one_job) {
      calls.push_back(call_for_all(chosen));
      return calls;
    }
    for (const auto& unit : job_units(job_.graph, chosen, limits_.largest_task))
      calls.push_back(call_for(unit));
    return calls;
  }

  ScriptInput script_input(const JobSettings& settings, const std::string& name) const {
    ScriptInput input;
    input.plan = job_.plan.settings.name;
    input.name = name;
    input.run = run_;
    input.started = job_.started_in;
    input.log = name + ".log";
    input.settings = settings;
    input.program = settings.program;
    if (input.program.empty())
      input.program = settings.container == Container::none
                          ? fs::read_symlink("/proc/self/exe").string()
                          : "retort";
    input.workers = job_.plan.settings.threads > 0 ? Workers::as_plan : Workers::as_cpus;
    return input;
  }

  Call call_for(const JobUnit& unit) const {
    const auto& section = job_.plan.sections[unit.section];
    const auto where = fmt::format("section {}", section.name);
    const auto settings = settings_of(unit.section);
    const auto request = request_for(settings, section.stage, where);
    require_fit(settings, request, where);
    for (const auto instance : unit.instances) require_ranks(instance, request.ranks, where);
    const bool array = !unit.tasks.empty();
    const auto name =
        array ? section.name : flat_name(job_.graph.instances[unit.instances.at(0)].name);
    auto input = script_input(settings, name);
    if (array) input.log = section.name + ".seed-%a.log";
    input.whole = request;
    input.tasks = array ? Tasks::array : Tasks::one;
    input.steps = {{array ? section.name : job_.graph.instances[unit.instances[0]].name, request}};
    return {unit, name, run_ / ".slurm" / (name + ".sh"), job_script(input)};
  }

  /// One job, a step for each section: [STAGE] lines of the site file give the steps' sizes.
  Call call_for_all(const std::vector<char>& chosen) const {
    const std::string where = "--one-job";
    const auto settings = site_.settings("", "", given_);
    auto input = script_input(settings, "all");
    JobUnit unit;
    input.whole = request_for(settings, "", where);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      if (!chosen[i]) continue;
      const auto& instance = job_.graph.instances[i];
      const auto& stage = job_.plan.sections[instance.section].stage;
      const auto step =
          request_for(settings_of(instance.section), stage, "section " + instance.name);
      require_ranks(i, step.ranks, "section " + instance.name);
      unit.instances.push_back(i);
      input.steps.push_back({instance.name, step});
      for (const auto part : {&JobRequest::nodes, &JobRequest::ranks, &JobRequest::ranks_per_node,
                              &JobRequest::cpus, &JobRequest::gpus})
        input.whole.*part = std::max(input.whole.*part, step.*part);
      input.whole.mem = std::max(input.whole.mem, step.mem);
    }
    // Else srun would spread each step over all nodes of the job.
    for (auto& step : input.steps)
      if (step.request.nodes == 0 && input.whole.nodes > 0)
        step.request.nodes = std::min(step.request.ranks, input.whole.nodes);
    require_fit(settings, input.whole, where);
    return {unit, "all", run_ / ".slurm" / "all.sh", job_script(input)};
  }

  static std::vector<std::string> options(const Call& call, const std::vector<std::string>& ids) {
    std::vector<std::string> words;
    if (!call.unit.tasks.empty())
      words.push_back(fmt::format("--array={}", fmt::join(call.unit.tasks, ",")));
    if (const auto after = dependency_text(call.unit, ids); !after.empty())
      words.push_back("--dependency=" + after);
    return words;
  }
  static std::vector<std::string> words(const Call& call, const std::vector<std::string>& ids) {
    std::vector<std::string> all = {"sbatch", "--parsable"};
    for (auto& word : options(call, ids)) all.push_back(std::move(word));
    all.push_back(shell_word(call.script.string()));
    return all;
  }

  /// Every id is on record before the next job is submitted. All or none.
  void send(const std::vector<Call>& calls) {
    for (const auto& name : retried_) judge_.states().forgive(name);
    std::vector<std::string> ids;
    try {
      for (const auto& call : calls) {
        ids.push_back(submit_script(options(call, ids), call.script.string()));
        for (std::size_t i = 0; i < call.unit.instances.size(); ++i)
          record_.jobs[job_.graph.instances[call.unit.instances[i]].name] =
              job_name_of(call.unit, i, ids.back());
        write_submission(run_, record_);
      }
    } catch (const core::Error&) {
      if (!ids.empty()) {
        cancel_jobs(ids);
        core::log_info("cancelled what was submitted before: {}", fmt::join(ids, ", "));
      }
      throw;
    }
  }

  void print() const {
    if (context_.json) {
      nlohmann::ordered_json jobs = nlohmann::ordered_json::array();
      for (const auto& instance : job_.graph.instances)
        if (const auto at = record_.jobs.find(instance.name); at != record_.jobs.end())
          jobs.push_back({{"section", instance.name}, {"job", at->second}});
      fmt::print("{}\n", nlohmann::ordered_json({{"plan", job_.plan.settings.name},
                                                 {"run", job_.place.run.string()},
                                                 {"jobs", jobs}})
                             .dump());
    } else if (record_.jobs.empty()) {
      fmt::print("nothing to submit: everything is up to date\n");
    } else {
      std::vector<std::vector<std::string>> rows = {{"section", "job"}};
      for (const auto& instance : job_.graph.instances)
        if (const auto at = record_.jobs.find(instance.name); at != record_.jobs.end())
          rows.push_back({instance.name, at->second});
      fmt::print("{}follow them: retort status {}\n", aligned(rows), job_.place.run.string());
    }
    std::fflush(stdout);
  }

  const Job& job_;
  SubmissionRecord record_;
  stages::StageContext& context_;
  fs::path run_;
  Site site_;
  std::vector<stages::GivenOption> given_;
  Judge judge_;
  ClusterLimits limits_;
  std::vector<std::string> retried_;
};

}  // namespace

void submit_run(const Job& job, SubmissionRecord record, RunMode mode, AfterRestarts after_restarts,
                stages::StageContext& context) {
  Submission submission(job, std::move(record), context);
  if (mode == RunMode::dry) {
    submission.look_ahead();
  } else {
    submission.submit(after_restarts);
  }
}

}  // namespace retort::pipeline
