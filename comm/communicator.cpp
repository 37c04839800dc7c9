#include "comm/communicator.h"

#include <cstdlib>
#include <utility>

#include "comm/backend.h"
#include "comm/mpi_backend.h"
#include "comm/mpi_version.h"
#include "comm/single_backend.h"

namespace retort::comm {

Communicator::Communicator(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}
Communicator::~Communicator() = default;
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;

Communicator Communicator::single() { return Communicator(std::make_unique<SingleBackend>()); }

Communicator Communicator::world(std::chrono::milliseconds start_limit) {
  if (!started_with_ranks()) return single();
  return Communicator(std::make_unique<MpiBackend>(start_limit));
}

int Communicator::rank() const { return backend_->rank(); }
int Communicator::size() const { return backend_->size(); }
void Communicator::barrier() { backend_->barrier(); }
void Communicator::broadcast(std::span<std::byte> bytes) { backend_->broadcast(bytes); }
std::string Communicator::broadcast(const std::string& text) {
  return backend_->broadcast_text(text);
}
std::vector<std::string> Communicator::all_gather(const std::string& text) {
  return backend_->all_gather(text);
}
std::vector<std::uint64_t> Communicator::all_gather(std::uint64_t value) {
  return backend_->all_gather(value);
}
std::uint64_t Communicator::all_reduce_sum(std::uint64_t value) {
  backend_->all_reduce(std::span(&value, 1), ReduceOp::sum);
  return value;
}
std::uint64_t Communicator::all_reduce_max(std::uint64_t value) {
  backend_->all_reduce(std::span(&value, 1), ReduceOp::max);
  return value;
}
std::uint64_t Communicator::all_reduce_min(std::uint64_t value) {
  backend_->all_reduce(std::span(&value, 1), ReduceOp::min);
  return value;
}
void Communicator::all_reduce_max(std::span<std::uint64_t> values) {
  backend_->all_reduce(values, ReduceOp::max);
}
bool Communicator::any(bool value) { return all_reduce_max(value ? 1 : 0) != 0; }
Pending Communicator::exchange(std::vector<PeerTransfer> transfers) {
  return backend_->exchange(std::move(transfers));
}
Pending Communicator::run(std::function<void()> work) { return backend_->run(std::move(work)); }
void Communicator::progress() { backend_->progress(); }
std::uint64_t Communicator::claim(const std::string& name, std::uint64_t count) {
  return backend_->claim(name, count);
}
void Communicator::watch(std::chrono::milliseconds limit) { backend_->watch(limit); }
void Communicator::at(const char* unit, std::uint64_t place) { backend_->at(unit, place); }
void Communicator::abort(int exit_code) {
  backend_->abort(exit_code);
  std::abort();  // not reached
}

bool started_with_ranks() {
  const auto has = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0';
  };
  const auto above_one = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && std::atol(value) > 1;
  };
  return has("OMPI_COMM_WORLD_SIZE") || (has("PMIX_RANK") && has("PMIX_NAMESPACE")) ||
         (has("PMI_RANK") && above_one("PMI_SIZE") && speaks_pmi());
}

}  // namespace retort::comm
