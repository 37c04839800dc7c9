// One rank without MPI: everything runs in place, in the caller's thread. Private to comm.
#pragma once

#include "comm/backend.h"
#include "comm/claims.h"

namespace retort::comm {

class SingleBackend final : public Communicator::Backend {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void barrier() override {}
  void broadcast(std::span<std::byte>) override {}
  std::string broadcast_text(const std::string& text) override { return text; }
  std::vector<std::string> all_gather(const std::string& text) override { return {text}; }
  std::vector<std::uint64_t> all_gather(std::uint64_t value) override { return {value}; }
  void all_reduce(std::span<std::uint64_t>, ReduceOp) override {}
  Pending exchange(std::vector<PeerTransfer> transfers) override;
  Pending run(std::function<void()> work) override;
  void progress() override {}
  void watch(std::chrono::milliseconds) override {}
  void at(const char*, std::uint64_t) override {}
  std::uint64_t claim(const std::string& name, std::uint64_t count) override {
    return counters_.next(name, count);
  }
  [[noreturn]] void abort(int exit_code) override;

 private:
  ClaimCounters counters_;
};

}  // namespace retort::comm
