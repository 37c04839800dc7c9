#include "pipeline/slurm_script.h"

#include <cctype>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::pipeline {
namespace {

constexpr std::string_view kPlainLetters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=./:,@%";

// How a job goes on: the same lines in every script.
constexpr std::string_view kCourse = R"(
# Submitted from a step of another job? Its ranks are none of this job's.
unset PMIX_RANK PMIX_NAMESPACE PMI_RANK PMI_SIZE OMPI_COMM_WORLD_SIZE
# Workers are threads of retort's own: OpenMP is neither to multiply nor to pin them.
export OMP_NUM_THREADS=1 OMP_PROC_BIND=false
# A stop is for the ranks; this shell is to see how they end.
trap : TERM USR2
# The last task of an array has the SLURM_JOB_ID of the whole array.
job=$SLURM_JOB_ID
if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
start=${SLURM_RESTART_COUNT:-0}
say() { echo "$(date '+%F %T') job $job, start $start: $*"; }

# Ends the script where this start of the job is not to do anything any more.
still_wanted() {
  # `retort cancel` leaves this mark: nobody wants the job to go on.
  if [ -e "$run/.slurm/cancelled" ]; then say "cancelled"; exit 75; fi
  # A start that was requeued meanwhile (preempted; its node cut off, now back) must not requeue the
  # job again: that would end the start that took over.
  for _ in 1 2 3 4 5 6; do
    if now=$(scontrol show job "$job"); then break; fi
    sleep 10
  done
  case "$now " in *"JobState=RUNNING "*) ;; *) say "not running any more"; exit 75 ;; esac
  case "$now " in *" Restarts=$start "*) ;; *) say "started anew elsewhere"; exit 75 ;; esac
}

go_on() {
  still_wanted
  say "goes on in the next start"
  scontrol requeue "$job"
  exit 75
}

# section NAME SRUN-OPTIONS...: its ranks, then what the run folder says; srun's exit code gets lost.
section() {
  local name=$1 attempt code decision told
  shift
  if [ -e "$run/.slurm/cancelled" ]; then say "cancelled"; exit 75; fi
  for attempt in 1 2 3 4; do
    say "section $name on $SLURM_JOB_NODELIST"
    srun "${launch[@]}" "$@" "${inside[@]}" "$retort" resume "$run" --section "$name" \
      "${threads[@]}"
    code=$?
    say "srun ended with $code"
    for _ in 1 2 3; do
      told=$("${alone[@]}" "$retort" status "$run" --decide "$name")
      decision=$?
      # Else the decision itself failed: a file system that stalls, a signal.
      case $decision in 0|64|65|75) break ;; esac
      sleep 10
    done
    # Once more, if the ranks did not even start: a node that was killed and is back may still hold
    # what a step of this number left there, the next srun's has another. Not after wrong options, nor
    # after a stop: the next start is to have the time.
    case $attempt:$code:$decision:$told in
      [123]:6[45]:*|[123]:75:*|[123]:14[03]:*) break ;;
      [123]:*:75:*"has not begun"*) ;;
      *) break ;;
    esac
    say "$told: tried again in $((5 * attempt)) s"
    sleep $((5 * attempt))
    still_wanted
  done
  case $decision in
    0) say "section $name is done" ;;
    75) go_on ;;
    *) say "section $name: given up"; exit $decision ;;
  esac
}

)";

/// A plan's name may be that of any file: it must neither part a line nor end it.
std::string plain(std::string name) {
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-') c = '_';
  return name;
}

/// A path for an #SBATCH line, where it stands in quotation marks: blanks part words and # begins a
/// comment there; Slurm replaces % and \ in some.
const std::string& sbatch_path(const std::string& path) {
  if (path.find_first_of("\"'\\%\n") != std::string::npos)
    throw core::UsageError(fmt::format(
        "{}: Slurm reads quotation marks, %, \\ and line ends in a path in its own way; choose "
        "another folder",
        path));
  return path;
}

std::string array_of(const std::vector<std::string>& words) {
  std::vector<std::string> quoted;
  quoted.reserve(words.size());
  for (const auto& word : words) quoted.push_back(shell_word(word));
  return fmt::format("({})", fmt::join(quoted, " "));
}

std::vector<std::string> size_options(const JobRequest& request) {
  std::vector<std::string> words;
  if (request.nodes > 0) words.push_back(fmt::format("--nodes={}", request.nodes));
  words.push_back(fmt::format("--ntasks={}", request.ranks));
  if (request.ranks_per_node > 0)
    words.push_back(fmt::format("--ntasks-per-node={}", request.ranks_per_node));
  words.push_back(fmt::format("--cpus-per-task={}", request.cpus));
  if (request.gpus > 0) words.push_back(fmt::format("--gpus-per-node={}", request.gpus));
  return words;
}

std::vector<std::string> batch_options(const ScriptInput& input) {
  const auto& settings = input.settings;
  // Its %a is Slurm's: the task of an array.
  const auto log = sbatch_path((input.run / ".slurm").string()) + "/" + input.log;
  std::vector<std::string> words = {
      "--job-name=" + plain(input.plan) + "." + input.name,
      "--output=\"" + log + "\"",
      "--open-mode=append",
      "--chdir=\"" + sbatch_path(input.started.string()) + "\"",
      "--requeue",
      "--kill-on-invalid-dep=yes",
  };
  // Without B: it goes to the steps, whose ranks write a checkpoint, not to this shell.
  if (settings.warn > 0) words.push_back(fmt::format("--signal=USR2@{}", settings.warn));
  for (const auto& [option, value] :
       {std::pair{"partition", settings.partition}, std::pair{"account", settings.account},
        std::pair{"qos", settings.qos}, std::pair{"time", settings.time},
        std::pair{"mem", settings.mem}})
    if (!value.empty()) words.push_back(fmt::format("--{}={}", option, value));
  for (auto& word : size_options(input.whole)) words.push_back(std::move(word));
  words.insert(words.end(), settings.sbatch.begin(), settings.sbatch.end());
  return words;
}

/// What stands between srun and retort (`inside`), and before retort without ranks (`alone`).
struct ContainerWords {
  std::vector<std::string> launch;
  std::vector<std::string> inside;
  std::vector<std::string> alone;
};

ContainerWords container_words(const JobSettings& settings) {
  ContainerWords words;
  const auto mounts = fmt::format("{}", fmt::join(settings.mounts, ","));
  switch (settings.container) {
    case Container::none:
      break;
    case Container::pyxis:
      words.launch = {"--container-image=" + settings.image};
      if (!mounts.empty()) words.launch.push_back("--container-mounts=" + mounts);
      words.alone = {"srun", "--mpi=none", "--nodes=1", "--ntasks=1"};
      words.alone.insert(words.alone.end(), words.launch.begin(), words.launch.end());
      break;
    case Container::apptainer:
      words.inside = {"apptainer", "exec"};
      if (settings.gpus > 0) words.inside.emplace_back("--nv");
      if (!mounts.empty()) words.inside.push_back("--bind=" + mounts);
      words.inside.push_back(settings.image);
      words.alone = words.inside;
      break;
  }
  return words;
}

}  // namespace

std::string shell_word(const std::string& text) {
  if (!text.empty() && text.find_first_not_of(kPlainLetters) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char letter : text) {
    if (letter == '\'') {
      quoted += "'\\''";
    } else {
      quoted += letter;
    }
  }
  return quoted + "'";
}

std::filesystem::path cancel_mark(const std::filesystem::path& run) {
  return run / ".slurm" / "cancelled";
}

std::string job_script(const ScriptInput& input) {
  const auto& settings = input.settings;
  std::string text = "#!/bin/bash\n";
  text += fmt::format(
      "# Job {} of the plan {}, written by `retort submit`. docs/slurm.md explains it.\n",
      input.name, plain(input.plan));
  for (const auto& word : batch_options(input)) text += fmt::format("#SBATCH {}\n", word);
  if (!settings.modules.empty() || !settings.prolog.empty())
    text += "\n# What the site file says.\n";
  if (!settings.modules.empty()) {
    std::vector<std::string> modules;
    for (const auto& module : settings.modules) modules.push_back(shell_word(module));
    text += fmt::format("type module >/dev/null 2>&1 || . /etc/profile\nmodule load {}\n",
                        fmt::join(modules, " "));
  }
  for (const auto& line : settings.prolog) text += line + "\n";

  auto words = container_words(settings);
  std::vector<std::string> launch = {"--mpi=" + settings.mpi, "--kill-on-bad-exit=1",
                                     "--cpu-bind=" + settings.bind};
  launch.insert(launch.end(), settings.srun.begin(), settings.srun.end());
  launch.insert(launch.end(), words.launch.begin(), words.launch.end());
  text += fmt::format("\nretort={}\nrun={}\n", shell_word(input.program),
                      shell_word(input.run.string()));
  text += fmt::format("launch={}\ninside={}\nalone={}\nthreads=()\n", array_of(launch),
                      array_of(words.inside), array_of(words.alone));
  text += kCourse;
  for (const auto& step : input.steps) {
    if (input.workers == Workers::as_cpus)
      text += fmt::format("threads=(--threads {})\n", step.request.cpus);
    const auto name = input.tasks == Tasks::array
                          ? fmt::format("\"{}/seed-$SLURM_ARRAY_TASK_ID\"", step.section)
                          : step.section;
    text += fmt::format("section {} {}\n", name, fmt::join(size_options(step.request), " "));
  }
  return text;
}

}  // namespace retort::pipeline
