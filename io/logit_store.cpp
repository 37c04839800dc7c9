#include "io/logit_store.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/hdf5.h"
#include "io/manifest.h"
#include "io/row_order.h"
#include "io/shard_files.h"
#include "io/weighted_row.h"

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

/// Per-thread working space of read(), kept between calls.
struct Workspace {
  std::vector<WantedRow> wanted;
  RowOrder order;
  std::vector<std::byte> bytes;
};

Workspace& workspace() {
  thread_local Workspace space;
  return space;
}

/// A shard as it is in memory.
struct Shard {
  std::string name;
  FileSeal seal;
  std::uint64_t offset = 0;  // of row 0
  core::Range samples;
  std::vector<std::uint32_t> row_begin;  // n + 1, of ragged rows
};

/// Begins of ragged rows, from the file. Members have at most 256 MB: 32 bits hold them.
std::vector<std::uint32_t> read_row_begin(const RandomAccessFile& file, const nlohmann::json& facts,
                                          const Shard& shard) {
  const auto fail = [&](const std::string& what) {
    throw core::DataError(shard.name + ": " + what + "; run teach again");
  };
  std::uint64_t offset = 0, crc = 0;
  try {
    offset = facts.at("row_begin").at("offset").get<std::uint64_t>();
    crc = facts.at("row_begin").at("crc32c").get<std::uint64_t>();
  } catch (const nlohmann::json::exception&) {
    fail("the manifest does not say where its rows begin");
  }
  std::vector<std::uint64_t> table(shard.samples.size() + 1);
  const auto bytes = std::as_writable_bytes(std::span(table));
  if (offset > shard.seal.size || bytes.size() > shard.seal.size - offset)
    fail("the table of its rows ends behind the end of the file");
  file.read(offset, bytes);
  if (core::crc32c(bytes) != crc) fail("the table of its rows doesn't match its CRC32C");
  if (table.front() != 0 || !std::is_sorted(table.begin(), table.end()) ||
      table.back() > shard.seal.size - shard.offset)
    fail("the table of its rows is not in order, or its rows end behind the end of the file");
  return {table.begin(), table.end()};
}

}  // namespace

struct LogitStore::State {
  State(LogitFacts f, std::string d, std::vector<Shard> s, std::vector<std::filesystem::path> paths)
      : facts(std::move(f)),
        digest(std::move(d)),
        shards(std::move(s)),
        row_bytes(facts.layout.row_bytes()),
        files(std::move(paths)),
        checked(facts.passes * facts.samples) {}
  LogitFacts facts;
  std::string digest;
  std::vector<Shard> shards;  // [pass * shards + shard]
  std::uint64_t row_bytes;    // 0: ragged
  ShardFiles files;
  mutable RowBits checked;  // [pass * samples + sample]

  std::size_t index_of(std::uint64_t pass, std::uint64_t sample) const {
    return static_cast<std::size_t>(pass * logit_shard_count(facts) + sample / facts.shard_samples);
  }
  /// Bytes of a sample's row, from row 0 of its shard.
  core::Range row(const Shard& shard, std::uint64_t sample) const {
    const std::uint64_t i = sample - shard.samples.begin;
    if (row_bytes != 0) return {i * row_bytes, (i + 1) * row_bytes};
    return {shard.row_begin[i], shard.row_begin[i + 1]};
  }
  /// Reads the rows of `wanted` into `bytes`; sets where each begins.
  void read_rows(std::uint64_t pass, std::span<WantedRow> wanted,
                 std::vector<std::byte>& bytes) const;
  /// Calls decode(place in samples, bytes of the row, how to check it) for each sample.
  template <class Decode>
  void visit(std::uint64_t pass, std::span<const std::uint64_t> samples, Decode decode) const;
  void require(RowForm form, std::uint64_t pass) const;
  [[noreturn]] void throw_bad_row(std::uint64_t pass, std::uint64_t sample,
                                  const std::string& what) const;
};

LogitStore::LogitStore(const std::filesystem::path& folder, LogitPart part) {
  const Manifest manifest = read_manifest(folder, "logits");
  const std::string where = folder.string();
  LogitFacts facts = part_facts(manifest.facts, part, where);
  std::map<std::string, const Member*> members;
  for (const Member& member : manifest.members) members[member.name] = &member;

  const std::uint64_t count = logit_shard_count(facts);
  // Checked before anything is sized by numbers of the file.
  if (count != 0 && facts.passes > manifest.members.size() / count)
    throw core::DataError(where + ": " + std::to_string(manifest.members.size()) +
                          " shards, its facts ask for " + std::to_string(facts.passes) +
                          " passes of " + std::to_string(count) + "; run teach again");
  const bool ragged = facts.layout.ragged();
  std::vector<Shard> shards;
  std::vector<const nlohmann::json*> tables;
  std::vector<std::filesystem::path> paths;
  for (std::uint64_t pass = 0; pass < facts.passes; ++pass) {
    for (std::uint64_t number = 0; number < count; ++number) {
      const std::string name = logit_shard_name(pass, number, part);
      const auto fail = [&](const std::string& what) {
        throw core::DataError(where + "/" + name + ": " + what + "; run teach again");
      };
      const auto found = members.find(name);
      if (found == members.end()) fail("shard is not in the manifest");
      const Member& member = *found->second;
      if (!member.facts.is_object() || !member.facts.contains("rows_offset") ||
          !member.facts["rows_offset"].is_number_unsigned())
        fail("the manifest gives no rows_offset");
      Shard shard;
      shard.name = where + "/" + name;
      shard.seal = member.seal;
      shard.offset = member.facts["rows_offset"].get<std::uint64_t>();
      shard.samples = logit_shard_range(facts, number);
      // By division: numbers of a file must not overflow a product. A row takes 4 bytes at least.
      const std::uint64_t least = ragged ? 4 : facts.layout.row_bytes();
      if (shard.offset > member.seal.size ||
          shard.samples.size() > (member.seal.size - shard.offset) / least)
        fail("its rows end behind the end of the file");
      if (member.seal.size > kMemberLimit) fail("it is larger than a member can be");
      std::error_code error;
      const std::uint64_t size = std::filesystem::file_size(folder / name, error);
      if (error) fail("shard is missing (" + error.message() + ")");
      if (size != member.seal.size)
        fail("shard has " + std::to_string(size) + " bytes, the manifest says " +
             std::to_string(member.seal.size));
      shards.push_back(std::move(shard));
      tables.push_back(&member.facts);
      paths.push_back(folder / name);
    }
  }
  state_ = std::make_unique<State>(std::move(facts), manifest.content_digest, std::move(shards),
                                   std::move(paths));
  if (!ragged) return;
  for (std::size_t i = 0; i < tables.size(); ++i)
    state_->shards[i].row_begin =
        read_row_begin(*state_->files.get(i), *tables[i], state_->shards[i]);
}

LogitStore::~LogitStore() = default;
LogitStore::LogitStore(LogitStore&&) noexcept = default;

const LogitFacts& LogitStore::facts() const { return state_->facts; }
const std::string& LogitStore::digest() const { return state_->digest; }

void LogitStore::State::require(RowForm form, std::uint64_t pass) const {
  if (facts.layout.form != form) throw core::InternalError("logits: rows of another form");
  if (pass >= facts.passes)
    throw core::InternalError("logits: pass " + std::to_string(pass) + " of " +
                              std::to_string(facts.passes));
}

void LogitStore::State::throw_bad_row(std::uint64_t pass, std::uint64_t sample,
                                      const std::string& what) const {
  throw core::DataError(
      fmt::format("{}: row {} (sample {}): {}; run check on the folder, then teach again",
                  shards[index_of(pass, sample)].name, sample % facts.shard_samples, sample, what));
}

void LogitStore::read(std::uint64_t pass, std::span<const std::uint64_t> samples,
                      std::span<std::uint32_t> ids, std::span<float> logits,
                      std::span<float> tail_lse) const {
  const LogitLayout& layout = state_->facts.layout;
  const std::size_t k = layout.top_k;
  const std::size_t t = layout.temperatures.size();
  state_->require(RowForm::top_k, pass);
  if (ids.size() != samples.size() * k || logits.size() != samples.size() * k ||
      tail_lse.size() != samples.size() * t)
    throw core::InternalError("logits: spans don't fit the layout");
  state_->visit(pass, samples,
                [&](std::size_t place, std::span<const std::byte> bytes, RowCheck check) {
                  decode_row(layout, bytes,
                             {ids.subspan(place * k, k), logits.subspan(place * k, k),
                              tail_lse.subspan(place * t, t)},
                             check);
                });
}

SampledRows LogitStore::read_sampled(std::uint64_t pass,
                                     std::span<const std::uint64_t> samples) const {
  const LogitLayout& layout = state_->facts.layout;
  const std::size_t t = layout.temperatures.size();
  state_->require(RowForm::sampled, pass);
  SampledRows rows;
  rows.begin.reserve(samples.size() + 1);
  rows.begin.push_back(0);
  for (const std::uint64_t sample : samples) {
    if (sample >= state_->facts.samples)
      throw core::InternalError("logits: sample " + std::to_string(sample) + " of " +
                                std::to_string(state_->facts.samples));
    const Shard& shard = state_->shards[state_->index_of(pass, sample)];
    try {
      rows.begin.push_back(rows.begin.back() +
                           sampled_row_classes(layout, state_->row(shard, sample).size()));
    } catch (const core::DataError& error) {
      state_->throw_bad_row(pass, sample, error.what());
    }
  }
  const std::size_t listed = rows.begin.back();
  rows.ids.resize(listed);
  rows.counts.resize(listed);
  rows.logits.resize(listed);
  rows.log_proposal.resize(listed);
  rows.full_lse.resize(samples.size() * t);
  state_->visit(
      pass, samples, [&](std::size_t place, std::span<const std::byte> bytes, RowCheck check) {
        const std::size_t begin = rows.begin[place], n = rows.begin[place + 1] - begin;
        decode_sampled_row(
            layout, bytes,
            {std::span(rows.ids).subspan(begin, n), std::span(rows.counts).subspan(begin, n),
             std::span(rows.logits).subspan(begin, n),
             std::span(rows.log_proposal).subspan(begin, n),
             std::span(rows.full_lse).subspan(place * t, t)},
            check);
      });
  return rows;
}

void LogitStore::read_labels(std::uint64_t pass, std::span<const std::uint64_t> samples,
                             std::span<std::uint32_t> ids, std::span<float> probabilities) const {
  const LogitLayout& layout = state_->facts.layout;
  const std::size_t h = layout.top_k;
  state_->require(RowForm::top_h, pass);
  if (ids.size() != samples.size() * h || probabilities.size() != ids.size())
    throw core::InternalError("logits: spans don't fit the layout");
  state_->visit(
      pass, samples, [&](std::size_t place, std::span<const std::byte> bytes, RowCheck check) {
        decode_label_row(layout, bytes,
                         {ids.subspan(place * h, h), probabilities.subspan(place * h, h)}, check);
      });
}

void LogitStore::verify(std::uint64_t rank, std::uint64_t ranks) const {
  for (std::size_t i = rank; i < state_->shards.size(); i += ranks) {
    const Shard& shard = state_->shards[i];
    const FileSeal seal = seal_of(state_->files.path(i));
    if (seal.size != shard.seal.size || seal.sha256 != shard.seal.sha256)
      throw core::DataError(
          fmt::format("{}: is not the shard that the manifest names: it belongs to another capture "
                      "or was damaged; restore it or run teach again",
                      shard.name));
  }
}

template <class Decode>
void LogitStore::State::visit(std::uint64_t pass, std::span<const std::uint64_t> samples,
                              Decode decode) const {
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
  space.order.arrange(space.wanted);

  // All reads of a chunk first, then all decoding: code that runs between system calls starts cold.
  std::span<WantedRow> rest = space.wanted;
  while (!rest.empty()) {
    const std::span<WantedRow> chunk = rest.first(std::min(rest.size(), kChunkRows));
    read_rows(pass, chunk, space.bytes);
    for (const WantedRow& wanted : chunk) {
      const std::uint64_t number = pass * facts.samples + wanted.sample;
      const bool known = checked.get(number);
      const std::uint64_t size =
          row_bytes != 0 ? row_bytes
                         : row(shards[index_of(pass, wanted.sample)], wanted.sample).size();
      try {
        decode(wanted.place, std::span<const std::byte>(space.bytes).subspan(wanted.at, size),
               known ? RowCheck::bytes : RowCheck::content);
        if (!known) checked.set(number);
      } catch (const core::DataError& error) {
        throw_bad_row(pass, wanted.sample, error.what());
      }
    }
    rest = rest.subspan(chunk.size());
  }
}

void LogitStore::State::read_rows(std::uint64_t pass, std::span<WantedRow> wanted,
                                  std::vector<std::byte>& bytes) const {
  std::shared_ptr<const RandomAccessFile> file;
  const Shard* shard = nullptr;  // of `file`
  std::uint64_t filled = 0;
  const std::uint64_t fixed = row_bytes;  // in a register: `at` below might be this member
  const auto row_of = [&](std::uint64_t sample) {
    if (fixed == 0) return row(*shard, sample);
    const std::uint64_t at = (sample - shard->samples.begin) * fixed;
    return core::Range{at, at + fixed};
  };
  for (std::size_t begin = 0; begin < wanted.size();) {
    const std::uint64_t first = wanted[begin].sample;
    if (shard == nullptr || !shard->samples.contains(first)) {
      const std::size_t index = index_of(pass, first);
      file = files.get(index);
      shard = &shards[index];
    }
    // The run [begin, end) of rows that one call reads, of bytes [from, to) of the shard's rows.
    const std::uint64_t from = row_of(first).begin;
    std::uint64_t to = from;
    std::size_t end = begin;
    std::uint64_t last = first;
    for (; end < wanted.size(); ++end) {
      const std::uint64_t next = wanted[end].sample;
      if (next < last || next >= shard->samples.end) break;
      const core::Range bytes_of_row = row_of(next);
      if (bytes_of_row.begin > to + kJoinGap) break;
      if (next > first && bytes_of_row.end - from > kLargestRead) break;
      last = next;
      to = bytes_of_row.end;
      wanted[end].at = filled + bytes_of_row.begin - from;
    }
    const std::uint64_t size = to - from;
    if (bytes.size() < filled + size) bytes.resize(std::max(2 * bytes.size(), filled + size));
    file->read(shard->offset + from, std::span<std::byte>(bytes).subspan(filled, size));
    filled += size;
    begin = end;
  }
}

}  // namespace retort::io
