#include "launch/common_options.h"

#include <fmt/format.h>

#include "core/error.h"

namespace retort::launch {
namespace {

// A count of at least 1 whose 0 means "not said" and is never printed.
void count_or_unsaid(core::Option& option, int* target, std::string default_text) {
  option.effect = core::OptionEffect::run;
  option.default_text = std::move(default_text);
  option.parse = [target, parse = option.parse](const std::string& text) {
    parse(text);
    if (*target < 1) throw core::UsageError(fmt::format("'{}' is less than 1", text));
  };
  option.print = [target] { return *target == 0 ? std::string() : std::to_string(*target); };
}

}  // namespace

void CommonOptions::declare(core::OptionTable& table) {
  table.group("Start and display");
  core::Option& n = table.add("ranks", &ranks,
                              "start this many ranks on this machine with mpirun; leave it away "
                              "under mpirun or srun");
  n.short_name = 'n';
  count_or_unsaid(n, &ranks, "as started");
  count_or_unsaid(table.add("threads", &threads, "workers of each rank"), &threads,
                  "cores / ranks");
  core::Option& dog = table.add(
      "watchdog", &watchdog,
      "seconds after which a rank that says nothing, or keeps the others waiting, ends the "
      "job, which names it; 0: never");
  dog.effect = core::OptionEffect::run;
  dog.parse = [target = &watchdog, parse = dog.parse](const std::string& text) {
    parse(text);
    if (*target < 0) throw core::UsageError(fmt::format("'{}' is less than 0", text));
  };
  table.add("json", &json, "print the result as one JSON line on standard output").effect =
      core::OptionEffect::run;
  table.add("take-over", &take_over, "continue in a folder whose last start still looks alive")
      .effect = core::OptionEffect::run;
  table.add_choice("log-level", &log_level, core::log_level_words(), "what is reported").effect =
      core::OptionEffect::run;
}

void StartOptions::declare(core::OptionTable& table) {
  table.group("Start and display");
  core::Option& file =
      table.add("config", &config, "an INI file with options, in [COMMAND] or before any section");
  file.effect = core::OptionEffect::run;
  file.value_name = "FILE";
  table.add("dump-config", &dump_config, "print the effective options as an INI file and end")
      .effect = core::OptionEffect::run;
  core::Option& shown = table.add("help", &help, "explain the command and its options, and end");
  shown.effect = core::OptionEffect::run;
  shown.short_name = 'h';
}

}  // namespace retort::launch
