// Handles and errors of libhdf5, for io/hdf5_*.cpp only.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <hdf5.h>

#include "io/hdf5.h"

namespace retort::io::hdf5 {

/// libhdf5 of Debian is not thread-safe: every call into it is made under this lock. Also silences
/// the library's own printing of errors.
class Lock {
 public:
  Lock();

 private:
  std::unique_lock<std::mutex> lock_;
};

/// The innermost description on the library's error stack, then an empty stack.
std::string take_error();

/// An identifier that closes itself. Made and destroyed under Lock.
class Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Closer closer) : id_(id), closer_(closer) {}
  ~Handle() { reset(); }
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), closer_(std::exchange(other.closer_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(closer_, other.closer_);
    return *this;
  }
  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }
  herr_t reset() {
    const herr_t result = id_ >= 0 && closer_ != nullptr ? closer_(id_) : 0;
    id_ = -1;
    return result;
  }

 private:
  hid_t id_ = -1;
  Closer closer_ = nullptr;
};

/// File type of an element type; little-endian.
Handle file_type(DType type);

/// File access list of images: core driver without backing store, libver v110, closes strongly.
Handle image_access_list();

/// A label for an open image: the library tells open images apart by name alone. Not in the file.
std::string image_label(const void* owner);

}  // namespace retort::io::hdf5
