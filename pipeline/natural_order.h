// The order in which people count: "seed-2" before "seed-10".
#pragma once

#include <string_view>

namespace retort::pipeline {

/// Digits in a row are one number, everything else is compared byte by byte; texts that are then
/// equal ("7", "07") by their bytes. A strict order of any texts.
bool natural_less(std::string_view a, std::string_view b);

}  // namespace retort::pipeline
