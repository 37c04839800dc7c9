// The Python files of stages/export, which are part of the program: what model.py is made of.
#pragma once

#include <span>
#include <string_view>

namespace retort::stages {

struct PythonPart {
  std::string_view name;  // below stages/export: "models/mlp.py"
  std::string_view text;
};
std::span<const PythonPart> python_parts();

}  // namespace retort::stages
