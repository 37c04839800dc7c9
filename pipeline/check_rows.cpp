#include "pipeline/check_rows.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/progress.h"
#include "io/label_matrix.h"
#include "io/logit_store.h"
#include "io/packed_dataset.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kRowsAtOnce = 1024;
constexpr std::uint64_t kMostRowFaults = 20;  // of one data set; more say no more

/// Rows of any form, for their checks alone.
void read_rows(const io::LogitStore& store, std::uint64_t pass,
               std::span<const std::uint64_t> samples) {
  const auto& layout = store.facts().layout;
  if (layout.ragged()) {
    store.read_sampled(pass, samples);
    return;
  }
  std::vector<std::uint32_t> ids(samples.size() * layout.top_k);
  std::vector<float> values(ids.size()), tails(samples.size() * layout.temperatures.size());
  if (layout.form == io::RowForm::top_h)
    store.read_labels(pass, samples, ids, values);
  else
    store.read(pass, samples, ids, values, tails);
}

class Rows {
 public:
  Rows(const fs::path& folder, CheckFindings& findings) : folder_(folder), findings_(findings) {}

  void of_dataset(const io::Manifest& manifest) {
    std::vector<std::string> splits;
    for (const auto& split : manifest.facts.at("splits"))
      splits.push_back(split.at("name").get<std::string>());
    for (const auto& split : splits) {
      const io::PackedDataset data(folder_, split);
      core::Progress progress("check " + (folder_ / split).string(), data.size(), "rows");
      std::vector<std::byte> row;
      std::uint64_t faults = 0;
      for (std::uint64_t i = 0; i < data.size() && faults < kMostRowFaults; ++i) {
        if (!findings_.guarded(folder_, [&] { data.read(i, row); })) ++faults;
        if (i % kRowsAtOnce == 0) progress.update(i);
      }
      if (faults == kMostRowFaults) findings_.fault(folder_, "further rows were not read");
      findings_.report.rows += data.size();
    }
  }

  void of_logits(const io::Manifest& manifest) {
    using enum io::LogitPart;
    if (has_part(manifest.facts, unlabelled)) of_part(unlabelled);
    // Facts that name neither part are wrong: opening says how.
    if (has_part(manifest.facts, labelled) || !has_part(manifest.facts, unlabelled))
      of_part(labelled);
  }

  void of_part(io::LogitPart part) {
    const io::LogitStore store(folder_, part);
    const auto& facts = store.facts();
    core::Progress progress("check " + folder_.string(), facts.samples * facts.passes, "rows");
    std::vector<std::uint64_t> samples(kRowsAtOnce);
    std::uint64_t faults = 0;
    for (std::uint64_t pass = 0; pass < facts.passes; ++pass) {
      const auto read = [&](std::uint64_t first, std::uint64_t n) {
        std::iota(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(n), first);
        read_rows(store, pass, std::span(samples).first(n));
      };
      for (std::uint64_t first = 0; first < facts.samples; first += kRowsAtOnce) {
        const auto n = std::min(kRowsAtOnce, facts.samples - first);
        try {
          read(first, n);
        } catch (const core::Error&) {  // find the rows, one by one
          for (std::uint64_t i = 0; i < n && faults < kMostRowFaults; ++i)
            if (!findings_.guarded(folder_, [&] { read(first + i, 1); })) ++faults;
        }
        if (faults >= kMostRowFaults) {
          findings_.fault(folder_, "further rows were not read");
          return;
        }
        findings_.report.rows += n;
        progress.update(pass * facts.samples + first);
      }
    }
  }

  void of_label_matrix() {
    const io::LabelMatrix matrix(folder_);
    for (std::uint64_t file = 0; file < matrix.files(); ++file)
      findings_.guarded(folder_,
                        [&] { findings_.report.rows += matrix.read(file).classes.size(); });
  }

 private:
  const fs::path& folder_;
  CheckFindings& findings_;
};

}  // namespace

bool check_rows(const fs::path& folder, const io::Manifest& manifest, CheckFindings& findings) {
  Rows rows(folder, findings);
  if (manifest.kind == "packed_dataset")
    findings.guarded(folder, [&] { rows.of_dataset(manifest); });
  else if (manifest.kind == "logits")
    findings.guarded(folder, [&] { rows.of_logits(manifest); });
  else if (manifest.kind == io::kLabelMatrixKind)
    findings.guarded(folder, [&] { rows.of_label_matrix(); });
  else
    return false;
  return true;
}

}  // namespace retort::pipeline
