// bit-flip and truncate: one file of a run is damaged, whichever; then the run is started again or
// resumed. Refusing with exit code 65 and making the same result again are both right; another
// result never is.
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/fault.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr Seconds kLimit{90};

/// A state of the run folder in which a start has something left to read.
struct Template {
  std::string name;
  fs::path folder;
};

void copy_run(const fs::path& from, const fs::path& to) {
  fs::remove_all(to);
  fs::copy(from, to, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
}

/// The finished run without a section and those after it.
Template without(const TinyPlan& plan, const Undisturbed& reference, const std::string& first) {
  Template made{"before-" + first, plan.work() / ("before-" + first)};
  copy_run(reference.run, made.folder);
  bool gone = false;
  for (const std::string& section : TinyPlan::sections()) {
    gone = gone || section == first;
    if (gone) fs::remove_all(made.folder / section);
  }
  return made;
}

std::size_t generations(const fs::path& section) {
  std::size_t count = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(section / "checkpoints", error))
    count += entry.path().filename().string().starts_with("gen-") ? 1 : 0;
  return count;
}

/// Killed in the middle of training `section`, with at least two generations there.
Template amid(const TinyPlan& plan, const Undisturbed& reference, const std::string& section) {
  const Template before = without(plan, reference, section);
  Template made{"amid-" + section, plan.work() / ("amid-" + section)};
  for (int passage = 40; passage > 4; passage -= 3) {
    copy_run(before.folder, made.folder);
    Start start = plan.start(made.folder, 2, 1);
    start.environment["RETORT_FAULT_POINT"] = fmt::format("atomic-write:{}:kill", passage);
    run(start);
    if (!fs::exists(made.folder / section / "manifest.json") &&
        generations(made.folder / section) >= 2)
      return made;
  }
  throw std::runtime_error("no start left two generations of " + section + " behind");
}

/// Files by what they are: shards of a kind count once, so that manifests are not drowned in them.
std::vector<std::vector<fs::path>> files_by_kind(const fs::path& folder) {
  std::map<std::string, std::vector<fs::path>> kinds;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.file_size() == 0) continue;
    std::string kind;
    for (const char c : fs::relative(entry.path(), folder).string())
      if (c < '0' || c > '9') kind.push_back(c);
    kinds[kind].push_back(entry.path());
  }
  std::vector<std::vector<fs::path>> list;
  for (auto& [kind, files] : kinds) {
    std::sort(files.begin(), files.end());
    list.push_back(files);
  }
  return list;
}

void flip_bit(const fs::path& path, RandomStream& random) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const auto offset = static_cast<std::streamoff>(random.below(fs::file_size(path)));
  file.seekg(offset);
  const int byte = file.get();
  file.seekp(offset);
  file.put(static_cast<char>(byte ^ (1 << random.below(8))));
  if (!file.flush()) throw std::runtime_error("cannot damage " + path.string());
}

void cut_short(const fs::path& path, RandomStream& random) {
  fs::resize_file(path, random.below(fs::file_size(path)));
}

using Damage = void (*)(const fs::path&, RandomStream&);

/// Exit code 65 and one line that names the damaged file.
bool is_refusal(const Ending& ending, const fs::path& victim) {
  if (ending.exit_code != static_cast<int>(core::ExitCode::data)) return false;
  const std::vector<std::string> lines = error_lines(ending.output);
  return lines.size() == 1 && lines[0].find(victim.string()) != std::string::npos;
}

struct Damaged {
  fs::path folder;
  fs::path victim;
  std::string story;
};

Outcome judge(const TinyPlan& plan, const Undisturbed& reference, const Damaged& damaged,
              const Ending& ending, Tally& tally, const Report& report) {
  const std::string& story = damaged.story;
  if (ending.timed_out) {
    report(fmt::format("{}: hangs; {}\n{}", story, tail(ending.output), ending.state));
    return Outcome::hang;
  }
  if (is_refusal(ending, damaged.victim)) {
    ++tally.refused;
    return Outcome::identical;
  }
  if (ending.exit_code != 0) {
    report(fmt::format("{}: exit code {}, no line that names the file; {}", story, ending.exit_code,
                       tail(ending.output)));
    return Outcome::crash;
  }
  std::string wrong;
  try {
    wrong = differences(reference.fingerprint, TinyPlan::fingerprint(damaged.folder));
  } catch (const std::exception& error) {
    wrong = error.what();  // inspect refuses what is damaged
  }
  if (wrong.empty()) return Outcome::identical;
  // Nothing had to read the damaged file: then `check` has to find it.
  const Ending checked = check(plan, damaged.folder);
  if (is_refusal(checked, damaged.victim)) {
    ++tally.refused;
    return Outcome::identical;
  }
  report(fmt::format("{}: differs in {}, check says {} {}", story, wrong, checked.exit_code,
                     checked.output));
  return Outcome::silent;
}

Tally damage_files(const TinyPlan& plan, const FaultOptions& options, const Report& report,
                   Damage damage) {
  const Undisturbed reference = run_undisturbed(plan);
  std::vector<Template> templates = {
      {"finished", reference.run},        without(plan, reference, "teacher"),
      without(plan, reference, "logits"), without(plan, reference, "student"),
      without(plan, reference, "draws"),  without(plan, reference, "mixed"),
      without(plan, reference, "labels"), without(plan, reference, "score"),
      amid(plan, reference, "teacher"),   amid(plan, reference, "student")};
  Tally tally;
  for (int i = 0; i < options.count; ++i) {
    RandomStream random(options.seed, core::RandomUse::test, {2, static_cast<std::uint64_t>(i)});
    const Template& from = templates[static_cast<std::size_t>(i) % templates.size()];
    const fs::path folder = plan.work() / fmt::format("case-{:04}", i);
    copy_run(from.folder, folder);
    const auto kinds = files_by_kind(folder);
    const auto& files = kinds[random.below(kinds.size())];
    const fs::path& victim = files[random.below(files.size())];
    const Damaged damaged{folder, victim,
                          fmt::format("{} {}, {}", folder.filename().string(), from.name,
                                      fs::relative(victim, folder).string())};
    try {
      damage(victim, random);
      const int ranks = 1 + static_cast<int>(random.below(3));
      const bool by_plan = i / static_cast<int>(templates.size()) % 2 == 0;
      Start start = by_plan ? plan.start(folder, ranks, 1) : plan.resume(folder, ranks, 1);
      start.limit = kLimit;
      const Ending ending = run(start);
      const Outcome outcome = judge(plan, reference, damaged, ending, tally, report);
      tally.add(outcome);
      if (outcome == Outcome::identical) fs::remove_all(folder);
    } catch (const std::exception& error) {
      report(fmt::format("{}: {}", damaged.story, error.what()));
      tally.add(Outcome::crash);
    }
  }
  return tally;
}

}  // namespace

Tally flip_bits(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  return damage_files(plan, options, report, flip_bit);
}

Tally truncate_files(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  return damage_files(plan, options, report, cut_short);
}

}  // namespace retort::fault
