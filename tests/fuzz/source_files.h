// A source of `pack` over files that hold the input.
#pragma once

#include <string_view>

#include "io/sources/source.h"

namespace retort::fuzz {

/// Lists the source and reads every sample, as pack does. `words`: options of the source, "name",
/// "value", ...
void read_source(std::string_view name, const io::SourceRequest& request);

}  // namespace retort::fuzz
