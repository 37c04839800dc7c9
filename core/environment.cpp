#include "core/environment.h"

#include <cstdlib>

namespace retort::core {

std::string environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace retort::core
