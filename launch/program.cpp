#include "launch/program.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <optional>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "comm/communicator.h"
#include "core/error.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/utf8.h"
#include "launch/agreement.h"
#include "launch/allocated_ranks.h"
#include "launch/command_line.h"
#include "launch/help_text.h"
#include "launch/invocation.h"
#include "launch/joined_ranks.h"
#include "launch/local_ranks.h"

extern char** environ;

namespace retort::launch {
namespace {

using core::ExitCode;

struct Failure {
  ExitCode code = ExitCode::internal;
  std::string line;
};

constexpr std::string_view kLessMemory =
    "use a smaller model, smaller batches, fewer --threads or more ranks on other nodes";

// Of LibTorch: several lines, with its stack. Its allocator throws no std::bad_alloc.
std::string text_of_foreign_error(std::string_view text) {
  constexpr std::string_view kWanted = "you tried to allocate ";
  if (const auto at = text.find(kWanted); at != std::string_view::npos) {
    text.remove_prefix(at + kWanted.size());
    return fmt::format("out of memory: {} bytes at once; {}",
                       text.substr(0, text.find_first_not_of("0123456789")), kLessMemory);
  }
  return "internal error: " + core::one_line(text.substr(0, text.find('\n')));
}

// Inside a catch block: what happened, as one line and an exit code.
Failure present_failure() {
  try {
    throw;
  } catch (const core::Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {ExitCode::internal, fmt::format("out of memory; {}", kLessMemory)};
  } catch (const std::filesystem::filesystem_error& error) {
    return {ExitCode::io,
            fmt::format("can't access {}: {}", error.path1().string(), error.code().message())};
  } catch (const std::exception& error) {
    return {ExitCode::internal, text_of_foreign_error(error.what())};
  } catch (...) {
    return {ExitCode::internal, "internal error of unknown kind"};
  }
}

// The first failing rank speaks for all and ends the job; the others wait to be ended.
int report(comm::Communicator* communicator, const Failure& failure) {
  const int code = static_cast<int>(failure.code);
  if (communicator == nullptr || communicator->size() == 1) {
    core::log_error("{}", failure.line);
    return code;
  }
  bool speaks = true;
  try {
    speaks = communicator->claim("error") == 0;
  } catch (const std::exception&) {
    // Rank 0 cannot be asked any more: better twice than not at all.
  }
  if (speaks) {
    core::log_error("{}", failure.line);
    communicator->abort(code);
  }
  constexpr auto kPatience = std::chrono::seconds(10);
  std::this_thread::sleep_for(kPatience);
  _exit(code);
}

std::vector<std::string> environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  for (const auto& w : words) {
    if (w == "--") return false;
    if (w == word) return true;
  }
  return false;
}

// IoError if anything that was written to standard output got lost. errno: of the last write.
void flush_output() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  if (errno == EPIPE) {
    std::clearerr(stdout);  // the reader has seen enough: `retort --help | head`
    return;
  }
  throw core::IoError(
      fmt::format("standard output cannot be written: {}; what is on disk is complete",
                  errno == 0 ? "an earlier part was lost" : std::strerror(errno)));
}

void print(const std::string& text) {
  errno = 0;
  std::fwrite(text.data(), 1, text.size(), stdout);
  flush_output();
}

// Help must come even where an option is wrong; with a good --model it shows that model's options.
std::string help_of(const Command& command, const std::vector<std::string>& words) {
  std::unique_ptr<Invocation> made;
  try {
    made = make_invocation(command, words, {});
  } catch (const core::Error&) {
    made = make_invocation(command, {}, {});
  }
  // The defaults belong into help, not what the words set.
  const core::OptionTable* const tables[] = {&made->table, &made->common_table, &made->start_table};
  return command_help(command.entry, tables);
}

void tell_ignored_environment(const Invocation& made) {
  const auto name = made.command.entry.name;
  if (made.ignored_environment.empty() || (name != "run" && name != "submit" && name != "resume"))
    return;
  core::log_info(
      "{} ignores the environment of stages ({}); write options into the plan or use "
      "--set SECTION.KEY=VALUE",
      name, fmt::join(made.ignored_environment, ", "));
}

ExitCode run_stage(Invocation& made, comm::Communicator& communicator, int workers) {
  stages::StageContext context{
      .communicator = communicator,
      .threads = workers,
      .json = made.common.json,
      .take_over = made.common.take_over,
      .threads_given = made.common.threads > 0,
      .ranks_wanted = made.common.ranks,
      .stage = std::string(made.command.entry.name),
      .recipe = made.table.recipe(),
      .configuration = made.table.ini(),
  };
  const auto outcome = made.stage->run(context);
  return outcome == stages::StageOutcome::stopped ? ExitCode::requeue : ExitCode::done;
}

// --watchdog before options are read: while ranks come together, they can't be asked.
std::chrono::seconds start_limit(const std::vector<std::string>& words) {
  constexpr std::string_view kWord = "--watchdog";
  const char* variable = std::getenv("RETORT_WATCHDOG");
  std::string text = variable == nullptr ? "" : variable;
  for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    if (words[i] == kWord && i + 1 < words.size()) text = words[i + 1];
    if (words[i].starts_with(std::string(kWord) + "=")) text = words[i].substr(kWord.size() + 1);
  }
  int seconds = CommonOptions{}.watchdog;
  std::from_chars(text.data(), text.data() + text.size(), seconds);  // bad ones are refused later
  return std::chrono::seconds(std::max(seconds, 0));
}

// `started`: the ranks this process is one of.
// Paths and texts end in JSON and in files of options; two paths must not become one there.
void require_utf8(const std::vector<std::string>& words) {
  for (std::string word : words)
    if (const std::string own = word; io::replace_invalid_utf8(word) > 0)
      throw core::UsageError(
          fmt::format("'{}' on the command line is not UTF-8: rename that file or folder, or link "
                      "to it",
                      io::escaped(own)));
}

int execute(const std::vector<std::string>& words, comm::Communicator& started) {
  require_utf8(words);
  core::OptionTable leading;
  CommonOptions common;
  StartOptions start;
  common.declare(leading);
  start.declare(leading);
  const CommandWords split = split_command(words, leading);
  const bool help = contains(split.words, "--help") || contains(split.words, "-h");
  if (split.command.empty()) {
    if (help || words.empty()) {
      if (started.root()) print(program_help());
      return static_cast<int>(help ? ExitCode::done : ExitCode::usage);
    }
    if (contains(words, "--version")) {
      if (started.root()) print(version_text());
      return static_cast<int>(ExitCode::done);
    }
    parse_command_line(split.words, std::array<const core::OptionTable*, 1>{&leading},
                       UnknownOptions::refuse);
    throw core::UsageError("a command is missing; retort --help lists the commands");
  }
  const Command command = find_command(split.command);
  if (help) {
    if (started.root()) print(help_of(command, split.words));
    return static_cast<int>(ExitCode::done);
  }

  const auto made = make_invocation(command, split.words, environment());
  core::start_log(made->common.log_level, started.rank());
  if (made->start.dump_config) {
    if (started.root()) print(made->dump());
    return static_cast<int>(ExitCode::done);
  }
  made->table.require();
  made->stage->validate();
  const bool many = command.entry.ranks == stages::Ranks::many;
  if (many) require_joined(started.size());
  if (!comm::started_with_ranks()) stages::require_inputs(made->table);
  const int wanted = made->common.ranks;
  if (comm::started_with_ranks()) {
    if (wanted > 0 && wanted != started.size())
      throw core::UsageError(
          fmt::format("-n {}: this process was already started as one of {} ranks; leave -n away",
                      wanted, started.size()));
  } else if (wanted > 1 && many) {
    return in_allocation() ? run_allocated_ranks(wanted, words) : run_local_ranks(wanted, words);
  }
  tell_ignored_environment(*made);
  if (many) {
    started.watch(std::chrono::seconds(made->common.watchdog));
    require_agreement(started, command.entry.name, made->table);
    const int workers = workers_of_rank(started, made->common.threads);
    io::on_root(started, [&] { stages::require_inputs(made->table); });
    return static_cast<int>(run_stage(*made, started, workers));
  }
  // A command for one process, started as several: rank 0 runs, the others wait for it.
  ExitCode code = ExitCode::done;
  if (started.root()) {
    stages::require_inputs(made->table);
    auto alone = comm::Communicator::single();
    code = run_stage(*made, alone, workers_of_rank(alone, made->common.threads));
  }
  return static_cast<int>(started.all_reduce_max(static_cast<std::uint64_t>(code)));
}

}  // namespace

int run_program(const std::vector<std::string>& words) {
  core::start_log(core::LogLevel::information, 0);
  std::optional<comm::Communicator> communicator;
  try {
    communicator.emplace(comm::started_with_ranks() ? comm::Communicator::world(start_limit(words))
                                                    : comm::Communicator::single());
    core::start_log(core::LogLevel::information, communicator->rank());
    const int code = execute(words, *communicator);
    errno = 0;
    flush_output();
    communicator.reset();
    return code;
  } catch (...) {
    return report(communicator ? &*communicator : nullptr, present_failure());
  }
}

}  // namespace retort::launch
