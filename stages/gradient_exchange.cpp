#include "stages/gradient_exchange.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace retort::stages {

struct GradientExchange::Slot {
  at::Tensor flat;
  float* data = nullptr;
  std::uint32_t shard = 0;
  std::vector<int> missing;   // parameters still to come, by bucket
  std::vector<char> arrived;  // by parameter
  std::size_t holds = 0;      // buckets whose sum lies here, and the writer
};

GradientExchange::GradientExchange(comm::Communicator& communicator,
                                   const nn::ParameterLayout& layout, std::uint32_t shards,
                                   std::uint64_t bucket_elements)
    : reducer_(communicator, shards), layout_(layout), shards_(shards) {
  const auto& specs = layout.specs();
  bucket_of_.resize(specs.size());
  std::uint64_t end = layout.flat_size();
  Bucket bucket;
  for (std::size_t i = specs.size(); i-- > 0;) {
    bucket_of_[i] = static_cast<int>(buckets_.size());
    ++bucket.parameters;
    if (end - specs[i].offset >= bucket_elements || i == 0) {
      bucket.begin = specs[i].offset;
      bucket.end = end;
      end = specs[i].offset;
      buckets_.push_back(std::move(bucket));
      bucket = {};
    }
  }
  for (auto& b : buckets_) b.nodes.resize(std::size_t{2} * shards);
  total_ = nn::make_flat(layout);
}

GradientExchange::~GradientExchange() = default;

void GradientExchange::begin(std::uint32_t active) {
  active_ = active;
  tops_ = reducer_.nodes(active);
  top_of_.assign(std::size_t{2} * shards_, -1);
  for (std::size_t i = 0; i < tops_.size(); ++i)
    top_of_[(shards_ >> tops_[i].level) + tops_[i].index] = static_cast<int>(i);
  for (auto& bucket : buckets_) {
    std::fill(bucket.nodes.begin(), bucket.nodes.end(), nullptr);
    bucket.tops.assign(tops_.size(), nullptr);
    bucket.tops_done = 0;
  }
  next_bucket_ = 0;
  pending_.clear();
  // Whatever an earlier, failed step left behind is free again.
  free_.clear();
  for (auto& slot : slots_) free_.push_back(slot.get());
  std::lock_guard lock(mutex_);
  start_ready_buckets();
}

GradientExchange::Slot* GradientExchange::open(std::uint32_t shard) {
  Slot* slot = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (free_.empty()) {
      slots_.push_back(std::make_unique<Slot>());
      free_.push_back(slots_.back().get());
    }
    slot = free_.back();
    free_.pop_back();
  }
  if (!slot->flat.defined()) {
    slot->flat = nn::make_flat(layout_);
    slot->data = slot->flat.data_ptr<float>();
  }
  slot->shard = shard;
  slot->missing.resize(buckets_.size());
  for (std::size_t b = 0; b < buckets_.size(); ++b) slot->missing[b] = buckets_[b].parameters;
  slot->arrived.assign(layout_.specs().size(), 0);
  slot->holds = buckets_.size() + 1;  // one for its writer, until close()
  return slot;
}

void GradientExchange::ready(Slot* slot, int parameter, const at::Tensor& gradient) {
  const auto& spec = layout_.specs()[static_cast<std::size_t>(parameter)];
  auto& arrived = slot->arrived[static_cast<std::size_t>(parameter)];
  if (arrived) throw core::InternalError("gradient of " + spec.name + " arrived twice");
  arrived = 1;
  float* target = slot->data + spec.offset;
  if (gradient.defined()) {
    const at::Tensor dense = gradient.contiguous();
    std::memcpy(target, dense.data_ptr<float>(), spec.elements * sizeof(float));
  } else {
    std::memset(target, 0, spec.elements * sizeof(float));
  }
  const auto bucket = static_cast<std::size_t>(bucket_of_[static_cast<std::size_t>(parameter)]);
  if (--slot->missing[bucket] == 0) complete(bucket, slot->shard, slot);
}

void GradientExchange::close(Slot* slot) {
  for (std::size_t i = 0; i < slot->arrived.size(); ++i)
    if (!slot->arrived[i]) ready(slot, static_cast<int>(i), at::Tensor());
  // Only now may another worker be given this slot: its buckets may all have been added elsewhere
  // while its writer was still on its way here.
  std::lock_guard lock(mutex_);
  release(slot);
}

void GradientExchange::release(Slot* slot) {
  if (--slot->holds == 0) free_.push_back(slot);
}

void GradientExchange::complete(std::size_t index, std::uint32_t shard, Slot* slot) {
  Bucket& bucket = buckets_[index];
  const std::size_t size = bucket.end - bucket.begin;
  std::uint32_t node = shards_ + shard;
  int level = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (const int top = top_of_[node]; top >= 0) {
      bucket.tops[static_cast<std::size_t>(top)] = slot;
      ++bucket.tops_done;
      start_ready_buckets();
      return;
    }
    const std::uint32_t sibling = node ^ 1U;
    const std::uint64_t first_leaf = std::uint64_t{sibling - (shards_ >> level)} << level;
    if (first_leaf < active_) {
      Slot* other = bucket.nodes[sibling];
      if (other == nullptr) {
        bucket.nodes[node] = slot;  // whoever completes the sibling goes on
        return;
      }
      Slot* left = (node & 1U) == 0 ? slot : other;
      Slot* right = left == slot ? other : slot;
      lock.unlock();
      comm::add_in_place({left->data + bucket.begin, size}, {right->data + bucket.begin, size});
      lock.lock();
      release(right);
      slot = left;
    }
    node >>= 1;
    ++level;
  }
}

void GradientExchange::start_ready_buckets() {
  while (next_bucket_ < buckets_.size() && buckets_[next_bucket_].tops_done == tops_.size()) {
    const Bucket& bucket = buckets_[next_bucket_++];
    const std::size_t size = bucket.end - bucket.begin;
    std::vector<std::span<float>> parts;
    for (Slot* slot : bucket.tops) parts.emplace_back(slot->data + bucket.begin, size);
    pending_.push_back(
        reducer_.start(active_, std::move(parts), {total_.data_ptr<float>() + bucket.begin, size}));
  }
}

at::Tensor& GradientExchange::finish() {
  for (auto& pending : pending_) pending.wait();
  pending_.clear();
  return total_;
}

}  // namespace retort::stages
