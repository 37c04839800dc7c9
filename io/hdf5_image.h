// Inside of io/hdf5_reader.cpp: one open image and what is asked of libhdf5 about it. Nobody else
// includes this.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "core/error.h"
#include "io/hdf5.h"
#include "io/hdf5_handle.h"

namespace retort::io {
namespace hdf5 {

// The library's file driver reads our bytes in place: it never writes, the file is read-only.
struct Source {
  std::byte* data = nullptr;
};

extern "C" {
inline void* source_malloc(size_t, H5FD_file_image_op_t, void* source) {
  return static_cast<Source*>(source)->data;
}
inline void* source_memcpy(void* to, const void*, size_t, H5FD_file_image_op_t, void*) {
  return to;
}
inline void* source_realloc(void*, size_t, H5FD_file_image_op_t, void*) { return nullptr; }
inline herr_t source_free(void*, H5FD_file_image_op_t, void*) { return 0; }
inline void* source_share(void* source) { return source; }
inline herr_t source_unshare(void*) { return 0; }
}

// Shapes, attributes and names beyond these are no files of ours; bounds what a bad file can ask.
inline constexpr int kMaxRank = 32;
inline constexpr int kMaxDepth = 64;

struct Shape {
  std::vector<std::uint64_t> extents;
  std::uint64_t elements = 1;
};

}  // namespace hdf5

struct Hdf5Reader::State {
  using Handle = hdf5::Handle;
  using Lock = hdf5::Lock;
  using Shape = hdf5::Shape;

  std::vector<std::byte> image;
  std::uint64_t size = 0;
  std::string where;
  hdf5::Source source;
  Handle file;
  Hdf5Kind kind;

  ~State() {
    const Lock lock;
    file.reset();
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw core::DataError(where + ": " + why + "; restore the file or make it anew");
  }
  [[noreturn]] void fail_in_library(const std::string& what) const {
    fail("cannot read " + what + " (HDF5: " + hdf5::take_error() + ")");
  }

  // Under Lock. `bytes` outlives the file.
  void open(std::span<const std::byte> bytes) {
    constexpr std::array<unsigned char, 8> kSignature{0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    size = bytes.size();
    // The library would look for a superblock further on; ours is at the start, and only there.
    if (bytes.size() < 48 || std::memcmp(bytes.data(), kSignature.data(), 8) != 0) {
      fail("not an HDF5 file");
    }
    source.data = const_cast<std::byte*>(bytes.data());
    Handle access = hdf5::image_access_list();
    H5FD_file_image_callbacks_t callbacks{hdf5::source_malloc,
                                          hdf5::source_memcpy,
                                          hdf5::source_realloc,
                                          hdf5::source_free,
                                          hdf5::source_share,
                                          hdf5::source_unshare,
                                          &source};
    if (H5Pset_file_image_callbacks(access.get(), &callbacks) < 0 ||
        H5Pset_file_image(access.get(), source.data, bytes.size()) < 0) {
      throw core::InternalError("cannot hand an image to HDF5: " + hdf5::take_error());
    }
    file = Handle(H5Fopen(hdf5::image_label(this).c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
    if (!file.valid()) fail_in_library("the HDF5 file");
    kind.kind = text("", "retort_kind");
    const std::uint64_t version = number("", "format_version");
    if (version > 0xffffffffu) fail("format_version " + std::to_string(version) + " is absurd");
    kind.format_version = static_cast<std::uint32_t>(version);
  }

  static std::string name_of_object(std::string_view object) {
    return object.empty() ? "/" : std::string(object);
  }

  // Every step of the path must be there: H5Lexists fails on missing parents.
  bool has(std::string_view path) const {
    if (path.empty()) return true;
    std::size_t end = 0;
    while (end != std::string_view::npos) {
      end = path.find('/', end + 1);
      const std::string part(path.substr(0, end));
      if (H5Lexists(file.get(), part.c_str(), H5P_DEFAULT) <= 0) {
        H5Eclear2(H5E_DEFAULT);
        return false;
      }
    }
    return true;
  }

  Handle attribute(std::string_view object, std::string_view name) const {
    Handle made(H5Aopen_by_name(file.get(), name_of_object(object).c_str(),
                                std::string(name).c_str(), H5P_DEFAULT, H5P_DEFAULT),
                H5Aclose);
    if (!made.valid()) {
      fail_in_library("attribute " + std::string(name) + " of " + name_of_object(object));
    }
    return made;
  }

  Shape shape_of(const Handle& space, const std::string& what) const {
    const int rank = space.valid() ? H5Sget_simple_extent_ndims(space.get()) : -1;
    if (rank < 0 || rank > hdf5::kMaxRank || H5Sis_simple(space.get()) <= 0) {
      fail_in_library("the shape of " + what);
    }
    std::vector<hsize_t> extents(static_cast<std::size_t>(rank) + 1);
    if (H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr) < 0) {
      fail_in_library("the shape of " + what);
    }
    Shape shape;
    for (int i = 0; i < rank; ++i) {
      const std::uint64_t extent = extents[static_cast<std::size_t>(i)];
      if (extent != 0 && shape.elements > (std::uint64_t{1} << 48) / extent) {
        fail("the shape of " + what + " is absurd");
      }
      shape.elements *= extent;
      shape.extents.push_back(extent);
    }
    return shape;
  }

  // All elements of an attribute of exactly this type.
  template <class T>
  std::vector<T> attribute_values(std::string_view object, std::string_view name,
                                  DType type) const {
    const std::string what = "attribute " + std::string(name) + " of " + name_of_object(object);
    const Handle found = attribute(object, name);
    const Handle stored(H5Aget_type(found.get()), H5Tclose);
    const Handle wanted = hdf5::file_type(type);
    if (!stored.valid() || H5Tequal(stored.get(), wanted.get()) <= 0) {
      fail(what + " is not of type " + std::string(io::name_of(type)));
    }
    const Handle space(H5Aget_space(found.get()), H5Sclose);
    const Shape shape = shape_of(space, what);
    if (shape.elements > size / sizeof(T)) fail(what + " is larger than the file");
    std::vector<T> values(shape.elements);
    if (!values.empty() && H5Aread(found.get(), wanted.get(), values.data()) < 0) {
      fail_in_library(what);
    }
    return values;
  }

  template <class T>
  T single(std::string_view object, std::string_view name, DType type) const {
    const std::vector<T> values = attribute_values<T>(object, name, type);
    if (values.size() != 1) {
      fail("attribute " + std::string(name) + " of " + name_of_object(object) +
           " is not one number");
    }
    return values[0];
  }

  std::uint64_t number(std::string_view object, std::string_view name) const {
    return single<std::uint64_t>(object, name, DType::u64);
  }

  // Length of a fixed-length text type; fails for every other type.
  std::size_t text_length(const Handle& type, const std::string& what) const {
    if (!type.valid() || H5Tget_class(type.get()) != H5T_STRING ||
        H5Tis_variable_str(type.get()) != 0) {
      fail(what + " is not fixed-length text");
    }
    const std::size_t length = H5Tget_size(type.get());
    if (length == 0 || length > size) fail_in_library("the type of " + what);
    return length;
  }

  std::string text(std::string_view object, std::string_view name) const {
    const std::string what = "attribute " + std::string(name) + " of " + name_of_object(object);
    const Handle found = attribute(object, name);
    const Handle type(H5Aget_type(found.get()), H5Tclose);
    const std::size_t length = text_length(type, what);
    const Handle space(H5Aget_space(found.get()), H5Sclose);
    if (shape_of(space, what).elements != 1) fail(what + " is not one text");
    std::string value(length, '\0');
    if (H5Aread(found.get(), type.get(), value.data()) < 0) fail_in_library(what);
    value.resize(value.find_last_not_of('\0') + 1);
    return value;
  }

  struct OpenDataset {
    Handle id;
    Handle type;
    Shape shape;
    std::string what;
  };

  OpenDataset dataset(std::string_view path) const {
    OpenDataset open;
    open.what = "dataset " + std::string(path);
    if (!has(path) || path.empty()) fail(open.what + " is missing");
    open.id = Handle(H5Dopen2(file.get(), std::string(path).c_str(), H5P_DEFAULT), H5Dclose);
    if (!open.id.valid()) fail_in_library(open.what);
    open.type = Handle(H5Dget_type(open.id.get()), H5Tclose);
    if (!open.type.valid()) fail_in_library("the type of " + open.what);
    const Handle space(H5Dget_space(open.id.get()), H5Sclose);
    open.shape = shape_of(space, open.what);
    return open;
  }

  DType dtype(const OpenDataset& open) const {
    for (const DType type : {DType::u8, DType::u16, DType::u32, DType::u64, DType::i32, DType::i64,
                             DType::f16, DType::f32, DType::f64}) {
      const Handle known = hdf5::file_type(type);
      if (H5Tequal(open.type.get(), known.get()) > 0) return type;
    }
    fail(open.what + " has an element type that Retort does not know");
  }

  // Byte range of the elements in the file. Only contiguous datasets are ours; reading others would
  // also let a hostile file run filters.
  std::uint64_t offset(const OpenDataset& open, std::uint64_t element) const {
    const std::uint64_t bytes = open.shape.elements * element;
    if (bytes == 0) return 0;
    const Handle list(H5Dget_create_plist(open.id.get()), H5Pclose);
    if (!list.valid() || H5Pget_layout(list.get()) != H5D_CONTIGUOUS ||
        H5Pget_external_count(list.get()) != 0) {
      fail(open.what + " is not stored contiguously");
    }
    const haddr_t begin = H5Dget_offset(open.id.get());
    if (begin == HADDR_UNDEF) fail(open.what + " has no stored elements");
    if (bytes > size || begin > size - bytes) fail(open.what + " ends beyond the file");
    return begin;
  }

  void list(const std::string& group, int depth, std::vector<std::string>& out) const;
};

}  // namespace retort::io
