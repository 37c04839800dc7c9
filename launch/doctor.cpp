#include "launch/doctor.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/version.h"
#include "launch/machine_checks.h"

namespace retort::launch {
namespace {

const char* word(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok:
      return "ok";
    case Verdict::warning:
      return "warning";
    case Verdict::problem:
      break;
  }
  return "problem";
}

class Doctor : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    core::Option& out = table.add("out", &out_, "folder that runs would write to");
    out.effect = core::OptionEffect::output;
    out.value_name = "DIR";
  }

  stages::StageOutcome run(stages::StageContext& context) override {
    std::vector<Check> checks = {check_processor(), check_cores(), check_memory(),
                                 check_torch(),     check_mpi(),   check_hdf5()};
    for (auto& check : check_disk(out_)) checks.push_back(std::move(check));
    checks.push_back(check_shared_memory());
    for (auto& check : check_limits()) checks.push_back(std::move(check));
    checks.push_back(check_gpu());
    checks.push_back(check_slurm());
    if (context.json)
      print_json(checks);
    else
      print_table(checks);
    const auto bad = std::find_if(checks.begin(), checks.end(), [](const auto& check) {
      return check.verdict == Verdict::problem;
    });
    if (bad != checks.end())
      throw core::DataError(
          fmt::format("this machine is not fit: {}: {}; {}", bad->name, bad->found, bad->advice));
    return stages::StageOutcome::done;
  }

 private:
  static void print_table(const std::vector<Check>& checks) {
    for (const auto& check : checks) {
      fmt::print("{:<8} {:<14} {}\n", word(check.verdict), check.name, check.found);
      if (!check.advice.empty()) fmt::print("{:24}{}\n", "", check.advice);
    }
    std::fflush(stdout);
  }

  static void print_json(const std::vector<Check>& checks) {
    nlohmann::json list = nlohmann::json::array();
    Verdict worst = Verdict::ok;
    for (const auto& check : checks) {
      worst = std::max(worst, check.verdict);
      list.push_back({{"name", check.name},
                      {"verdict", word(check.verdict)},
                      {"found", check.found},
                      {"advice", check.advice}});
    }
    const nlohmann::json line = {
        {"version", core::kVersion}, {"verdict", word(worst)}, {"checks", std::move(list)}};
    fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    std::fflush(stdout);
  }

  std::filesystem::path out_ = ".";
};

}  // namespace

std::unique_ptr<stages::Stage> make_doctor() { return std::make_unique<Doctor>(); }

}  // namespace retort::launch
