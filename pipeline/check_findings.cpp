#include "pipeline/check_findings.h"

#include <system_error>

namespace retort::pipeline {

namespace fs = std::filesystem;

bool is_generation(const fs::path& path) {
  return path.parent_path().filename() == "checkpoints" &&
         path.filename().string().starts_with("gen-");
}

bool of_generation_that_is_gone(fs::path path) {
  std::error_code code;
  for (; path.has_relative_path(); path = path.parent_path())
    if (is_generation(path)) return !fs::exists(path, code);
  return false;
}

void CheckFindings::fault(const fs::path& path, std::string_view what) {
  if (!of_generation_that_is_gone(path))
    report.faults.push_back({path.string(), std::string(what)});
}

void CheckFindings::note(const fs::path& path, std::string_view what) {
  report.notes.push_back({path.string(), std::string(what)});
}

void CheckFindings::thrown(const fs::path& path, std::string_view what) {
  const auto prefix = path.string() + ": ";  // the report names the path itself
  if (what.starts_with(prefix)) what.remove_prefix(prefix.size());
  fault(path, what);
}

}  // namespace retort::pipeline
