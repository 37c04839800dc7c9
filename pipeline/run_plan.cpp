#include "pipeline/run_plan.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "io/checkpoint.h"
#include "io/manifest.h"
#include "pipeline/agreement.h"
#include "pipeline/judge.h"
#include "pipeline/plan_fence.h"
#include "pipeline/results.h"
#include "pipeline/section_state.h"

namespace retort::pipeline {
namespace {

using stages::StageOutcome;

constexpr std::size_t kShownResults = 4;  // in a section's line

/// How a section came out, as the final report names it.
enum class Fate { not_run, up_to_date, done, stopped, failed };

std::string_view fate_text(Fate fate) {
  switch (fate) {
    case Fate::up_to_date:
      return "up to date";
    case Fate::done:
      return "done";
    case Fate::stopped:
      return "stopped";
    case Fate::failed:
      return "failed";
    case Fate::not_run:
      break;
  }
  return "not run";
}

struct Course {
  Fate fate = Fate::not_run;
  double seconds = 0;
  Results results;
};

class PlanRun {
 public:
  PlanRun(const Job& job, const RunOptions& options, stages::StageContext& context)
      : job_(job),
        options_(options),
        context_(context),
        chosen_(options.section.empty() ? selection(job.plan, job.graph, options.only)
                                        : alone(job.plan, job.graph, options.section, "--section")),
        courses_(job.graph.instances.size()),
        judge_(job, options.section.empty() ? DigestCache::kept : DigestCache::read) {}

  StageOutcome run() {
    // Every error of the plan comes before any work.
    check_ranks(bind_all(job_.plan, job_.graph, job_.place));
    check_inputs([](std::size_t) { return true; });
    print_configuration();
    if (options_.mode == RunMode::dry) return print_forecast();
    const auto fence = options_.section.empty() ? claim() : claim_alone();
    for (std::size_t i = 0; i < courses_.size() && !stopped_; ++i)
      if (chosen_[i] && needs_are_met(i)) run_instance(i);
    return report();
  }

 private:
  /// What is wrong with sections that `wanted` names, as far as their inputs are there. Rank 0
  /// looks.
  template <class Wanted>
  void check_inputs(Wanted wanted) {
    from_root(context_.communicator, [&] {
      for (std::size_t i = 0; i < courses_.size(); ++i)
        if (chosen_[i] && wanted(i))
          pipeline::check_inputs(job_.plan, job_.graph, job_.graph.instances[i], job_.place);
      return std::string();
    });
  }

  /// Sections that are complete may have been made on fewer ranks.
  void check_ranks(const std::vector<BoundSection>& sections) {
    from_root(context_.communicator, [&] {
      for (std::size_t i = 0; i < courses_.size(); ++i) {
        if (!chosen_[i] || io::has_manifest(sections[i].folder)) continue;
        try {
          sections[i].stage->check_ranks(context_.communicator.size());
        } catch (const core::UsageError& error) {
          throw named(i, error);
        }
      }
      return std::string();
    });
  }

  /// Before what follows on a section that is complete now, and what may take long in between.
  void check_followers(std::size_t index) {
    check_inputs([&](std::size_t i) {
      const auto& needs = job_.graph.instances[i].needs;
      return courses_[i].fate == Fate::not_run &&
             std::find(needs.begin(), needs.end(), index) != needs.end();
    });
  }

  /// The error with the section that it belongs to, unless it says so itself.
  core::Error named(std::size_t index, const core::Error& error) const {
    const auto& section = job_.plan.sections[job_.graph.instances[index].section];
    const std::string text = error.what();
    if (text.find("[" + section.name + "]") != std::string::npos) return error;
    return {error.code(), fmt::format("{}: [{}]: {}", origin_of(section, text), name(index), text)};
  }

  /// Says a line on rank 0: on standard output, or beside it when that is for the JSON line.
  void say(const std::string& line) const {
    if (!context_.communicator.root()) return;
    std::FILE* stream = context_.json ? stderr : stdout;
    fmt::print(stream, "{}\n", line);
    std::fflush(stream);
  }

  std::string name(std::size_t index) const { return job_.graph.instances[index].name; }

  std::ptrdiff_t wanted_count() const { return std::count(chosen_.begin(), chosen_.end(), 1); }

  std::string place_text(std::size_t index) const {
    const auto wanted = chosen_.begin() + static_cast<std::ptrdiff_t>(index) + 1;
    return fmt::format("[{}/{}] {}", std::count(chosen_.begin(), wanted, 1), wanted_count(),
                       name(index));
  }

  void print_configuration() const {
    const auto& settings = job_.plan.settings;
    const auto seeded = courses_.size() == job_.plan.sections.size()
                            ? ""
                            : fmt::format(", {} with their seeds", courses_.size());
    const auto wanted = std::cmp_equal(wanted_count(), courses_.size())
                            ? ""
                            : fmt::format(", {} of them wanted", wanted_count());
    std::string text =
        fmt::format("plan {} ({}): {} sections{}{}, into {}", settings.name, job_.plan.where,
                    job_.plan.sections.size(), seeded, wanted, job_.place.run.string());
    say(fmt::format("{}; {} rank{}, {} thread{} each", text, context_.communicator.size(),
                    context_.communicator.size() == 1 ? "" : "s", threads(),
                    threads() == 1 ? "" : "s"));
    for (const auto& item : job_.overrides) say("  --set " + item);
  }

  int threads() const {
    const int planned = job_.plan.settings.threads;
    return planned > 0 && !context_.threads_given ? planned : context_.threads;
  }

  StageOutcome print_forecast() {
    const auto lines = from_root(context_.communicator, [this] {
      std::vector<std::vector<std::string>> rows;
      nlohmann::json json = nlohmann::json::array();
      std::vector<char> runs(courses_.size(), 0);
      for (std::size_t i = 0; i < courses_.size(); ++i) {
        if (!chosen_[i]) continue;
        const auto judged = judge_.forecast(i, runs);
        runs[i] = judged.standing != Standing::up_to_date;
        rows.push_back({place_text(i), job_.plan.sections[job_.graph.instances[i].section].stage,
                        std::string(standing_text(judged.standing)), judged.why});
        json.push_back(
            {{"name", name(i)}, {"action", standing_text(judged.standing)}, {"why", judged.why}});
      }
      return context_.json ? nlohmann::json({{"plan", job_.plan.settings.name},
                                             {"run", job_.place.run.string()},
                                             {"sections", json}})
                                     .dump() +
                                 "\n"
                           : aligned(rows);
    });
    if (context_.communicator.root()) fmt::print("{}", lines);
    return StageOutcome::done;
  }

  /// Refuses a second start on this run folder, and keeps the plan for `resume`.
  io::RunFolder claim() {
    auto fence = claim_plan(context_.communicator, job_.place.run, take_over());
    from_root(context_.communicator, [this] {
      store(job_);
      for (const auto& line : judge_.clear_ways()) core::log_info("{}", line);
      return std::string();
    });
    return fence;
  }

  /// Refuses a second start of this section only. What it needs must be there.
  io::RunFolder claim_alone() {
    auto fence =
        claim_section(context_.communicator, job_.place.run, options_.section, take_over());
    from_root(context_.communicator, [this] {
      const std::vector<char> runs(courses_.size(), 0);
      for (std::size_t i = 0; i < courses_.size(); ++i)
        for (const auto need : job_.graph.instances[i].needs) {
          if (!chosen_[i] || chosen_[need]) continue;
          const auto judged = judge_.forecast(need, runs);
          if (judged.standing != Standing::up_to_date)
            throw core::DataError(fmt::format(
                "--section {}: it needs {}, which is not done ({}); "
                "run that first: retort resume {} --section {}",
                options_.section, name(need), judged.why, job_.place.run.string(), name(need)));
        }
      return std::string();
    });
    return fence;
  }

  io::RunFolder::TakeOver take_over() const {
    return context_.take_over ? io::RunFolder::TakeOver::yes : io::RunFolder::TakeOver::no;
  }

  bool needs_are_met(std::size_t index) {
    for (const auto need : job_.graph.instances[index].needs) {
      if (!chosen_[need]) continue;  // a start of one section has looked at it already
      const auto fate = courses_[need].fate;
      if (fate == Fate::done || fate == Fate::up_to_date) continue;
      say(fmt::format("{}: not run, because {} {}", place_text(index), name(need),
                      fate == Fate::failed ? "failed" : "was not run"));
      return false;
    }
    return true;
  }

  void run_instance(std::size_t index) {
    core::stop_on_interrupt();
    if (context_.communicator.any(core::stop_requested())) {
      stopped_ = true;
      return;
    }
    try {
      if (judge(index) == Standing::up_to_date) {
        courses_[index].fate = Fate::up_to_date;
      } else {
        start(index);
      }
      read_outcome(index);
    } catch (const core::Error& error) {
      courses_[index].fate = Fate::failed;
      if (context_.communicator.root()) judge_.failed(index, error);
      // Other ranks may still be inside the section: only a lone rank can leave it and go on.
      const bool goes_on =
          options_.after_failure == AfterFailure::keep_going && context_.communicator.size() == 1;
      if (!goes_on) throw named(index, error);
      core::log_error("{}: {}", place_text(index), error.what());
      if (!failure_) failure_.emplace(named(index, error));
      return;
    }
    if (courses_[index].fate == Fate::done) check_followers(index);
  }

  /// Rank 0 judges and clears the way; says so.
  Standing judge(std::size_t index) {
    const auto answer = nlohmann::json::parse(from_root(context_.communicator, [&] {
      const auto judged = judge_.prepare(index, options_.after_restarts);
      return nlohmann::json({{"standing", static_cast<int>(judged.standing)}, {"why", judged.why}})
          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }));
    const auto standing = static_cast<Standing>(answer.at("standing").get<int>());
    if (standing != Standing::up_to_date)
      say(fmt::format("{}: {} ({})", place_text(index), standing_text(standing),
                      answer.at("why").get<std::string>()));
    return standing;
  }

  void start(std::size_t index) {
    try {
      run_stage(index);
    } catch (const core::OtherRecipeError& error) {
      // All ranks were told: the stage looks before it begins.
      const auto old = from_root(context_.communicator, [&] { return judge_.replace(index); });
      say(fmt::format("{}: run again ({}; the old output is in {})", place_text(index),
                      error.what(), old));
      run_stage(index);
    }
  }

  void run_stage(std::size_t index) {
    const core::Stopwatch watch;
    auto bound = bind(job_.plan, job_.graph, job_.graph.instances[index], job_.place);
    stages::StageContext context{.communicator = context_.communicator,
                                 .threads = threads(),
                                 .json = false,
                                 .take_over = context_.take_over,
                                 .in_plan = true,
                                 .stage = bound.stage_name,
                                 .recipe = bound.table.recipe(),
                                 .configuration = bound.table.ini()};
    const auto outcome = bound.stage->run(context);
    courses_[index].seconds = watch.seconds();
    if (outcome == StageOutcome::stopped) {
      courses_[index].fate = Fate::stopped;
      stopped_ = true;
      from_root(context_.communicator, [&] {
        judge_.stopped(index);
        return std::string();
      });
      return;
    }
    courses_[index].fate = Fate::done;
    from_root(context_.communicator, [&] {
      judge_.finished(index, watch.seconds());
      return std::string();
    });
  }

  /// Results as rank 0 sees them, and the section's line.
  void read_outcome(std::size_t index) {
    auto& course = courses_[index];
    if (course.fate != Fate::done && course.fate != Fate::up_to_date) {
      say(fmt::format("{}: stopped on request after {}", place_text(index),
                      core::duration_text(course.seconds)));
      return;
    }
    std::string line = place_text(index) + ": " + std::string(fate_text(course.fate));
    if (course.fate == Fate::done) line += " in " + core::duration_text(course.seconds);
    course.results = nlohmann::json::parse(from_root(context_.communicator, [&] {
                       return nlohmann::json(judge_.results(index)).dump();
                     })).get<Results>();
    for (std::size_t i = 0; i < std::min(course.results.size(), kShownResults); ++i)
      line += fmt::format("{}{} {}", i == 0 ? "; " : ", ", course.results[i].first,
                          number_text(course.results[i].second));
    say(line);
  }

  StageOutcome report() {
    std::vector<MetricSummary> summaries;
    std::vector<Results> by_seed;
    for (std::size_t i = 0; i < courses_.size(); ++i) {
      by_seed.push_back(courses_[i].results);
      const auto section = job_.graph.instances[i].section;
      if (i + 1 < courses_.size() && job_.graph.instances[i + 1].section == section) continue;
      for (auto& summary : summarise(job_.plan.sections[section].name, by_seed))
        summaries.push_back(std::move(summary));
      by_seed.clear();
    }
    if (const auto table = summary_table(summaries); !table.empty()) say("\n" + table);
    if (context_.json && context_.communicator.root()) {
      fmt::print("{}\n", json_report(summaries).dump());
      std::fflush(stdout);
    }
    if (failure_) throw *failure_;
    if (!stopped_) return StageOutcome::done;
    say(fmt::format("stopped on request; go on with: retort resume {}", job_.place.run.string()));
    return StageOutcome::stopped;
  }

  nlohmann::ordered_json json_report(const std::vector<MetricSummary>& summaries) const {
    nlohmann::ordered_json json = {{"plan", job_.plan.settings.name},
                                   {"run", job_.place.run.string()},
                                   {"sections", nlohmann::ordered_json::array()},
                                   {"summary", nlohmann::ordered_json::array()}};
    for (std::size_t i = 0; i < courses_.size(); ++i) {
      nlohmann::ordered_json results = nlohmann::ordered_json::object();
      for (const auto& [metric, value] : courses_[i].results) results[metric] = value;
      json["sections"].push_back(
          {{"name", name(i)},
           {"stage", job_.plan.sections[job_.graph.instances[i].section].stage},
           {"outcome", fate_text(courses_[i].fate)},
           {"seconds", courses_[i].seconds},
           {"results", results}});
    }
    for (const auto& summary : summaries) {
      nlohmann::ordered_json row = {{"section", summary.section},
                                    {"metric", summary.metric},
                                    {"mean", summary.mean},
                                    {"seeds", summary.count}};
      if (summary.deviation) row["deviation"] = *summary.deviation;
      json["summary"].push_back(std::move(row));
    }
    json["seconds"] = watch_.seconds();
    return json;
  }

  const Job& job_;
  const RunOptions& options_;
  stages::StageContext& context_;
  std::vector<char> chosen_;
  std::vector<Course> courses_;
  Judge judge_;  // used on rank 0 only
  core::Stopwatch watch_;
  bool stopped_ = false;
  std::optional<core::Error> failure_;
};

}  // namespace

StageOutcome run_plan(const Job& job, const RunOptions& options, stages::StageContext& context) {
  return PlanRun(job, options, context).run();
}

}  // namespace retort::pipeline
