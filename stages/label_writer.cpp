#include "stages/label_writer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/fault_point.h"
#include "io/agreement.h"
#include "nn/similarity/label_rows.h"

namespace retort::stages {
namespace {

using comm::PeerTransfer;
using core::Range;

Range common(const Range& a, const Range& b) {
  const std::uint64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

class Writing {
 public:
  Writing(const LabelOutput& output, std::span<const nn::ClassTile> own,
          std::span<nn::SimilarRows> rows)
      : out_(output), communicator_(output.communicator), own_(own), rows_(rows) {
    per_file_ = io::label_classes_per_file(out_.facts);
  }

  void run() {
    find_present();
    for (std::uint64_t turn = 0;; ++turn) {
      bool any = false;
      for (int rank = 0; rank < communicator_.size(); ++rank)
        any = any || file_of(rank, turn).has_value();
      if (!any) return;
      write_turn(turn);
    }
  }

 private:
  std::uint64_t files() const { return (out_.facts.classes + per_file_ - 1) / per_file_; }
  Range classes_of(std::uint64_t file) const {
    return {file * per_file_, std::min(out_.facts.classes, (file + 1) * per_file_)};
  }

  void find_present() {
    std::string there;  // one byte per file
    io::on_root(communicator_, [&] {
      std::set<std::string> names;
      for (const io::Member& member : out_.ledger.adopt()) names.insert(member.name);
      for (std::uint64_t file = 0; file < files(); ++file)
        there += names.contains(io::label_file_name(file)) ? '1' : '0';
    });
    there_ = communicator_.broadcast(there);
  }

  /// The file that a rank writes in its turn: one of those that begin among its classes.
  std::optional<std::uint64_t> file_of(int rank, std::uint64_t turn) const {
    const Range own = out_.split.classes_of(rank, communicator_.size());
    for (std::uint64_t file = (own.begin + per_file_ - 1) / per_file_; file * per_file_ < own.end;
         ++file)
      if (there_[file] == '0' && turn-- == 0) return file;
    return std::nullopt;
  }

  void write_turn(std::uint64_t turn) {
    const int self = communicator_.rank();
    const auto mine = file_of(self, turn);
    const Range range = mine ? classes_of(*mine) : Range{};
    nn::SimilarRows found(range, nn::others_kept(out_.options, out_.facts.top_m));
    std::vector<std::uint8_t> degenerate(range.size());
    std::vector<PeerTransfer> transfers;
    for (int rank = 0; rank < communicator_.size(); ++rank) {
      if (const auto file = rank == self ? std::nullopt : file_of(rank, turn))
        for (std::size_t t = 0; t < own_.size(); ++t)
          for (const auto& bytes : storage_of(t, common(own_[t].classes, classes_of(*file))))
            transfers.push_back({rank, bytes, {}});
      const Range tiles = out_.split.tiles_of(rank, communicator_.size());
      for (std::uint64_t t = tiles.begin; mine && t < tiles.end; ++t) {
        const Range part = common(out_.split.tile(t), range);
        if (part.empty()) continue;
        auto wanted = found.storage(part);
        const auto flags = std::as_writable_bytes(
            std::span(degenerate).subspan(part.begin - range.begin, part.size()));
        const auto here = rank == self ? storage_of(t - tiles.begin, part) : Storage();
        for (std::size_t i = 0; i <= wanted.size(); ++i) {
          const auto bytes = i < wanted.size() ? wanted[i] : flags;
          if (rank == self) {
            std::copy(here[i].begin(), here[i].end(), bytes.begin());
          } else {
            transfers.push_back({rank, {}, bytes});
          }
        }
      }
    }
    communicator_.exchange(std::move(transfers)).wait();
    io::agree(communicator_, [&] {
      if (mine) write_file(*mine, found, degenerate);
    });
  }

  void write_file(std::uint64_t file, nn::SimilarRows& found,
                  std::span<const std::uint8_t> degenerate) {
    const core::FaultPlace place("capture");
    found.restore();
    const io::LabelRows rows = nn::finish_rows(found, degenerate, out_.options);
    LabelSummary summary;
    summary.add(rows, found);
    out_.ledger.commit(io::label_file_name(file), io::label_rows_image(out_.facts, rows),
                       summary.to_json());
  }

  /// What is known of some classes of an own tile; empty where there are none.
  using Storage = std::vector<std::span<const std::byte>>;
  Storage storage_of(std::size_t tile, const Range& classes) const {
    if (classes.empty()) return {};
    const auto storage = rows_[tile].storage(classes);
    Storage all(storage.begin(), storage.end());
    all.push_back(
        std::as_bytes(std::span(own_[tile].degenerate)
                          .subspan(classes.begin - own_[tile].classes.begin, classes.size())));
    return all;
  }

  const LabelOutput& out_;
  comm::Communicator& communicator_;
  std::span<const nn::ClassTile> own_;
  std::span<nn::SimilarRows> rows_;
  std::uint64_t per_file_ = 1;
  std::string there_;
};

std::size_t bin_of(double cosine) {
  const double at = std::floor((cosine + 1) / 2 * static_cast<double>(LabelSummary::kBins));
  return std::min(LabelSummary::kBins - 1, static_cast<std::size_t>(std::max(at, 0.0)));
}

}  // namespace

void LabelSummary::add(const io::LabelRows& all, const nn::SimilarRows& found) {
  for (std::uint64_t r = 0; r < all.classes.size(); ++r) {
    const std::uint64_t begin = all.row_begin[r], end = all.row_begin[r + 1];
    const bool self_first = all.ids[begin] == all.classes.begin + r;
    ++rows;
    entries += end - begin;
    degenerate += all.status[r] == io::LabelStatus::degenerate ? 1 : 0;
    alone += all.status[r] == io::LabelStatus::alone ? 1 : 0;
    one_hot += self_first && end - begin == 1 ? 1 : 0;
    if (self_first)
      self += all.weights[begin] / io::FixedSum::from_words(all.normaliser[r]).value();
    discarded += all.discarded[r];
    if (all.status[r] != io::LabelStatus::ok) continue;
    const auto others = found.neighbours(r);
    if (!others.empty()) ++nearest[bin_of(others.front().cosine)];
    for (const auto& other : others) ++kept[bin_of(other.cosine)];
  }
}

LabelSummary& LabelSummary::operator+=(const LabelSummary& other) {
  rows += other.rows;
  entries += other.entries;
  degenerate += other.degenerate;
  alone += other.alone;
  one_hot += other.one_hot;
  self += other.self;
  discarded += other.discarded;
  for (std::size_t i = 0; i < kBins; ++i) {
    nearest[i] += other.nearest[i];
    kept[i] += other.kept[i];
  }
  return *this;
}

nlohmann::json LabelSummary::to_json() const {
  return {{"rows", rows},           {"entries", entries}, {"degenerate", degenerate},
          {"alone", alone},         {"one_hot", one_hot}, {"self", self},
          {"discarded", discarded}, {"nearest", nearest}, {"kept", kept}};
}

LabelSummary LabelSummary::from_json(const nlohmann::json& json) {
  LabelSummary summary;
  json.at("rows").get_to(summary.rows);
  json.at("entries").get_to(summary.entries);
  json.at("degenerate").get_to(summary.degenerate);
  json.at("alone").get_to(summary.alone);
  json.at("one_hot").get_to(summary.one_hot);
  json.at("self").get_to(summary.self);
  json.at("discarded").get_to(summary.discarded);
  json.at("nearest").get_to(summary.nearest);
  json.at("kept").get_to(summary.kept);
  return summary;
}

void write_label_files(const LabelOutput& output, std::span<const nn::ClassTile> own,
                       std::span<nn::SimilarRows> rows) {
  Writing(output, own, rows).run();
}

}  // namespace retort::stages
