#include "comm/claim_channel.h"

#include <cstring>

#include "comm/mpi_check.h"
#include "comm/pending.h"

namespace retort::comm {
namespace {

constexpr int kRequestTag = 1;
constexpr int kAnswerTag = 2;

}  // namespace

void ClaimChannel::open() {
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
}

void ClaimChannel::close() {
  for (Answer& answer : answers_) MPI_Wait(&answer.request, MPI_STATUS_IGNORE);
  answers_.clear();
  MPI_Comm_free(&comm_);
}

std::shared_ptr<ClaimChannel::Request> ClaimChannel::request(const std::string& name,
                                                             std::uint64_t count) {
  auto request = std::make_shared<Request>();
  request->message.resize(sizeof count);
  std::memcpy(request->message.data(), &count, sizeof count);
  request->message += name;
  request->answered = std::make_shared<Pending::State>();
  std::lock_guard lock(mutex_);
  queue_.push_back(request);
  return request;
}

bool ClaimChannel::waiting() const {
  std::lock_guard lock(mutex_);
  return !queue_.empty();
}

void ClaimChannel::poll() {
  if (rank_ == 0) {
    answer_requests();
  } else {
    drive_own_request();
  }
}

void ClaimChannel::answer_requests() {
  for (;;) {
    int there = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, kRequestTag, comm_, &there, &status), "MPI_Iprobe");
    if (!there) break;
    int length = 0;
    MPI_Get_count(&status, MPI_CHAR, &length);
    std::string message(static_cast<std::size_t>(length), '\0');
    check_mpi(MPI_Recv(message.data(), length, MPI_CHAR, status.MPI_SOURCE, kRequestTag, comm_,
                       MPI_STATUS_IGNORE),
              "MPI_Recv");
    Answer& answer = answers_.emplace_back();
    std::uint64_t count = 0;
    std::memcpy(&count, message.data(), sizeof count);
    answer.value = counters_.next(message.substr(sizeof count), count);
    check_mpi(MPI_Isend(&answer.value, 1, MPI_UINT64_T, status.MPI_SOURCE, kAnswerTag, comm_,
                        &answer.request),
              "MPI_Isend");
  }
  while (!answers_.empty()) {
    int sent = 0;
    check_mpi(MPI_Test(&answers_.front().request, &sent, MPI_STATUS_IGNORE), "MPI_Test");
    if (!sent) break;
    answers_.pop_front();
  }
}

void ClaimChannel::drive_own_request() {
  if (!current_) {
    {
      std::lock_guard lock(mutex_);
      if (queue_.empty()) {
        // An idle look keeps messages moving that were sent but are not yet delivered.
        current_requests_.clear();
      } else {
        current_ = queue_.front();
        queue_.pop_front();
      }
    }
    if (!current_) {
      int there = 0;
      check_mpi(MPI_Iprobe(0, kAnswerTag, comm_, &there, MPI_STATUS_IGNORE), "MPI_Iprobe");
      return;
    }
    current_requests_.assign(2, MPI_REQUEST_NULL);
    check_mpi(
        MPI_Irecv(&current_->value, 1, MPI_UINT64_T, 0, kAnswerTag, comm_, &current_requests_[0]),
        "MPI_Irecv");
    check_mpi(MPI_Isend(current_->message.data(), static_cast<int>(current_->message.size()),
                        MPI_CHAR, 0, kRequestTag, comm_, &current_requests_[1]),
              "MPI_Isend");
  }
  int through = 0;
  check_mpi(MPI_Testall(2, current_requests_.data(), &through, MPI_STATUSES_IGNORE), "MPI_Testall");
  if (!through) return;
  current_->answered->finish(nullptr);
  current_ = nullptr;
}

}  // namespace retort::comm
