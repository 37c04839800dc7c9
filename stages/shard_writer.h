// Finished shards on their way to disk, behind the computation.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "core/range.h"
#include "io/logit_store.h"
#include "io/manifest.h"

namespace retort::stages {

/// One thread that builds the images of shards, writes them and their records in the order in which
/// they come. Thread-safe.
class ShardWriter {
 public:
  struct Shard {
    std::uint64_t pass = 0;
    std::uint64_t index = 0;
    core::Range samples;
    std::vector<io::EncodedRows> batches;  // their rows, in order
  };
  /// Both must outlive this.
  ShardWriter(io::MemberLedger& ledger, const io::LogitFacts& facts);
  /// Waits for the shard in the making; what still queues is given up.
  ~ShardWriter();
  /// Queues a shard; waits while two are queued already. Rethrows an earlier shard's error.
  void write(Shard shard);
  /// Returns when everything is on disk; rethrows the first error.
  void flush();
  /// Shards on disk so far.
  std::uint64_t written() const;

 private:
  void serve();
  void write_now(Shard shard);

  io::MemberLedger& ledger_;
  const io::LogitFacts& facts_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Shard> queue_;
  bool writing_ = false;
  bool closing_ = false;
  std::uint64_t written_ = 0;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace retort::stages
