#include "stages/initial_weights.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"

namespace retort::stages {
namespace {

using core::DataError;
using Shape = std::vector<std::uint64_t>;

/// Tensors of one kind of fault: the first by name, and how many.
class Faults {
 public:
  explicit Faults(std::string_view what) : what_(what) {}
  void add(const std::string& tensor) {
    if (count_++ == 0) first_ = tensor;
  }
  void append_to(std::vector<std::string>& lines) const {
    if (count_ == 0) return;
    lines.push_back(fmt::format("{} {}: {}{}", count_, what_, count_ > 1 ? "first " : "", first_));
  }

 private:
  std::string_view what_;
  std::uint64_t count_ = 0;
  std::string first_;
};

std::map<std::string, Shape> shapes_of(const nn::Model& model) {
  std::map<std::string, Shape> shapes;
  for (const nn::ParameterLayout* layout : {&model.parameters(), &model.buffers()})
    for (const nn::ParameterSpec& spec : layout->specs())
      shapes.emplace(spec.name, Shape(spec.shape.begin(), spec.shape.end()));
  return shapes;
}

std::string head_prefix(const nn::Model& model) { return model.layers().back().name + "."; }

/// What the file has for the model: DataError unless it is all of `wanted` and nothing else.
void check_names(const std::string& where, const std::string& architecture,
                 const std::map<std::string, Shape>& wanted,
                 const std::map<std::string, Shape>& there, const std::string& head,
                 const std::string& hint) {
  Faults missing("missing"), misshapen("of another shape"), extra("not of the model");
  bool head_alone = true;  // nothing but the head does not fit
  for (const auto& [name, shape] : wanted) {
    const auto found = there.find(name);
    if (found == there.end()) {
      missing.add(name);
      head_alone = head_alone && name.starts_with(head);
    } else if (found->second != shape) {
      misshapen.add(fmt::format("{} is [{}], the model has [{}]", name,
                                fmt::join(found->second, ", "), fmt::join(shape, ", ")));
      head_alone = head_alone && name.starts_with(head);
    }
  }
  for (const auto& [name, shape] : there)
    if (!wanted.contains(name)) {
      extra.add(name);
      head_alone = head_alone && name.starts_with(head);
    }
  std::vector<std::string> lines;
  for (const Faults* faults : {&missing, &misshapen, &extra}) faults->append_to(lines);
  if (lines.empty()) return;
  throw DataError(
      fmt::format("--init {}: its tensors do not fit model {}; {}: {}", where, architecture,
                  fmt::join(lines, "; "),
                  head_alone ? hint : "give the model and the options that it belongs to"));
}

io::TensorMap random_head(const nn::Model& model, const std::string& head, std::uint64_t seed) {
  at::Tensor flat = nn::make_flat(model.parameters());
  nn::initialise(model.parameters(), seed, flat);
  io::TensorMap tensors = nn::to_tensors(model.parameters(), flat, "");
  std::erase_if(tensors, [&](const auto& each) { return !each.first.starts_with(head); });
  return tensors;
}

InitialWeights from_folder(const std::filesystem::path& path,
                           const io::ModelDescription& description, InitialHead head,
                           const std::string& hint) {
  io::ModelFile file = io::read_model(path);
  if (head == InitialHead::keep && file.description.class_digest != description.class_digest)
    throw DataError(fmt::format(
        "--init {}: that model knows {} classes, the data set has {} (or other names): start from "
        "a model of the same classes, or {}",
        path.string(), file.description.class_names.size(), description.class_names.size(), hint));
  const auto form = [](const io::ModelDescription& of) {
    const std::string scale = of.options.value("logit-scale", "");
    return of.options.value("logit-form", "linear") + (scale.empty() ? "" : " times " + scale);
  };
  if (head == InitialHead::keep && form(file.description) != form(description))
    throw DataError(fmt::format(
        "--init {}: the logits of that model are {}, those of this one {}: give the same "
        "--logit-form and --logit-scale, or {}",
        path.string(), form(file.description), form(description), hint));
  return {std::move(file.tensors), std::move(file.digest)};
}

}  // namespace

InitialWeights read_initial_weights(const std::filesystem::path& path, const nn::Model& model,
                                    const io::ModelDescription& description, InitialHead head,
                                    std::uint64_t seed) {
  const std::string where = path.string();
  const std::string head_name = head_prefix(model);
  const std::string hint = fmt::format("start with a new head, {}*, by --init-head new", head_name);
  const auto is_head = [&](const std::string& name) { return name.starts_with(head_name); };
  std::error_code error;
  std::optional<io::SafetensorsFile> file;
  InitialWeights weights;
  std::map<std::string, Shape> there;
  if (std::filesystem::is_regular_file(path, error)) {
    std::vector<std::byte> bytes = io::read_file(path);
    weights.digest = core::sha256_hex(bytes);
    file.emplace(std::move(bytes), where);
    for (const auto& [name, entry] : file->entries())
      if (!io::is_batch_counter(name)) there.emplace(name, entry.shape);
  } else {
    if (!std::filesystem::exists(path, error))
      throw core::UsageError(fmt::format("--init {}: there is no such file or folder", where));
    weights = from_folder(path, description, head, hint);
    for (const auto& [name, tensor] : weights.tensors) there.emplace(name, tensor.shape);
  }
  std::map<std::string, Shape> wanted = shapes_of(model);
  if (head == InitialHead::fresh) {
    std::erase_if(there, [&](const auto& each) { return is_head(each.first); });
    std::erase_if(wanted, [&](const auto& each) { return is_head(each.first); });
  }
  check_names(where, description.name, wanted, there, head_name, hint);
  if (file) {
    for (const auto& each : wanted) weights.tensors[each.first] = file->as_f32(each.first);
    io::require_finite(weights.tensors, "--init " + where);
  }
  if (head == InitialHead::fresh)
    for (auto& [name, tensor] : random_head(model, head_name, seed))
      weights.tensors[name] = std::move(tensor);
  return weights;
}

}  // namespace retort::stages
