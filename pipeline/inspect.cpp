#include "pipeline/inspect.h"

#include <algorithm>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"
#include "io/label_matrix.h"
#include "io/manifest.h"
#include "pipeline/file_kinds.h"
#include "pipeline/folder_progress.h"
#include "pipeline/inspect_data.h"
#include "pipeline/inspect_labels.h"
#include "pipeline/job.h"
#include "pipeline/results.h"
#include "pipeline/section_state.h"
#include "stages/model_facts.h"
#include "stages/section_output.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string shape_text(std::span<const std::uint64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

/// An attribute of unknown type, as text.
std::string attribute_text(const io::Hdf5Reader& reader, const std::string& object,
                           const std::string& name) {
  const auto attempt = [](auto read) -> std::optional<std::string> {
    try {
      return read();
    } catch (const core::DataError&) {
      return std::nullopt;
    }
  };
  if (auto text = attempt([&] { return reader.text(object, name); })) return *text;
  if (auto text = attempt([&] { return fmt::format("{}", reader.number(object, name)); }))
    return *text;
  if (auto text = attempt([&] { return fmt::format("{}", reader.real(object, name)); }))
    return *text;
  if (auto text = attempt([&] { return shape_text(reader.numbers(object, name)); })) return *text;
  return fmt::format("[{}]", fmt::join(reader.reals(object, name), ", "));
}

Json inspect_hdf5(const fs::path& path) {
  const auto opened = open_file(path);
  Json json = {{"what", "file"},
               {"kind", opened.kind.kind},
               {"format_version", opened.kind.format_version},
               {"bytes", opened.bytes},
               {"sha256", io::seal_of(path).sha256},
               {"attributes", Json::object()},
               {"datasets", Json::array()}};
  for (const auto& name : opened.reader.attributes(""))
    if (name != "retort_kind" && name != "format_version")
      json["attributes"][name] = attribute_text(opened.reader, "", name);
  for (const auto& name : opened.reader.datasets()) {
    json["datasets"].push_back({{"dataset", name},
                                {"dtype", element_type(opened.reader, name)},
                                {"shape", shape_text(opened.reader.shape(name))}});
  }
  return json;
}

Json inspect_manifest_file(const fs::path& folder) {
  const auto manifest = io::read_manifest(folder);
  Json json = {{"what", "manifest"}, {"kind", manifest.kind}};
  add_manifest(json, manifest);
  json["facts"] = manifest.facts;
  Json members = Json::array();
  for (const auto& member : manifest.members)
    members.push_back(
        {{"member", member.name}, {"bytes", member.seal.size}, {"sha256", member.seal.sha256}});
  json["members"] = members;
  return json;
}

Json inspect_model(const fs::path& folder) {
  const auto facts = stages::describe_model(folder);
  Json json = {{"what", "model"}, {"architecture", facts.architecture}};
  json["content_digest"] = facts.digest;
  json["options"] = Json::object();
  for (const auto& [name, value] : facts.options) json["options"][name] = value;
  json["input"] = facts.text.empty()
                      ? fmt::format("{}x{}x{}", facts.height, facts.width, facts.channels)
                      : "text";
  json["classes"] = facts.classes;
  json["class_digest"] = facts.class_digest;
  if (facts.text.empty()) {
    json["pixel_mean"] = facts.pixel_mean;
    json["pixel_deviation"] = facts.pixel_deviation;
  } else {
    json["text_rule"] = Json::parse(facts.text);
  }
  json["parameters"] = facts.parameters;
  json["buffers"] = facts.buffers;
  json["multiply_adds"] = facts.multiply_adds;
  Json layers = Json::array();
  for (const auto& layer : facts.layers)
    layers.push_back({{"layer", layer.name},
                      {"output", fmt::format("[{}]", fmt::join(layer.output, ", "))},
                      {"parameters", layer.parameters},
                      {"multiply_adds", layer.multiply_adds}});
  json["layers"] = layers;
  return json;
}

void add_results(Json& json, const fs::path& folder) {
  Json results = Json::object();
  for (const auto& [name, value] : read_results(folder)) results[name] = value;
  if (!results.empty()) json["results"] = results;
}

Json checkpoint_json(const io::StoredCheckpoint& checkpoint) {
  Json json = {{"step", checkpoint.step}, {"digest", io::digest(checkpoint)}};
  Json tensors = Json::array();
  for (const auto& [name, tensor] : checkpoint.tensors.specs())
    tensors.push_back({{"tensor", name},
                       {"dtype", io::name_of(tensor.type)},
                       {"shape", shape_text(tensor.shape)}});
  json["tensors"] = tensors;
  return json;
}

Json inspect_section(const fs::path& folder, const io::Manifest& manifest) {
  Json json = {{"what", "section"}, {"stage", manifest.facts.value("stage", "")}};
  add_manifest(json, manifest);
  add_results(json, folder);
  if (io::has_manifest(folder / "model")) json["model"] = inspect_model(folder / "model");
  return json;
}

Json inspect_unfinished(const fs::path& folder) {
  Json json = {{"what", "unfinished run folder"}};
  const auto progress = folder_progress(folder);
  if (progress.members > 0) json["members_recorded"] = progress.members;
  if (const auto checkpoint = io::open_newest(folder))
    json["newest"] = checkpoint_json(*checkpoint);
  return json;
}

Json inspect_plan_run(const fs::path& run) {
  Json json = {{"what", "run folder of a plan"}, {"sections", Json::array()}};
  const SectionStates states(run);
  for (const auto& name : states.names()) {
    const auto record = states.record(name);
    json["sections"].push_back(
        {{"section", name},
         {"stage", record->recipe.stage},
         {"state", record->completion == Completion::complete ? "complete" : "started"},
         {"digest", record->content_digest}});
  }
  return json;
}

Json inspect_generation(const fs::path& folder, const io::Manifest& manifest) {
  Json json = {{"what", "generation"}};
  add_manifest(json, manifest);
  json.update(checkpoint_json(io::open_generation(folder)));
  return json;
}

/// Subfolders of a section that runs per seed, sorted.
std::vector<fs::path> seed_folders(const fs::path& folder) {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && entry.path().filename().string().rfind("seed-", 0) == 0)
      folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

core::DataError nothing_here(const fs::path& path) {
  return core::DataError(
      fmt::format("{} is nothing that Retort wrote; inspect takes its HDF5 files, manifests, data "
                  "sets, logits, "
                  "models, generations, section and run folders",
                  path.string()));
}

void require_existing(const fs::path& path) {
  std::error_code code;
  if (!fs::exists(path, code))
    throw core::UsageError(fmt::format("{} does not exist; check the path", path.string()));
}

std::string hdf5_digest(const fs::path& path) {
  const auto opened = open_file(path);
  core::Sha256 sha;
  const auto add = [&sha](const std::string& text) { sha.update_u64(text.size()).update(text); };
  add(opened.kind.kind);
  for (const auto& name : opened.reader.attributes("")) {
    add(name);
    add(attribute_text(opened.reader, "", name));
  }
  for (const auto& name : opened.reader.datasets()) {
    const auto bytes = content(opened.reader, name);
    add(name);
    add(shape_text(opened.reader.shape(name)));
    sha.update_u64(bytes.size()).update(bytes);
  }
  return sha.hex();
}

std::string combined(const std::vector<std::pair<std::string, std::string>>& parts) {
  core::Sha256 sha;
  for (const auto& [name, digest] : parts) sha.update_u64(name.size()).update(name).update(digest);
  return sha.hex();
}

}  // namespace

Json inspect(const fs::path& path) {
  require_existing(path);
  if (!fs::is_directory(path)) {
    if (path.filename() == "manifest.json") return inspect_manifest_file(path.parent_path());
    if (is_hdf5(path)) return inspect_hdf5(path);
    throw nothing_here(path);
  }
  if (is_plan_run(path)) return inspect_plan_run(path);
  if (io::has_manifest(path)) {
    const auto manifest = io::read_manifest(path);
    if (manifest.kind == "packed_dataset") return inspect_dataset(path, manifest);
    if (manifest.kind == "logits") return inspect_logits(path, manifest);
    if (manifest.kind == io::kLabelMatrixKind) return inspect_labels(path, {}, {});
    if (manifest.kind == "model") return inspect_model(path);
    if (manifest.kind == "checkpoint") return inspect_generation(path, manifest);
    return inspect_section(path, manifest);
  }
  if (fs::is_directory(path / "checkpoints") || fs::is_directory(path / "members") ||
      fs::exists(path / stages::kBegunName))
    return inspect_unfinished(path);
  if (const auto folders = seed_folders(path); !folders.empty()) {
    Json json = {{"what", "section that runs per seed"}};
    for (const auto& folder : folders) json[folder.filename().string()] = inspect(folder);
    return json;
  }
  throw nothing_here(path);
}

Json inspect_classes(const fs::path& path, const std::vector<std::string>& classes,
                     const fs::path& model) {
  require_existing(path);
  if (!io::has_manifest(path) || io::read_manifest(path).kind != io::kLabelMatrixKind)
    throw core::UsageError(
        fmt::format("--class: {} is no finished label matrix, as smooth writes it", path.string()));
  if (classes.size() > 2) throw core::UsageError("--class: at most twice: one class, or a pair");
  return inspect_labels(path, classes, model);
}

std::string digest_of(const fs::path& path) {
  require_existing(path);
  if (!fs::is_directory(path)) {
    if (path.filename() == "manifest.json")
      return io::read_manifest(path.parent_path()).content_digest;
    if (is_hdf5(path)) return hdf5_digest(path);
    throw nothing_here(path);
  }
  std::vector<std::pair<std::string, std::string>> parts;
  if (is_plan_run(path)) {
    for (const auto& name : SectionStates(path).names())
      parts.emplace_back(name, digest_of(path / name));
    return combined(parts);
  }
  if (io::has_manifest(path)) {
    const auto manifest = io::read_manifest(path);
    if (manifest.kind == "checkpoint") return io::digest(io::open_generation(path));
    if (manifest.content_digest.empty()) return io::content_digest(manifest);
    return manifest.content_digest;
  }
  if (fs::is_directory(path / "checkpoints"))
    if (const auto checkpoint = io::open_newest(path)) return io::digest(*checkpoint);
  for (const auto& folder : seed_folders(path))
    parts.emplace_back(folder.filename().string(), digest_of(folder));
  if (!parts.empty()) return combined(parts);
  if (stages::made_by_retort(path))
    throw core::DataError(
        fmt::format("{} is unfinished and holds no generation yet: there is nothing to digest; let "
                    "its stage run to the end",
                    path.string()));
  throw nothing_here(path);
}

}  // namespace retort::pipeline
