// The sum of one element along the tree, as the program that TreeSum::postfix gives: the kernel of
// the owner of a slice. The same text on the GPU and, in tests, on the CPU; plain IEEE additions.
// Private to comm.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/device_code.h"

namespace retort::comm {

inline constexpr int kMostTreeInputs = 1024;
inline constexpr int kMostTreeDepth = 33;  // of a tree over 2^32 leaves

/// Travels to the GPU as an argument of the kernel.
template <class T>
struct AddTree {
  const T* inputs[kMostTreeInputs];
  std::int16_t program[2 * kMostTreeInputs];  // TreeSum::postfix
  int length = 0;
};

template <class T>
RETORT_DEVICE inline T add_tree_element(const AddTree<T>& tree, std::size_t i) {
  T stack[kMostTreeDepth];
  stack[0] = 0;
  int top = 0;
  for (int at = 0; at < tree.length; ++at) {
    const int input = tree.program[at];
    if (input >= 0) {
      stack[top++] = tree.inputs[input][i];
    } else {
      --top;
      stack[top - 1] = stack[top - 1] + stack[top];
    }
  }
  return stack[0];
}

/// out[i] = the sum for i < n, queued on `stream` (a cudaStream_t). `out` may be one of the inputs.
/// InternalError when the launch is refused.
void launch_add_tree(void* stream, const AddTree<float>& tree, float* out, std::size_t n);
void launch_add_tree(void* stream, const AddTree<double>& tree, double* out, std::size_t n);

}  // namespace retort::comm
