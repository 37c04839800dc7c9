// retort-fault --fault NAME --count N --seed S [--json] [--retort PROGRAM] [--work DIR] [--keep]
// Drives the real program through a fault, N times, and says whether a wrong result ever came out.
// Exit code 0 when none did. --help: the options and the faults that there are.
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/options.h"
#include "tests/fault/fault.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;

constexpr int kSkipped = 77;  // as CTest and automake know it

struct Settings {
  FaultOptions fault;
  bool json = false;
  bool keep = false;
  fs::path program = fs::read_symlink("/proc/self/exe").parent_path() / "retort";
  fs::path work;

  void declare(core::OptionTable& table) {
    table.add("fault", &fault.fault, "What to do to the program").required = true;
    table.add("count", &fault.count, "Cases; 0: all, of a fault that has so many and no more");
    table.add("seed", &fault.seed, "Seed of all draws");
    table.add("json", &json, "The result as one JSON line");
    table.add("keep", &keep, "Leave the folders of all cases behind");
    table.add("retort", &program, "Program under test");
    table.add("work", &work, "Folder to work in; empty: one below the temporary folder");
  }
};

void print_help() {
  Settings settings;
  core::OptionTable table;
  settings.declare(table);
  std::cout << "retort-fault --fault NAME [options]: puts the real program through a fault and "
               "compares its results with an undisturbed run's\n\n";
  for (const core::Option& option : table.options())
    std::cout << fmt::format("  --{:<8} {}\n", option.name, option.help);
  std::cout << "\nFaults:";
  for (const Fault& fault : faults()) std::cout << ' ' << fault.name;
  std::cout << "\n";
}

Settings parse(int count, char** words) {
  Settings settings;
  core::OptionTable table;
  settings.declare(table);
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (!word.starts_with("--")) throw core::UsageError("not an option: " + word);
    const core::Option* option = table.find(word.substr(2));
    const bool is_switch = option != nullptr && option->is_switch;
    if (!is_switch && i + 1 == count) throw core::UsageError(word + " needs a value");
    table.set(word.substr(2), is_switch ? "true" : words[++i]);
  }
  table.require();
  return settings;
}

const Fault& find(const std::string& name) {
  std::string known;
  for (const Fault& fault : faults()) {
    if (fault.name == name) return fault;
    known += fmt::format(" {}", fault.name);
  }
  throw core::UsageError(fmt::format("--fault {}: there are{}", name, known));
}

int drive(const Settings& settings) {
  const Fault& fault = find(settings.fault.fault);
  if (settings.fault.count < (fault.cases == Cases::finite ? 0 : 1))
    throw core::UsageError("--count: at least 1");
  std::string pattern = (fs::temp_directory_path() / "retort-fault-XXXXXX").string();
  const bool temporary = settings.work.empty();
  if (temporary && ::mkdtemp(pattern.data()) == nullptr)
    throw core::IoError("cannot create " + pattern);
  const fs::path work = temporary ? fs::path(pattern) : settings.work;
  adopt_orphans();
  const TinyPlan plan(settings.program, work);
  const Tally tally = fault.run(plan, settings.fault, [](const std::string& line) {
    std::cerr << "retort-fault: " << line << std::endl;
  });
  if (!tally.skipped.empty()) {
    fs::remove_all(work);
    std::cerr << "retort-fault: " << tally.skipped << '\n';
    return kSkipped;
  }
  if (!tally.missed.empty()) std::cerr << "retort-fault: " << tally.missed << '\n';
  const bool good = tally.identical == tally.cases() && tally.cases() > 0 &&
                    tally.cases() >= settings.fault.count && tally.missed.empty();
  if (good && temporary && !settings.keep)
    fs::remove_all(work);
  else
    std::cerr << "retort-fault: folders are in " << work.string() << '\n';
  const nlohmann::ordered_json line = {{"fault", settings.fault.fault},
                                       {"count", tally.cases()},
                                       {"identical", tally.identical},
                                       {"silent", tally.silent},
                                       {"crashes", tally.crashes},
                                       {"hangs", tally.hangs},
                                       {"restarted", tally.restarted},
                                       {"resumed", tally.resumed},
                                       {"seed", settings.fault.seed},
                                       {"kills", tally.kills},
                                       {"kills_by_place", tally.kills_by_place},
                                       {"kills_single_rank", tally.kills_single_rank},
                                       {"refused", tally.refused},
                                       {"stops", tally.stops},
                                       {"stops_by_signal", tally.stops_by_signal},
                                       {"stops_by_place", tally.stops_by_place},
                                       {"lost_steps", tally.lost_steps},
                                       {"passages", tally.passages},
                                       {"named", tally.named},
                                       {"slowest_down_s", tally.slowest.count()}};
  if (settings.json)
    std::cout << line.dump() << std::endl;
  else
    for (const auto& [key, value] : line.items()) std::cout << key << ": " << value << '\n';
  return good ? 0 : 1;
}

}  // namespace
}  // namespace retort::fault

int main(int count, char** words) {
  try {
    if (count == 2 && std::string_view(words[1]) == "--help") {
      retort::fault::print_help();
      return 0;
    }
    return retort::fault::drive(retort::fault::parse(count, words));
  } catch (const retort::core::Error& error) {
    std::fprintf(stderr, "retort-fault: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "retort-fault: %s\n", error.what());
    return 1;
  }
}
