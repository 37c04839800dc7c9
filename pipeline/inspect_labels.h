// What `inspect` says of a label matrix: how it was made, the classes that are most alike, one
// class with its neighbours, one pair.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace retort::pipeline {

/// `classes`: none: the matrix, with its most similar pairs; one: that class and those in its row;
/// two: the pair, from stored rows or, where neither row names the other, from the columns of
/// `model` (empty: nothing then). A class is a name, a word that one name alone holds, or "#17".
/// DataError for a folder that is damaged or a model of other columns, UsageError for an unknown
/// class.
nlohmann::ordered_json inspect_labels(const std::filesystem::path& folder,
                                      const std::vector<std::string>& classes,
                                      const std::filesystem::path& model);

}  // namespace retort::pipeline
