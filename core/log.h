// Messages to the user, on standard error, one line each. The logger is spdlog's default one; the
// rank is told once at the start, and information comes from rank 0 only.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace retort::core {

enum class LogLevel { debug, information, warning, error, off };

/// Called once by launch, before other threads. Rank 0 prints from `level` on; other ranks print
/// warnings and errors only, with their rank.
void start_log(LogLevel level, int rank);
/// "debug", "info", "warning", "error", "off" (the choices of --log-level).
const std::vector<std::pair<std::string, LogLevel>>& log_level_words();
bool log_enabled(LogLevel level);
/// One line; line breaks inside become spaces. Thread-safe.
void log_line(LogLevel level, std::string_view text);

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::debug))
    log_line(LogLevel::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::information))
    log_line(LogLevel::information, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::warning))
    log_line(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::error))
    log_line(LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace retort::core
