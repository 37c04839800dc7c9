// The one place that knows libhdf5. Files are built and parsed as images in memory (core driver, no
// backing store, libver lower bound v110, no times tracked), so equal content gives equal bytes and
// the library never touches a disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort::io {

/// Element types of files. Little-endian on disk.
enum class DType { u8, u16, u32, u64, i32, i64, f16, f32, f64 };
std::size_t size_of(DType type);
std::string_view name_of(DType type);   // "f32"
DType dtype_of(std::string_view name);  // DataError if unknown

/// Largest file image, in bytes: bounds the memory of a writer and what a fault can cost.
inline constexpr std::uint64_t kMemberLimit = std::uint64_t{256} << 20;

/// Builds one file. Thread-safe against other writers and readers, not against itself. Paths like
/// "rows" or "tensors/conv1.weight"; groups are made as needed. Object path "" is the root, for
/// attributes. At most kMemberLimit bytes: InternalError above. Texts must be free of NUL
/// (DataError); trailing NULs could not be told from padding.
class Hdf5Writer {
 public:
  /// Writes the root attributes retort_kind and format_version. `expected_bytes`: memory set aside
  /// for the image, so that a large one is not copied while it grows.
  Hdf5Writer(std::string_view kind, std::uint32_t format_version, std::uint64_t expected_bytes = 0);
  ~Hdf5Writer();
  void attribute(std::string_view object, std::string_view name, std::string_view text);
  void attribute(std::string_view object, std::string_view name, std::uint64_t value);
  void attribute(std::string_view object, std::string_view name, double value);
  void attribute(std::string_view object, std::string_view name, std::span<const std::uint64_t> v);
  void attribute(std::string_view object, std::string_view name, std::span<const double> v);
  /// Contiguous layout; bytes.size() == product(shape) * size_of(type). Zero-sized shapes allowed.
  void dataset(std::string_view path, DType type, std::span<const std::uint64_t> shape,
               std::span<const std::byte> bytes);
  /// Fixed-length UTF-8 strings, one per entry (padded with NUL to the longest).
  void strings(std::string_view path, const std::vector<std::string>& values);
  /// Closes and gives the image, cut to the end of file. The writer is spent.
  std::vector<std::byte> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What a file says it is.
struct Hdf5Kind {
  std::string kind;
  std::uint32_t format_version = 0;
};

/// Parses one file image that was verified before. Every failure is a DataError that names `where`.
/// Thread-safe.
class Hdf5Reader {
 public:
  /// Checks retort_kind and that format_version is in [1, newest].
  Hdf5Reader(std::vector<std::byte> image, std::string where, std::string_view kind,
             std::uint32_t newest);
  ~Hdf5Reader();
  Hdf5Reader(Hdf5Reader&&) noexcept;
  std::uint32_t format_version() const;
  bool has(std::string_view path) const;
  bool has_attribute(std::string_view object, std::string_view name) const;
  std::string text(std::string_view object, std::string_view name) const;
  std::uint64_t number(std::string_view object, std::string_view name) const;
  double real(std::string_view object, std::string_view name) const;
  std::vector<std::uint64_t> numbers(std::string_view object, std::string_view name) const;
  std::vector<double> reals(std::string_view object, std::string_view name) const;
  std::vector<std::uint64_t> shape(std::string_view path) const;
  DType dtype(std::string_view path) const;
  /// Byte offset of a contiguous dataset's first element in the file (for later pread); 0 when it
  /// has no elements.
  std::uint64_t offset(std::string_view path) const;
  /// The raw little-endian bytes of a dataset.
  std::vector<std::byte> bytes(std::string_view path) const;
  template <class T>
  std::vector<T> values(std::string_view path) const;  // T matches dtype, else DataError
  std::vector<std::string> strings(std::string_view path) const;
  /// Paths of all datasets, sorted.
  std::vector<std::string> datasets() const;
  /// Names of the attributes of an object, sorted.
  std::vector<std::string> attributes(std::string_view object) const;

 private:
  friend Hdf5Kind kind_of(std::span<const std::byte> image, const std::string& where);
  struct State;
  std::unique_ptr<State> state_;
};

/// retort_kind and format_version of an image, for inspect and check; DataError if it has none.
Hdf5Kind kind_of(std::span<const std::byte> image, const std::string& where);

/// The elements of a vector, as dataset() takes them.
template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace retort::io
