#include "io/hdf5_image.h"

namespace retort::io {

using hdf5::Handle;
using hdf5::Lock;
using hdf5::take_error;

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
  if (depth > hdf5::kMaxDepth) fail("groups are nested too deeply at " + group);
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
