#include "stages/initial_weights.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "io/atomic_file.h"

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

InitialWeights from_folder(const std::filesystem::path& path,
                           const io::ModelDescription& description, InitialHead head,
                           const std::string& hint) {
  auto model = std::make_unique<const io::StoredModel>(io::open_model(path));
  const io::ModelDescription& own = model->description;
  if (head == InitialHead::keep && own.class_digest != description.class_digest)
    throw DataError(fmt::format(
        "--init {}: that model knows {} classes, the data set has {} (or other names): start from "
        "a model of the same classes, or {}",
        path.string(), own.class_names.size(), description.class_names.size(), hint));
  const auto form = [](const io::ModelDescription& of) {
    const std::string scale = of.options.value("logit-scale", "");
    return of.options.value("logit-form", "linear") + (scale.empty() ? "" : " times " + scale);
  };
  if (head == InitialHead::keep && form(own) != form(description))
    throw DataError(fmt::format(
        "--init {}: the logits of that model are {}, those of this one {}: give the same "
        "--logit-form and --logit-scale, or {}",
        path.string(), form(own), form(description), hint));
  InitialWeights weights{model->source(), model->digest};
  weights.model = std::move(model);
  return weights;
}

}  // namespace

InitialWeights read_initial_weights(const std::filesystem::path& path, const nn::Model& model,
                                    const io::ModelDescription& description, InitialHead head) {
  const std::string where = path.string();
  const std::string head_name = head_prefix(model);
  const std::string hint = fmt::format("start with a new head, {}*, by --init-head new", head_name);
  std::error_code error;
  InitialWeights weights;
  if (std::filesystem::is_regular_file(path, error)) {
    weights.file = std::make_unique<const io::ModelParts>(std::vector<std::filesystem::path>{path});
    weights.tensors = weights.file->source();
    weights.digest = weights.file->sha256(path);
  } else {
    if (!std::filesystem::exists(path, error))
      throw core::UsageError(fmt::format("--init {}: there is no such file or folder", where));
    weights = from_folder(path, description, head, hint);
  }
  std::map<std::string, Shape> wanted = shapes_of(model), there;
  for (const auto& [name, spec] : weights.tensors.specs) {
    if (spec.type != io::DType::f32)
      throw DataError(fmt::format("--init {}: tensor {} is {}, not f32: convert it", where, name,
                                  io::name_of(spec.type)));
    there.emplace(name, spec.shape);
  }
  if (head == InitialHead::fresh) {
    const auto is_head = [&](const auto& each) { return each.first.starts_with(head_name); };
    std::erase_if(there, is_head);
    std::erase_if(wanted, is_head);
    std::erase_if(weights.tensors.specs, is_head);
  }
  check_names(where, description.name, wanted, there, head_name, hint);
  const std::string source = weights.model ? weights.model->where : where;
  weights.tensors.read = [read = std::move(weights.tensors.read), where = "--init " + source](
                             const std::string& name, std::uint64_t first,
                             std::span<std::byte> into) {
    read(name, first, into);
    io::require_finite(name, io::DType::f32, into, first, where);
  };
  return weights;
}

}  // namespace retort::stages
