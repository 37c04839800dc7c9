#include "pipeline/slurm_site.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ini.h"

namespace retort::pipeline {
namespace {

using core::UsageError;
using stages::GivenOption;

void set_lines(core::OptionTable& table, const std::vector<GivenOption>& lines) {
  for (const auto& line : lines) {
    try {
      table.set(line.name, line.value);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", line.origin, error.what()));
    }
  }
}

void refuse_doubles(const core::OptionTable& table, const std::vector<GivenOption>& lines) {
  for (std::size_t i = 0; i < lines.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (lines[i].name == lines[j].name && !table.find(lines[i].name)->repeated)
        throw UsageError(fmt::format("{}: '{}' was set at {} already; keep one", lines[i].origin,
                                     lines[i].name, lines[j].origin));
}

void require_stage(const std::string& name, const std::string& origin) {
  if (name.front() == '@' || stages::find_stage(name) != nullptr) return;
  std::vector<std::string> known;
  for (const auto& entry : stages::stage_registry()) known.emplace_back(entry.name);
  const auto near = core::nearest_word(name, known);
  throw UsageError(fmt::format(
      "{}: section [{}] is no stage; {}", origin, name,
      near.empty()
          ? fmt::format("write [@{}] for a section of a plan", name)
          : fmt::format("did you mean [{}]? ([@{}] is for a section of a plan)", near, name)));
}

}  // namespace

Site::Site(std::string_view text, const std::string& where) {
  for (const auto& section : core::parse_ini(text, where)) {
    Block block{section.name, fmt::format("{}:{}", where, section.line), {}};
    if (!section.name.empty()) require_stage(section.name, block.origin);
    for (const auto& entry : section.entries)
      block.lines.push_back({entry.key, entry.value, fmt::format("{}:{}", where, entry.line)});
    // Into settings that nobody reads: every line is looked at, whatever plan is submitted.
    JobSettings tried;
    core::OptionTable table;
    tried.declare_request(table);
    tried.declare_site(table);
    set_lines(table, block.lines);
    refuse_doubles(table, block.lines);
    for (const auto& line : block.lines) {
      try {
        if (line.name == "time") slurm_seconds(line.value);
        if (line.name == "mem") slurm_megabytes(line.value);
      } catch (const UsageError& error) {
        throw UsageError(fmt::format("{}: {}: {}", line.origin, line.name, error.what()));
      }
    }
    blocks_.push_back(std::move(block));
  }
}

JobSettings Site::settings(std::string_view stage, std::string_view section,
                           const std::vector<GivenOption>& given) const {
  JobSettings settings;
  core::OptionTable table;
  settings.declare_request(table);
  settings.declare_site(table);
  const std::vector<std::string> order = {"", std::string(stage), fmt::format("@{}", section)};
  for (const auto& name : order)
    for (const auto& block : blocks_)
      if (block.name == name) set_lines(table, block.lines);
  set_lines(table, given);
  if (settings.container != Container::none && settings.image.empty())
    throw UsageError(fmt::format(
        "section {}: container is set but no image; name one, or container = none", section));
  return settings;
}

std::vector<std::string> Site::likely_slips(const std::vector<std::string>& sections) const {
  std::vector<std::string> lines;
  for (const auto& block : blocks_) {
    if (!block.name.starts_with('@')) continue;
    const auto name = block.name.substr(1);
    if (std::find(sections.begin(), sections.end(), name) != sections.end()) continue;
    if (const auto near = core::nearest_word(name, sections); !near.empty())
      lines.push_back(fmt::format("{}: the plan has no section {}; did you mean [@{}]?",
                                  block.origin, name, near));
  }
  return lines;
}

}  // namespace retort::pipeline
