#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/fuzz/fuzz_target.h"

namespace retort::fuzz {
namespace {

class Folder {
 public:
  Folder() {
    std::string pattern = "/dev/shm/retort-fuzz-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

const std::filesystem::path& memory_folder() {
  static const Folder folder;
  return folder.path();
}

void write(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  if (!file.flush()) std::abort();
}

}  // namespace retort::fuzz
