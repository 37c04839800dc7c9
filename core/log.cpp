#include "core/log.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "core/terminal.h"
#include "core/warnings.h"

namespace retort::core {
namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::information:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::off:
      break;
  }
  return spdlog::level::off;
}

struct Warnings {
  std::mutex mutex;
  std::vector<std::string> lines;
};

Warnings& warnings() {
  static Warnings all;
  return all;
}

// "" for information, "warning: " and so on for the rest.
class WordFlag : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    std::string_view word;
    if (message.level == spdlog::level::debug) word = "debug: ";
    if (message.level == spdlog::level::warn) word = "warning: ";
    if (message.level == spdlog::level::err) word = "error: ";
    out.append(word.data(), word.data() + word.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<WordFlag>();
  }
};

}  // namespace

void start_log(LogLevel level, int rank) {
  const auto logger =
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<WordFlag>('*');
  // On a terminal a progress bar may stand in the line: erase it first.
  const std::string erase = terminal_columns() > 0 ? "\r\033[K" : "";
  const std::string who = rank == 0 ? "retort: " : fmt::format("retort (rank {}): ", rank);
  formatter->set_pattern(erase + who + "%*%v");
  logger->set_formatter(std::move(formatter));
  const auto lowest = rank == 0 ? level : std::max(level, LogLevel::warning);
  logger->set_level(spdlog_level(lowest));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(logger);
}

const std::vector<std::pair<std::string, LogLevel>>& log_level_words() {
  static const std::vector<std::pair<std::string, LogLevel>> words = {
      {"debug", LogLevel::debug},
      {"info", LogLevel::information},
      {"warning", LogLevel::warning},
      {"error", LogLevel::error},
      {"off", LogLevel::off}};
  return words;
}

bool log_enabled(LogLevel level) {
  return spdlog::default_logger_raw()->should_log(spdlog_level(level));
}

void log_line(LogLevel level, std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  if (level == LogLevel::warning) {
    const std::lock_guard lock(warnings().mutex);
    if (warnings().lines.size() < kKeptWarnings) warnings().lines.push_back(line);
  }
  spdlog::default_logger_raw()->log(spdlog_level(level), "{}", line);
}

std::vector<std::string> take_warnings() {
  const std::lock_guard lock(warnings().mutex);
  return std::exchange(warnings().lines, {});
}

}  // namespace retort::core
