#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <utility>

#include <ATen/cuda/CUDAContextLight.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "core/error.h"
#include "core/log.h"
#include "nn/accelerator.h"

namespace retort::nn {
namespace {

using c10::cuda::CUDAStream;

void check(cudaError_t error, const char* call) {
  if (error != cudaSuccess)
    throw core::InternalError(std::string("CUDA: ") + call + ": " + cudaGetErrorString(error));
}

class CudaMark final : public Mark {
 public:
  CudaMark() {
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming | cudaEventBlockingSync),
          "cudaEventCreate");
  }
  ~CudaMark() override { cudaEventDestroy(event_); }
  void set() override {
    check(cudaEventRecord(event_, c10::cuda::getCurrentCUDAStream()), "cudaEventRecord");
    set_ = true;
  }
  void wait() override {
    if (set_) check(cudaEventSynchronize(event_), "work on the GPU failed");
  }
  /// Lets `stream` start what follows only behind this.
  void hold(cudaStream_t stream) const {
    if (set_) check(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
  }
  void set_on(cudaStream_t stream) {
    check(cudaEventRecord(event_, stream), "cudaEventRecord");
    set_ = true;
  }

 private:
  cudaEvent_t event_ = nullptr;
  bool set_ = false;
};

class CudaGraphWork final : public RecordedWork {
 public:
  explicit CudaGraphWork(std::unique_ptr<at::cuda::CUDAGraph> graph) : graph_(std::move(graph)) {}
  void run() override { graph_->replay(); }

 private:
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
};

struct BlasFactor {
  cublasOperation_t operation = CUBLAS_OP_N;
  int stride = 0;
};
/// Of the transposed of a matrix, as cuBLAS, which counts columns first, sees its memory.
BlasFactor factor_of(const at::Tensor& matrix) {
  if (matrix.stride(1) == 1) return {CUBLAS_OP_N, static_cast<int>(matrix.stride(0))};
  if (matrix.stride(0) == 1) return {CUBLAS_OP_T, static_cast<int>(matrix.stride(1))};
  throw core::InternalError("a product of a matrix whose numbers lie apart");
}

class CudaAccelerator final : public Accelerator {
 public:
  explicit CudaAccelerator(int gpu)
      : gpu_(gpu), copies_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, index())) {}

  at::Device device() const override { return {at::kCUDA, index()}; }
  const GpuKernels& kernels() const override { return *gpu_kernels(); }
  void* stream() const override { return c10::cuda::getCurrentCUDAStream(index()).stream(); }
  void take_stream() override {
    check(cudaSetDevice(gpu_), "cudaSetDevice");
    if (c10::cuda::getCurrentCUDAStream(index()) == c10::cuda::getDefaultCUDAStream(index()))
      c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(false, index()));
  }
  at::Tensor staging(std::size_t bytes) override {
    return at::empty({static_cast<std::int64_t>(bytes)},
                     at::TensorOptions(at::kByte).pinned_memory(true));
  }
  void copy_beside(const at::Tensor& from, const at::Tensor& to, Mark& after) override {
    const cudaStream_t beside = copies_.stream();
    static_cast<CudaMark&>(after).hold(beside);
    const std::size_t bytes = from.nbytes();
    if (to.nbytes() < bytes) throw core::InternalError("a copy beyond its target");
    check(cudaMemcpyAsync(to.data_ptr(), from.data_ptr(), bytes, cudaMemcpyDefault, beside),
          "cudaMemcpyAsync");
    CudaMark done;
    done.set_on(beside);
    done.hold(c10::cuda::getCurrentCUDAStream(index()));
  }
  void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                bool add) const override {
    // cuBLAS counts columns first: out^T = b^T a^T.
    const BlasFactor left = factor_of(b), right = factor_of(a);
    const bool fp32 = a.scalar_type() == at::kFloat;
    const cudaDataType type = fp32 ? CUDA_R_32F : CUDA_R_16BF;
    const float one = 1, beta = add ? 1 : 0;
    const cublasStatus_t status = cublasGemmEx(
        at::cuda::getCurrentCUDABlasHandle(), left.operation, right.operation,
        static_cast<int>(out.size(1)), static_cast<int>(out.size(0)), static_cast<int>(a.size(1)),
        &one, b.const_data_ptr(), type, left.stride, a.const_data_ptr(), type, right.stride, &beta,
        out.mutable_data_ptr(), CUDA_R_32F, static_cast<int>(out.stride(0)),
        fp32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    if (status != CUBLAS_STATUS_SUCCESS)
      throw core::InternalError(std::string("cuBLAS: ") + cublasGetStatusString(status));
  }
  std::unique_ptr<Mark> make_mark() override { return std::make_unique<CudaMark>(); }

  std::unique_ptr<RecordedWork> record(const std::function<void()>& work) override {
    check(cudaDeviceSynchronize(), "work on the GPU failed");
    const CUDAStream side = c10::cuda::getStreamFromPool(false, index());
    std::unique_ptr<RecordedWork> recorded;
    {
      const c10::cuda::CUDAStreamGuard guard(side);
      work();
      work();
      check(cudaStreamSynchronize(side), "work on the GPU failed");
      auto graph = std::make_unique<at::cuda::CUDAGraph>();
      const auto pool = at::cuda::graph_pool_handle();
      try {
        graph->capture_begin(pool);
        work();
        graph->capture_end();
        recorded = std::make_unique<CudaGraphWork>(std::move(graph));
      } catch (const std::exception& error) {
        const std::string reason = error.what();
        core::log_debug("GPU work is not recorded: {}", reason.substr(0, reason.find('\n')));
        end_capture(side);
        c10::cuda::CUDACachingAllocator::endAllocateToPool(index(), pool);
        (void)cudaGetLastError();
      }
    }
    check(cudaDeviceSynchronize(), "work on the GPU failed");
    return recorded;
  }

  std::unique_ptr<comm::GpuReducer> make_reducer(comm::Communicator& communicator,
                                                 std::uint32_t shards,
                                                 comm::GpuOrder order) override {
    return comm::GpuReducer::make(communicator, shards, order, gpu_);
  }

 private:
  c10::DeviceIndex index() const { return static_cast<c10::DeviceIndex>(gpu_); }
  // A capture that failed must not stay open.
  static void end_capture(cudaStream_t stream) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(stream, &status) != cudaSuccess ||
        status == cudaStreamCaptureStatusNone)
      return;
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(stream, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
  }

  int gpu_;
  CUDAStream copies_;
};

}  // namespace

std::unique_ptr<Accelerator> make_accelerator(const Device& device) {
  use_device(device);
  return std::make_unique<CudaAccelerator>(device.gpu);
}

}  // namespace retort::nn
