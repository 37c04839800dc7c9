#include "core/find_program.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

namespace retort::core {

std::filesystem::path find_program(std::string_view name) {
  const char* path = std::getenv("PATH");
  if (path == nullptr) return {};
  std::string_view rest(path);
  while (true) {
    const auto colon = rest.find(':');
    const auto folder = std::filesystem::path(rest.substr(0, colon));
    const auto file = (folder.empty() ? std::filesystem::path(".") : folder) / name;
    std::error_code error;
    if (std::filesystem::is_regular_file(file, error) && access(file.c_str(), X_OK) == 0)
      return file;
    if (colon == std::string_view::npos) return {};
    rest.remove_prefix(colon + 1);
  }
}

}  // namespace retort::core
