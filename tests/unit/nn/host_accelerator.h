// An accelerator whose memory is the CPU's and whose work is done at once: what runs on a GPU runs
// on it step by step, on any machine.
#pragma once

#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include "comm/tree_reducer.h"
#include "nn/accelerator.h"
#include "tests/unit/nn/host_kernels.h"

namespace retort::nn {

/// The sum of GpuReducer, at once, by the CPU's reducer.
class HostReducer final : public comm::GpuReducer {
 public:
  HostReducer(comm::Communicator& communicator, std::uint32_t shards, comm::GpuOrder order)
      : communicator_(communicator),
        shards_(shards),
        order_(order),
        reducer_(communicator, comm::gpu_parts(order, shards, communicator.size(), shards).leaves) {
  }
  std::vector<comm::TreeNode> nodes(std::uint32_t active) const override {
    return comm::gpu_parts(order_, shards_, communicator_.size(), active)
        .nodes[static_cast<std::size_t>(communicator_.rank())];
  }
  void start(std::uint32_t active, std::span<float* const> parts, float* out, std::size_t n,
             void*) override {
    std::uint32_t leaves = active;
    if (order_ == comm::GpuOrder::fixed_world) {
      leaves = 0;
      for (const auto& nodes : comm::gpu_parts(order_, shards_, communicator_.size(), active).nodes)
        leaves += nodes.empty() ? 0 : 1;
    }
    std::vector<std::span<float>> spans;
    for (float* part : parts) spans.emplace_back(part, n);
    reducer_.start(leaves, std::move(spans), {out, n}).wait();
  }
  void start(std::uint32_t, std::span<double* const>, double*, std::size_t, void*) override {
    throw std::logic_error("not used");
  }
  void join(void*) override {}
  void wait() override {}

 private:
  comm::Communicator& communicator_;
  std::uint32_t shards_;
  comm::GpuOrder order_;
  comm::TreeReducer reducer_;
};

/// How often work was recorded and replayed.
struct RecordCounts {
  int recorded = 0, replayed = 0;
};

class HostAccelerator final : public Accelerator {
 public:
  explicit HostAccelerator(RecordCounts* counts = nullptr) : counts_(counts) {}
  at::Device device() const override { return at::kCPU; }
  const GpuKernels& kernels() const override { return host_kernels::table(); }
  void* stream() const override { return nullptr; }
  void take_stream() override {}
  at::Tensor staging(std::size_t bytes) override {
    return at::empty({static_cast<std::int64_t>(bytes)}, at::kByte);
  }
  void copy_beside(const at::Tensor& from, const at::Tensor& to, Mark&) override {
    std::memcpy(to.data_ptr(), from.data_ptr(), from.nbytes());
  }
  void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                bool add) const override {
    const at::Tensor product = at::mm(a.to(at::kFloat), b.to(at::kFloat));
    if (add)
      out.add_(product);
    else
      out.copy_(product);
  }
  std::unique_ptr<Mark> make_mark() override {
    struct Nothing final : Mark {
      void set() override {}
      void wait() override {}
    };
    return std::make_unique<Nothing>();
  }
  std::unique_ptr<RecordedWork> record(const std::function<void()>& work) override {
    struct Again final : RecordedWork {
      Again(std::function<void()> f, RecordCounts* c) : work(std::move(f)), counts(c) {}
      void run() override {
        if (counts != nullptr) ++counts->replayed;
        work();
      }
      std::function<void()> work;
      RecordCounts* counts;
    };
    for (int i = 0; i < 3; ++i) work();
    if (counts_ != nullptr) ++counts_->recorded;
    return std::make_unique<Again>(work, counts_);
  }
  std::unique_ptr<comm::GpuReducer> make_reducer(comm::Communicator& communicator,
                                                 std::uint32_t shards,
                                                 comm::GpuOrder order) override {
    return std::make_unique<HostReducer>(communicator, shards, order);
  }

 private:
  RecordCounts* counts_;
};

}  // namespace retort::nn
