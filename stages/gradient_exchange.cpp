#include "stages/gradient_exchange.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "core/error.h"

namespace retort::stages {

namespace {

/// Where the memory of a parameter may differ from zero.
struct Filled {
  bool whole = false;              // anywhere
  std::vector<std::int64_t> rows;  // else: rows of the first dimension, ascending
};

}  // namespace

struct GradientExchange::Slot {
  at::Tensor flat;
  float* data = nullptr;
  std::uint32_t shard = 0;
  std::vector<int> missing;    // parameters still to come, by bucket
  std::vector<char> arrived;   // by parameter
  std::vector<Filled> filled;  // by parameter
  std::size_t holds = 0;       // buckets whose sum lies here, and the writer
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
    if (bucket.last == 0) bucket.last = i + 1;
    if (end - specs[i].offset >= bucket_elements || i == 0) {
      bucket.first = i;
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
    slot->filled.resize(layout_.specs().size());
  }
  slot->shard = shard;
  slot->missing.resize(buckets_.size());
  for (std::size_t b = 0; b < buckets_.size(); ++b)
    slot->missing[b] = static_cast<int>(buckets_[b].last - buckets_[b].first);
  slot->arrived.assign(layout_.specs().size(), 0);
  slot->holds = buckets_.size() + 1;  // one for its writer, until close()
  return slot;
}

void GradientExchange::ready(Slot* slot, int parameter, const at::Tensor& gradient) {
  const auto& spec = layout_.specs()[static_cast<std::size_t>(parameter)];
  auto& arrived = slot->arrived[static_cast<std::size_t>(parameter)];
  if (arrived) throw core::InternalError("gradient of " + spec.name + " arrived twice");
  arrived = 1;
  if (gradient.defined() && gradient.is_sparse()) {
    scatter(*slot, static_cast<std::size_t>(parameter), gradient);
  } else {
    float* target = slot->data + spec.offset;
    if (gradient.defined()) {
      const at::Tensor dense = gradient.contiguous();
      std::memcpy(target, dense.data_ptr<float>(), spec.elements * sizeof(float));
    } else {
      std::memset(target, 0, spec.elements * sizeof(float));
    }
    slot->filled[static_cast<std::size_t>(parameter)].whole = true;
  }
  const auto bucket = static_cast<std::size_t>(bucket_of_[static_cast<std::size_t>(parameter)]);
  if (--slot->missing[bucket] == 0) complete(bucket, slot->shard, slot);
}

void GradientExchange::scatter(Slot& slot, std::size_t parameter,
                               const at::Tensor& gradient) const {
  const auto& spec = layout_.specs()[parameter];
  const std::size_t width = spec.elements / static_cast<std::size_t>(spec.shape[0]);
  float* target = slot.data + spec.offset;
  Filled& filled = slot.filled[parameter];
  if (filled.whole) std::memset(target, 0, spec.elements * sizeof(float));
  for (const std::int64_t row : filled.rows)
    std::memset(target + static_cast<std::size_t>(row) * width, 0, width * sizeof(float));
  if (!gradient.is_coalesced() || gradient.sparse_dim() != 1 ||
      gradient.sizes() != at::IntArrayRef(spec.shape))
    throw core::InternalError("sparse gradient of " + spec.name + " is not one of its rows");
  const at::Tensor rows = gradient._indices().contiguous(),
                   values = gradient._values().contiguous();
  filled.whole = false;
  filled.rows.assign(rows.const_data_ptr<std::int64_t>(),
                     rows.const_data_ptr<std::int64_t>() + rows.numel());
  const float* from = values.const_data_ptr<float>();
  for (const std::int64_t row : filled.rows) {
    float* to = target + static_cast<std::size_t>(row) * width;
    // -0 becomes 0, as it would by adding the zeros of another micro-shard: then nothing shows
    // whether those were added.
    for (std::size_t i = 0; i < width; ++i) to[i] = from[i] + 0.0F;
    from += width;
  }
}

std::uint64_t GradientExchange::end_of(const Bucket& bucket, std::size_t parameter) const {
  return parameter + 1 < bucket.last ? layout_.specs()[parameter + 1].offset : bucket.end;
}

void GradientExchange::add(Slot& left, const Slot& right, const Bucket& bucket) const {
  const auto add_range = [&](std::uint64_t begin, std::uint64_t end) {
    if (begin < end)
      comm::add_in_place({left.data + begin, end - begin}, {right.data + begin, end - begin});
  };
  std::uint64_t begin = bucket.begin;  // of the elements that are still to be added
  for (std::size_t p = bucket.first; p < bucket.last; ++p) {
    Filled& filled = left.filled[p];
    if (filled.whole || right.filled[p].whole) {
      filled.whole = true;
      continue;
    }
    const auto& spec = layout_.specs()[p];
    add_range(begin, spec.offset);
    begin = end_of(bucket, p);
    const std::size_t width = spec.elements / static_cast<std::size_t>(spec.shape[0]);
    for (const std::int64_t row : right.filled[p].rows) {
      const std::uint64_t at = spec.offset + static_cast<std::size_t>(row) * width;
      add_range(at, at + width);
    }
    std::vector<std::int64_t> both;
    both.reserve(filled.rows.size() + right.filled[p].rows.size());
    std::set_union(filled.rows.begin(), filled.rows.end(), right.filled[p].rows.begin(),
                   right.filled[p].rows.end(), std::back_inserter(both));
    filled.rows = std::move(both);
  }
  add_range(begin, bucket.end);
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
      add(*left, *right, bucket);
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
