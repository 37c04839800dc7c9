#include "io/model_folder.h"

#include <algorithm>

#include "core/error.h"
#include "core/fault_point.h"
#include "core/hash.h"
#include "core/log.h"
#include "io/class_map.h"
#include "io/json_text.h"
#include "io/manifest.h"
#include "io/packed_shard.h"
#include "io/posix.h"
#include "io/run_section.h"

namespace retort::io {
namespace {

constexpr std::string_view kKind = "model";
constexpr std::uint32_t kFormatVersion = 1;
constexpr std::string_view kDescription = "model.json";
constexpr std::string_view kSafetensors = "model.safetensors";

nlohmann::json to_json(const ModelDescription& description) {
  nlohmann::json json = {
      {"name", description.name},
      {"options", description.options},
      {"input",
       {{"height", description.input.height},
        {"width", description.input.width},
        {"channels", description.input.channels}}},
      {"class_names", description.class_names},
      {"class_digest", description.class_digest},
      {"scale", {{"mean", description.scale.mean}, {"deviation", description.scale.deviation}}}};
  if (description.text) json["text"] = description.text->to_json();
  return json;
}

ModelDescription description_from(const nlohmann::json& json, const std::string& where) {
  return read_fields(where, [&] {
    ModelDescription description;
    description.name = json.at("name").get<std::string>();
    description.options = json.at("options");
    const nlohmann::json& input = json.at("input");
    description.input = {input.at("height").get<std::uint32_t>(),
                         input.at("width").get<std::uint32_t>(),
                         input.at("channels").get<std::uint32_t>()};
    description.class_names = json.at("class_names").get<std::vector<std::string>>();
    description.class_digest = json.at("class_digest").get<std::string>();
    description.scale.mean = json.at("scale").at("mean").get<std::vector<double>>();
    description.scale.deviation = json.at("scale").at("deviation").get<std::vector<double>>();
    if (json.contains("text")) description.text = TextRule::from_json(json.at("text"), where);
    return description;
  });
}

/// `tensors`: their digest.
std::string digest_of(const ModelDescription& description, const std::string& tensors) {
  const std::string text = canonical_text(to_json(description));
  core::Sha256 hash;
  hash.update_u64(text.size()).update(text).update(tensors);
  return hash.hex();
}
std::string digest_of(const ModelDescription& description, const TensorMap& tensors) {
  return digest_of(description, digest(tensors));
}

std::string tensor_name(std::size_t index) {
  return index == 0 ? "model.h5" : "model-" + std::to_string(index) + ".h5";
}

/// Whether a folder's manifest tells that its model lies in path/model.
bool names_model(const std::filesystem::path& path) {
  if (!has_manifest(path)) return false;
  const Manifest manifest = read_manifest(path);
  return std::ranges::any_of(
      manifest.members, [](const Member& member) { return member.name == "model/manifest.json"; });
}

/// The folder that holds the model itself.
std::filesystem::path model_folder(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path / "model", error)) return path;
  const bool described = std::filesystem::exists(path / kDescription, error);
  return !described || names_model(path) ? path / "model" : path;
}

/// Of an exported folder: one file, or parts. Empty: it is none.
std::vector<std::filesystem::path> exported_files(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder / kDescription, error)) return {};
  std::vector<std::filesystem::path> named;
  if (has_manifest(folder)) {
    const Manifest manifest = read_manifest(folder);
    if (manifest.kind == kKind) return {};  // whatever lies beside its own files
    for (const Member& member : manifest.members)
      if (member.name.ends_with(".safetensors")) named.push_back(folder / member.name);
    std::sort(named.begin(), named.end());
  }
  // Outside of a run somebody may have exchanged them.
  if (!named.empty() && in_run(folder)) return named;
  // Where the manifest names parts, another file is left over from elsewhere.
  const bool whole =
      named.empty() || std::ranges::find(named, folder / kSafetensors) != named.end();
  if (whole && std::filesystem::exists(folder / kSafetensors, error))
    return {folder / kSafetensors};
  return part_files(folder);
}

ModelDescription exported_description(const std::filesystem::path& folder) {
  const std::filesystem::path json = folder / kDescription;
  const std::vector<std::byte> bytes = read_file(json);
  require_of_section(json, seal_of(bytes));
  ModelDescription description = description_from(parse_json(bytes, json.string()), json.string());
  require_class_names(description.class_names, json.string());
  if (packed_class_digest(description.class_names) != description.class_digest)
    throw core::DataError(
        json.string() +
        ": its class_names are not those that class_digest was made of; restore them: other names "
        "or another order of a data set are said with --class-map");
  return description;
}

/// The model of a section is the one that the section's manifest names: one of another run or of
/// an older start is right in itself. DataError.
void require_model_of_section(const std::filesystem::path& folder) {
  const std::filesystem::path section = folder.parent_path(), own = folder / "manifest.json";
  if (!has_manifest(section)) return;
  std::vector<Member> members;
  try {
    members = read_manifest(section, "section").members;
  } catch (const core::DataError&) {
    return;  // not of Retort, or damaged itself: the model is held against its own
  }
  const std::string name = (folder.filename() / "manifest.json").generic_string();
  const auto named =
      std::ranges::find_if(members, [&](const Member& member) { return member.name == name; });
  if (named == members.end()) {
    if (in_run(section))
      throw core::DataError(own.string() + ": is not named by " +
                            (section / "manifest.json").string() +
                            ": it is not the section's; move it out of the run");
  } else if (seal_of(own) != named->seal) {
    throw core::DataError(own.string() + ": is not of the model that " +
                          (section / "manifest.json").string() +
                          " names: it was made by another run or start; restore it or make it "
                          "anew (retort check --repair)");
  }
}

/// DataError for a version that this program does not know, without model.json, or of another run
/// than the section around it.
Manifest model_manifest(const std::filesystem::path& folder) {
  Manifest manifest = read_manifest(folder, kKind);
  for (const auto& name : names_of(folder)) require_model_of_section(name);
  if (manifest.format_version < 1 || manifest.format_version > kFormatVersion)
    throw core::DataError(folder.string() + " has format version " +
                          std::to_string(manifest.format_version) + ", this Retort reads 1 to " +
                          std::to_string(kFormatVersion) + "; use a newer Retort");
  if (std::none_of(manifest.members.begin(), manifest.members.end(),
                   [](const Member& member) { return member.name == kDescription; }))
    throw core::DataError(folder.string() + " names no model.json; restore it or make it anew");
  return manifest;
}

// What `retort export` writes, and what somebody may have trained on in Python since.
void tell_of_changes(const std::filesystem::path& folder, const std::string& digest) {
  if (!has_manifest(folder) || read_manifest(folder).content_digest == digest) return;
  if (in_run(folder))
    throw core::DataError(folder.string() +
                          ": its model has another content than its manifest says; make it anew "
                          "(retort check --repair)");
  core::log_warning("{}: its weights are not those that export wrote: trained on since, or damaged",
                    exported_files(folder).front().string());
}

ModelFile read_exported(const std::filesystem::path& folder,
                        const std::vector<std::filesystem::path>& files,
                        const RowSelection& selection) {
  const std::string where = files.front().string();
  ModelFile model;
  model.description = exported_description(folder);
  const ModelParts parts(files);
  const TensorSource source = parts.source();
  for (const auto& [name, spec] : source.specs) {
    Tensor& tensor = model.tensors[name] = {spec.type, spec.shape, {}};
    std::uint64_t first = 0;
    if (const auto rows = selection ? selection(name) : std::nullopt) {
      if (spec.shape.empty() || rows->end > spec.shape[0])
        throw core::DataError(where + ": " + name + " has fewer rows than there are classes");
      first = rows->begin * (spec.elements() / spec.shape[0]);
      tensor.shape[0] = rows->size();
    }
    tensor.bytes.resize(tensor.elements() * size_of(tensor.type));
    source.read(name, first, tensor.bytes);
  }
  require_finite(model.tensors, where);
  // Of selected rows alone the whole cannot be told.
  model.digest = digest_of(model.description, selection ? digest(source) : digest(model.tensors));
  tell_of_changes(folder, model.digest);
  return model;
}

}  // namespace

LoaderOptions loader_options(const ModelDescription& description) {
  LoaderOptions options;
  options.scale = description.scale;
  options.text = description.text;
  return options;
}

std::vector<std::filesystem::path> exported_model_files(const std::filesystem::path& path) {
  const std::filesystem::path folder = model_folder(path);
  std::vector<std::filesystem::path> files = exported_files(folder);
  if (!files.empty()) files.push_back(folder / kDescription);
  return files;
}

std::string description_text(const ModelDescription& description) {
  return to_json(description).dump(1) + "\n";
}

std::string write_model(const std::filesystem::path& folder, const ModelDescription& description,
                        const TensorMap& tensors) {
  return write_model(folder, description, source_of(tensors));
}

std::string write_model(const std::filesystem::path& folder, const ModelDescription& description,
                        const TensorSource& source) {
  const core::FaultPlace place("commit");
  make_folder(folder);
  Manifest manifest;
  manifest.kind = kKind;
  manifest.format_version = kFormatVersion;
  // While members are exchanged the folder is incomplete, never a mixture.
  if (has_manifest(folder)) remove_manifest(folder);
  std::size_t count = 0;
  const auto add = [&](const std::vector<std::byte>& image) {
    const std::string name = tensor_name(count++);
    manifest.members.push_back({name, write_file(folder / name, image)});
  };
  manifest.content_digest = digest_of(description, for_each_tensor_image(kKind, source, add));
  for (; std::filesystem::exists(folder / tensor_name(count)); ++count) {
    remove_tree(folder / tensor_name(count));  // of an earlier, larger model
  }
  const std::string text = description_text(description);
  manifest.members.push_back(
      {std::string(kDescription), write_file(folder / kDescription, std::string_view(text))});
  std::string digest = manifest.content_digest;
  write_manifest(folder, std::move(manifest));
  return digest;
}

ModelDescription read_description(const std::filesystem::path& path) {
  const std::filesystem::path folder = model_folder(path);
  if (!exported_files(folder).empty()) return exported_description(folder);
  const Manifest manifest = model_manifest(folder);
  const auto member = std::find_if(manifest.members.begin(), manifest.members.end(),
                                   [](const Member& each) { return each.name == kDescription; });
  const std::filesystem::path file = folder / member->name;
  return description_from(parse_json(read_verified(file, member->seal), file.string()),
                          file.string());
}

ModelFile read_model(const std::filesystem::path& path, const RowSelection& selection) {
  const std::filesystem::path folder = model_folder(path);
  if (const auto files = exported_files(folder); !files.empty())
    return read_exported(folder, files, selection);
  const Manifest manifest = model_manifest(folder);
  ModelFile model;
  TensorAssembler assembler(selection);
  for (const Member& member : manifest.members) {
    const std::filesystem::path file = folder / member.name;
    std::vector<std::byte> bytes = read_verified(file, member.seal);
    if (member.name == kDescription)
      model.description = description_from(parse_json(bytes, file.string()), file.string());
    else
      assembler.add(std::move(bytes), file.string(), kKind);
  }
  model.tensors = assembler.finish();
  require_finite(model.tensors, folder.string());
  model.digest = selection ? manifest.content_digest : digest_of(model.description, model.tensors);
  if (model.digest != manifest.content_digest) {
    throw core::DataError(folder.string() +
                          " has another content than its manifest says; restore it or make it "
                          "anew");
  }
  return model;
}

StoredModel open_model(const std::filesystem::path& path) {
  const std::filesystem::path folder = model_folder(path);
  StoredModel model{read_description(path), {}};
  if (const auto files = exported_files(folder); !files.empty()) {
    model.parts.emplace(files);
    model.digest = digest_of(model.description, digest(model.parts->source()));
    model.where = files.front().string();
    tell_of_changes(folder, model.digest);
    return model;
  }
  const Manifest manifest = model_manifest(folder);
  model.digest = manifest.content_digest;
  model.where = folder.string();
  for (const Member& member : manifest.members)
    if (member.name != kDescription) model.files.add(folder / member.name, member.seal, kKind);
  model.files.finish();
  return model;
}

}  // namespace retort::io
