#include "io/hdf5_handle.h"

#include <array>
#include <cstdint>

#include "core/error.h"

namespace retort::io {
namespace {

struct TypeFact {
  DType type;
  std::string_view name;
  std::size_t size;
};
constexpr std::array<TypeFact, 9> kTypes{{{DType::u8, "u8", 1},
                                          {DType::u16, "u16", 2},
                                          {DType::u32, "u32", 4},
                                          {DType::u64, "u64", 8},
                                          {DType::i32, "i32", 4},
                                          {DType::i64, "i64", 8},
                                          {DType::f16, "f16", 2},
                                          {DType::f32, "f32", 4},
                                          {DType::f64, "f64", 8}}};

const TypeFact& fact_of(DType type) {
  for (const TypeFact& fact : kTypes) {
    if (fact.type == type) return fact;
  }
  throw core::InternalError("element type " + std::to_string(static_cast<int>(type)) +
                            " is unknown");
}

}  // namespace

std::size_t size_of(DType type) { return fact_of(type).size; }

std::string_view name_of(DType type) { return fact_of(type).name; }

DType dtype_of(std::string_view name) {
  for (const TypeFact& fact : kTypes) {
    if (fact.name == name) return fact.type;
  }
  throw core::DataError("unknown element type '" + std::string(name) +
                        "'; known are u8, u16, u32, u64, i32, i64, f16, f32, f64");
}

namespace hdf5 {
namespace {

std::mutex& library_mutex() {
  static std::mutex mutex;
  return mutex;
}

extern "C" herr_t keep_innermost(unsigned, const H5E_error2_t* error, void* text) {
  if (error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

}  // namespace

Lock::Lock() : lock_(library_mutex()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

std::string take_error() {
  std::string text = "no reason given";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, &text);
  H5Eclear2(H5E_DEFAULT);
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

Handle file_type(DType type) {
  const auto copy = [](hid_t id) { return Handle(H5Tcopy(id), H5Tclose); };
  switch (type) {
    case DType::u8:
      return copy(H5T_STD_U8LE);
    case DType::u16:
      return copy(H5T_STD_U16LE);
    case DType::u32:
      return copy(H5T_STD_U32LE);
    case DType::u64:
      return copy(H5T_STD_U64LE);
    case DType::i32:
      return copy(H5T_STD_I32LE);
    case DType::i64:
      return copy(H5T_STD_I64LE);
    case DType::f32:
      return copy(H5T_IEEE_F32LE);
    case DType::f64:
      return copy(H5T_IEEE_F64LE);
    case DType::f16: {
      // HDF5 1.10 has no half: IEEE 754 binary16, as h5py writes numpy.float16.
      Handle half = copy(H5T_IEEE_F32LE);
      if (H5Tset_fields(half.get(), 15, 10, 5, 0, 10) < 0 || H5Tset_size(half.get(), 2) < 0 ||
          H5Tset_ebias(half.get(), 15) < 0) {
        throw core::InternalError("cannot make the HDF5 type of f16: " + take_error());
      }
      return half;
    }
  }
  throw core::InternalError("element type without HDF5 type");
}

Handle image_access_list() {
  Handle list(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  // Grows by the buffer's own rule (see the image callbacks), the increment only rounds.
  if (!list.valid() || H5Pset_fapl_core(list.get(), std::size_t{1} << 16, 0) < 0 ||
      H5Pset_libver_bounds(list.get(), H5F_LIBVER_V110, H5F_LIBVER_V110) < 0 ||
      H5Pset_fclose_degree(list.get(), H5F_CLOSE_STRONG) < 0) {
    throw core::InternalError("cannot set up HDF5 images: " + take_error());
  }
  return list;
}

std::string image_label(const void* owner) {
  return "image-" + std::to_string(reinterpret_cast<std::uintptr_t>(owner));
}

}  // namespace hdf5
}  // namespace retort::io
