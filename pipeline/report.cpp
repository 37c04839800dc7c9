// The command: reads a run folder, writes the page.
#include "pipeline/report.h"

#include <fmt/format.h>

#include "io/atomic_file.h"
#include "stages/stage.h"

namespace retort::pipeline {

namespace {

namespace fs = std::filesystem;

class ReportCommand : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Report");
    auto& folder = table.add("run", &folder_, "Run folder of a plan, or one section's folder");
    folder.effect = core::OptionEffect::input;
    folder.required = true;
    folder.positional = true;
    table.add("out", &out_, "HTML file to write; empty: report.html in the run folder").effect =
        core::OptionEffect::output;
  }
  stages::StageOutcome run(stages::StageContext& context) override {
    if (!context.communicator.root()) return stages::StageOutcome::done;
    io::require_no_folder(out_, "--out");
    const Report report = read_report(folder_);
    const fs::path file = out_.empty() ? folder_ / "report.html" : out_;
    io::write_file(file, std::string_view(report_html(report)));
    if (context.json) {
      nlohmann::ordered_json json = {{"report", file.string()}};
      json.update(report_json(report));
      fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      fmt::print("{}\n", file.string());
    }
    return stages::StageOutcome::done;
  }

 private:
  fs::path folder_, out_;
};

}  // namespace

std::unique_ptr<stages::Stage> make_report() { return std::make_unique<ReportCommand>(); }

}  // namespace retort::pipeline
