#include "pipeline/report.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/companions.h"
#include "io/manifest.h"
#include "pipeline/job.h"
#include "stages/stage.h"

namespace retort::pipeline {

namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  const auto bytes = io::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

nlohmann::json parse(const std::string& text, const fs::path& path) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw core::DataError(fmt::format("{}: not valid JSON: {}", path.string(), error.what()));
  }
}

ReportSection read_section(const fs::path& folder, const std::string& name) {
  ReportSection section;
  section.name = name;
  const auto slash = name.rfind("/seed-");
  section.group = slash == std::string::npos ? name : name.substr(0, slash);
  if (io::has_manifest(folder)) {
    const io::Manifest manifest = io::read_manifest(folder);
    section.complete = true;
    section.stage = manifest.facts.value("stage", manifest.kind);
  }
  if (fs::exists(folder / io::kResultsName))
    section.results = io::read_sealed(folder, io::kResultsName);
  if (const fs::path file = folder / "details.json"; fs::exists(file))
    section.details = parse(text_of(file), file);
  if (const fs::path file = folder / "config.ini"; fs::exists(file))
    section.configuration = text_of(file);
  if (const fs::path file = folder / "metrics.jsonl"; fs::exists(file)) {
    const std::string text = text_of(file);
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      if (end > begin) section.metrics.push_back(parse(text.substr(begin, end - begin), file));
      begin = end + 1;
    }
  }
  return section;
}

bool tells_something(const fs::path& folder) {
  return fs::exists(folder / io::kResultsName) || fs::exists(folder / "metrics.jsonl") ||
         fs::exists(folder / "details.json");
}

class Report : public stages::Stage {
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
    const fs::path file = out_.empty() ? folder_ / "report.html" : out_;
    write_report(folder_, file);
    fmt::print("{}\n",
               context.json ? nlohmann::json{{"report", file.string()}}.dump() : file.string());
    return stages::StageOutcome::done;
  }

 private:
  static void write_report(const fs::path& folder, const fs::path& file) {
    if (!fs::is_directory(folder))
      throw core::DataError(fmt::format(
          "{}: no such folder: name a run folder, such as runs/glyphs", folder.string()));
    std::vector<std::string> names;
    if (is_plan_run(folder)) {
      auto alone = comm::Communicator::single();
      for (const auto& instance : load_run(alone, folder).graph.instances)
        names.push_back(instance.name);
    }
    const auto sections = read_report(folder, names);
    if (sections.empty())
      throw core::DataError(fmt::format(
          "{}: nothing to report: no results.json or metrics.jsonl in it", folder.string()));
    const fs::path shown = fs::weakly_canonical(folder).filename();
    io::write_file(file, std::string_view(report_html(shown.string(), sections)));
  }

  fs::path folder_, out_;
};

}  // namespace

std::vector<ReportSection> read_report(const fs::path& run, const std::vector<std::string>& names) {
  std::vector<std::string> found;
  if (tells_something(run)) found.push_back(fs::weakly_canonical(run).filename().string());
  std::vector<std::string> below;
  for (auto it = fs::recursive_directory_iterator(run); it != fs::recursive_directory_iterator();
       ++it) {
    if (!it->is_directory()) continue;
    const std::string name = it->path().filename().string();
    if (name.starts_with(".") || it.depth() >= 2) {
      it.disable_recursion_pending();
      continue;
    }
    if (tells_something(it->path())) below.push_back(fs::relative(it->path(), run).string());
  }
  const auto place = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) - names.begin();
  };
  std::sort(below.begin(), below.end(), [&](const auto& a, const auto& b) {
    return std::make_pair(place(a), a) < std::make_pair(place(b), b);
  });
  std::vector<ReportSection> sections;
  for (const auto& name : found) sections.push_back(read_section(run, name));
  for (const auto& name : below) sections.push_back(read_section(run / name, name));
  return sections;
}

std::unique_ptr<stages::Stage> make_report() { return std::make_unique<Report>(); }

}  // namespace retort::pipeline
