#include "core/progress.h"

#include <algorithm>
#include <cstdio>
#include <mutex>

#include <fmt/format.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/terminal.h"

namespace retort::core {
namespace {

constexpr double kLineSeconds = 30;
constexpr double kBarSeconds = 0.2;
constexpr double kRateSeconds = 20;  // the window that the shown rate looks back on
constexpr int kBarCells = 24;

std::string grouped(std::uint64_t value) {
  std::string text = std::to_string(value);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), 1, ',');
  return text;
}

}  // namespace

std::string progress_text(const std::string& label, std::uint64_t done, std::uint64_t total,
                          const std::string& unit, double rate) {
  std::string text = label + " " + grouped(done);
  if (total > 0)
    text += fmt::format("/{} {} ({} %)", grouped(total), unit,
                        static_cast<int>(100.0 * static_cast<double>(std::min(done, total)) /
                                         static_cast<double>(total)));
  else
    text += " " + unit;
  if (rate > 0) {
    text += fmt::format(", {}/s", count_text(rate));
    if (total > done)
      text += fmt::format(", {} left", duration_text(static_cast<double>(total - done) / rate));
  }
  return text;
}

struct Progress::State {
  std::mutex mutex;
  std::string label;
  std::uint64_t total = 0;
  std::string unit;
  std::uint64_t start = 0;
  std::uint64_t done = 0;
  int columns = 0;
  bool bar_shown = false;
  Stopwatch since_start;
  double last_shown = 0;
  double window_time = 0;  // the sample that the rate is measured from, and the next one
  std::uint64_t window_done = 0;
  double next_time = 0;
  std::uint64_t next_done = 0;

  // From a point between one and two windows ago, so that a slow start does not weigh for ever.
  double rate(double now) {
    if (now - next_time >= kRateSeconds) {
      window_time = next_time;
      window_done = next_done;
      next_time = now;
      next_done = done;
    }
    const double span = now - window_time;
    return span > 0 && done > window_done ? static_cast<double>(done - window_done) / span : 0;
  }

  void draw(const std::string& text) {
    std::string line;
    const auto room = static_cast<std::size_t>(std::max(columns - 1, 10));
    if (total > 0 && text.size() + kBarCells + 3 <= room) {
      const auto full = static_cast<int>(kBarCells * static_cast<double>(std::min(done, total)) /
                                         static_cast<double>(total));
      line = fmt::format("[{:#<{}}{:.<{}}] ", "", full, "", kBarCells - full);
    }
    line += text;
    if (line.size() > room) line.resize(room);
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    bar_shown = true;
  }

  void erase() {
    if (!bar_shown) return;
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
    bar_shown = false;
  }
};

Progress::Progress(std::string label, std::uint64_t total, std::string unit, std::uint64_t start) {
  if (!log_enabled(LogLevel::information)) return;
  state_ = std::make_unique<State>();
  state_->label = std::move(label);
  state_->total = total;
  state_->unit = std::move(unit);
  state_->start = state_->done = state_->window_done = state_->next_done = start;
  state_->columns = terminal_columns();
}

Progress::~Progress() {
  if (state_) state_->erase();
}
Progress::Progress(Progress&&) noexcept = default;
Progress& Progress::operator=(Progress&&) noexcept = default;

void Progress::update(std::uint64_t done) { update(done, {}); }

void Progress::update(std::uint64_t done, const std::string& remark) {
  if (!state_) return;
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  s.done = done;
  const double now = s.since_start.seconds();
  if (now - s.last_shown < (s.columns > 0 ? kBarSeconds : kLineSeconds)) return;
  s.last_shown = now;
  std::string text = progress_text(s.label, done, s.total, s.unit, s.rate(now));
  if (!remark.empty()) text += ", " + remark;
  if (s.columns > 0)
    s.draw(text);
  else
    log_line(LogLevel::information, text);
}

void Progress::finish() {
  if (!state_) return;
  State& s = *state_;
  {
    const std::lock_guard lock(s.mutex);
    s.erase();
    const double seconds = s.since_start.seconds();
    const std::uint64_t fresh = s.done - std::min(s.start, s.done);
    std::string text = fmt::format("{} {} {}", s.label, grouped(s.done), s.unit);
    // What an earlier start did took none of this time.
    if (s.start > 0) text += fmt::format(", {} of them", grouped(fresh));
    text += fmt::format(" in {}", duration_text(seconds));
    if (fresh > 0 && seconds > 0)
      text += fmt::format(" ({}/s)", count_text(static_cast<double>(fresh) / seconds));
    log_line(LogLevel::information, text);
  }
  state_.reset();
}

}  // namespace retort::core
