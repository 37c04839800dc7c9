// Which library this layer stands on, for `retort --version` and `retort doctor`.
#pragma once

#include <string>

namespace retort::io {

/// "1.10.8": the library that is loaded.
std::string hdf5_version();

}  // namespace retort::io
