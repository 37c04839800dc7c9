#include "io/model_parts.h"

#include <algorithm>
#include <charconv>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"

namespace retort::io {
namespace {

using core::DataError;

std::optional<std::uint64_t> number(const std::map<std::string, std::string>& metadata,
                                    const char* key, const std::string& where) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  const std::string& text = found->second;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw DataError(fmt::format("{}: its {} is '{}', no whole number", where, key, text));
  return value;
}

std::string part_name(std::uint64_t part, std::uint64_t parts) {
  return fmt::format("part-{:05}-of-{:05}.safetensors", part + 1, parts);
}

/// The rows of the divided tensors, and with them, in the first part, all others.
TensorSource part_of(const TensorSource& source, const std::set<std::string>& divided,
                     const core::Range& rows, bool with_others) {
  TensorSource part;
  std::map<std::string, std::uint64_t> first;
  for (const auto& [name, spec] : source.specs) {
    if (!divided.contains(name)) {
      if (with_others) part.specs[name] = spec;
      continue;
    }
    TensorSpec own = spec;
    own.shape[0] = rows.size();
    first[name] = rows.begin * (spec.elements() / spec.shape[0]);
    part.specs[name] = std::move(own);
  }
  part.read = [&source, first = std::move(first)](const std::string& name, std::uint64_t at,
                                                  std::span<std::byte> into) {
    const auto found = first.find(name);
    source.read(name, at + (found == first.end() ? 0 : found->second), into);
  };
  return part;
}

}  // namespace

/// The file that was read from last: there may be more of them than a process may have open.
struct ModelParts::Opened {
  std::mutex mutex;
  std::filesystem::path path;
  std::shared_ptr<const SafetensorsFile> file;
};

ModelParts::~ModelParts() = default;
ModelParts::ModelParts(ModelParts&&) noexcept = default;

ModelParts::ModelParts(const std::vector<std::filesystem::path>& files)
    : opened_(std::make_unique<Opened>()) {
  struct Header {
    std::optional<std::uint64_t> first, all;
    std::map<std::string, SafetensorsEntry> entries;
  };
  std::map<std::filesystem::path, Header> headers;
  std::map<std::string, std::filesystem::path> contents;              // by SHA-256
  std::map<std::string, std::vector<std::filesystem::path>> holders;  // as the files are given
  for (const auto& path : files) {
    const SafetensorsFile file(path);
    const auto [twin, is_new] = contents.emplace(file.verified()->seal.sha256, path);
    if (!is_new && headers.count(path) == 0)
      throw DataError(fmt::format("{}: holds what {} holds", path.string(), twin->second.string()));
    verified_[path] = file.verified();
    Header header{number(file.metadata(), kFirstClassKey, path.string()),
                  number(file.metadata(), kClassesKey, path.string()), file.entries()};
    if (!headers.emplace(path, std::move(header)).second)
      throw DataError(fmt::format("{}: is given twice", path.string()));
    for (const auto& each : file.entries())
      if (!is_batch_counter(each.first)) holders[each.first].push_back(path);
  }
  for (const auto& [name, paths] : holders) {
    const auto& shape = headers.at(paths.front()).entries.at(name).shape;
    specs_[name] = {DType::f32, shape};
    if (paths.size() == 1) {
      parts_[name] = {{paths.front(), {0, shape.empty() ? 1 : shape[0]}}};
      continue;
    }
    std::vector<Part> parts;
    std::uint64_t next = 0;
    const bool told = headers.at(paths.front()).first.has_value();
    for (const auto& path : paths) {
      const Header& header = headers.at(path);
      const auto& own = header.entries.at(name).shape;
      if (own.empty() || shape.empty() ||
          !std::equal(own.begin() + 1, own.end(), shape.begin() + 1, shape.end()))
        throw DataError(fmt::format(
            "{}: {} is [{}], in {} [{}]: parts of one tensor differ in their first dimension alone",
            path.string(), name, fmt::join(own, ", "), paths.front().string(),
            fmt::join(shape, ", ")));
      if (header.first.has_value() != told)
        throw DataError(
            fmt::format("{}: says {} its part begins, {} {}: all of them have to, or "
                        "none",
                        path.string(), told ? "nothing of where" : "where", paths.front().string(),
                        told ? "does" : "does not"));
      const std::uint64_t first = told ? *header.first : next;
      parts.push_back({path, {first, first + own[0]}});
      next = first + own[0];
    }
    std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
      return std::pair(a.rows.begin, a.rows.end) < std::pair(b.rows.begin, b.rows.end);
    });
    next = 0;
    for (const Part& part : parts) {
      if (part.rows.begin != next)
        throw DataError(fmt::format(
            "{}: {} begins at class {}, the part before ends at {}: class {} is owned {}",
            part.file.string(), name, part.rows.begin, next, std::min(part.rows.begin, next),
            part.rows.begin < next ? "twice" : "by nobody"));
      next = part.rows.end;
    }
    for (const auto& path : paths) {
      const std::uint64_t all = headers.at(path).all.value_or(next);
      if (all > next)
        throw DataError(fmt::format("{}: {} ends at class {} of {}: class {} is owned by nobody",
                                    parts.back().file.string(), name, next, all, next));
      if (all < next)
        throw DataError(fmt::format("{}: speaks of {} classes, {} has {} rows", path.string(), all,
                                    name, next));
    }
    specs_[name].shape[0] = next;
    parts_[name] = std::move(parts);
  }
  for (const auto& [path, header] : headers)
    if (header.all) check_whole(path, header.first.value_or(0), *header.all);
  check_biases();
}

/// Tensors that one file holds belong to a head, too: of a part that came alone, or a bias that was
/// not cut as its weight was.
void ModelParts::check_whole(const std::filesystem::path& file, std::uint64_t first,
                             std::uint64_t all) const {
  for (const auto& [name, parts] : parts_) {
    const bool has_all = specs_.at(name).shape.size() > 0 && specs_.at(name).shape[0] == all;
    if (has_all && (parts.size() > 1 || first == 0)) return;
  }
  throw DataError(fmt::format(
      "{}: is the part from class {} on of a layer of {} classes, of which class {} is owned by "
      "nobody: give all parts",
      file.string(), first, all, first == 0 ? "behind its last" : "0"));
}

void ModelParts::check_biases() const {
  const std::string ending = "weight";
  for (const auto& [name, parts] : parts_) {
    if (!name.ends_with(ending)) continue;
    const std::string bias = name.substr(0, name.size() - ending.size()) + "bias";
    const auto found = parts_.find(bias);
    if (found == parts_.end() || (parts.size() == 1 && found->second.size() == 1)) continue;
    if (specs_.at(name).shape.empty() || specs_.at(bias).shape.empty()) continue;
    const std::uint64_t rows = specs_.at(name).shape[0], of_bias = specs_.at(bias).shape.at(0);
    if (rows != of_bias)
      throw DataError(fmt::format("{}: {} has {} rows, {} has {}",
                                  found->second.front().file.string(), bias, of_bias, name, rows));
    if (parts.size() == 1 || found->second.size() == 1) continue;  // one of them was saved whole
    for (std::size_t i = 0; i < std::min(parts.size(), found->second.size()); ++i)
      if (parts[i].rows != found->second[i].rows)
        throw DataError(fmt::format("{}: its part of {} ends at row {}, that of {} at {}",
                                    parts[i].file.string(), name, parts[i].rows.end, bias,
                                    found->second[i].rows.end));
  }
}

std::string ModelParts::sha256(const std::filesystem::path& file) const {
  return verified_.at(file)->seal.sha256;
}

std::vector<std::string> ModelParts::divided() const {
  std::vector<std::string> names;
  for (const auto& [name, parts] : parts_)
    if (parts.size() > 1) names.push_back(name);
  return names;
}

std::shared_ptr<const SafetensorsFile> ModelParts::open(const std::filesystem::path& file) const {
  const std::lock_guard lock(opened_->mutex);
  if (!opened_->file || opened_->path != file) {
    opened_->file = std::make_shared<const SafetensorsFile>(file, verified_.at(file));
    opened_->path = file;
  }
  return opened_->file;
}

TensorSource ModelParts::source() const {
  return {specs_, [this](const std::string& name, std::uint64_t first, std::span<std::byte> into) {
            const TensorSpec& spec = specs_.at(name);
            const std::uint64_t row =
                spec.shape.empty() || spec.shape[0] == 0 ? 1 : spec.elements() / spec.shape[0];
            for (const Part& part : parts_.at(name)) {
              const std::uint64_t begin = part.rows.begin * row, end = part.rows.end * row;
              if (into.empty() || first < begin || first >= end) continue;
              const std::uint64_t bytes =
                  std::min<std::uint64_t>(into.size(), (end - first) * sizeof(float));
              open(part.file)->read_f32(
                  name, first - begin,
                  {reinterpret_cast<float*>(into.data()), bytes / sizeof(float)});
              into = into.subspan(bytes);
              first += bytes / sizeof(float);
            }
          }};
}

std::vector<std::filesystem::path> part_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("part-") && name.ends_with(".safetensors")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<Member> write_parts(const std::filesystem::path& folder, const TensorSource& source,
                                const std::vector<std::string>& divided, std::uint64_t parts) {
  const std::map<std::string, std::string> format = {{"format", "pt"}};
  if (parts == 1) {
    const std::string name = "model.safetensors";
    return {{name, write_safetensors(folder / name, source, format)}};
  }
  const std::set<std::string> of_head(divided.begin(), divided.end());
  const std::uint64_t classes = source.specs.at(divided.front()).shape.at(0);
  std::vector<Member> members;
  for (std::uint64_t part = 0; part < parts; ++part) {
    const core::Range rows = core::partition(classes, parts, part);
    auto metadata = format;
    metadata[kFirstClassKey] = std::to_string(rows.begin);
    metadata[kClassesKey] = std::to_string(classes);
    const std::string name = part_name(part, parts);
    members.push_back(
        {name,
         write_safetensors(folder / name, part_of(source, of_head, rows, part == 0), metadata)});
  }
  return members;
}

}  // namespace retort::io
