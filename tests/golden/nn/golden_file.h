// Reads the golden numbers. Folder: RETORT_GOLDEN, else shared/methods/golden beside the
// source tree (RETORT_SOURCE).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace retort::golden {

using Json = nlohmann::json;

inline std::filesystem::path folder() {
  if (const char* given = std::getenv("RETORT_GOLDEN")) return given;
  // The source tree is above the program or the working folder, or where the compiler saw this file
  // (a compiler cache may have made that path relative to the build folder).
  const std::filesystem::path below = "shared/methods/golden";
  if (const char* source = std::getenv("RETORT_SOURCE"))
    return std::filesystem::path(source).parent_path() / below;
  for (std::filesystem::path start :
       {std::filesystem::current_path(),
        std::filesystem::path(std::filesystem::read_symlink("/proc/self/exe")),
        std::filesystem::weakly_canonical(std::filesystem::absolute(__FILE__))})
    for (; start.has_relative_path(); start = start.parent_path())
      if (std::filesystem::exists(start / below)) return start / below;
  return below;
}

/// An empty object when the file is not there (the test skips).
inline const Json& load(const std::string& name) {
  static std::map<std::string, Json> files;
  const auto [at, fresh] = files.try_emplace(name, Json::object());
  if (fresh)
    if (std::ifstream in(folder() / name); in) at->second = Json::parse(in);
  return at->second;
}

/// null stands for minus infinity.
inline double number(const Json& value) {
  return value.is_null() ? -std::numeric_limits<double>::infinity() : value.get<double>();
}

template <class T>
void append(const Json& list, std::vector<T>& out) {
  for (const Json& each : list) {
    if (each.is_array())
      append(each, out);
    else
      out.push_back(static_cast<T>(number(each)));
  }
}
/// A (nested) list, flattened.
template <class T>
std::vector<T> flat(const Json& list) {
  std::vector<T> out;
  append(list, out);
  return out;
}

// The file's own tolerances.
enum class Quantity { loss, gradient };
template <class T>
double tolerance(double expected, Quantity quantity, double scale) {
  if (std::is_same_v<T, double>) return 1e-12 + 1e-9 * std::abs(expected);
  const double unit = 2e-5 * std::max(1.0, scale);
  return quantity == Quantity::loss ? unit * std::max(1.0, std::abs(expected)) : unit;
}

template <class T, class A>
void expect_close(const std::vector<A>& actual, const std::vector<double>& expected,
                  Quantity quantity, double scale, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isinf(expected[i])) {
      EXPECT_EQ(static_cast<double>(actual[i]), expected[i]) << what << " [" << i << "]";
      continue;
    }
    EXPECT_NEAR(static_cast<double>(actual[i]), expected[i],
                tolerance<T>(expected[i], quantity, scale))
        << what << " [" << i << "]";
  }
}

}  // namespace retort::golden

#define RETORT_LOAD_GOLDEN(file, name)                                                      \
  const auto& file = ::retort::golden::load(name);                                          \
  if ((file).empty())                                                                       \
  GTEST_SKIP() << "no golden numbers at " << (::retort::golden::folder() / (name)).string() \
               << ": set RETORT_GOLDEN to their folder"
