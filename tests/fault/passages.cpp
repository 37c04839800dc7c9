#include "tests/fault/passages.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <stdexcept>

#include <fmt/format.h>

namespace retort::fault {
namespace {

constexpr double kCollectives = 400;  // about as many as one rank has in an undisturbed run

}  // namespace

std::string draw_collective(int ranks, double shrink, std::string_view action,
                            core::RandomStream& random) {
  const auto rank = random.below(static_cast<std::uint64_t>(ranks));
  const auto most = static_cast<std::uint64_t>(std::max(1.0, kCollectives * shrink));
  return fmt::format("{}-{}:{}:{}", kCollective, rank, 1 + random.below(most), action);
}

void arm(Start& start, const std::string& armed, const std::filesystem::path& report) {
  std::filesystem::remove(report);
  start.environment["RETORT_FAULT_POINT"] = armed;
  start.environment["RETORT_FAULT_REPORT"] = report.string();
}

std::string steady_path(const std::string& path, const std::filesystem::path& run) {
  static const std::regex kOfProcess(R"(\.[0-9a-f]+-[0-9]+\.tmp$|(claims/new-).*)");
  return std::regex_replace(path.substr(run.native().size() + 1), kOfProcess, "$1");
}

std::vector<Passage> read_passages(const std::filesystem::path& report) {
  std::vector<Passage> passages;
  std::ifstream file(report);
  for (std::string line; std::getline(file, line) && !file.eof();) {
    std::istringstream words(line);
    Passage passage;
    words >> passage.place >> passage.point >> passage.process >> std::ws;
    if (!std::getline(words, passage.path))
      throw std::runtime_error(report.string() + " holds no passage: " + line);
    passages.push_back(std::move(passage));
  }
  return passages;
}

std::uint64_t reach(const std::vector<Passage>& passages, std::string_view place, int ranks) {
  std::map<pid_t, std::uint64_t> counts;
  std::uint64_t total = 0, most = 0;
  for (const Passage& passage : passages) {
    if (passage.place != place) continue;
    ++total;
    most = std::max(most, ++counts[passage.process]);
  }
  // Shards are dealt out among the ranks; rank 0 has a part in every checkpoint and commit.
  return place == "capture" ? total / static_cast<std::uint64_t>(ranks) : most;
}

}  // namespace retort::fault
