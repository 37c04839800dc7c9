// What a check has found so far.
#pragma once

#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

#include "pipeline/check.h"

namespace retort::pipeline {

/// A generation of a section, by its place and name.
bool is_generation(const std::filesystem::path& path);
/// True if `path` is one, or in one, that a start which lives has removed.
bool of_generation_that_is_gone(std::filesystem::path path);

/// Faults of generations that are gone are none.
class CheckFindings {
 public:
  CheckReport report;

  void fault(const std::filesystem::path& path, std::string_view what);
  void note(const std::filesystem::path& path, std::string_view what);
  /// Runs a part of the check; what it throws is a fault of `path`. True if it threw nothing.
  template <class Work>
  bool guarded(const std::filesystem::path& path, Work work) {
    try {
      work();
      return true;
    } catch (const std::exception& error) {
      thrown(path, error.what());
      return false;
    }
  }

 private:
  void thrown(const std::filesystem::path& path, std::string_view what);
};

}  // namespace retort::pipeline
