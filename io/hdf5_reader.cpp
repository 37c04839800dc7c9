#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "core/error.h"
#include "io/hdf5.h"
#include "io/hdf5_handle.h"

namespace retort::io {
namespace {

using hdf5::Handle;
using hdf5::Lock;
using hdf5::take_error;

// The library's file driver reads our bytes in place: it never writes, the file is read-only.
struct Source {
  std::byte* data = nullptr;
};

extern "C" {
void* source_malloc(size_t, H5FD_file_image_op_t, void* source) {
  return static_cast<Source*>(source)->data;
}
void* source_memcpy(void* to, const void*, size_t, H5FD_file_image_op_t, void*) { return to; }
void* source_realloc(void*, size_t, H5FD_file_image_op_t, void*) { return nullptr; }
herr_t source_free(void*, H5FD_file_image_op_t, void*) { return 0; }
void* source_share(void* source) { return source; }
herr_t source_unshare(void*) { return 0; }
}

// Shapes, attributes and names beyond these are no files of ours; bounds what a bad file can ask.
constexpr int kMaxRank = 32;
constexpr int kMaxDepth = 64;

struct Shape {
  std::vector<std::uint64_t> extents;
  std::uint64_t elements = 1;
};

}  // namespace

struct Hdf5Reader::State {
  std::vector<std::byte> image;
  std::uint64_t size = 0;
  std::string where;
  Source source;
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
    fail("cannot read " + what + " (HDF5: " + take_error() + ")");
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
    H5FD_file_image_callbacks_t callbacks{source_malloc, source_memcpy, source_realloc,
                                          source_free,   source_share,  source_unshare,
                                          &source};
    if (H5Pset_file_image_callbacks(access.get(), &callbacks) < 0 ||
        H5Pset_file_image(access.get(), source.data, bytes.size()) < 0) {
      throw core::InternalError("cannot hand an image to HDF5: " + take_error());
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
    if (rank < 0 || rank > kMaxRank || H5Sis_simple(space.get()) <= 0) {
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

namespace {

// Names are listed in native order and sorted here: for a sorted listing the library (1.10.8)
// builds a table and, when a damaged link stops it half-way, frees entries that it never set.
extern "C" herr_t collect_name(hid_t, const char* name, const H5L_info_t*, void* names) {
  static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  return 0;
}
extern "C" herr_t collect_attribute(hid_t, const char* name, const H5A_info_t*, void* names) {
  static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  return 0;
}

}  // namespace

void Hdf5Reader::State::list(const std::string& group, int depth,
                             std::vector<std::string>& out) const {
  if (depth > kMaxDepth) fail("groups are nested too deeply at " + group);
  std::vector<std::string> names;
  {
    const Handle id(H5Gopen2(file.get(), group.empty() ? "/" : group.c_str(), H5P_DEFAULT),
                    H5Gclose);
    hsize_t next = 0;
    if (!id.valid() ||
        H5Literate(id.get(), H5_INDEX_NAME, H5_ITER_NATIVE, &next, collect_name, &names) < 0) {
      fail_in_library("group /" + group);
    }
  }
  for (const std::string& name : names) {
    const std::string path = group.empty() ? name : group + "/" + name;
    H5L_info_t link;
    if (H5Lget_info(file.get(), path.c_str(), &link, H5P_DEFAULT) < 0 ||
        link.type != H5L_TYPE_HARD) {
      fail("/" + path + " is not a plain link");
    }
    const Handle object(H5Oopen(file.get(), path.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object.valid()) fail_in_library("object /" + path);
    const H5I_type_t type = H5Iget_type(object.get());
    if (type == H5I_DATASET) {
      out.push_back(path);
    } else if (type == H5I_GROUP) {
      list(path, depth + 1, out);
    } else {
      fail("/" + path + " is neither group nor dataset");
    }
  }
}

Hdf5Reader::Hdf5Reader(std::vector<std::byte> image, std::string where, std::string_view kind,
                       std::uint32_t newest)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.image = std::move(image);
  state.where = std::move(where);
  {
    const Lock lock;
    state.open(state.image);
  }
  if (state.kind.kind != kind) {
    throw core::DataError(state.where + " is a file of kind '" + state.kind.kind + "', not '" +
                          std::string(kind) + "'; give the right file");
  }
  const std::uint32_t version = state.kind.format_version;
  if (version < 1 || version > newest) {
    throw core::DataError(state.where + " has format version " + std::to_string(version) +
                          " of kind '" + std::string(kind) + "', this Retort reads 1 to " +
                          std::to_string(newest) + "; use a newer Retort");
  }
}

Hdf5Reader::~Hdf5Reader() = default;
Hdf5Reader::Hdf5Reader(Hdf5Reader&&) noexcept = default;

std::uint32_t Hdf5Reader::format_version() const { return state_->kind.format_version; }

bool Hdf5Reader::has(std::string_view path) const {
  const Lock lock;
  return state_->has(path);
}

bool Hdf5Reader::has_attribute(std::string_view object, std::string_view name) const {
  const Lock lock;
  if (!state_->has(object)) return false;
  const htri_t found = H5Aexists_by_name(state_->file.get(), State::name_of_object(object).c_str(),
                                         std::string(name).c_str(), H5P_DEFAULT);
  if (found < 0) state_->fail_in_library("attributes of " + State::name_of_object(object));
  return found > 0;
}

std::string Hdf5Reader::text(std::string_view object, std::string_view name) const {
  const Lock lock;
  return state_->text(object, name);
}

std::uint64_t Hdf5Reader::number(std::string_view object, std::string_view name) const {
  const Lock lock;
  return state_->number(object, name);
}

double Hdf5Reader::real(std::string_view object, std::string_view name) const {
  const Lock lock;
  return state_->single<double>(object, name, DType::f64);
}

std::vector<std::uint64_t> Hdf5Reader::numbers(std::string_view object,
                                               std::string_view name) const {
  const Lock lock;
  return state_->attribute_values<std::uint64_t>(object, name, DType::u64);
}

std::vector<double> Hdf5Reader::reals(std::string_view object, std::string_view name) const {
  const Lock lock;
  return state_->attribute_values<double>(object, name, DType::f64);
}

std::vector<std::uint64_t> Hdf5Reader::shape(std::string_view path) const {
  const Lock lock;
  return state_->dataset(path).shape.extents;
}

DType Hdf5Reader::dtype(std::string_view path) const {
  const Lock lock;
  return state_->dtype(state_->dataset(path));
}

std::uint64_t Hdf5Reader::offset(std::string_view path) const {
  const Lock lock;
  const State::OpenDataset open = state_->dataset(path);
  return state_->offset(open, H5Tget_size(open.type.get()));
}

std::vector<std::byte> Hdf5Reader::bytes(std::string_view path) const {
  std::uint64_t begin = 0;
  std::uint64_t count = 0;
  {
    const Lock lock;
    const State::OpenDataset open = state_->dataset(path);
    const std::size_t element = size_of(state_->dtype(open));
    begin = state_->offset(open, element);
    count = open.shape.elements * element;
  }
  // Contiguous little-endian elements are the file's bytes: no conversion, no lock.
  const auto first = state_->image.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

template <class T>
std::vector<T> Hdf5Reader::values(std::string_view path) const {
  constexpr DType kType = [] {
    if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
    if constexpr (std::is_same_v<T, std::uint16_t>) return DType::u16;
    if constexpr (std::is_same_v<T, std::uint32_t>) return DType::u32;
    if constexpr (std::is_same_v<T, std::uint64_t>) return DType::u64;
    if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
    if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
    if constexpr (std::is_same_v<T, float>) return DType::f32;
    if constexpr (std::is_same_v<T, double>) return DType::f64;
  }();
  const DType stored = dtype(path);
  if (stored != kType) {
    state_->fail("dataset " + std::string(path) + " holds " + std::string(name_of(stored)) +
                 ", not " + std::string(name_of(kType)));
  }
  const std::vector<std::byte> raw = bytes(path);
  std::vector<T> out(raw.size() / sizeof(T));
  if (!raw.empty()) std::memcpy(out.data(), raw.data(), raw.size());
  return out;
}

template std::vector<std::uint8_t> Hdf5Reader::values(std::string_view) const;
template std::vector<std::uint16_t> Hdf5Reader::values(std::string_view) const;
template std::vector<std::uint32_t> Hdf5Reader::values(std::string_view) const;
template std::vector<std::uint64_t> Hdf5Reader::values(std::string_view) const;
template std::vector<std::int32_t> Hdf5Reader::values(std::string_view) const;
template std::vector<std::int64_t> Hdf5Reader::values(std::string_view) const;
template std::vector<float> Hdf5Reader::values(std::string_view) const;
template std::vector<double> Hdf5Reader::values(std::string_view) const;

std::vector<std::string> Hdf5Reader::strings(std::string_view path) const {
  std::uint64_t begin = 0;
  std::uint64_t count = 0;
  std::size_t length = 0;
  {
    const Lock lock;
    const State::OpenDataset open = state_->dataset(path);
    length = state_->text_length(open.type, open.what);
    if (open.shape.extents.size() != 1) state_->fail(open.what + " is not a list of texts");
    count = open.shape.elements;
    if (count > state_->size / length) state_->fail(open.what + " is larger than the file");
    begin = state_->offset(open, length);
  }
  std::vector<std::string> out;
  out.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string value(reinterpret_cast<const char*>(state_->image.data()) + begin + i * length,
                      length);
    value.resize(value.find_last_not_of('\0') + 1);
    out.push_back(std::move(value));
  }
  return out;
}

std::vector<std::string> Hdf5Reader::datasets() const {
  const Lock lock;
  std::vector<std::string> out;
  state_->list("", 0, out);
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> Hdf5Reader::attributes(std::string_view object) const {
  const Lock lock;
  if (!state_->has(object)) state_->fail("object " + std::string(object) + " is missing");
  std::vector<std::string> names;
  hsize_t next = 0;
  if (H5Aiterate_by_name(state_->file.get(), State::name_of_object(object).c_str(), H5_INDEX_NAME,
                         H5_ITER_NATIVE, &next, collect_attribute, &names, H5P_DEFAULT) < 0) {
    state_->fail_in_library("attributes of " + State::name_of_object(object));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Hdf5Kind kind_of(std::span<const std::byte> image, const std::string& where) {
  Hdf5Reader::State state;
  state.where = where;
  const Lock lock;
  state.open(image);
  return state.kind;
}

}  // namespace retort::io
