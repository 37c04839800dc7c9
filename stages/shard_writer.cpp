#include "stages/shard_writer.h"

#include <utility>

#include "core/fault_point.h"
#include "stages/row_encoding.h"

namespace retort::stages {

namespace {
constexpr std::size_t kQueued = 2;
}

ShardWriter::ShardWriter(io::MemberLedger& ledger, const io::LogitFacts& facts)
    : ledger_(ledger), facts_(facts), thread_([this] { serve(); }) {}

ShardWriter::~ShardWriter() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ShardWriter::write(Shard shard) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return queue_.size() < kQueued || error_; });
  if (error_) std::rethrow_exception(error_);
  queue_.push_back(std::move(shard));
  changed_.notify_all();
}

void ShardWriter::flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (queue_.empty() && !writing_) || error_; });
  if (error_) std::rethrow_exception(error_);
}

std::uint64_t ShardWriter::written() const {
  std::lock_guard lock(mutex_);
  return written_;
}

void ShardWriter::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return !queue_.empty() || closing_; });
    if (closing_ || error_) return;
    Shard shard = std::move(queue_.front());
    queue_.pop_front();
    writing_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      write_now(std::move(shard));
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    writing_ = false;
    error_ = error;
    if (!error) ++written_;
    changed_.notify_all();
    if (error) return;
  }
}

void ShardWriter::write_now(Shard shard) {
  const core::FaultPlace place("capture");
  const std::string name = io::logit_shard_name(shard.pass, shard.index, io::part_of(facts_));
  io::EncodedRows rows;
  for (io::EncodedRows& batch : shard.batches) {
    rows.append(batch);
    batch = {};
  }
  const std::vector<std::byte> image =
      io::logit_shard_image(facts_, shard.pass, shard.samples, rows);
  nlohmann::json facts = io::logit_member_facts(image, name);
  facts["rows_digest"] = rows_digest(facts_.layout, rows);
  ledger_.commit(name, image, std::move(facts));
}

}  // namespace retort::stages
