#include "launch/agreement.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/ini.h"
#include "core/version.h"
#include "launch/build_id.h"
#include "launch/local_ranks.h"

namespace retort::launch {
namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// "name = value" of line i, or what stands for a line that is not there.
struct NameValue {
  std::string_view name;
  std::string_view value;
};
NameValue at(const std::vector<std::string_view>& lines, std::size_t i) {
  if (i >= lines.size()) return {"", "nothing"};
  const auto equals = lines[i].find(" = ");
  if (equals == std::string_view::npos) return {lines[i], ""};
  return {lines[i].substr(0, equals), lines[i].substr(equals + 3)};
}

}  // namespace

std::string shared_options(std::string_view command, const core::OptionTable& table) {
  std::string text = fmt::format("command = {}\nprogram version = {}\nprogram build = {}\n",
                                 command, core::kVersion, build_id());
  for (const auto& option : table.options())
    text += fmt::format("{} = {}\n", option.name, core::ini_quote(option.print()));
  return text;
}

std::string first_difference(const std::vector<std::string>& texts) {
  for (std::size_t rank = 1; rank < texts.size(); ++rank) {
    if (texts[rank] == texts[0]) continue;
    const auto ours = lines_of(texts[0]);
    const auto theirs = lines_of(texts[rank]);
    for (std::size_t i = 0; i < std::max(ours.size(), theirs.size()); ++i) {
      const auto [name, value] = at(ours, i);
      const auto [other_name, other_value] = at(theirs, i);
      if (name == other_name && value == other_value) continue;
      if (name == other_name)
        return fmt::format("'{}' differs between ranks: rank 0 has '{}', rank {} has '{}'", name,
                           value, rank, other_value);
      return fmt::format("ranks have different options: rank 0 has '{}', rank {} has '{}'", name,
                         rank, other_name);
    }
  }
  return {};
}

void require_agreement(comm::Communicator& communicator, std::string_view command,
                       const core::OptionTable& table) {
  if (communicator.size() == 1) return;
  const std::string text = shared_options(command, table);
  const auto hashes = communicator.all_gather(core::sha256_hex(text));
  if (std::all_of(hashes.begin(), hashes.end(), [&](const auto& h) { return h == hashes[0]; }))
    return;
  // Every rank sees the difference and throws; the first to claim the error prints it.
  const std::string difference = first_difference(communicator.all_gather(text));
  throw core::UsageError(difference +
                         "; start all ranks with the same options, environment and "
                         "program");
}

int workers_of_rank(comm::Communicator& communicator, int wanted) {
  const int cores = usable_cores();
  std::ptrdiff_t sharing = 1;
  if (communicator.size() > 1) {
    std::array<char, 256> host{};
    gethostname(host.data(), host.size() - 1);
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(set), &set);
    const std::string own(reinterpret_cast<const char*>(&set), sizeof(set));
    const auto all = communicator.all_gather(std::string(host.data()) + '\0' + own);
    sharing =
        std::count(all.begin(), all.end(), all[static_cast<std::size_t>(communicator.rank())]);
  }
  const int ranks = static_cast<int>(std::max<std::ptrdiff_t>(1, sharing));  // at least this one
  const int workers = wanted > 0 ? wanted : std::max(1, cores / ranks);
  if (std::int64_t{ranks} * workers > std::int64_t{kRanksPerCore} * cores)
    throw core::UsageError(fmt::format(
        "{} ranks with {} workers each share {} cores, and {} on each core are the most that one "
        "start may have; use fewer --threads or fewer ranks, or more machines",
        ranks, workers, cores, kRanksPerCore));
  return workers;
}

}  // namespace retort::launch
