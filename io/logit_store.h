// A teacher's answers on disk: one shard per range of sample ids and pass, rows of one of three
// forms (io/logit_layout.h) with a CRC32C each, read with pread. Format:
// docs/logit_shard_format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/range.h"
#include "io/logit_layout.h"
#include "io/logit_row.h"

namespace retort::io {

/// Everything that a student must agree with; attributes of every shard and facts of the manifest.
struct LogitFacts {
  LogitLayout layout;
  std::uint64_t samples = 0;
  std::uint64_t passes = 1;         // pass = epoch mod passes
  std::uint64_t shard_samples = 0;  // samples per shard, the last may be shorter
  std::uint64_t seed = 0;           // of the augmentation
  std::string augment;              // AugmentOptions::text()
  std::string data_digest;          // PackedDataset::digest()
  std::string class_digest;
  std::string teacher_digest;
  std::string class_map;  // digest of the map to the data set's classes; empty: none was needed
  std::string split;
  bool operator==(const LogitFacts&) const = default;
  nlohmann::json to_json() const;
  /// DataError that names `where` and the field.
  static LogitFacts from_json(const nlohmann::json& json, const std::string& where);
};

/// What a folder may hold answers for: samples with labels, samples without, or both. Rows of the
/// first are top_k or sampled, of the second top_h. Facts of the manifest: the labelled part's are
/// at the top, those of the other under "unlabelled".
enum class LogitPart { labelled, unlabelled };
inline LogitPart part_of(const LogitFacts& facts) {
  return facts.layout.form == RowForm::top_h ? LogitPart::unlabelled : LogitPart::labelled;
}
bool has_part(const nlohmann::json& manifest_facts, LogitPart part);
/// DataError if it isn't there, or has rows of the other part's forms.
LogitFacts part_facts(const nlohmann::json& manifest_facts, LogitPart part,
                      const std::string& where);
void add_part(nlohmann::json& manifest_facts, const LogitFacts& facts);

/// Encoded rows, one after another.
struct EncodedRows {
  std::vector<std::byte> bytes;
  std::vector<std::uint64_t> ends;  // of each row, of ragged ones only
  void append(const EncodedRows& next);
};
/// The image of one shard: whole encoded rows of samples [range) of `pass`. InternalError if their
/// sizes disagree, the range or pass are outside the facts, or the image would pass 256 MB.
std::vector<std::byte> logit_shard_image(const LogitFacts& facts, std::uint64_t pass,
                                         core::Range samples, const EncodedRows& rows);
/// Where a part's shards lie in the folder: "" or "unlabelled/".
std::string part_folder(LogitPart part);
/// "pass-00/shard-000000.h5", of the unlabelled part "unlabelled/pass-00/shard-000000.h5"
std::string logit_shard_name(std::uint64_t pass, std::uint64_t shard,
                             LogitPart part = LogitPart::labelled);
/// Samples of shard `shard`: [shard * shard_samples, at most facts.samples).
core::Range logit_shard_range(const LogitFacts& facts, std::uint64_t shard);
std::uint64_t logit_shard_count(const LogitFacts& facts);
/// What such a shard's entry in the manifest carries: where its rows begin ("rows_offset") and, if
/// they are ragged, where the table of their ends lies and what it hashes to ("row_begin").
/// LogitStore reads it. DataError if the image is no logit shard.
nlohmann::json logit_member_facts(const std::vector<std::byte>& image, const std::string& where);

/// Rows of sampled draws in memory, ragged.
struct SampledRows {
  std::vector<std::uint64_t> begin;        // n + 1 offsets into the next four
  std::vector<std::uint32_t> ids, counts;  // ascending within a row; counts >= 1
  std::vector<float> logits, log_proposal;
  std::vector<float> full_lse;  // [n, temperatures]
};

/// One part of a complete logit folder, opened for random access. Thread-safe.
class LogitStore {
 public:
  /// DataError: no manifest, another kind, no such part, a shard of a pass missing from it, of
  /// another size on disk, or facts that contradict each other; a damaged table of row ends. Hashes
  /// of members are the business of `check` and verify(): each row carries its own CRC.
  explicit LogitStore(const std::filesystem::path& folder, LogitPart part = LogitPart::labelled);
  ~LogitStore();
  LogitStore(LogitStore&&) noexcept;
  const LogitFacts& facts() const;
  const std::string& digest() const;  // content digest of the manifest: of all parts

  // Rows of these samples (any order, repeats allowed). Neighbouring rows are read together.
  // DataError names file, row and sample of a bad row; InternalError for a pass or sample that the
  // facts exclude, or for rows of another form.
  /// top_k rows: ids [n, K], logits [n, K], tail_lse [n, temperatures], row-major.
  void read(std::uint64_t pass, std::span<const std::uint64_t> samples,
            std::span<std::uint32_t> ids, std::span<float> logits, std::span<float> tail_lse) const;
  /// sampled rows.
  SampledRows read_sampled(std::uint64_t pass, std::span<const std::uint64_t> samples) const;
  /// top_h rows: ids [n, H], probabilities [n, H], row-major.
  void read_labels(std::uint64_t pass, std::span<const std::uint64_t> samples,
                   std::span<std::uint32_t> ids, std::span<float> probabilities) const;

  /// Reads the bytes of every `ranks`th shard from the `rank`th on: together all. DataError for one
  /// that is not what the manifest sealed, such as a shard of another capture.
  void verify(std::uint64_t rank, std::uint64_t ranks) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::io
