// Classifiers as TorchScript files: what PyTorch users export with torch.jit.trace or
// torch.jit.script and torch.jit.save. Such a file is a program and runs with the user's rights.
// Form: docs/torchscript.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nn/model.h"

namespace retort::nn {

/// A file as it was loaded: on the CPU, in evaluation mode, frozen. Nothing of it has run yet but
/// what loading runs.
class TorchScriptFile {
 public:
  /// `bytes`: the whole file; `where` names it in messages. DataError if they are no TorchScript
  /// archive, if it has no forward(Tensor) -> Tensor, or if forward writes attributes (several
  /// threads use it at once).
  TorchScriptFile(std::vector<std::byte> bytes, std::string where);
  ~TorchScriptFile();
  TorchScriptFile(TorchScriptFile&&) noexcept;

  /// The text of the extra file retort.json inside; empty without one.
  const std::string& metadata() const;
  /// Elements of its parameters; 0 if it was frozen before it was saved.
  std::uint64_t parameters() const;
  /// As a model without parameters of Retort's: forward takes [n, channels, height, width] fp32 and
  /// gives [n, classes] fp32; training passes are an InternalError. Tried with a batch of two:
  /// DataError if it fails, needs a device that is not there, gives another shape or type, if a
  /// row's answer depends on the other row, or if answers differ from call to call.
  std::unique_ptr<Model> build(const ModelShape& shape) const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace retort::nn
