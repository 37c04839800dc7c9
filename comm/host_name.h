// Private to comm.
#pragma once

#include <unistd.h>

#include <array>
#include <string>

namespace retort::comm {

inline std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

}  // namespace retort::comm
