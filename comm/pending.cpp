#include "comm/pending.h"

#include <utility>

namespace retort::comm {

Pending::Pending() = default;
Pending::Pending(std::shared_ptr<State> state) : state_(std::move(state)) {}
Pending::Pending(Pending&&) noexcept = default;

Pending& Pending::operator=(Pending&& other) noexcept {
  if (this != &other) {
    Pending dropped(std::move(*this));
    state_ = std::move(other.state_);
  }
  return *this;
}

Pending::~Pending() {
  if (!state_) return;
  try {
    state_->wait_done();
  } catch (...) {
    // The owner chose not to look at the outcome.
  }
}

void Pending::wait() {
  if (!state_) return;
  const std::shared_ptr<State> state = std::exchange(state_, nullptr);
  state->wait_done();
  if (state->error) std::rethrow_exception(state->error);
}

bool Pending::done() const { return !state_ || state_->is_done(); }

}  // namespace retort::comm
