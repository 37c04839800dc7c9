#include "io/logit_store.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/manifest.h"
#include "io/shard_files.h"

namespace retort::io {
namespace {

// Rows that lie closer than this in one file are read by one call: below it, copying what lies
// between costs less than a second system call (tests/bench/io/logit_rows_bench.cpp).
constexpr std::uint64_t kJoinGap = 2048;
constexpr std::size_t kChunkRows = 1024;
constexpr std::uint64_t kLargestRead = std::uint64_t{1} << 20;

/// One bit per row: whether its content was checked. Thread-safe.
class RowBits {
 public:
  explicit RowBits(std::uint64_t rows) : words_(rows / 64 + 1) {}
  bool get(std::uint64_t row) const {
    return (words_[row / 64].load(std::memory_order_relaxed) >> (row % 64) & 1) != 0;
  }
  void set(std::uint64_t row) {
    words_[row / 64].fetch_or(std::uint64_t{1} << (row % 64), std::memory_order_relaxed);
  }

 private:
  std::vector<std::atomic<std::uint64_t>> words_;
};

/// One row wanted: its sample, and where in the caller's spans it goes.
struct Wanted {
  std::uint64_t sample;
  std::size_t place;
  std::uint64_t at = 0;  // of its bytes in the workspace
};

/// Per-thread working space of read(), kept between calls.
struct Workspace {
  std::vector<Wanted> wanted, unsorted;
  std::vector<std::uint32_t> bucket_end;
  std::vector<std::byte> bytes;
};

Workspace& workspace() {
  thread_local Workspace space;
  return space;
}

/// Brings space.wanted nearly into the order of samples. Random samples of a shuffled epoch fall
/// evenly into as many buckets as there are rows: that costs a tenth of what std::sort's
/// mispredicted branches do, and less than ascending reads save. Neighbours in a dense batch get a
/// bucket each.
void order_wanted(Workspace& space) {
  constexpr std::uint32_t kFullBucket = 8;
  std::vector<Wanted>& wanted = space.wanted;
  std::uint64_t least = ~std::uint64_t{0}, most = 0, last = 0;
  bool sorted = true;
  for (const Wanted& w : wanted) {
    sorted &= w.sample >= last;
    last = w.sample;
    least = std::min(least, w.sample);
    most = std::max(most, w.sample);
  }
  if (sorted) return;
  const std::size_t buckets = wanted.size();
  const double scale = static_cast<double>(buckets) / (static_cast<double>(most - least) + 1);
  space.bucket_end.assign(buckets + 1, 0);
  for (Wanted& w : wanted) {
    w.at = std::min<std::uint64_t>(
        static_cast<std::uint64_t>(static_cast<double>(w.sample - least) * scale), buckets - 1);
    ++space.bucket_end[w.at + 1];
  }
  if (*std::max_element(space.bucket_end.begin(), space.bucket_end.end()) > kFullBucket) {
    std::sort(wanted.begin(), wanted.end(),
              [](const Wanted& a, const Wanted& b) { return a.sample < b.sample; });
    return;
  }
  for (std::size_t b = 0; b < buckets; ++b) space.bucket_end[b + 1] += space.bucket_end[b];
  space.unsorted.swap(wanted);
  wanted.resize(buckets);
  for (const Wanted& w : space.unsorted) wanted[space.bucket_end[w.at]++] = w;
}

}  // namespace

struct LogitStore::State {
  State(LogitFacts f, std::string d, std::vector<std::string> n, std::vector<std::uint64_t> o,
        std::vector<std::filesystem::path> paths)
      : facts(std::move(f)),
        digest(std::move(d)),
        names(std::move(n)),
        offsets(std::move(o)),
        row_bytes(facts.layout.row_bytes()),
        files(std::move(paths)),
        checked(facts.passes * facts.samples) {}
  LogitFacts facts;
  std::string digest;
  std::vector<std::string> names;      // [pass * shards + shard]
  std::vector<std::uint64_t> offsets;  // of row 0, alike
  std::uint64_t row_bytes;
  ShardFiles files;
  RowBits checked;  // [pass * samples + sample]

  /// Reads the rows of `wanted` into `bytes`; sets where each begins.
  void read_rows(std::uint64_t pass, std::span<Wanted> wanted, std::vector<std::byte>& bytes) const;
};

LogitStore::LogitStore(const std::filesystem::path& folder) {
  const Manifest manifest = read_manifest(folder, "logits");
  const std::string where = folder.string();
  LogitFacts facts = LogitFacts::from_json(manifest.facts, where);
  std::map<std::string, const Member*> members;
  for (const Member& member : manifest.members) members[member.name] = &member;

  const std::uint64_t shards = logit_shard_count(facts);
  // Checked before anything is sized by numbers of the file.
  if (shards != 0 && facts.passes > manifest.members.size() / shards)
    throw core::DataError(where + ": " + std::to_string(manifest.members.size()) +
                          " shards, its facts ask for " + std::to_string(facts.passes) +
                          " passes of " + std::to_string(shards) + "; run teach again");
  std::vector<std::string> names;
  std::vector<std::uint64_t> offsets;
  std::vector<std::filesystem::path> paths;
  for (std::uint64_t pass = 0; pass < facts.passes; ++pass) {
    for (std::uint64_t shard = 0; shard < shards; ++shard) {
      const std::string name = logit_shard_name(pass, shard);
      const auto fail = [&](const std::string& what) {
        throw core::DataError(where + "/" + name + ": " + what + "; run teach again");
      };
      const auto found = members.find(name);
      if (found == members.end()) fail("shard is not in the manifest");
      const Member& member = *found->second;
      if (!member.facts.is_object() || !member.facts.contains("rows_offset") ||
          !member.facts["rows_offset"].is_number_unsigned())
        fail("the manifest gives no rows_offset");
      const auto offset = member.facts["rows_offset"].get<std::uint64_t>();
      // By division: numbers of a file must not overflow a product.
      if (offset > member.seal.size || logit_shard_range(facts, shard).size() >
                                           (member.seal.size - offset) / facts.layout.row_bytes())
        fail("its rows end behind the end of the file");
      std::error_code error;
      const std::uint64_t size = std::filesystem::file_size(folder / name, error);
      if (error) fail("shard is missing (" + error.message() + ")");
      if (size != member.seal.size)
        fail("shard has " + std::to_string(size) + " bytes, the manifest says " +
             std::to_string(member.seal.size));
      names.push_back(where + "/" + name);
      offsets.push_back(offset);
      paths.push_back(folder / name);
    }
  }
  state_ = std::make_unique<State>(std::move(facts), manifest.content_digest, std::move(names),
                                   std::move(offsets), std::move(paths));
}

LogitStore::~LogitStore() = default;
LogitStore::LogitStore(LogitStore&&) noexcept = default;

const LogitFacts& LogitStore::facts() const { return state_->facts; }
const std::string& LogitStore::digest() const { return state_->digest; }

void LogitStore::read(std::uint64_t pass, std::span<const std::uint64_t> samples,
                      std::span<std::uint32_t> ids, std::span<float> logits,
                      std::span<float> tail_lse) const {
  const LogitFacts& facts = state_->facts;
  const LogitLayout& layout = facts.layout;
  const std::uint64_t row_bytes = state_->row_bytes;
  const std::size_t k = layout.top_k;
  const std::size_t t = layout.temperatures.size();
  if (pass >= facts.passes)
    throw core::InternalError("logits: pass " + std::to_string(pass) + " of " +
                              std::to_string(facts.passes));
  if (ids.size() != samples.size() * k || logits.size() != samples.size() * k ||
      tail_lse.size() != samples.size() * t)
    throw core::InternalError("logits: spans don't fit the layout");

  Workspace& space = workspace();
  space.wanted.resize(samples.size());
  std::uint64_t largest = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    largest = std::max(largest, samples[i]);
    space.wanted[i] = {samples[i], i, 0};
  }
  if (!samples.empty() && largest >= facts.samples)
    throw core::InternalError("logits: sample " + std::to_string(largest) + " of " +
                              std::to_string(facts.samples));
  // File order: neighbours join, and ascending offsets are cheaper to look up.
  order_wanted(space);

  // All reads of a chunk first, then all decoding: code that runs between system calls starts cold.
  std::span<Wanted> rest = space.wanted;
  while (!rest.empty()) {
    const std::span<Wanted> chunk = rest.first(std::min(rest.size(), kChunkRows));
    state_->read_rows(pass, chunk, space.bytes);
    for (const Wanted& wanted : chunk) {
      const LogitRow row{ids.subspan(wanted.place * k, k), logits.subspan(wanted.place * k, k),
                         tail_lse.subspan(wanted.place * t, t)};
      const std::uint64_t number = pass * facts.samples + wanted.sample;
      const bool known = state_->checked.get(number);
      try {
        decode_row(layout, std::span<const std::byte>(space.bytes).subspan(wanted.at, row_bytes),
                   row, known ? RowCheck::bytes : RowCheck::content);
        if (!known) state_->checked.set(number);
      } catch (const core::DataError& error) {
        const std::uint64_t shard = wanted.sample / facts.shard_samples;
        throw core::DataError(
            fmt::format("{}: row {} (sample {}): {}; run check on the folder, then teach again",
                        state_->names[pass * logit_shard_count(facts) + shard],
                        wanted.sample % facts.shard_samples, wanted.sample, error.what()));
      }
    }
    rest = rest.subspan(chunk.size());
  }
}

void LogitStore::State::read_rows(std::uint64_t pass, std::span<Wanted> wanted,
                                  std::vector<std::byte>& bytes) const {
  const std::uint64_t shards = logit_shard_count(facts);
  std::shared_ptr<const RandomAccessFile> file;
  core::Range shard_samples;  // of `file`
  std::uint64_t shard_offset = 0;
  std::uint64_t filled = 0;
  for (std::size_t begin = 0; begin < wanted.size();) {
    const std::uint64_t first = wanted[begin].sample;
    if (!file || !shard_samples.contains(first)) {
      const std::uint64_t shard = first / facts.shard_samples;
      const auto index = static_cast<std::size_t>(pass * shards + shard);
      file = files.get(index);
      shard_samples = logit_shard_range(facts, shard);
      shard_offset = offsets[index];
    }
    // The run [begin, end) of rows that one call reads.
    std::size_t end = begin;
    std::uint64_t last = first;
    for (; end < wanted.size(); ++end) {
      const std::uint64_t next = wanted[end].sample;
      if (next < last || next >= shard_samples.end) break;
      if (next > last + 1 && (next - last - 1) * row_bytes > kJoinGap) break;
      if (next > first && (next - first + 1) * row_bytes > kLargestRead) break;
      last = next;
      wanted[end].at = filled + (next - first) * row_bytes;
    }
    const std::uint64_t size = (last - first + 1) * row_bytes;
    if (bytes.size() < filled + size) bytes.resize(std::max(2 * bytes.size(), filled + size));
    file->read(shard_offset + (first - shard_samples.begin) * row_bytes,
               std::span<std::byte>(bytes).subspan(filled, size));
    filled += size;
    begin = end;
  }
}

}  // namespace retort::io
