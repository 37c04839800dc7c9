// What is in a file or folder: gathered as JSON, printed from it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace retort::pipeline {

/// A HDF5 file of Retort's, a manifest.json, a packed dataset, logits, a model, a generation, a
/// section's or run folder, the run folder of a plan. "what" names which. DataError if it is none
/// of these or is damaged.
nlohmann::ordered_json inspect(const std::filesystem::path& path);

/// A closer look at one or two classes of a label matrix (inspect_labels.h). UsageError if `path`
/// is none.
nlohmann::ordered_json inspect_classes(const std::filesystem::path& path,
                                       const std::vector<std::string>& classes,
                                       const std::filesystem::path& model);

/// One digest over the logical content, whatever the layout of the files. A HDF5 file: its
/// attributes and data sets. A finished folder: its result (the manifest's content digest). An
/// unfinished run folder: its newest verified generation. A section that runs per seed, a plan's
/// run folder: over the digests of their parts; DataError if one is unfinished.
std::string digest_of(const std::filesystem::path& path);

/// "key  value" lines; arrays of objects as tables.
std::string for_people(const nlohmann::ordered_json& json);

}  // namespace retort::pipeline
