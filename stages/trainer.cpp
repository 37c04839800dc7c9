#include "stages/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stop.h"
#include "io/agreement.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"
#include "io/companions.h"
#include "io/event_file.h"
#include "io/manifest.h"
#include "stages/overlap.h"
#include "stages/scoring.h"
#include "stages/section_output.h"
#include "stages/sharded_head.h"
#include "stages/stop_rules.h"
#include "stages/training_checkpoints.h"
#include "stages/training_engine.h"
#include "stages/training_state.h"

namespace retort::stages {

namespace {

using Clock = std::chrono::steady_clock;

class TrainingRun {
 public:
  TrainingRun(StageContext& context, const TrainingJob& job);
  StageOutcome run();

 private:
  void restore();
  void train_step(io::Loader& loader);
  void evaluate();
  void write_metrics();
  StageOutcome finish();

  StageContext& context_;
  const TrainingJob& job_;
  const TrainingOptions& options_;
  comm::Communicator& communicator_;
  std::string recipe_;
  io::BatchPlan plan_;
  std::uint64_t steps_;
  Workers workers_;
  io::LoaderOptions loader_options_;
  TrainingState state_;
  std::unique_ptr<TrainingEngine> engine_;
  std::optional<io::RunFolder> folder_;
  std::optional<TrainingCheckpoints> checkpoints_;
  std::optional<io::EventFile> events_;  // rank 0, from the first evaluation on
  PhaseSeconds shown_times_;             // at the evaluation before, at its step
  std::uint64_t shown_step_ = 0;
  Clock::time_point start_ = Clock::now();
};

io::LoaderOptions loader_options(const TrainingJob& job) {
  io::LoaderOptions loader = io::loader_options(job.description);
  loader.seed = job.options.seed;
  loader.augment = job.options.augment;
  loader.threads = static_cast<int>(job.options.loader_threads);
  loader.passes = job.passes;
  loader.augment_seed = job.augment_seed;
  return loader;
}

std::optional<io::UnlabelledRows> unlabelled_rows(const TrainingJob& job) {
  if (!job.unlabelled) return std::nullopt;
  const TrainingJob::Unlabelled& rows = *job.unlabelled;
  return io::UnlabelledRows{
      &rows.data, io::unlabelled_options(loader_options(job), rows.passes, rows.augment_seed)};
}

void warn_of_batch(const char* option, std::uint64_t batch, std::uint64_t samples) {
  if (batch > samples)
    core::log_warning("{} {} is more than the {} samples there are: every step takes them all",
                      option, batch, samples);
}

io::BatchPlan batch_plan(const TrainingJob& job) {
  const TrainingOptions& options = job.options;
  const io::BatchPlan plan(job.data.size(), options.batch, options.shards(), options.fill());
  if (!job.unlabelled) return plan;
  return plan.with_unlabelled(job.unlabelled->data.size(), job.unlabelled->batch);
}

std::uint64_t total_steps(const TrainingOptions& options, const io::BatchPlan& plan) {
  if (options.steps > 0) return options.steps;
  const double steps = options.epochs * static_cast<double>(plan.steps_per_epoch());
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(steps)));
}

/// Of the head, if it is divided by classes.
std::optional<core::Range> own_classes(const comm::Communicator& communicator,
                                       const TrainingJob& job) {
  if (job.options.head != HeadPlacement::sharded) return std::nullopt;
  return own_head_classes(head_settings(job), communicator);
}

TrainingRun::TrainingRun(StageContext& context, const TrainingJob& job)
    : context_(context),
      job_(job),
      options_(job.options),
      communicator_(context.communicator),
      recipe_(recipe_hash(context, job.inputs)),
      plan_(batch_plan(job)),
      steps_(total_steps(options_, plan_)),
      workers_(context.threads),
      loader_options_(loader_options(job)),
      state_(job.model, options_.optimiser, options_.seed, options_.select == Selection::best,
             own_classes(context.communicator, job)),
      engine_(make_engine(
          {communicator_, workers_, job_, plan_, loader_options_, unlabelled_rows(job)})) {}

void TrainingRun::restore() {
  folder_.emplace(io::RunFolder::open(
      communicator_, options_.out, recipe_,
      context_.take_over ? io::RunFolder::TakeOver::yes : io::RunFolder::TakeOver::no));
  if (job_.initial != nullptr) io::agree(communicator_, [&] { state_.start_from(*job_.initial); });
  if (auto checkpoint = folder_->load(state_.selection())) {
    state_.restore(std::move(*checkpoint));
    core::log_info("{}: resuming at step {} of {}", options_.out.string(), state_.step, steps_);
  }
  engine_->start(state_);
  checkpoints_.emplace(communicator_, options_, *folder_, *engine_, state_);
  io::on_root(communicator_, [&] {
    io::remove_marks(options_.out);
    io::write_configuration(options_.out, context_.configuration);
    warn_of_overlap(options_, job_.data, job_.validation);
  });
}

void TrainingRun::train_step(io::Loader& loader) {
  engine_->step(state_, nn::learning_rate(options_.optimiser, state_.step, steps_), loader);
  ++state_.step;
  communicator_.at("step", state_.step);
}

void TrainingRun::evaluate() {
  engine_->settle(state_);
  auto clock = PhaseClock::of_rank(engine_->times());
  EvaluationRecord record;
  record.step = state_.step;
  record.learning_rate = nn::learning_rate(options_.optimiser, state_.step - 1, steps_);
  record.gradient_norm = state_.last_norm;
  const auto rows = static_cast<double>(std::max<std::uint64_t>(1, state_.rows.labelled));
  record.train_loss = job_.objective.value(state_.sums, state_.rows);
  record.train_top1 = static_cast<double>(state_.sums.correct) / rows;
  if (state_.rows.unlabelled > 0)
    record.train_unlabelled_loss =
        state_.sums.unlabelled / static_cast<double>(state_.rows.unlabelled);
  state_.sums = {};
  state_.rows = {};
  if (job_.validation != nullptr) {
    const auto scores = summarise(engine_->score(state_, *job_.validation, job_.description));
    record.validated = true;
    record.validation_loss = scores.loss;
    record.validation_top1 = scores.top1;
    record.validation_top5 = scores.top5;
    if (state_.best < 0 ||
        scores.loss < state_.history[static_cast<std::size_t>(state_.best)].validation_loss) {
      state_.best = static_cast<std::int64_t>(state_.history.size());
      if (state_.best_parameters.defined()) state_.keep_best();
    }
  }
  state_.history.push_back(record);
  std::string line = fmt::format("step {}/{}  loss {:.4f}  train top-1 {:.2f} %", state_.step,
                                 steps_, record.train_loss, 100 * record.train_top1);
  if (record.train_unlabelled_loss)
    line += fmt::format("  unlabelled loss {:.4f}", *record.train_unlabelled_loss);
  if (record.validated)
    line += fmt::format("  {} loss {:.4f}  top-1 {:.2f} %", options_.validation,
                        record.validation_loss, 100 * record.validation_top1);
  core::log_info("{}", line);
  write_metrics();
  clock.mark(Phase::evaluate);
}

void TrainingRun::write_metrics() {
  io::on_root(communicator_, [&] {
    std::string lines;
    for (const auto& record : state_.history) lines += to_json(record).dump() + "\n";
    folder_->write_as_newest(
        [&] { io::write_file(options_.out / "metrics.jsonl", std::string_view(lines)); });
    // For TensorBoard; a resumed start goes on in a file of its own.
    if (!events_) events_.emplace(options_.out);
    const nlohmann::json newest = to_json(state_.history.back());
    for (const auto& [name, value] : newest.items())
      if (name != "step") events_->scalar(name, state_.step, value.get<double>());
    // Seconds a step of each phase since the evaluation before, on this rank.
    const PhaseSeconds now = engine_->times().seconds();
    const double steps = static_cast<double>(state_.step - shown_step_);
    const nlohmann::json phases = stages::to_json(now - shown_times_);
    for (const auto& [phase, seconds] : phases.items())
      events_->scalar("time/" + phase, state_.step, seconds.get<double>() / steps);
    shown_times_ = now;
    shown_step_ = state_.step;
    events_->flush();
  });
}

StageOutcome TrainingRun::run() {
  options_.check_ranks(communicator_.size());
  if (is_complete(context_, options_.out, recipe_)) {
    core::log_info("{}: already complete", options_.out.string());
    return StageOutcome::done;
  }
  restore();
  if (communicator_.root()) {
    warn_of_batch("--batch", options_.batch, job_.data.size());
    if (job_.unlabelled)
      warn_of_batch("--unlabelled-batch", job_.unlabelled->batch, job_.unlabelled->data.size());
  }
  core::log_info(
      "{}: {} of {} classes, {} parameters, {} samples; {} steps of {} samples in {} micro-shards; "
      "{} rank(s) x {} worker(s)",
      context_.stage, job_.description.name, job_.description.class_names.size(),
      job_.model.parameters().count(), job_.data.size(), steps_,
      std::min<std::uint64_t>(options_.batch, job_.data.size()), plan_.shards(),
      communicator_.size(), workers_.count());

  const std::uint64_t every =
      options_.evaluate_every > 0 ? options_.evaluate_every : plan_.steps_per_epoch();
  const StopRules rules(options_);
  auto unlabelled = unlabelled_rows(job_);
  loader_options_.marks = std::make_shared<io::SampleMarks>(options_.out, communicator_.rank());
  if (unlabelled) unlabelled->options.marks = loader_options_.marks;
  io::Loader loader(job_.data, plan_, loader_options_,
                    comm::rank_shards(plan_.shards(), communicator_.size(), communicator_.rank()),
                    state_.step, steps_, std::move(unlabelled));
  core::Progress progress(context_.stage, steps_, "steps", state_.step);
  std::string reason = rules.reason(state_.history);
  core::stop_on_interrupt();
  shown_step_ = state_.step;
  engine_->times().restart();
  while (state_.step < steps_ && reason.empty()) {
    train_step(loader);
    progress.update(state_.step);
    if (state_.step % every == 0 || state_.step == steps_) {
      evaluate();
      reason = rules.reason(state_.history);
      if (!reason.empty()) core::log_info("stopping at step {}: {}", state_.step, reason);
    }
    const auto next = checkpoints_->boundary();
    if (next == TrainingCheckpoints::Next::stop && state_.step < steps_) {
      core::log_info("stopped on request at step {}; the same command goes on from there",
                     state_.step);
      return StageOutcome::stopped;
    }
  }
  progress.finish();
  return finish();
}

/// Relative to the section's folder.
std::vector<io::Member> model_members(const std::filesystem::path& section) {
  const std::string manifest = "model/manifest.json";
  std::vector<io::Member> members = {{manifest, io::seal_of(section / manifest)}};
  for (const io::Member& member : io::read_manifest(section / "model", "model").members)
    members.push_back({"model/" + member.name, member.seal});
  return members;
}

StageOutcome TrainingRun::finish() {
  const io::StoredCheckpoint last = checkpoints_->commit_verified();
  const bool best = state_.best_parameters.defined() && state_.best >= 0;
  std::string content;
  std::vector<io::Member> members;  // rank 0
  // The generation on disk holds the whole of it: no rank has to.
  io::on_root(communicator_, [&] {
    const io::TensorSource model = state_.model_source(
        last.tensors, best ? TrainingState::Which::best : TrainingState::Which::evaluated);
    core::Sha256 hash;
    folder_->write_as_newest(
        [&] { hash.update(io::write_model(options_.out / "model", job_.description, model)); });
    hash.update(io::digest(last));
    content = hash.hex();
    members = model_members(options_.out);
  });
  nlohmann::json results = job_.results;
  results["steps"] = state_.step;
  results["parameters"] = job_.model.parameters().count();
  results["multiply_adds"] = job_.model.multiply_adds();
  results["samples_computed"] = state_.samples_computed;
  if (!state_.history.empty()) {
    const auto& record =
        state_.history[best ? static_cast<std::size_t>(state_.best) : state_.history.size() - 1];
    results["train_loss"] = record.train_loss;
    results["train_top1"] = record.train_top1;
    if (record.train_unlabelled_loss)
      results["train_unlabelled_loss"] = *record.train_unlabelled_loss;
    if (record.validated) {
      results["validation_loss"] = record.validation_loss;
      results["validation_top1"] = record.validation_top1;
      results["validation_top5"] = record.validation_top5;
    }
  }
  results["time"] = gather_phase_times(communicator_, engine_->times());
  core::log_info("{}", phase_line(results["time"]));
  results["checkpoints"] = checkpoints_->costs();
  results["seconds"] = std::chrono::duration<double>(Clock::now() - start_).count();
  seal_section(context_, options_.out, recipe_, content, members, results);
  return StageOutcome::done;
}

}  // namespace

StageOutcome run_training(StageContext& context, const TrainingJob& job) {
  return TrainingRun(context, job).run();
}

}  // namespace retort::stages
