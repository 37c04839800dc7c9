// Options that every command has.
#pragma once

#include <filesystem>

#include "core/log.h"
#include "core/options.h"

namespace retort::launch {

/// Those that any source may give.
struct CommonOptions {
  int ranks = 0;       // 0: as started
  int threads = 0;     // 0: cores / ranks
  int watchdog = 300;  // seconds; 0: none
  bool json = false;
  bool take_over = false;
  core::LogLevel log_level = core::LogLevel::information;

  void declare(core::OptionTable& table);
};

/// Those that only the command line may give: they say where the others come from.
struct StartOptions {
  std::filesystem::path config;
  bool dump_config = false;
  bool help = false;

  void declare(core::OptionTable& table);
};

}  // namespace retort::launch
