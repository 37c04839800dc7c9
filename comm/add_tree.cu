#include <cuda_runtime.h>

#include <string>

#include "comm/add_tree.h"
#include "core/error.h"

namespace retort::comm {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void add_tree(const __grid_constant__ AddTree<T> tree, T* out, std::size_t n) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) out[i] = add_tree_element(tree, i);
}

template <class T>
void launch(void* stream, const AddTree<T>& tree, T* out, std::size_t n) {
  if (n == 0 || tree.length == 0) return;
  const auto blocks = static_cast<unsigned>((n + kThreads - 1) / kThreads);
  add_tree<T><<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(tree, out, n);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw core::InternalError(std::string("GPU kernel add_tree: ") + cudaGetErrorString(error));
}

}  // namespace

void launch_add_tree(void* stream, const AddTree<float>& tree, float* out, std::size_t n) {
  launch(stream, tree, out, n);
}
void launch_add_tree(void* stream, const AddTree<double>& tree, double* out, std::size_t n) {
  launch(stream, tree, out, n);
}

}  // namespace retort::comm
