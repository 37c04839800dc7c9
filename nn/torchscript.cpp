#include "nn/torchscript.h"

#include <caffe2/serialize/read_adapter_interface.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/all.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/item.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include "core/error.h"
#include "io/zip_check.h"

namespace retort::nn {
namespace {

using core::DataError;

constexpr const char* kMetadata = "retort.json";
constexpr std::size_t kLongestReason = 300;

// At most so long, cut behind a sentence or between words; advice to those who mend PyTorch is left
// out.
std::string shortened(std::string_view line) {
  line = line.substr(0, line.find(". This is an internal"));
  if (line.size() <= kLongestReason) return std::string(line);
  line = line.substr(0, kLongestReason);
  if (const auto end = line.rfind(". "); end != line.npos && end > kLongestReason / 3)
    return std::string(line.substr(0, end));
  return std::string(line.substr(0, line.rfind(' '))) + " ...";
}

// Torch's messages are pages with traces of Python and C++; the line that says why is the one after
// "Error: ", or the first.
std::string reason_of(std::string_view text) {
  std::string_view line;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view next = text.substr(begin, end - begin);
    begin = end + 1;
    if (next.find_first_not_of(' ') == std::string_view::npos) continue;
    next.remove_prefix(next.find_first_not_of(' '));
    const std::size_t error = next.find("Error: ");
    if (line.empty() || error != std::string_view::npos) line = next;
  }
  return shortened(line);
}

std::string reason_of(const std::exception& error) {
  if (const auto* own = dynamic_cast<const c10::Error*>(&error))
    return reason_of(own->what_without_backtrace());
  return reason_of(error.what());
}

// The bytes that were hashed are those that are loaded.
class MemoryReader : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit MemoryReader(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  std::size_t size() const override { return bytes_.size(); }
  std::size_t read(std::uint64_t position, void* buffer, std::size_t count,
                   const char*) const override {
    if (position >= bytes_.size()) return 0;
    const std::size_t given = std::min<std::size_t>(count, bytes_.size() - position);
    std::memcpy(buffer, bytes_.data() + position, given);
    return given;
  }

 private:
  std::vector<std::byte> bytes_;
};

const torch::jit::Node* find_write(const torch::jit::Block* block) {
  for (const torch::jit::Node* node : block->nodes()) {
    if (node->kind() == c10::prim::SetAttr) return node;
    for (const torch::jit::Block* inner : node->blocks())
      if (const auto* found = find_write(inner)) return found;
  }
  return nullptr;
}

void check_signature(const torch::jit::Module& module, const std::string& where) {
  constexpr const char* kWanted =
      "a teacher is forward(pixels [n, channels, height, width]) -> logits [n, classes]";
  const auto method = module.find_method("forward");
  if (!method) throw DataError(fmt::format("{}: has no method forward: {}", where, kWanted));
  const c10::FunctionSchema& schema = method->function().getSchema();
  const auto& arguments = schema.arguments();
  std::size_t needed = 0;  // besides self
  for (std::size_t i = 1; i < arguments.size(); ++i) needed += arguments[i].default_value() ? 0 : 1;
  if (arguments.size() < 2 || needed > 1)
    throw DataError(fmt::format("{}: its forward takes {} arguments instead of one: {}", where,
                                arguments.size() < 2 ? 0 : needed, kWanted));
  if (arguments[1].type()->kind() != c10::TypeKind::TensorType)
    throw DataError(fmt::format("{}: its forward takes {} instead of a tensor: {}", where,
                                arguments[1].type()->repr_str(), kWanted));
  if (schema.returns().size() != 1)
    throw DataError(fmt::format("{}: its forward gives {} values instead of one: {}", where,
                                schema.returns().size(), kWanted));
  const auto kind = schema.returns()[0].type()->kind();
  if (kind != c10::TypeKind::TensorType && kind != c10::TypeKind::AnyType)
    throw DataError(fmt::format(
        "{}: its forward gives {} instead of one tensor: wrap it in a module that returns the "
        "logits alone; {}",
        where, schema.returns()[0].type()->repr_str(), kWanted));
}

}  // namespace

struct TorchScriptFile::State {
  std::string where, metadata;
  std::uint64_t parameters = 0;
  torch::jit::Module module;
};

namespace {

// PyTorch's own rules (torch.autocast) for the time that it lives: which operators of a foreign
// model run in bf16. Nothing is cached: several threads share the weights.
class Autocast {
 public:
  explicit Autocast(Precision precision) : wanted_(precision == Precision::bf16) {
    if (!wanted_) return;
    at::autocast::set_autocast_cache_enabled(false);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, true);
  }
  ~Autocast() {
    if (wanted_) at::autocast::set_autocast_enabled(at::kCPU, false);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool wanted_;
};

class TorchScriptModel : public Model {
 public:
  TorchScriptModel(torch::jit::Module module, std::string where, const ModelShape& shape)
      : module_(std::move(module)), where_(std::move(where)), shape_(shape) {}

  at::Tensor forward(const Input& input, Pass& pass) const override {
    if (pass.training) throw core::InternalError("a TorchScript file is never trained");
    if (input.kind() != InputKind::pictures)
      throw core::InternalError("a TorchScript file takes pictures");
    return answer(input.pixels, pass.precision);
  }
  void fold_statistics(std::span<const double>, at::Tensor&) const override {
    throw core::InternalError("a TorchScript file is never trained");
  }

  void try_out() const {
    const c10::InferenceMode inference;
    const at::Tensor pixels = trial_pixels();
    const at::Tensor both = answer(pixels, Precision::fp32),
                     again = answer(pixels, Precision::fp32);
    const float* values = both.const_data_ptr<float>();
    const auto count = static_cast<std::size_t>(both.numel());
    if (std::memcmp(values, again.const_data_ptr<float>(), count * sizeof(float)) != 0)
      throw DataError(fmt::format(
          "{}: gives other logits each time for the same pixels: leave dropout and other "
          "randomness out of evaluation mode (model.eval() before the export)",
          where_));
    float largest = 0;
    for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(values[i]));
    for (std::int64_t row = 0; row < 2; ++row) {
      const at::Tensor alone = answer(pixels.slice(0, row, row + 1).clone(), Precision::fp32);
      for (std::uint64_t c = 0; c < shape_.classes; ++c) {
        const float with = values[static_cast<std::uint64_t>(row) * shape_.classes + c];
        // Kernels for other batch sizes round otherwise; inner bf16 is the coarsest seen.
        if (std::fabs(with - alone.const_data_ptr<float>()[c]) > kRounding * largest)
          throw DataError(fmt::format(
              "{}: a sample's logits depend on the others of its batch ({} against {} alone): "
              "export it in evaluation mode (model.eval()), with BatchNorm's running statistics",
              where_, with, alone.const_data_ptr<float>()[c]));
      }
    }
  }

 private:
  static constexpr float kRounding = 1e-2F;

  at::Tensor trial_pixels() const {
    at::Tensor pixels =
        at::empty({2, shape_.input.channels, shape_.input.height, shape_.input.width}, at::kFloat);
    // Anything of the size of scaled pixels that differs from row to row.
    for (std::int64_t i = 0; i < pixels.numel(); ++i)
      pixels.data_ptr<float>()[i] = std::sin(0.37F * static_cast<float>(i) +
                                             1e-4F * static_cast<float>(i % 8191 * (i % 127)));
    return pixels;
  }

  at::Tensor answer(const at::Tensor& input, Precision precision) const {
    c10::IValue value;
    try {
      const Autocast autocast(precision);
      value = module_.get_method("forward")({input});
    } catch (const std::exception& error) {
      fail(input, reason_of(error));
    }
    if (!value.isTensor())
      throw DataError(
          fmt::format("{}: gives {} instead of one tensor of logits", where_, value.tagKind()));
    at::Tensor logits = value.toTensor();
    if (!logits.device().is_cpu())
      throw DataError(fmt::format("{}: gives its logits on {}: export it on the CPU", where_,
                                  logits.device().str()));
    const std::array wanted = {input.size(0), static_cast<std::int64_t>(shape_.classes)};
    if (logits.dim() == 2 && logits.size(0) == wanted[0] && logits.size(1) != wanted[1])
      throw DataError(fmt::format("{}: gives logits of {} classes where {} are known", where_,
                                  logits.size(1), wanted[1]));
    if (!std::equal(wanted.begin(), wanted.end(), logits.sizes().begin(), logits.sizes().end()))
      throw DataError(fmt::format(
          "{}: gives a tensor [{}] for a batch of {} and {} classes: logits [n, classes] are "
          "wanted, for any n",
          where_, fmt::join(logits.sizes(), ", "), wanted[0], wanted[1]));
    if (precision == Precision::bf16 && logits.scalar_type() == at::kBFloat16)
      logits = logits.to(at::kFloat);
    if (logits.scalar_type() != at::kFloat)
      throw DataError(fmt::format("{}: gives logits of type {}: let forward return logits.float()",
                                  where_, c10::toString(logits.scalar_type())));
    return logits.contiguous();
  }

  [[noreturn]] void fail(const at::Tensor& input, const std::string& reason) const {
    if (reason.find("CUDA") != std::string::npos || reason.find("cuda") != std::string::npos)
      throw DataError(fmt::format(
          "{}: insists on a CUDA device, which is not there: move the model to the CPU before the "
          "export (model.cpu(), no device written into forward): {}",
          where_, reason));
    throw DataError(
        fmt::format("{}: its forward fails on a batch [{}]: {}: pack the pictures in the size that "
                    "it takes, and trace with a batch size that may vary",
                    where_, fmt::join(input.sizes(), ", "), reason));
  }

  torch::jit::Module module_;
  std::string where_;
  ModelShape shape_;
};

}  // namespace

TorchScriptFile::TorchScriptFile(std::vector<std::byte> bytes, std::string where) {
  // The profiling executor computes the first calls of a method in another way than later ones, so
  // bits would depend on which thread came first.
  torch::jit::getExecutorMode() = false;
  auto state = std::make_shared<State>();
  state->where = std::move(where);
  constexpr std::string_view kZip = "PK";  // what every archive of PyTorch begins with
  if (bytes.size() < kZip.size() || std::memcmp(bytes.data(), kZip.data(), kZip.size()) != 0)
    throw DataError(fmt::format(
        "{}: is no TorchScript file, and models of Retort are folders: name the folder, "
        "or export the model with torch.jit.trace or torch.jit.script and "
        "torch.jit.save",
        state->where));
  io::require_sound_zip(bytes, state->where);
  try {
    torch::jit::ExtraFilesMap extra{{kMetadata, ""}};
    state->module =
        torch::jit::load(std::make_shared<MemoryReader>(std::move(bytes)), at::kCPU, extra, false);
    state->metadata = extra[kMetadata];
  } catch (const std::exception& error) {
    throw DataError(
        fmt::format("{}: is no TorchScript file ({}): export it with torch.jit.trace or "
                    "torch.jit.script and torch.jit.save",
                    state->where, reason_of(error)));
  }
  check_signature(state->module, state->where);
  std::string diverged;
  try {
    for (const auto& parameter : state->module.named_parameters()) {
      state->parameters += static_cast<std::uint64_t>(parameter.value.numel());
      if (!at::isfinite(parameter.value).all().item<bool>()) diverged = parameter.name;
    }
    state->module.eval();
    state->module = torch::jit::freeze(state->module);
  } catch (const std::exception& error) {
    throw DataError(
        fmt::format("{}: cannot be frozen for inference: {}", state->where, reason_of(error)));
  }
  if (!diverged.empty())
    throw DataError(
        fmt::format("{}: tensor {} has values that are NaN or infinite: the model diverged or was "
                    "saved wrongly; use another one",
                    state->where, diverged));
  if (find_write(state->module.get_method("forward").graph()->block()) != nullptr)
    throw DataError(fmt::format(
        "{}: its forward writes attributes of the module, which several threads share: export a "
        "forward without state",
        state->where));
  state_ = std::move(state);
}

TorchScriptFile::~TorchScriptFile() = default;
TorchScriptFile::TorchScriptFile(TorchScriptFile&&) noexcept = default;

const std::string& TorchScriptFile::metadata() const { return state_->metadata; }
std::uint64_t TorchScriptFile::parameters() const { return state_->parameters; }

std::unique_ptr<Model> TorchScriptFile::build(const ModelShape& shape) const {
  auto model = std::make_unique<TorchScriptModel>(state_->module, state_->where, shape);
  model->try_out();
  return model;
}

}  // namespace retort::nn
