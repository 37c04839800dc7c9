#include <algorithm>
#include <cstring>
#include <limits>
#include <map>

#include "core/error.h"
#include "io/hdf5.h"
#include "io/hdf5_handle.h"

namespace retort::io {
namespace {

using hdf5::Handle;
using hdf5::Lock;
using hdf5::take_error;

// The library's file driver keeps the file in this buffer; we keep the buffer when it closes.
struct Image {
  std::vector<std::byte> bytes;
};

extern "C" {
void* image_malloc(size_t size, H5FD_file_image_op_t, void* image) {
  auto& bytes = static_cast<Image*>(image)->bytes;
  try {
    bytes.resize(size);
  } catch (const std::exception&) {
    return nullptr;
  }
  return bytes.data();
}
void* image_realloc(void*, size_t size, H5FD_file_image_op_t, void* image) {
  auto& bytes = static_cast<Image*>(image)->bytes;
  try {  // geometric growth: many small members must not copy the image each time
    if (size > bytes.capacity()) bytes.reserve(std::max(size, bytes.capacity() * 3 / 2));
    bytes.resize(size);
  } catch (const std::exception&) {
    return nullptr;
  }
  return bytes.data();
}
void* image_memcpy(void* to, const void* from, size_t size, H5FD_file_image_op_t, void*) {
  return to == from ? to : std::memcpy(to, from, size);
}
herr_t image_free(void*, H5FD_file_image_op_t, void*) { return 0; }
void* image_share(void* image) { return image; }
herr_t image_unshare(void*) { return 0; }
}

// Bytes 28..35 of a version 2 or 3 superblock (HDF5 file format specification, II.A).
std::uint64_t end_of_file(std::span<const std::byte> image) {
  constexpr unsigned char kSignature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  if (image.size() < 48 || std::memcmp(image.data(), kSignature, 8) != 0 ||
      image[8] != std::byte{3} || image[9] != std::byte{8}) {
    throw core::InternalError("libhdf5 closed an image without the superblock that was asked for");
  }
  std::uint64_t end = 0;
  std::memcpy(&end, image.data() + 28, sizeof end);
  if (end < 48 || end > image.size()) {
    throw core::InternalError("libhdf5 closed an image of " + std::to_string(image.size()) +
                              " bytes whose end is at " + std::to_string(end));
  }
  return end;
}

void require_plain_text(std::string_view text, std::string_view where) {
  if (text.find('\0') != std::string_view::npos) {
    throw core::DataError("text of " + std::string(where) +
                          " holds a NUL character, which a file cannot keep; remove it");
  }
}

}  // namespace

struct Hdf5Writer::State {
  std::string kind;
  Image image;
  Handle file;
  Handle group_list;    // creation of groups: no times
  Handle dataset_list;  // creation of datasets: no times, contiguous
  Handle link_list;     // UTF-8 names
  std::map<std::string, Handle, std::less<>> groups;
  std::uint64_t payload = 0;

  void check(bool good, std::string_view what) const {
    if (!good) {
      throw core::InternalError("cannot build the HDF5 file of kind " + kind + ": " +
                                std::string(what) + ": " + take_error());
    }
  }

  // The group of this path, made with its parents: intermediate groups made by the library would
  // carry times.
  hid_t group(std::string_view path) {
    if (const auto found = groups.find(path); found != groups.end()) return found->second.get();
    const std::size_t slash = path.rfind('/');
    const hid_t parent =
        group(slash == std::string_view::npos ? std::string_view() : path.substr(0, slash));
    const std::string name(slash == std::string_view::npos ? path : path.substr(slash + 1));
    check(!name.empty(), "empty name in path '" + std::string(path) + "'");
    Handle made(H5Gcreate2(parent, name.c_str(), link_list.get(), group_list.get(), H5P_DEFAULT),
                H5Gclose);
    check(made.valid(), "group " + std::string(path));
    return groups.emplace(std::string(path), std::move(made)).first->second.get();
  }

  void attribute(std::string_view object, std::string_view name, hid_t type, hid_t space,
                 const void* data) {
    Handle target;
    if (const auto found = groups.find(object); found == groups.end()) {
      target = Handle(H5Oopen(file.get(), std::string(object).c_str(), H5P_DEFAULT), H5Oclose);
      check(target.valid(),
            "attribute " + std::string(name) + " of missing object " + std::string(object));
    }
    const hid_t id = target.valid() ? target.get() : groups.find(object)->second.get();
    Handle list(H5Pcreate(H5P_ATTRIBUTE_CREATE), H5Pclose);
    check(list.valid() && H5Pset_char_encoding(list.get(), H5T_CSET_UTF8) >= 0, "attribute list");
    Handle made(H5Acreate2(id, std::string(name).c_str(), type, space, list.get(), H5P_DEFAULT),
                H5Aclose);
    check(made.valid() && H5Awrite(made.get(), type, data) >= 0,
          "attribute " + std::string(name) + " of " + std::string(object));
  }

  void dataset(std::string_view path, hid_t type, std::span<const std::uint64_t> shape,
               const void* data, std::uint64_t bytes) {
    payload += bytes;
    if (payload > kMemberLimit) {
      throw core::InternalError("a file of kind " + kind + " would hold " +
                                std::to_string(payload) + " bytes, more than the limit of " +
                                std::to_string(kMemberLimit));
    }
    const std::size_t slash = path.rfind('/');
    const hid_t parent =
        group(slash == std::string_view::npos ? std::string_view() : path.substr(0, slash));
    const std::string name(slash == std::string_view::npos ? path : path.substr(slash + 1));
    const std::vector<hsize_t> extents(shape.begin(), shape.end());
    Handle space(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
                 H5Sclose);
    check(space.valid(), "shape of " + std::string(path));
    Handle made(H5Dcreate2(parent, name.c_str(), type, space.get(), link_list.get(),
                           dataset_list.get(), H5P_DEFAULT),
                H5Dclose);
    check(made.valid(), "dataset " + std::string(path));
    if (bytes > 0) {
      check(H5Dwrite(made.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0,
            "bytes of " + std::string(path));
    }
  }

  // Fixed-length UTF-8, padded with NUL; at least one byte, HDF5 has no empty type.
  Handle text_type(std::size_t length) const {
    Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    check(type.valid() && H5Tset_size(type.get(), std::max<std::size_t>(length, 1)) >= 0 &&
              H5Tset_strpad(type.get(), H5T_STR_NULLPAD) >= 0 &&
              H5Tset_cset(type.get(), H5T_CSET_UTF8) >= 0,
          "text type");
    return type;
  }

  void close() {
    groups.clear();
    link_list.reset();
    dataset_list.reset();
    group_list.reset();
    file.reset();
  }
};

Hdf5Writer::Hdf5Writer(std::string_view kind, std::uint32_t format_version,
                       std::uint64_t expected_bytes)
    : state_(std::make_unique<State>()) {
  {
    const Lock lock;
    State& state = *state_;
    state.kind = kind;
    state.image.bytes.reserve(std::min(expected_bytes, kMemberLimit));
    Handle access = hdf5::image_access_list();
    H5FD_file_image_callbacks_t callbacks{image_malloc, image_memcpy,  image_realloc, image_free,
                                          image_share,  image_unshare, &state.image};
    state.check(H5Pset_file_image_callbacks(access.get(), &callbacks) >= 0, "image callbacks");
    Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    state.group_list = Handle(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
    state.dataset_list = Handle(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    state.link_list = Handle(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    for (const Handle* list : {&creation, &state.group_list, &state.dataset_list}) {
      // With times on, two equal files differ after a second.
      state.check(list->valid() && H5Pset_obj_track_times(list->get(), 0) >= 0, "no times");
    }
    state.check(H5Pset_layout(state.dataset_list.get(), H5D_CONTIGUOUS) >= 0 &&
                    H5Pset_alloc_time(state.dataset_list.get(), H5D_ALLOC_TIME_EARLY) >= 0 &&
                    H5Pset_fill_time(state.dataset_list.get(), H5D_FILL_TIME_NEVER) >= 0 &&
                    H5Pset_char_encoding(state.link_list.get(), H5T_CSET_UTF8) >= 0,
                "creation lists");
    state.file = Handle(
        H5Fcreate(hdf5::image_label(&state).c_str(), H5F_ACC_TRUNC, creation.get(), access.get()),
        H5Fclose);
    state.check(state.file.valid(), "create");
    Handle root(H5Gopen2(state.file.get(), "/", H5P_DEFAULT), H5Gclose);
    state.check(root.valid(), "root");
    state.groups.emplace("", std::move(root));
  }
  attribute("", "retort_kind", kind);
  attribute("", "format_version", std::uint64_t{format_version});
}

Hdf5Writer::~Hdf5Writer() {
  const Lock lock;
  state_->close();
}

void Hdf5Writer::attribute(std::string_view object, std::string_view name, std::string_view text) {
  require_plain_text(text, name);
  const Lock lock;
  const Handle type = state_->text_type(text.size());
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const std::string padded = text.empty() ? std::string(1, '\0') : std::string(text);
  state_->attribute(object, name, type.get(), space.get(), padded.data());
}

void Hdf5Writer::attribute(std::string_view object, std::string_view name, std::uint64_t value) {
  const Lock lock;
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  state_->attribute(object, name, H5T_STD_U64LE, space.get(), &value);
}

void Hdf5Writer::attribute(std::string_view object, std::string_view name, double value) {
  const Lock lock;
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  state_->attribute(object, name, H5T_IEEE_F64LE, space.get(), &value);
}

void Hdf5Writer::attribute(std::string_view object, std::string_view name,
                           std::span<const std::uint64_t> v) {
  const Lock lock;
  const hsize_t count = v.size();
  const Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
  const std::uint64_t none = 0;
  state_->attribute(object, name, H5T_STD_U64LE, space.get(), v.empty() ? &none : v.data());
}

void Hdf5Writer::attribute(std::string_view object, std::string_view name,
                           std::span<const double> v) {
  const Lock lock;
  const hsize_t count = v.size();
  const Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
  const double none = 0;
  state_->attribute(object, name, H5T_IEEE_F64LE, space.get(), v.empty() ? &none : v.data());
}

void Hdf5Writer::dataset(std::string_view path, DType type, std::span<const std::uint64_t> shape,
                         std::span<const std::byte> bytes) {
  std::uint64_t expected = size_of(type);
  for (const std::uint64_t extent : shape) {
    if (extent != 0 && expected > std::numeric_limits<std::uint64_t>::max() / extent) {
      throw core::InternalError("shape of dataset " + std::string(path) + " overflows");
    }
    expected *= extent;
  }
  if (bytes.size() != expected) {
    throw core::InternalError("dataset " + std::string(path) + " got " +
                              std::to_string(bytes.size()) + " bytes for a shape of " +
                              std::to_string(expected));
  }
  const Lock lock;
  const Handle element = hdf5::file_type(type);
  state_->dataset(path, element.get(), shape, bytes.data(), bytes.size());
}

void Hdf5Writer::strings(std::string_view path, const std::vector<std::string>& values) {
  std::size_t length = 1;
  for (const std::string& value : values) {
    require_plain_text(value, path);
    length = std::max(length, value.size());
  }
  if (length > kMemberLimit / std::max<std::size_t>(values.size(), 1)) {
    throw core::InternalError("the texts of " + std::string(path) + " exceed a file's limit of " +
                              std::to_string(kMemberLimit) + " bytes");
  }
  std::vector<char> padded(length * values.size(), '\0');
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::memcpy(padded.data() + i * length, values[i].data(), values[i].size());
  }
  const Lock lock;
  const Handle type = state_->text_type(length);
  const std::uint64_t count = values.size();
  state_->dataset(path, type.get(), {&count, 1}, padded.data(), padded.size());
}

std::vector<std::byte> Hdf5Writer::finish() {
  const Lock lock;
  State& state = *state_;
  state.check(state.file.valid(), "finish after finish");
  state.groups.clear();
  state.check(state.file.reset() >= 0, "close");
  const std::uint64_t end = end_of_file(state.image.bytes);
  if (end > kMemberLimit) {
    throw core::InternalError("a file of kind " + state.kind + " has " + std::to_string(end) +
                              " bytes, more than the limit of " + std::to_string(kMemberLimit));
  }
  state.image.bytes.resize(end);
  return std::move(state.image.bytes);
}

}  // namespace retort::io
