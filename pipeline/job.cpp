#include "pipeline/job.h"

#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "io/utf8.h"
#include "pipeline/agreement.h"
#include "pipeline/kept_twice.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int kSettingsVersion = 2;  // 1 had no "plan" and "variables"
constexpr const char* kDataVariable = "RETORT_DATA";
constexpr const char* kDefaultData = "../shared/data";

fs::path settings_path(const fs::path& run) { return run / ".plan" / "settings.json"; }

std::string text_of(const fs::path& path) {
  const auto bytes = io::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// What a run was started with.
struct Kept {
  nlohmann::json settings;
  std::string text;  // of the plan
};

Kept kept(const fs::path& run) {
  const auto where = settings_path(run).string();
  Kept kept;
  if (auto settings = read_twice(settings_path(run)))
    kept.settings = std::move(*settings);
  else
    throw core::DataError(where + " is missing");
  kept.text = io::read_fields(where, [&] {
    const auto text = kept.settings.find("plan");
    return text == kept.settings.end() ? text_of(plan_copy(run)) : text->get<std::string>();
  });
  return kept;
}

bool copy_differs(const fs::path& run, const std::string& text) {
  std::error_code code;
  return !fs::exists(plan_copy(run), code) || text_of(plan_copy(run)) != text;
}

/// `before`: values that count where the environment has none.
nlohmann::json variables_of(const std::string& text, const std::vector<std::string>& overrides,
                            const nlohmann::json& before = nlohmann::json::object()) {
  auto names = environment_names(text);
  for (const auto& item : overrides)
    for (const auto& name : environment_names(item)) names.push_back(name);
  nlohmann::json values = nlohmann::json::object();
  for (const auto& name : names) {
    if (const char* value = std::getenv(name.c_str())) {
      values[name] = value;
    } else if (before.contains(name)) {
      values[name] = before.at(name);
    } else if (name == kDataVariable) {
      values[name] = kDefaultData;
    }
  }
  return values;
}

std::vector<PlannedSection> sections_of(const Plan& plan, const Graph& graph) {
  std::vector<PlannedSection> sections;
  for (const auto& instance : graph.instances)
    sections.push_back({instance.name, plan.sections[instance.section].stage});
  return sections;
}

/// What rank 0 read, as every rank makes a job of it.
Job job_from(const nlohmann::json& seen) {
  Job job;
  job.text = seen.at("text").get<std::string>();
  job.overrides = seen.at("overrides").get<std::vector<std::string>>();
  job.started_in = seen.at("started_in").get<std::string>();
  job.variables = seen.at("variables").get<std::map<std::string, std::string>>();
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto value = job.variables.find(name);
    return value == job.variables.end() ? std::nullopt : std::optional(value->second);
  };
  job.plan = parse_plan(job.text, seen.at("where").get<std::string>(), job.overrides, environment);
  if (job.plan.settings.name.empty()) job.plan.settings.name = seen.at("name").get<std::string>();
  job.graph = build_graph(job.plan);
  const auto run = seen.at("run").get<std::string>();
  job.place.run = run.empty() ? fs::path("runs") / job.plan.settings.name : fs::path(run);
  const fs::path here = seen.at("here").get<std::string>();
  if (job.started_in != here) job.place.base = job.started_in;
  return job;
}

}  // namespace

void declare_run_folder(core::OptionTable& table, fs::path* run, std::string help) {
  auto& option = table.add("run", run, std::move(help));
  option.effect = core::OptionEffect::output;
  option.positional = true;
  option.required = true;
  option.value_name = "RUN";
}

Job load_plan(comm::Communicator& communicator, const fs::path& file,
              const std::vector<std::string>& overrides, const fs::path& out) {
  const auto seen = from_root(communicator, [&] {
    std::error_code code;
    if (fs::is_directory(file, code))
      throw core::UsageError(fmt::format(
          "{} is a folder, not a plan; name an INI file, or continue a run with: retort resume {}",
          file.string(), file.string()));
    if (!fs::exists(file, code))
      throw core::UsageError(
          fmt::format("there is no plan {}; name an INI file (see examples/)", file.string()));
    const auto text = text_of(file);
    const auto here = fs::current_path().string();
    if (std::string name = here; io::replace_invalid_utf8(name) > 0)
      throw core::UsageError(
          fmt::format("the working directory '{}' is not UTF-8: rename it, or work elsewhere",
                      io::escaped(here)));
    return nlohmann::json({{"text", text},
                           {"where", file.string()},
                           {"name", file.stem().string()},
                           {"overrides", overrides},
                           {"variables", variables_of(text, overrides)},
                           {"run", out.string()},
                           {"started_in", here},
                           {"here", here}})
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  });
  return job_from(nlohmann::json::parse(seen));
}

Job load_run(comm::Communicator& communicator, const fs::path& run) {
  const auto seen = from_root(communicator, [&] {
    std::error_code code;
    if (!fs::exists(run, code))
      throw core::UsageError(
          fmt::format("{}: no such folder: name a run folder, such as runs/glyphs", run.string()));
    if (!is_plan_run(run))
      throw core::DataError(fmt::format(
          "{} is not the folder of a plan's run (no .plan/settings.json in it); start one with: "
          "retort run PLAN --out {}",
          run.string(), run.string()));
    const auto [settings, text] = kept(run);
    if (copy_differs(run, text))
      core::log_warning(
          "{} is not the plan that this run was started with, and is left alone: the run goes on "
          "as it was started. To have it changed: retort run PLAN --out {}",
          plan_copy(run).string(), run.string());
    return io::read_fields(settings_path(run).string(), [&, &settings = settings, &text = text] {
      const auto overrides = settings.at("set").get<std::vector<std::string>>();
      const auto before = settings.value("variables", nlohmann::json::object());
      return nlohmann::json({{"text", text},
                             {"where", plan_copy(run).string()},
                             {"name", settings.at("name").get<std::string>()},
                             {"overrides", overrides},
                             {"variables", variables_of(text, overrides, before)},
                             {"run", run.string()},
                             {"started_in", settings.at("directory").get<std::string>()},
                             {"here", fs::current_path().string()}})
          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    });
  });
  Job job = job_from(nlohmann::json::parse(seen));
  job.kept = true;
  return job;
}

std::vector<PlannedSection> planned_sections(const fs::path& run) {
  const auto [settings, text] = kept(run);
  return io::read_fields(settings_path(run).string(), [&, &settings = settings, &text = text] {
    std::vector<PlannedSection> sections;
    if (const auto kept = settings.find("sections"); kept != settings.end()) {
      for (const auto& section : *kept)
        sections.push_back(
            {section.at("name").get<std::string>(), section.at("stage").get<std::string>()});
      return sections;
    }
    // Names, stages and references stand in the text; a variable's value is only what a path is.
    const Environment as_written = [](const std::string& name) -> std::optional<std::string> {
      return "${" + name + "}";
    };
    const auto plan = parse_plan(text, plan_copy(run).string(),
                                 settings.at("set").get<std::vector<std::string>>(), as_written);
    return sections_of(plan, build_graph(plan));
  });
}

bool is_plan_run(const fs::path& folder) { return is_kept(settings_path(folder)); }

std::string kept_plan(const fs::path& run) { return kept(run).text; }
fs::path plan_copy(const fs::path& run) { return run / "plan.ini"; }

bool plan_copy_differs(const fs::path& run) { return copy_differs(run, kept_plan(run)); }

void store(const Job& job) {
  io::make_folder(job.place.run / ".plan");
  if (!job.kept) io::write_file(plan_copy(job.place.run), std::string_view(job.text));
  nlohmann::json sections = nlohmann::json::array();
  for (const auto& section : sections_of(job.plan, job.graph))
    sections.push_back({{"name", section.name}, {"stage", section.stage}});
  const nlohmann::json settings = {{"format_version", kSettingsVersion},
                                   {"name", job.plan.settings.name},
                                   {"plan", job.text},
                                   {"set", job.overrides},
                                   {"variables", job.variables},
                                   {"directory", job.started_in.string()},
                                   {"sections", std::move(sections)}};
  write_twice(settings_path(job.place.run), settings);
}

}  // namespace retort::pipeline
