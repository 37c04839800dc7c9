// Numbers that begin at a line of the cache.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace retort::nn {

/// Not initialised. Move-only.
template <class T>
class Aligned {
 public:
  Aligned() = default;
  explicit Aligned(std::uint64_t count) : data_(allocate(count)), count_(count) {}
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](std::uint64_t i) { return data_.get()[i]; }
  const T& operator[](std::uint64_t i) const { return data_.get()[i]; }
  std::uint64_t size() const { return count_; }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  static T* allocate(std::uint64_t count) {
    constexpr std::uint64_t kLine = 64;
    if (count == 0) return nullptr;
    void* data = std::aligned_alloc(kLine, (count * sizeof(T) + kLine - 1) / kLine * kLine);
    if (data == nullptr) throw std::bad_alloc();
    return static_cast<T*>(data);
  }
  std::unique_ptr<T, Free> data_;
  std::uint64_t count_ = 0;
};

/// Numbers from one row of `columns` floats to the next: whole lines, and never a multiple of 256
/// bytes, at which rows would fall into few sets of the cache.
inline std::int64_t padded_row(std::int64_t columns) {
  const std::int64_t lines = (columns + 15) / 16;
  return (lines % 4 == 0 ? lines + 1 : lines) * 16;
}

}  // namespace retort::nn
