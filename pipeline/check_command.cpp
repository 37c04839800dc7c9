// check: is every byte right.
#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/error.h"
#include "pipeline/check.h"
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

std::string fault_count(const CheckReport& report) {
  return fmt::format("{} fault{}", report.faults.size(), report.faults.size() == 1 ? "" : "s");
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
  }

  StageOutcome run(StageContext& context) override {
    if (!context.communicator.root()) return StageOutcome::done;
    const core::Stopwatch watch;
    const auto report = check(path_.has_filename() ? path_ : path_.parent_path());
    if (context.json) {
      const nlohmann::ordered_json json = {{"path", path_.string()},
                                           {"manifests", report.manifests},
                                           {"files", report.files},
                                           {"bytes", report.bytes},
                                           {"rows", report.rows},
                                           {"faults", faults_json(report.faults)},
                                           {"notes", faults_json(report.notes)},
                                           {"seconds", watch.seconds()}};
      fmt::print("{}\n", json.dump());
    } else {
      for (const auto& note : report.notes) fmt::print("note   {}: {}\n", note.path, note.what);
      for (const auto& fault : report.faults) fmt::print("fault  {}: {}\n", fault.path, fault.what);
      fmt::print("{} manifests, {} files, {}B, {} rows read in {}: {}\n", report.manifests,
                 report.files, core::count_text(static_cast<double>(report.bytes)), report.rows,
                 core::duration_text(watch.seconds()),
                 report.faults.empty() ? "every byte is right" : fault_count(report));
    }
    std::fflush(stdout);
    if (report.faults.empty()) return StageOutcome::done;
    const auto& first = report.faults.front();
    throw core::DataError(fmt::format(
        "{}: {}, first {}: {}; restore the files, or remove what is damaged and run again",
        path_.string(), fault_count(report), first.path, first.what));
  }

 private:
  std::filesystem::path path_;
};

}  // namespace

std::unique_ptr<stages::Stage> make_check() { return std::make_unique<Check>(); }

}  // namespace retort::pipeline
