// What the fuzz targets share. A target is one .cpp with LLVMFuzzerTestOneInput (libFuzzer's
// entry): it gives one reader of Retort bytes from anywhere. The reader may refuse them by an
// Error; any other exception, a crash, a hang or a sanitizer's word is a find. Every build links
// the targets with replay_main.cpp, too, and runs them over tests/fuzz/corpus as tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace retort::fuzz {

inline std::span<const std::byte> bytes_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const std::byte*>(data), size};
}
inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Runs `read`, which may refuse its input.
template <class F>
void may_refuse(F&& read) {
  try {
    read();
  } catch (const core::Error& error) {
    // A refusal is one line.
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
}

/// Fails the target: a promise of the reader does not hold.
inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

/// A folder in memory of this process, made once, for readers of files.
const std::filesystem::path& memory_folder();
void write(const std::filesystem::path& path, std::string_view bytes);

}  // namespace retort::fuzz
