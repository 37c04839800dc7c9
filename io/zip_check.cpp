#include "io/zip_check.h"

#include <zip.h>

#include <array>
#include <memory>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::io {

namespace {

struct ErrorText {
  zip_error_t error{};
  ErrorText() { zip_error_init(&error); }
  ~ErrorText() { zip_error_fini(&error); }
  ErrorText(const ErrorText&) = delete;
  ErrorText& operator=(const ErrorText&) = delete;
  const char* text() { return zip_error_strerror(&error); }
};

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw core::DataError(
      fmt::format("{}: {}: the file is damaged: fetch or save it anew", where, what));
}

}  // namespace

void require_sound_zip(std::span<const std::byte> bytes, const std::string& where) {
  ErrorText error;
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error.error);
  if (source == nullptr) refuse(where, error.text());
  const std::unique_ptr<zip_t, decltype(&zip_discard)> archive(
      zip_open_from_source(source, ZIP_RDONLY, &error.error), &zip_discard);
  if (!archive) {
    zip_source_free(source);
    refuse(where, error.text());
  }
  const zip_int64_t members = zip_get_num_entries(archive.get(), 0);
  std::array<char, 65536> block{};
  for (zip_int64_t i = 0; i < members; ++i) {
    const auto index = static_cast<zip_uint64_t>(i);
    const char* name = zip_get_name(archive.get(), index, ZIP_FL_ENC_RAW);
    const std::string member = name == nullptr ? fmt::format("member {}", i) : std::string(name);
    const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(
        zip_fopen_index(archive.get(), index, 0), &zip_fclose);
    if (!file) refuse(where, fmt::format("{}: {}", member, zip_strerror(archive.get())));
    zip_int64_t read = 0;
    do read = zip_fread(file.get(), block.data(), block.size());
    while (read > 0);
    if (read < 0) refuse(where, fmt::format("{}: {}", member, zip_file_strerror(file.get())));
  }
}

}  // namespace retort::io
