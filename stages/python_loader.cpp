#include "stages/python_loader.h"

#include <algorithm>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "core/error.h"
#include "core/version.h"
#include "stages/python_parts.h"

namespace retort::stages {
namespace {

// First line of a file in export/models: the names of the registry that it builds.
constexpr std::string_view kArchitectures = "# architectures:";

std::string_view part(std::string_view name) {
  for (const PythonPart& each : python_parts())
    if (each.name == name) return each.text;
  throw core::InternalError(fmt::format("no Python part {}", name));
}

std::string_view architecture_part(const std::string& architecture) {
  for (const PythonPart& each : python_parts()) {
    const std::string_view first = each.text.substr(0, each.text.find('\n'));
    if (!first.starts_with(kArchitectures)) continue;
    std::istringstream names{std::string(first.substr(kArchitectures.size()))};
    for (std::string name; names >> name;)
      if (name == architecture) return each.text.substr(first.size() + 1);
  }
  throw core::UsageError(fmt::format(
      "model {}: there is no Python of this architecture: export it as onnx alone", architecture));
}

/// Takes the import lines out of a part's text; the rest, without blank lines at its ends.
std::string without_imports(std::string_view text, std::set<std::string>& imports) {
  std::string rest;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("import ") || line.starts_with("from "))
      imports.insert(line);
    else if (!(rest.empty() && line.empty()))
      rest += line + "\n";
  }
  while (rest.ends_with("\n\n")) rest.pop_back();
  return rest;
}

constexpr std::string_view kUse = R"("""A classifier of {} classes, model {}, exported by Retort {}.

    import model                # this file, beside model.json and model.safetensors
    net = model.load()          # a torch.nn.Module in evaluation mode
    with torch.no_grad():
        logits = net(model.preprocess([{}]))
    model.labels[logits[0].argmax()]

It needs torch and safetensors, nothing of Retort.
"""
)";

}  // namespace

std::string python_loader(const io::ModelDescription& description) {
  std::set<std::string> imports;
  const bool text = description.text.has_value();
  std::string body;
  for (const std::string_view each : {architecture_part(description.name),
                                      part(text ? "text.py" : "pictures.py"), part("load.py")})
    body += "\n\n" + without_imports(each, imports);
  std::string standard, installed;
  for (const std::string& line : imports) {
    const bool other =
        line.find(" torch") != std::string::npos || line.find(" safetensors") != std::string::npos;
    (other ? installed : standard) += line + "\n";
  }
  return fmt::format(kUse, description.class_names.size(), description.name, core::kVersion,
                     text ? "text" : "picture") +
         standard + "\n" + installed + body;
}

}  // namespace retort::stages
