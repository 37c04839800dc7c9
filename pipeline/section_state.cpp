#include "pipeline/section_state.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/fault_point.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "io/companions.h"
#include "io/json_text.h"
#include "io/live_claim.h"
#include "io/manifest.h"
#include "io/posix.h"
#include "io/utf8.h"
#include "pipeline/folder_progress.h"
#include "pipeline/kept_twice.h"
#include "pipeline/natural_order.h"
#include "stages/section_output.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int kRecordVersion = 1;
constexpr std::size_t kKeptAside = 2;  // set-aside folders of a section

/// "teacher/seed-2" -> "teacher.seed-2": section names hold no dot.
std::string flat_name(std::string name) {
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

/// The same of a folder, or of one below it that belongs to a seed.
bool made_by_retort(const fs::path& folder) {
  if (stages::made_by_retort(folder)) return true;
  std::error_code code;
  for (auto entry = fs::directory_iterator(folder, code);
       !code && entry != fs::directory_iterator(); entry.increment(code))
    if (entry->path().filename().string().starts_with("seed-") &&
        stages::made_by_retort(entry->path()))
      return true;
  return false;
}

/// A link to a folder that is gone, such as scratch space that was cleared.
bool leads_nowhere(const fs::path& folder) {
  std::error_code code;
  return fs::is_symlink(folder, code) && !fs::exists(folder, code);
}

/// Whether the start of that number may still say how it ended.
bool is_newest(const std::optional<SectionRecord>& record, std::uint64_t start) {
  return record && record->completion != Completion::complete && record->starts.starts == start;
}

}  // namespace

std::string quick_fault(const fs::path& folder, const std::string& manifest_sha256) {
  try {
    const auto manifest = io::read_manifest(folder);
    if (!manifest_sha256.empty() && io::seal_of(folder / "manifest.json").sha256 != manifest_sha256)
      return std::string(kForeignManifest);
    for (const auto& member : manifest.members) {
      std::error_code code;
      const auto size = fs::file_size(folder / member.name, code);
      if (code) return fmt::format("its file {} is missing", member.name);
      if (size != member.seal.size)
        return fmt::format("its file {} has {} bytes instead of {}", member.name, size,
                           member.seal.size);
    }
  } catch (const core::DataError& error) {
    return error.what();
  }
  return {};
}

bool holds_anything(const fs::path& folder) {
  std::error_code code;
  if (leads_nowhere(folder)) return true;
  return fs::exists(folder, code) && !fs::is_empty(folder, code);
}

fs::path SectionStates::record_path(const std::string& name) const {
  return run_ / ".plan" / "sections" / (flat_name(name) + ".json");
}

std::vector<std::string> SectionStates::names() const {
  std::vector<std::string> names;
  const auto records = run_ / ".plan" / "sections";
  for (const auto& folder : {records, copy_of(records / "NAME.json").parent_path()}) {
    std::error_code code;
    for (auto entry = fs::directory_iterator(folder, code);
         !code && entry != fs::directory_iterator(); entry.increment(code)) {
      if (entry->path().extension() != ".json") continue;
      names.push_back(entry->path().stem().string());
      std::replace(names.back().begin(), names.back().end(), '.', '/');
    }
  }
  std::sort(names.begin(), names.end(), natural_less);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::optional<SectionRecord> SectionStates::record(const std::string& name) const {
  const auto path = record_path(name);
  const auto where = path.string();
  const auto kept = read_twice(path, [&](const nlohmann::json& json) {
    const auto section =
        io::read_fields(where, [&] { return json.at("section").get<std::string>(); });
    if (section != name)
      throw core::DataError(fmt::format("{} is the record of section {}", where, section));
  });
  if (!kept) return std::nullopt;
  return io::read_fields(where, [&] {
    const auto& json = *kept;
    const int version = json.at("format_version").get<int>();
    if (version != kRecordVersion)
      throw core::DataError(fmt::format("{}: has format version {}, this program reads {}", where,
                                        version, kRecordVersion));
    SectionRecord record;
    record.completion =
        json.at("complete").get<bool>() ? Completion::complete : Completion::started;
    record.recipe = Recipe::from_json(json.at("recipe"), where);
    record.manifest_sha256 = json.at("manifest_sha256").get<std::string>();
    record.content_digest = json.at("content_digest").get<std::string>();
    record.seconds = json.at("seconds").get<double>();
    record.results = json.at("results").get<Results>();
    record.failure = json.value("failure", "");
    if (json.contains("starts"))  // records of earlier programs have none
      record.starts = StartHistory::from_json(json.at("starts"), where);
    return std::optional<SectionRecord>(record);
  });
}

void SectionStates::write_record(const std::string& name, const SectionRecord& record) const {
  nlohmann::json json = {{"format_version", kRecordVersion},
                         {"section", name},
                         {"complete", record.completion == Completion::complete},
                         {"recipe", record.recipe.to_json()},
                         {"recipe_hash", record.recipe.hash()},
                         {"manifest_sha256", record.manifest_sha256},
                         {"content_digest", record.content_digest},
                         {"seconds", record.seconds},
                         {"results", record.results},
                         {"starts", record.starts.to_json()}};
  if (!record.failure.empty()) json["failure"] = record.failure;
  const auto path = record_path(name);
  io::make_folder(path.parent_path());
  write_twice(path, json);
}

Assessment SectionStates::assess(const std::string& name, const Recipe& recipe) const {
  const auto folder = run_ / name;
  if (!holds_anything(folder)) return {Standing::start, "no output yet", recipe};
  if (leads_nowhere(folder))
    return {Standing::replace, "its folder is a link that leads nowhere", recipe};
  // Whether what is there is this recipe's, the stage knows; whether it is whole, it does not look.
  const auto unrecorded = [&](const char* why) -> Assessment {
    const auto fault = io::has_manifest(folder) ? quick_fault(folder, "") : "";
    if (!fault.empty()) return {Standing::replace, fault, recipe};
    return {Standing::resume, why, recipe};
  };
  std::optional<SectionRecord> known;
  try {
    known = record(name);
  } catch (const core::DataError&) {
    return unrecorded("its record is damaged; what is there is kept");
  }
  if (!known && io::is_set_aside(record_path(name)))
    return unrecorded("its record was damaged; what is there is kept");
  if (!known) return {Standing::replace, "its output was not made by this plan", recipe};
  if (known->recipe != recipe)
    return {Standing::replace, difference(known->recipe, recipe), recipe};
  if (!io::has_manifest(folder)) {
    if (known->completion == Completion::complete)
      return {Standing::replace, "its manifest is missing", recipe};
    return {Standing::resume, "unfinished", recipe};
  }
  if (known->completion == Completion::started) return unrecorded("finished, but not on record");
  const auto fault = quick_fault(folder, known->manifest_sha256);
  if (!fault.empty()) return {Standing::replace, fault, recipe};
  return {Standing::up_to_date, "options, inputs and output are unchanged", recipe};
}

SectionRecord SectionStates::record_before(const std::string& name, const Recipe& recipe) const {
  try {
    if (auto known = record(name); known && known->recipe == recipe) return *known;
  } catch (const core::DataError& error) {
    core::log_warning("{}: its earlier starts are not counted", error.what());
  }
  return {};
}

std::string SectionStates::refusal(const std::string& name, const Recipe& recipe) const {
  return refusal(name, record_before(name, recipe));
}

std::string SectionStates::refusal(const std::string& name, const SectionRecord& before) const {
  const auto next = next_start(before.starts, folder_progress(run_ / name));
  return is_exhausted(next) ? exhausted_text(name, before.starts, next, before.failure) : "";
}

std::uint64_t SectionStates::mark_started(const std::string& name, const Recipe& recipe,
                                          AfterRestarts after) const {
  const auto before = record_before(name, recipe);
  if (after == AfterRestarts::refuse)
    if (const auto why = refusal(name, before); !why.empty()) throw core::DataError(why);
  auto starts = next_start(before.starts, folder_progress(run_ / name));
  if (after == AfterRestarts::retry) starts.without_progress = starts.stops = 0;
  write_record(name, {Completion::started, recipe, "", "", 0, {}, "", starts});
  return starts.starts;
}

void SectionStates::forgive(const std::string& name) const {
  auto known = record(name);
  if (!known) return;
  known->starts.without_progress = known->starts.stops = 0;
  known->starts.end = StartEnd::stopped;  // else the very next start counts again
  write_record(name, *known);
}

void SectionStates::mark_stopped(const std::string& name, std::uint64_t start) const {
  auto known = record(name);
  if (!is_newest(known, start)) return;
  known->starts.end = StartEnd::stopped;
  write_record(name, *known);
}

void SectionStates::mark_failed(const std::string& name, std::uint64_t start,
                                const core::Error& error) const {
  auto known = record(name);
  if (!is_newest(known, start)) return;
  known->starts.end = StartEnd::failed;
  known->starts.code = static_cast<int>(error.code());
  known->failure = error.what();
  io::replace_invalid_utf8(known->failure);  // it may name a path of any bytes
  write_record(name, *known);
}

void SectionStates::mark_complete(const std::string& name, const Recipe& recipe,
                                  double seconds) const {
  const core::FaultPlace place("commit");
  const auto folder = run_ / name;
  const auto manifest = io::read_manifest(folder);
  // A file that the manifest names and that is gone is damage, not a section without numbers.
  const auto& named = manifest.companions;
  const auto results = std::find(named.begin(), named.end(), io::kResultsName) == named.end()
                           ? read_results(folder)
                           : numbers_of(io::read_results_file(folder));
  StartHistory starts;
  if (const auto known = record(name)) starts = known->starts;
  starts.end = StartEnd::done;
  starts.without_progress = starts.stops = 0;
  write_record(name, {Completion::complete, recipe, io::seal_of(folder / "manifest.json").sha256,
                      manifest.content_digest, seconds, results, "", starts});
}

void SectionStates::mark_reopened(const std::string& name) const {
  auto known = record(name);
  if (!known) return;
  known->completion = Completion::started;
  known->starts.end = StartEnd::stopped;
  write_record(name, *known);
}

fs::path SectionStates::set_aside(const std::string& name) const {
  io::require_not_taken_over();
  // What is set aside is deleted two changes later: never a folder that somebody else filled.
  if (!is_kept(record_path(name)) && !leads_nowhere(run_ / name) && !made_by_retort(run_ / name))
    throw core::UsageError(
        fmt::format("{} holds files that Retort did not make; move them away or choose another "
                    "--out",
                    (run_ / name).string()));
  const auto old = run_ / ".old";
  io::make_folder(old);
  const auto prefix = flat_name(name) + "-";
  std::vector<unsigned long> numbers;
  for (const auto& entry : fs::directory_iterator(old)) {
    const auto file = entry.path().filename().string();
    if (file.rfind(prefix, 0) != 0) continue;
    const auto digits = file.substr(prefix.size());
    if (!digits.empty() && digits.size() < 9 &&
        digits.find_first_not_of("0123456789") == std::string::npos)
      numbers.push_back(std::stoul(digits));
  }
  std::sort(numbers.begin(), numbers.end());
  const auto place = [&](unsigned long number) {
    return old / fmt::format("{}{:04}", prefix, number);
  };
  const auto target = place(numbers.empty() ? 1 : numbers.back() + 1);
  std::error_code code;
  fs::rename(run_ / name, target, code);
  if (!code) remove_twice(record_path(name));  // a record without a folder is no harm
  if (code)
    throw core::IoError(fmt::format("can't set {} aside as {}: {}", (run_ / name).string(),
                                    target.string(), code.message()));
  for (std::size_t i = 0; i + kKeptAside <= numbers.size(); ++i) {
    io::require_not_taken_over();
    fs::remove_all(place(numbers[i]), code);
  }
  return target;
}

}  // namespace retort::pipeline
