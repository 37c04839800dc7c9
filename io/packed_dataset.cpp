#include "io/packed_dataset.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/hdf5.h"
#include "io/json_text.h"
#include "io/manifest.h"
#include "io/packed_shard.h"
#include "io/shard_files.h"

namespace retort::io {
namespace {

using core::DataError;

// What is in memory of a shard.
struct Shard {
  std::uint64_t first = 0;  // sample id
  PackedShardFacts facts;
  std::vector<std::uint32_t> row_crc;
  std::vector<std::uint64_t> row_begin;  // ragged only
  std::vector<std::uint32_t> labels;
  std::vector<std::uint64_t> label_begin;  // empty: one label each
};

template <class T>
std::vector<T> read_table(const RandomAccessFile& file, const PackedTable& table,
                          std::uint64_t count, const char* name) {
  if (table.bytes != count * sizeof(T))
    throw DataError(fmt::format("{}: table {} has {} bytes instead of {}; pack the data again",
                                file.path().string(), name, table.bytes, count * sizeof(T)));
  std::vector<T> values(count);
  const auto bytes = std::as_writable_bytes(std::span(values));
  if (!values.empty()) file.read(table.offset, bytes);
  if (core::crc32c(bytes) != table.crc32c)
    throw DataError(
        fmt::format("{}: table {} does not match its CRC, the file is damaged; "
                    "restore it or pack the data again",
                    file.path().string(), name));
  return values;
}

Shard load_shard(const RandomAccessFile& file, PackedShardFacts facts, std::uint64_t first,
                 std::uint64_t classes) {
  Shard shard;
  shard.first = first;
  const std::string where = file.path().string();
  const auto malformed = [&](const std::string& reason) {
    return DataError(fmt::format("{}: {}; pack the data again", where, reason));
  };
  const std::uint64_t n = facts.samples;
  if (facts.rows.bytes > file.size() || facts.rows.offset > file.size() - facts.rows.bytes)
    throw DataError(
        fmt::format("{}: truncated: rows end at byte {}, the file at {}; restore it or "
                    "pack the data again",
                    where, facts.rows.offset + facts.rows.bytes, file.size()));
  shard.row_crc = read_table<std::uint32_t>(file, facts.row_crc, n, "row_crc");
  if (facts.row_bytes == 0) {
    shard.row_begin = read_table<std::uint64_t>(file, facts.row_begin, n + 1, "row_begin");
    if (!std::is_sorted(shard.row_begin.begin(), shard.row_begin.end()) ||
        shard.row_begin.front() != 0 || shard.row_begin.back() != facts.rows.bytes)
      throw malformed("row_begin is not in order");
  } else if (facts.rows.bytes != n * facts.row_bytes) {
    throw malformed("rows have the wrong size");
  }
  shard.label_begin = read_table<std::uint64_t>(file, facts.label_begin, n + 1, "label_begin");
  const std::uint64_t count = facts.labels.bytes / sizeof(std::uint32_t);
  shard.labels = read_table<std::uint32_t>(file, facts.labels, count, "labels");
  if (!std::is_sorted(shard.label_begin.begin(), shard.label_begin.end()) ||
      shard.label_begin.front() != 0 || shard.label_begin.back() != count)
    throw malformed("label_begin is not in order");
  for (const std::uint32_t label : shard.labels)
    if (label >= classes)
      throw malformed(fmt::format("label {} where there are {} classes", label, classes));
  bool single = count == n;
  for (std::uint64_t i = 0; single && i < n; ++i) single = shard.label_begin[i] == i;
  if (single) std::vector<std::uint64_t>().swap(shard.label_begin);
  shard.facts = std::move(facts);
  return shard;
}

}  // namespace

struct PackedDataset::State {
  DatasetFacts facts;
  std::string digest, class_digest;
  std::vector<Shard> shards;
  std::unique_ptr<ShardFiles> files;
  std::uint64_t size = 0;
  std::uint64_t usual = 0;  // samples of most shards: a first guess

  std::size_t shard_of(std::uint64_t sample) const {
    if (sample >= size)
      throw core::InternalError(fmt::format("sample {} of a split of {}", sample, size));
    std::size_t guess = std::min<std::uint64_t>(sample / usual, shards.size() - 1);
    if (sample >= shards[guess].first && sample < shards[guess].first + shards[guess].facts.samples)
      return guess;
    const auto after =
        std::upper_bound(shards.begin(), shards.end(), sample,
                         [](std::uint64_t s, const Shard& shard) { return s < shard.first; });
    return static_cast<std::size_t>(after - shards.begin()) - 1;
  }
};

PackedDataset::PackedDataset(const std::filesystem::path& folder, const std::string& split)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  const Manifest manifest = read_manifest(folder, kPackedManifestKind);
  const std::string where = folder.string();
  if (manifest.format_version != kPackedFormatVersion)
    throw DataError(fmt::format("{}: format version {} of a packed dataset; this program reads {}",
                                where, manifest.format_version, kPackedFormatVersion));
  std::uint64_t declared = 0;
  try {
    const nlohmann::json& f = manifest.facts;
    s.facts.form = sample_form_of(f.at("form").get<std::string>(), where);
    s.facts.height = f.at("height").get<std::uint32_t>();
    s.facts.width = f.at("width").get<std::uint32_t>();
    s.facts.channels = f.at("channels").get<std::uint32_t>();
    s.class_digest = f.at("class_digest").get<std::string>();
    for (const auto& entry : f.at("splits")) {
      s.facts.splits.push_back(entry.at("name").get<std::string>());
      if (s.facts.splits.back() != split) continue;
      s.digest = entry.at("digest").get<std::string>();
      declared = entry.at("samples").get<std::uint64_t>();
    }
  } catch (const nlohmann::json::exception& e) {
    throw DataError(
        fmt::format("{}: facts of the manifest are malformed: {}", where, parser_message(e)));
  }
  if (s.digest.empty())
    throw core::UsageError(fmt::format("{}: no split '{}'; there are {}", where, split,
                                       fmt::join(s.facts.splits, ", ")));
  s.facts.class_names = packed_class_names(folder, manifest);
  std::vector<PackedShardFacts> facts;
  for (const Member& member : manifest.members)
    if (member.facts.contains("split") && member.facts.at("split") == split)
      facts.push_back(PackedShardFacts::from_json(member.facts, where + "/" + member.name));
  std::sort(facts.begin(), facts.end(),
            [](const auto& a, const auto& b) { return a.shard < b.shard; });
  std::vector<std::filesystem::path> paths;
  paths.reserve(facts.size());
  for (const auto& f : facts) paths.push_back(folder / packed_shard_name(f.split, f.shard));
  s.files = std::make_unique<ShardFiles>(std::move(paths));
  for (std::size_t i = 0; i < facts.size(); ++i) {
    if (facts[i].shard != i)
      throw DataError(
          fmt::format("{}: the manifest names no shard {} of split {}", where, i, split));
    if (std::error_code error; !std::filesystem::exists(s.files->path(i), error))
      throw DataError(fmt::format("{} is missing; restore it or pack the data again",
                                  s.files->path(i).string()));
    s.shards.push_back(
        load_shard(*s.files->get(i), std::move(facts[i]), s.size, s.facts.class_names.size()));
    s.size += s.shards.back().facts.samples;
    s.usual = std::max(s.usual, s.shards.back().facts.samples);
  }
  if (s.size != declared)
    throw DataError(
        fmt::format("{}: split {} has {} samples in its shards, {} in the manifest; "
                    "pack the data again",
                    where, split, s.size, declared));
}

PackedDataset::~PackedDataset() = default;
PackedDataset::PackedDataset(PackedDataset&&) noexcept = default;

const DatasetFacts& PackedDataset::facts() const { return state_->facts; }
std::uint64_t PackedDataset::size() const { return state_->size; }
const std::string& PackedDataset::digest() const { return state_->digest; }
const std::string& PackedDataset::class_digest() const { return state_->class_digest; }

void PackedDataset::read(std::uint64_t sample, std::vector<std::byte>& row) const {
  const std::size_t index = state_->shard_of(sample);
  const Shard& shard = state_->shards[index];
  const std::uint64_t local = sample - shard.first;
  std::uint64_t begin = 0, bytes = shard.facts.row_bytes;
  if (bytes != 0) {
    begin = local * bytes;
  } else {
    begin = shard.row_begin[local];
    bytes = shard.row_begin[local + 1] - begin;
  }
  row.resize(bytes);
  const auto file = state_->files->get(index);
  if (bytes != 0) file->read(shard.facts.rows.offset + begin, row);
  if (core::crc32c(row) != shard.row_crc[local])
    throw DataError(
        fmt::format("{}: row {} (sample {} of split {}) does not match its CRC, the "
                    "file is damaged; restore it or pack the data again",
                    file->path().string(), local, sample, shard.facts.split));
}

std::uint32_t PackedDataset::row_crc(std::uint64_t sample) const {
  const Shard& shard = state_->shards[state_->shard_of(sample)];
  return shard.row_crc[sample - shard.first];
}

std::uint64_t PackedDataset::row_bytes(std::uint64_t sample) const {
  const Shard& shard = state_->shards[state_->shard_of(sample)];
  if (shard.facts.row_bytes != 0) return shard.facts.row_bytes;
  const std::uint64_t local = sample - shard.first;
  return shard.row_begin[local + 1] - shard.row_begin[local];
}

std::span<const std::uint32_t> PackedDataset::labels(std::uint64_t sample) const {
  const Shard& shard = state_->shards[state_->shard_of(sample)];
  const std::uint64_t local = sample - shard.first;
  if (shard.label_begin.empty()) return {shard.labels.data() + local, 1};
  return {shard.labels.data() + shard.label_begin[local],
          shard.labels.data() + shard.label_begin[local + 1]};
}

std::vector<std::uint64_t> PackedDataset::class_counts() const {
  std::vector<std::uint64_t> counts(state_->facts.class_names.size());
  for (const Shard& shard : state_->shards)
    for (const std::uint32_t label : shard.labels) ++counts[label];
  return counts;
}

std::vector<std::string> packed_class_names(const std::filesystem::path& folder,
                                            const Manifest& manifest) {
  for (const Member& member : manifest.members)
    if (member.name == kPackedClassesName) {
      const std::filesystem::path path = folder / member.name;
      return Hdf5Reader(read_verified(path, member.seal), path.string(), kPackedClassesKind,
                        kPackedFormatVersion)
          .strings("names");
    }
  throw DataError(fmt::format("{}: the manifest names no {}; pack the data again", folder.string(),
                              kPackedClassesName));
}

std::vector<std::string> packed_class_names(const std::filesystem::path& folder) {
  return packed_class_names(folder, read_manifest(folder, kPackedManifestKind));
}

}  // namespace retort::io
