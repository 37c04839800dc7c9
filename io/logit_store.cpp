#include "io/logit_store.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/manifest.h"
#include "io/shard_files.h"

namespace retort::io {
namespace {

// Rows that lie closer than this in one file are read by one call: below it, copying what lies
// between costs less than a second system call (tests/bench/io/logit_rows_bench.cpp).
constexpr std::uint64_t kJoinGap = 1024;
constexpr std::uint64_t kLargestRead = std::uint64_t{1} << 20;

/// One row wanted: its sample, and where in the caller's spans it goes.
struct Wanted {
  std::uint64_t sample;
  std::size_t place;
};

/// Per-thread working space of read(), kept between calls.
struct Workspace {
  std::vector<Wanted> wanted;
  std::vector<std::byte> bytes;
};

Workspace& workspace() {
  thread_local Workspace space;
  return space;
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
        files(std::move(paths)) {}
  LogitFacts facts;
  std::string digest;
  std::vector<std::string> names;      // [pass * shards + shard]
  std::vector<std::uint64_t> offsets;  // of row 0, alike
  std::uint64_t row_bytes;
  ShardFiles files;
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
  space.wanted.clear();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (samples[i] >= facts.samples)
      throw core::InternalError("logits: sample " + std::to_string(samples[i]) + " of " +
                                std::to_string(facts.samples));
    space.wanted.push_back({samples[i], i});
  }
  // File order: joins neighbours, and the file system sees ascending offsets.
  std::sort(space.wanted.begin(), space.wanted.end(),
            [](const Wanted& a, const Wanted& b) { return a.sample < b.sample; });

  const std::uint64_t shards = logit_shard_count(facts);
  std::shared_ptr<const RandomAccessFile> file;
  std::uint64_t open_shard = std::numeric_limits<std::uint64_t>::max();
  for (std::size_t begin = 0; begin < space.wanted.size();) {
    const std::uint64_t first = space.wanted[begin].sample;
    const std::uint64_t shard = first / facts.shard_samples;
    const std::uint64_t shard_begin = shard * facts.shard_samples;
    // The run [begin, end) of rows that one call reads.
    std::size_t end = begin + 1;
    std::uint64_t last = first;
    for (; end < space.wanted.size(); ++end) {
      const std::uint64_t next = space.wanted[end].sample;
      if (next - shard_begin >= facts.shard_samples) break;
      if (next > last + 1 && (next - last - 1) * row_bytes > kJoinGap) break;
      if ((next - first + 1) * row_bytes > kLargestRead) break;
      last = next;
    }
    const std::size_t index = static_cast<std::size_t>(pass * shards + shard);
    if (shard != open_shard) {
      file = state_->files.get(index);
      open_shard = shard;
    }
    const std::uint64_t bytes = (last - first + 1) * row_bytes;
    if (space.bytes.size() < bytes) space.bytes.resize(bytes);
    file->read(state_->offsets[index] + (first - shard_begin) * row_bytes,
               std::span<std::byte>(space.bytes).first(bytes));
    for (std::size_t i = begin; i < end; ++i) {
      const Wanted& wanted = space.wanted[i];
      const LogitRow row{ids.subspan(wanted.place * k, k), logits.subspan(wanted.place * k, k),
                         tail_lse.subspan(wanted.place * t, t)};
      try {
        decode_row(layout,
                   std::span<const std::byte>(space.bytes)
                       .subspan((wanted.sample - first) * row_bytes, row_bytes),
                   row);
      } catch (const core::DataError& error) {
        throw core::DataError(state_->names[index] + ": row " +
                              std::to_string(wanted.sample - shard_begin) + " (sample " +
                              std::to_string(wanted.sample) + "): " + error.what() +
                              "; run check on the folder, then teach again");
      }
    }
    begin = end;
  }
}

}  // namespace retort::io
