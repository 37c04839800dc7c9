#include "pipeline/kept_twice.h"

#include <fcntl.h>
#include <unistd.h>

#include <set>
#include <string>

#include "core/error.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "io/posix.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCopies = ".copies";

bool is_there(const fs::path& path) {
  std::error_code code;
  return fs::exists(path, code);
}

std::string text_of(const fs::path& path) {
  const auto bytes = io::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

nlohmann::json read_right(const fs::path& path, const Accept& accept) {
  nlohmann::json json = io::parse_sealed(text_of(path), path.string());
  if (accept) accept(json);
  return json;
}

/// True: all of it is on the disk.
bool write_durably(const fs::path& path, const std::string& text) {
  const io::Descriptor file = io::open_descriptor(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.valid()) return false;
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(file.get(), text.data() + done, text.size() - done);
    if (wrote <= 0) return false;
    done += static_cast<std::size_t>(wrote);
  }
  return ::fsync(file.get()) == 0;
}

/// No fault points: a copy that is missing is only one less. Under its name only when it is whole.
void write_copy(const fs::path& path, const std::string& text) {
  const fs::path copy = copy_of(path), temporary = io::temporary_of(copy);
  std::error_code code;
  fs::create_directories(copy.parent_path(), code);
  if (write_durably(temporary, text)) fs::rename(temporary, copy, code);
  fs::remove(temporary, code);  // where that failed
}

}  // namespace

fs::path copy_of(const fs::path& path) { return path.parent_path() / kCopies / path.filename(); }

bool is_kept(const fs::path& path) { return is_there(path) || is_there(copy_of(path)); }

std::optional<nlohmann::json> read_twice(const fs::path& path, const Accept& accept) {
  const fs::path copy = copy_of(path);
  if (!is_there(path) && !is_there(copy)) return std::nullopt;
  try {
    if (!is_there(path)) throw core::DataError(path.string() + " is missing");
    return read_right(path, accept);
  } catch (const core::Error&) {
    if (!is_there(copy)) throw;
    try {
      nlohmann::json json = read_right(copy, accept);
      static std::set<fs::path> told;  // once, however often it is read
      if (told.insert(path).second)
        core::log_warning("{} is damaged or lost; its copy is right and is used", path.string());
      return json;
    } catch (const core::Error&) {
      // The first error says what is wrong.
    }
    throw;
  }
}

void write_twice(const fs::path& path, const nlohmann::json& json) {
  const std::string text = io::sealed_text(json);
  std::error_code code;
  fs::remove(copy_of(path), code);  // never an older one beside a newer file
  io::write_file(path, std::string_view(text));
  write_copy(path, text);
}

void remove_twice(const fs::path& path) {
  std::error_code code;
  fs::remove(copy_of(path), code);
  fs::remove(path, code);
}

bool restore_twice(const fs::path& path) {
  const bool is_copy = path.parent_path().filename() == kCopies;
  const fs::path file = is_copy ? path.parent_path().parent_path() / path.filename() : path;
  try {
    const std::string text = text_of(is_copy ? file : copy_of(file));
    io::parse_sealed(text, path.string());
    io::set_aside(path);
    if (is_copy)
      write_copy(file, text);
    else
      io::write_file(file, std::string_view(text));
    return true;
  } catch (const core::Error&) {
    return false;
  }
}

}  // namespace retort::pipeline
