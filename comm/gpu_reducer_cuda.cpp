#include <nccl.h>

#include <bit>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <type_traits>

#include "comm/add_tree.h"
#include "comm/cuda_resources.h"
#include "comm/exchange_schedule.h"
#include "comm/gpu_reducer.h"
#include "core/error.h"

namespace retort::comm {
namespace {

/// IoError when the others or the way to them are the reason, else InternalError.
void check_nccl(ncclResult_t result, const char* call, ncclComm_t comm = nullptr) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const std::string what = std::string("NCCL: ") + call + ": " + ncclGetErrorString(result) + " (" +
                           ncclGetLastError(comm) + ")";
  if (result == ncclSystemError || result == ncclRemoteError)
    throw core::IoError(what +
                        ": a rank is gone or its GPU cannot be reached; start again, and set "
                        "NCCL_DEBUG=WARN to see more");
  throw core::InternalError(what);
}

/// Given back on every way out; aborted instead when an operation may still hang.
class NcclCommunicator {
 public:
  NcclCommunicator(Communicator& communicator) {
    ncclUniqueId id{};
    if (communicator.root()) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    communicator.broadcast(std::as_writable_bytes(std::span(&id, 1)));
    check_nccl(ncclCommInitRank(&comm_, communicator.size(), id, communicator.rank()),
               "ncclCommInitRank");
  }
  ~NcclCommunicator() {
    if (failed_)
      ncclCommAbort(comm_);
    else
      ncclCommDestroy(comm_);
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;
  ncclComm_t get() const { return comm_; }
  void check(ncclResult_t result, const char* call) {
    failed_ = failed_ || (result != ncclSuccess && result != ncclInProgress);
    check_nccl(result, call, comm_);
  }
  /// What NCCL's own threads met.
  void check_background() {
    ncclResult_t result = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &result), "ncclCommGetAsyncError");
    check(result, "exchange of gradients");
  }

 private:
  ncclComm_t comm_ = nullptr;
  bool failed_ = false;
};

template <class T>
constexpr ncclDataType_t nccl_type() {
  return std::is_same_v<T, float> ? ncclFloat32 : ncclFloat64;
}

class NcclReducer final : public GpuReducer {
 public:
  NcclReducer(Communicator& communicator, std::uint32_t shards, GpuOrder order)
      : rank_(communicator.rank()), size_(communicator.size()), shards_(shards), order_(order) {
    if (!std::has_single_bit(shards) || static_cast<std::uint32_t>(size_) > shards)
      throw core::UsageError("micro-shards: " + std::to_string(shards) +
                             " is no power of two that is at least the number of ranks, " +
                             std::to_string(size_));
    if (size_ > 1) nccl_ = std::make_unique<NcclCommunicator>(communicator);
  }

  std::vector<TreeNode> nodes(std::uint32_t active) const override {
    return gpu_parts(order_, shards_, size_, active).nodes[static_cast<std::size_t>(rank_)];
  }
  void start(std::uint32_t active, std::span<float* const> parts, float* out, std::size_t n,
             void* stream) override {
    queue(active, parts, out, n, stream);
  }
  void start(std::uint32_t active, std::span<double* const> parts, double* out, std::size_t n,
             void* stream) override {
    queue(active, parts, out, n, stream);
  }
  void join(void* stream) override {
    reached_.record(stream_.get());
    reached_.hold(static_cast<cudaStream_t>(stream));
  }
  void wait() override {
    reached_.record(stream_.get());
    while (!reached_.reached()) {
      if (nccl_) nccl_->check_background();
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }

 private:
  const ReductionPlan& plan(std::uint32_t active) {
    if (const auto known = plans_.find(active); known != plans_.end()) return known->second;
    const GpuParts parts = gpu_parts(order_, shards_, size_, active);
    const ReductionPlan made(parts.leaves, parts.nodes);
    if (made.inputs.size() > kMostTreeInputs)
      throw core::UsageError(std::to_string(made.inputs.size()) +
                             " parts meet in one sum of gradients, at most " +
                             std::to_string(kMostTreeInputs) + " can: start fewer ranks");
    return plans_.emplace(active, made).first->second;
  }

  template <class T>
  void queue(std::uint32_t active, std::span<T* const> parts, T* out, std::size_t n, void* stream) {
    if (active == 0 || active > shards_ || parts.size() != nodes(active).size())
      throw core::InternalError("exchange between GPUs: rank " + std::to_string(rank_) +
                                " does not bring the nodes of " + std::to_string(active) +
                                " micro-shards");
    if (n == 0) return;
    queued_.record(static_cast<cudaStream_t>(stream));
    queued_.hold(stream_.get());
    const ReductionPlan& plan = this->plan(active);
    const ExchangeSchedule schedule(plan, rank_, size_, n);
    T* staging = static_cast<T*>(staging_.at_least(schedule.staging * sizeof(T), stream_.get()));
    bring(schedule, parts, staging);
    add(plan, schedule, parts, staging, out);
    gather(schedule, out);
  }

  template <class T>
  void bring(const ExchangeSchedule& schedule, std::span<T* const> parts, T* staging) {
    if (!nccl_) return;
    nccl_->check(ncclGroupStart(), "ncclGroupStart");
    for (const auto& send : schedule.sends)
      nccl_->check(
          ncclSend(parts[static_cast<std::size_t>(send.part)] + send.range.begin, send.range.size(),
                   nccl_type<T>(), send.peer, nccl_->get(), stream_.get()),
          "ncclSend");
    for (const auto& receive : schedule.receives)
      nccl_->check(ncclRecv(staging + receive.staging, schedule.mine.size(), nccl_type<T>(),
                            receive.peer, nccl_->get(), stream_.get()),
                   "ncclRecv");
    nccl_->check(ncclGroupEnd(), "ncclGroupEnd");
  }

  template <class T>
  void add(const ReductionPlan& plan, const ExchangeSchedule& schedule, std::span<T* const> parts,
           const T* staging, T* out) {
    AddTree<T> tree{};
    for (std::size_t i = 0; i < schedule.inputs.size(); ++i) {
      const auto& input = schedule.inputs[i];
      tree.inputs[i] = input.part >= 0
                           ? parts[static_cast<std::size_t>(input.part)] + schedule.mine.begin
                           : staging + input.staging;
    }
    for (const int step : plan.sum.postfix())
      tree.program[tree.length++] = static_cast<std::int16_t>(step);
    launch_add_tree(stream_.get(), tree, out + schedule.mine.begin, schedule.mine.size());
  }

  template <class T>
  void gather(const ExchangeSchedule& schedule, T* out) {
    if (!nccl_) return;
    nccl_->check(ncclGroupStart(), "ncclGroupStart");
    for (const auto& gather : schedule.gathers) {
      if (schedule.mine.size() > 0)
        nccl_->check(ncclSend(out + schedule.mine.begin, schedule.mine.size(), nccl_type<T>(),
                              gather.peer, nccl_->get(), stream_.get()),
                     "ncclSend");
      if (gather.range.size() > 0)
        nccl_->check(ncclRecv(out + gather.range.begin, gather.range.size(), nccl_type<T>(),
                              gather.peer, nccl_->get(), stream_.get()),
                     "ncclRecv");
    }
    nccl_->check(ncclGroupEnd(), "ncclGroupEnd");
  }

  int rank_, size_;
  std::uint32_t shards_;
  GpuOrder order_;
  std::map<std::uint32_t, ReductionPlan> plans_;
  CudaStream stream_;
  CudaEvent queued_, reached_;
  CudaBuffer staging_;
  std::unique_ptr<NcclCommunicator> nccl_;  // last: goes before the stream that it uses
};

}  // namespace

std::unique_ptr<GpuReducer> GpuReducer::make(Communicator& communicator, std::uint32_t shards,
                                             GpuOrder order, int gpu) {
  check_cuda(cudaSetDevice(gpu), "cudaSetDevice");
  return std::make_unique<NcclReducer>(communicator, shards, order);
}

}  // namespace retort::comm
