// retort.json, the extra file by which a TorchScript classifier says what its outputs are called
// and what pixels it takes: the words of model.json, each of them optional. Form:
// docs/torchscript.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/augment.h"
#include "io/loader.h"

namespace retort::stages {

struct TorchScriptMetadata {
  std::vector<std::string> class_names;  // different and plain; empty: not said
  io::PixelScale scale;                  // both lists empty: not said
  std::optional<io::ImageShape> input;   // no side is 0
};

/// `text`: of the file; empty: there is none. `where` names it in messages. DataError that names
/// the field and what it must be.
TorchScriptMetadata parse_torchscript_metadata(const std::string& text, const std::string& where);

}  // namespace retort::stages
