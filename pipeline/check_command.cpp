// check: is every byte right.
#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/error.h"
#include "pipeline/check.h"
#include "pipeline/repair.h"
#include "stages/stage.h"

namespace retort::pipeline {
namespace {

using stages::StageContext;
using stages::StageOutcome;

nlohmann::ordered_json faults_json(const std::vector<Fault>& faults) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& fault : faults) list.push_back({{"path", fault.path}, {"what", fault.what}});
  return list;
}

std::string fault_count(const std::vector<Fault>& faults) {
  return fmt::format("{} fault{}", faults.size(), faults.size() == 1 ? "" : "s");
}

class Check : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Check");
    auto& path = table.add("path", &path_, "what to check: a folder of any kind, or a file");
    path.effect = core::OptionEffect::input;
    path.positional = true;
    path.required = true;
    path.value_name = "PATH";
    table.add("repair", &repair_,
              "set aside what is damaged (NAME.bad), so that the next run makes exactly that anew");
  }

  StageOutcome run(StageContext& context) override {
    if (!context.communicator.root()) return StageOutcome::done;
    const core::Stopwatch watch;
    const auto report = check(path_.has_filename() ? path_ : path_.parent_path());
    RepairReport repaired;
    if (repair_) repaired = repair(report);
    if (context.json) {
      const nlohmann::ordered_json json = {{"path", path_.string()},
                                           {"manifests", report.manifests},
                                           {"files", report.files},
                                           {"bytes", report.bytes},
                                           {"rows", report.rows},
                                           {"faults", faults_json(report.faults)},
                                           {"notes", faults_json(report.notes)},
                                           {"set_aside", faults_json(repaired.set_aside)},
                                           {"left", faults_json(repaired.left)},
                                           {"seconds", watch.seconds()}};
      fmt::print("{}\n", json.dump());
    } else {
      for (const auto& note : report.notes) fmt::print("note   {}: {}\n", note.path, note.what);
      for (const auto& fault : report.faults) fmt::print("fault  {}: {}\n", fault.path, fault.what);
      fmt::print("{} manifests, {} files, {}B, {} rows read in {}: {}\n", report.manifests,
                 report.files, core::count_text(static_cast<double>(report.bytes)), report.rows,
                 core::duration_text(watch.seconds()),
                 report.faults.empty() ? "every byte is right" : fault_count(report.faults));
      for (const auto& fault : repaired.set_aside)
        fmt::print("aside  {}: {}\n", fault.path, fault.what);
      for (const auto& fault : repaired.left) fmt::print("left   {}: {}\n", fault.path, fault.what);
      if (!repaired.set_aside.empty())
        fmt::print("start the plan or the command that made it again: it goes on from here\n");
    }
    std::fflush(stdout);
    const auto& faults = repair_ ? repaired.left : report.faults;
    if (faults.empty()) return StageOutcome::done;
    throw core::DataError(fmt::format(
        "{}: {}, first {}: {}{}", path_.string(), fault_count(faults), faults.front().path,
        faults.front().what,
        repair_ ? "" : "; restore the files, or `retort check --repair` and run again"));
  }

 private:
  std::filesystem::path path_;
  bool repair_ = false;
};

}  // namespace

std::unique_ptr<stages::Stage> make_check() { return std::make_unique<Check>(); }

}  // namespace retort::pipeline
