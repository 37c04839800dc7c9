#include "stages/phase_times.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace retort::stages {

namespace {

constexpr std::array<std::string_view, kPhases> kNames = {
    "load",     "forward", "loss",     "backward", "top-k",     "write",
    "exchange", "device",  "optimise", "evaluate", "checkpoint"};

double rounded(double seconds) { return std::round(seconds * 1e6) / 1e6; }

/// What a rank did while it waited for nobody.
double computing(const nlohmann::json& rank) {
  return rank.at("wall").get<double>() - rank.value("load", 0.0) - rank.value("write", 0.0) -
         rank.value("exchange", 0.0) - rank.at("other").get<double>();
}

}  // namespace

PhaseSeconds PhaseSeconds::operator-(const PhaseSeconds& earlier) const {
  PhaseSeconds difference = *this;
  for (std::size_t i = 0; i < kPhases; ++i) difference.of[i] -= earlier.of[i];
  difference.other -= earlier.other;
  difference.wall -= earlier.wall;
  return difference;
}

PhaseTimes::PhaseTimes(int workers) : workers_(std::max(1, workers)) {}

void PhaseTimes::restart() {
  for (auto& sum : nanoseconds_) sum = 0;
  start_ = Clock::now();
}

void PhaseTimes::add(Phase phase, Clock::duration time, int workers) {
  const auto passed = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  nanoseconds_[static_cast<std::size_t>(phase)].fetch_add(passed * workers,
                                                          std::memory_order_relaxed);
}

PhaseSeconds PhaseTimes::seconds() const {
  PhaseSeconds seconds;
  seconds.wall = std::chrono::duration<double>(Clock::now() - start_).count();
  seconds.other = seconds.wall;
  for (std::size_t i = 0; i < kPhases; ++i) {
    seconds.of[i] = 1e-9 * static_cast<double>(nanoseconds_[i].load(std::memory_order_relaxed)) /
                    static_cast<double>(workers_);
    seconds.other -= seconds.of[i];
  }
  seconds.other = std::max(0.0, seconds.other);
  return seconds;
}

nlohmann::json to_json(const PhaseSeconds& seconds) {
  nlohmann::json json = {{"other", rounded(seconds.other)}, {"wall", rounded(seconds.wall)}};
  for (std::size_t i = 0; i < kPhases; ++i)
    if (seconds.of[i] > 0) json[std::string(kNames[i])] = rounded(seconds.of[i]);
  return json;
}

nlohmann::json gather_phase_times(comm::Communicator& communicator, const PhaseTimes& times) {
  const auto texts = communicator.all_gather(to_json(times.seconds()).dump());
  nlohmann::json mean = nlohmann::json::object(), slowest;
  int slowest_rank = 0;
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    nlohmann::json own = nlohmann::json::parse(texts[rank]);
    for (const auto& [phase, seconds] : own.items())
      mean[phase] = mean.value(phase, 0.0) + seconds.get<double>();
    if (!slowest.is_null() && computing(own) <= computing(slowest)) continue;
    slowest = std::move(own);
    slowest_rank = static_cast<int>(rank);
  }
  for (auto& seconds : mean)
    seconds = rounded(seconds.get<double>() / static_cast<double>(texts.size()));
  return {{"ranks", communicator.size()},
          {"workers", times.workers()},
          {"mean", std::move(mean)},
          {"slowest", std::move(slowest)},
          {"slowest_rank", slowest_rank}};
}

std::string phase_line(const nlohmann::json& gathered) {
  const nlohmann::json& mean = gathered.at("mean");
  const double wall = mean.at("wall").get<double>();
  std::vector<std::pair<double, std::string>> shares;
  for (const auto& [phase, seconds] : mean.items())
    if (phase != "wall" && wall > 0) shares.emplace_back(seconds.get<double>() / wall, phase);
  std::stable_sort(shares.begin(), shares.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string line = "time:";
  for (const auto& [share, phase] : shares)
    if (share >= 0.01)
      line += fmt::format("{} {:.0f} % {}", line.back() == ':' ? "" : ",", 100 * share, phase);
  return line;
}

}  // namespace retort::stages
