// Claims over MPI: a rank sends a count and a counter's name to rank 0, which answers with
// the next number. It
// has a communicator of its own, so it crosses any collective. Private to comm.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <mpi.h>

#include "comm/claims.h"
#include "comm/communicator.h"

namespace retort::comm {

/// poll() and open() belong to the communication thread, request() to any thread.
class ClaimChannel {
 public:
  struct Request {
    std::string message;
    std::uint64_t value = 0;
    std::shared_ptr<Pending::State> answered;
  };

  /// Duplicates MPI_COMM_WORLD: collective.
  void open();
  /// Frees the communicator; every rank is through with its claims.
  void close();
  /// Rank 0 counts in place.
  std::uint64_t take(const std::string& name, std::uint64_t count) {
    return counters_.next(name, count);
  }
  /// Queues a claim of another rank.
  std::shared_ptr<Request> request(const std::string& name, std::uint64_t count);
  bool waiting() const;
  /// Communication thread: an answer is due.
  bool outstanding() const { return current_ != nullptr; }
  /// Sends, answers and receives what is due; does not block.
  void poll();

 private:
  struct Answer {
    std::uint64_t value = 0;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  void answer_requests();
  void drive_own_request();

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  ClaimCounters counters_;
  std::list<Answer> answers_;  // under way on rank 0

  mutable std::mutex mutex_;  // of queue_
  std::deque<std::shared_ptr<Request>> queue_;
  std::shared_ptr<Request> current_;  // sent, answer outstanding
  std::vector<MPI_Request> current_requests_;
};

}  // namespace retort::comm
