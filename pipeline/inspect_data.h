// What `inspect` says of the folders that training reads: packed datasets and stored logits.
#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

#include "io/manifest.h"

namespace retort::pipeline {

/// Facts of every manifest: version, digests, how many members of how many bytes.
void add_manifest(nlohmann::ordered_json& json, const io::Manifest& manifest);
/// Classes, splits, the first texts of each. DataError for a folder that is damaged.
nlohmann::ordered_json inspect_dataset(const std::filesystem::path& folder,
                                       const io::Manifest& manifest);
/// What is stored of each sample and what it came from. DataError for a folder that is damaged.
nlohmann::ordered_json inspect_logits(const std::filesystem::path& folder,
                                      const io::Manifest& manifest);

}  // namespace retort::pipeline
