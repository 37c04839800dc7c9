#include "comm/add.h"

#include <cassert>

#include "comm/tree_reducer.h"

namespace retort::comm {
namespace {

template <class T>
void add_elements(T* sum, const T* a, const T* b, std::size_t n) {
  // `sum` may be `a` or `b`, element on element: no dependence between iterations.
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) sum[i] = a[i] + b[i];
}

}  // namespace

void add(float* sum, const float* a, const float* b, std::size_t n) { add_elements(sum, a, b, n); }
void add(double* sum, const double* a, const double* b, std::size_t n) {
  add_elements(sum, a, b, n);
}

void add_in_place(std::span<float> a, std::span<const float> b) {
  assert(a.size() == b.size());
  add_elements(a.data(), a.data(), b.data(), a.size());
}
void add_in_place(std::span<double> a, std::span<const double> b) {
  assert(a.size() == b.size());
  add_elements(a.data(), a.data(), b.data(), a.size());
}

}  // namespace retort::comm
