// logit_rows: random batches of 256 rows read, checked and decoded, against bare pread of the same
// rows; and the bytes of a row against the formula of the format. One JSON line per case.
#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/heap.h"
#include "core/random.h"
#include "io/logit_store.h"
#include "tests/bench/io/interleaved.h"
#include "tests/unit/io/write_logits.h"

namespace retort::io {
namespace {

constexpr std::size_t kBatch = 256;
// A round is one batch: shorter than a time slice, so that most rounds run undisturbed.
constexpr int kRounds = 2001;

struct Case {
  std::uint64_t classes;
  std::uint32_t top_k;
  LogitPrecision precision;
  std::uint64_t samples;
};

void run(const Case& c, const std::filesystem::path& folder) {
  LogitFacts facts;
  facts.layout = {c.classes, c.top_k, IdForm::packed, c.precision, {1, 2, 3, 4}};
  facts.samples = c.samples;
  facts.shard_samples = 65536;
  facts.augment = facts.data_digest = facts.class_digest = facts.teacher_digest =
      std::string(1, '-');
  facts.split = std::string("train");
  write_logits(folder, facts);
  const LogitStore store(folder);

  const std::uint64_t row_bytes = facts.layout.row_bytes();
  std::vector<int> files;
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t shard = 0; shard < logit_shard_count(facts); ++shard) {
    const std::string name = logit_shard_name(0, shard);
    for (const Member& member : read_manifest(folder).members)
      if (member.name == name) offsets.push_back(member.facts["rows_offset"]);
    files.push_back(::open((folder / name).c_str(), O_RDONLY));
  }

  core::RandomStream random(1, core::RandomUse::test, {c.classes, c.top_k});
  std::vector<std::uint64_t> draws((kRounds + 1) * kBatch);
  for (auto& s : draws) s = random.below(c.samples);
  std::vector<std::uint32_t> ids(kBatch * c.top_k);
  std::vector<float> logits(kBatch * c.top_k), tail(kBatch * 4);
  std::vector<std::byte> rows(kBatch * row_bytes);
  std::size_t subject_round = 0, reference_round = 0;
  const auto batch = [&](std::size_t& round) {
    // The reference reads other batches than the subject in the same round: neither finds rows in
    // the processor's cache that the other has just read.
    return std::span<const std::uint64_t>(draws).subspan(round++ % (kRounds + 1) * kBatch, kBatch);
  };
  reference_round = kRounds / 2;
  // The steady state of a run of several epochs: every row was read once, and its content checked.
  for (std::uint64_t first = 0; first + kBatch <= c.samples; first += kBatch) {
    std::vector<std::uint64_t> samples(kBatch);
    std::iota(samples.begin(), samples.end(), first);
    store.read(0, samples, ids, logits, tail);
  }
  const auto result = bench::compare(
      kRounds, [&] { store.read(0, batch(subject_round), ids, logits, tail); },
      [&] {
        const auto samples = batch(reference_round);
        for (std::size_t i = 0; i < kBatch; ++i) {
          const std::uint64_t shard = samples[i] / facts.shard_samples;
          const std::uint64_t row = samples[i] % facts.shard_samples;
          if (::pread(files[shard], rows.data() + i * row_bytes, row_bytes,
                      static_cast<off_t>(offsets[shard] + row * row_bytes)) !=
              static_cast<ssize_t>(row_bytes))
            std::abort();
        }
      });
  for (const int file : files) ::close(file);

  const double bits = std::ceil(std::log2(static_cast<double>(c.classes)));
  const double formula = c.top_k * (bits / 8 + 2) + 4.0 * 4 + 8;
  const double rows_read = kBatch;
  const bool fp16 = c.precision == LogitPrecision::fp16_gaps;
  // The formula is that of the default form; fp32 logits cost two bytes more each, and say so.
  const double bound = fp16 ? formula : formula + 2.0 * c.top_k;
  fmt::print(
      "{{\"bench\":\"logit_rows\",\"case\":\"N={} K={} {}\",\"ratio_pread\":{:.3f},"
      "\"ratio_bytes\":{:.4f},\"rows_per_s\":{:.0f},\"pread_rows_per_s\":{:.0f},"
      "\"row_bytes\":{},\"formula_bytes\":{:.1f},\"samples\":{},\"batch\":{},\"dtype\":\"{}\","
      "\"threads\":1,\"allocator\":\"glibc, heap kept\",\"rounds\":{}}}\n",
      c.classes, c.top_k, fp16 ? "fp16_gaps" : "fp32", result.ratio,
      static_cast<double>(row_bytes) / bound, rows_read / result.subject,
      rows_read / result.reference, row_bytes, bound, c.samples, kBatch,
      fp16 ? "packed ids, fp16 gaps" : "packed ids, fp32", kRounds);
  std::fflush(stdout);
}

}  // namespace
}  // namespace retort::io

int main() {
  using retort::io::Case;
  using retort::io::LogitPrecision;
  retort::core::keep_heap();
  const auto cores = retort::bench::allowed_cores();
  if (!cores.empty()) retort::bench::pin_to(cores.back());
  std::string name = (std::filesystem::temp_directory_path() / "retort-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) return 74;
  int code = 0;
  try {
    int n = 0;
    for (const Case& c : {Case{1000, 20, LogitPrecision::fp16_gaps, 200000},
                          Case{100000, 20, LogitPrecision::fp16_gaps, 200000},
                          Case{10000000, 50, LogitPrecision::fp16_gaps, 200000},
                          Case{1000, 20, LogitPrecision::fp32, 200000}}) {
      const auto folder = std::filesystem::path(name) / std::to_string(n++);
      retort::io::run(c, folder);
      std::filesystem::remove_all(folder);
    }
  } catch (const retort::core::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    code = static_cast<int>(error.code());
  }
  std::filesystem::remove_all(name);
  return code;
}
