// How a generation is committed: parts by all ranks, then the manifest by rank 0, both written by
// the thread of the run folder; what the ranks must agree on is done by the callers' threads
// between the two.
#include <algorithm>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/fault_point.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/json_text.h"
#include "io/live_claim.h"
#include "io/posix.h"
#include "io/run_folder.h"

namespace retort::io {
namespace {

constexpr std::string_view kPlace = "checkpoint";
constexpr std::size_t kPiece = std::size_t{8} << 20;  // between looks at whether anyone waits

// Ranges of all ranks must cover each tensor once: a generation that cannot be loaded must not be
// committed. `lists`: per rank [[name, elements of the tensor, offset, count], ...].
void check_coverage(const std::vector<nlohmann::json>& lists) {
  struct Cover {
    std::uint64_t total = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  };
  std::map<std::string, Cover> tensors;
  for (const nlohmann::json& list : lists) {
    for (const nlohmann::json& range : list) {
      Cover& cover = tensors[range[0].get<std::string>()];
      const auto total = range[1].get<std::uint64_t>();
      if (!cover.ranges.empty() && cover.total != total) {
        throw core::InternalError("ranks give tensor " + range[0].get<std::string>() +
                                  " different sizes in a checkpoint");
      }
      cover.total = total;
      cover.ranges.emplace_back(range[2].get<std::uint64_t>(), range[3].get<std::uint64_t>());
    }
  }
  for (auto& [name, cover] : tensors) {
    std::sort(cover.ranges.begin(), cover.ranges.end());
    std::uint64_t next = 0;
    for (const auto& [offset, count] : cover.ranges) {
      if (offset != next) break;
      next += count;
    }
    std::uint64_t given = 0;
    for (const auto& range : cover.ranges) given += range.second;
    if (next != cover.total || given != cover.total) {
      throw core::InternalError("the ranges of tensor " + name +
                                " in a checkpoint leave a gap or overlap near element " +
                                std::to_string(next));
    }
  }
}

nlohmann::json coverage_of(std::span<const TensorRange> ranges) {
  nlohmann::json list = nlohmann::json::array();
  for (const TensorRange& range : ranges) {
    std::uint64_t total = 1;
    for (const std::uint64_t extent : range.shape) total *= extent;
    list.push_back({range.name, total, range.offset, range.bytes.size() / size_of(range.type)});
  }
  return list;
}

FileSeal write_part(const std::filesystem::path& path, std::span<const std::byte> image,
                    const BackgroundThread::Cancelled& cancelled) {
  AtomicFile file(path);
  while (!image.empty()) {
    if (cancelled) throw core::IoError(path.string() + ": given up, its run has ended");
    const std::size_t count = std::min(image.size(), kPiece);
    file.write(image.first(count));
    image = image.subspan(count);
  }
  return file.commit();
}

}  // namespace

std::vector<TensorRange> RunFolder::State::copied(std::span<const TensorRange> ranges) {
  std::size_t total = 0;
  for (const TensorRange& range : ranges) total += range.bytes.size();
  if (total > copy_bytes) {
    copy.reset();
    copy_bytes = 0;
    copy = std::make_unique_for_overwrite<std::byte[]>(total);
    copy_bytes = total;
  }
  std::vector<TensorRange> own(ranges.begin(), ranges.end());
  std::size_t position = 0;
  for (TensorRange& range : own) {
    if (range.bytes.empty()) continue;
    std::memcpy(copy.get() + position, range.bytes.data(), range.bytes.size());
    range.bytes = {copy.get() + position, range.bytes.size()};
    position += range.bytes.size();
  }
  return own;
}

void RunFolder::State::write_parts(std::span<const TensorRange> ranges,
                                   const BackgroundThread::Cancelled& cancelled) {
  const std::filesystem::path folder = folder_of(pending->id);
  std::vector<std::vector<std::byte>> images = tensor_images(kCheckpointKind, ranges);
  for (std::size_t i = 0; i < images.size(); ++i) {
    const std::string name = fmt::format("part-{:05}-{:03}.h5", communicator.rank(), i);
    pass_fault_point("checkpoint-part", "write", folder / name);
    pending->members.push_back({name, write_part(folder / name, images[i], cancelled)});
    images[i] = {};
  }
}

void RunFolder::State::start(std::uint64_t step, const nlohmann::json& state,
                             std::span<const TensorRange> ranges, Retention retention,
                             Source source) {
  const core::FaultPlace place(kPlace);
  if (pending) throw core::InternalError("a commit began while another one is under way");
  Pending next;
  next.id = {step, epoch};
  next.source = source;
  next.retention = retention;
  bool again = false;
  agree(communicator, [&] {
    if (retention.newest < 2) throw core::InternalError("a run must keep at least two generations");
    if (!communicator.root()) return;
    fence->require_newest(epoch);
    next.state_text = canonical_text(state);
    if (last_step && step <= *last_step) {
      again = step == *last_step && next.state_text == last_state;
      if (again) return;
      throw core::InternalError("commit of step " + std::to_string(step) + " after step " +
                                std::to_string(*last_step) + " with another state");
    }
    next.state = state;
    remove_tree(folder_of(next.id));  // of a commit of this start that failed
    make_folder(folder_of(next.id));
  });
  if (communicator.any(again)) return;
  pending = std::move(next);
  // What fails on one rank from here on comes out on all when the parts are waited for.
  std::vector<TensorRange> own;
  std::exception_ptr failed;
  try {
    pending->coverage = coverage_of(ranges);
    own = source == Source::copied ? copied(ranges)
                                   : std::vector<TensorRange>(ranges.begin(), ranges.end());
  } catch (...) {
    failed = std::current_exception();
  }
  background.start([this, failed, own = std::move(own)](const auto& cancelled) {
    const core::FaultPlace thread_place(kPlace);
    const core::Stopwatch watch;
    if (failed) std::rethrow_exception(failed);
    write_parts(own, cancelled);
    pending->seconds += watch.seconds();
  });
}

void RunFolder::State::as_newest(const std::function<void()>& work) const {
  try {
    work();
  } catch (const core::IoError&) {
    if (communicator.root()) fence->require_newest(epoch);
    throw;
  }
}

void RunFolder::State::finish_parts() {
  agree(communicator, [&] { as_newest([&] { background.wait(); }); });
  nlohmann::json report = {{"members", nlohmann::json::array()}, {"ranges", pending->coverage}};
  for (const Member& member : pending->members) report["members"].push_back(member_json(member));
  std::vector<std::string> reports = communicator.all_gather(report.dump());
  pending->stage = Pending::Stage::manifest;
  if (!communicator.root()) return;
  background.start([this, reports = std::move(reports)](const auto& cancelled) {
    const core::FaultPlace thread_place(kPlace);
    const core::Stopwatch watch;
    if (cancelled) return;
    pending->manifest = commit_manifest(reports);
    try {
      fence->require_newest(epoch);  // a newer start may be reading what we would remove
      prune(pending->retention);
    } catch (const core::Error& error) {
      core::log_warning("old generations stay: {}", error.what());
    }
    pending->seconds += watch.seconds();
  });
}

FileSeal RunFolder::State::commit_manifest(const std::vector<std::string>& reports) const {
  const std::filesystem::path folder = folder_of(pending->id);
  Manifest manifest;
  manifest.kind = kCheckpointKind;
  manifest.format_version = kCheckpointVersion;
  manifest.recipe_hash = recipe_hash;
  manifest.facts = {{"step", pending->id.step}, {"state", pending->state}};
  std::vector<nlohmann::json> lists;
  for (const std::string& text : reports) {
    nlohmann::json json = nlohmann::json::parse(text);
    for (const nlohmann::json& member : json.at("members")) {
      manifest.members.push_back(member_from_json(member, folder.string()));
    }
    lists.push_back(std::move(json.at("ranges")));
  }
  check_coverage(lists);
  fence->require_newest(epoch);  // the parts took their time
  pass_fault_point("checkpoint-manifest", "write", folder / "manifest.json");
  return write_manifest(folder, std::move(manifest));
}

void RunFolder::State::finish_manifest() {
  agree(communicator, [&] {
    if (communicator.root()) as_newest([&] { background.wait(); });
  });
  last_step = pending->id.step;
  held = Held{pending->id, pending->manifest};
  last_state = std::move(pending->state_text);
  ++costs.generations;
  if (pending->source == Source::copied) costs.behind_seconds += pending->seconds;
  for (const Member& member : pending->members) costs.bytes += member.seal.size;
  pending.reset();
}

// Removes what the retention does not name. A failure costs disk space, not the run.
void RunFolder::State::prune(Retention retention) const {
  const RunContents contents = list_run(path, recipe_hash);
  std::vector<GenerationId> kept;
  int newest = 0;
  for (const GenerationEntry& entry : chain_of(contents)) {
    if (entry.set_aside) continue;
    const bool best = retention.best_step == entry.id.step;
    if (newest < retention.newest || best) kept.push_back(entry.id);
    ++newest;
    if (best) retention.best_step.reset();  // an older start's of this step is not needed
  }
  for (const GenerationEntry& entry : contents.generations) {
    if (entry.set_aside || std::find(kept.begin(), kept.end(), entry.id) != kept.end()) continue;
    const std::filesystem::path folder = folder_of(entry.id);
    std::filesystem::path old = folder;
    old += ".old";  // in one step no generation any more: a kill leaves no half of one
    remove_tree(old);
    rename_durably(folder, old);
    pass_fault_point("checkpoint-prune", "remove", old);
    remove_tree(old);
  }
}

void RunFolder::begin(std::uint64_t step, const nlohmann::json& state,
                      std::span<const TensorRange> ranges, Retention retention) {
  state_->start(step, state, ranges, retention, State::Source::copied);
}

void RunFolder::commit(std::uint64_t step, const nlohmann::json& state,
                       std::span<const TensorRange> ranges, Retention retention) {
  finish();
  state_->start(step, state, ranges, retention, State::Source::in_place);
  finish();
}

bool RunFolder::pending() const { return state_->pending.has_value(); }
bool RunFolder::settled() const { return state_->background.idle(); }
const CommitCosts& RunFolder::costs() const { return state_->costs; }

void RunFolder::advance() {
  State& own = *state_;
  if (!own.pending) return;
  try {
    if (own.pending->stage == State::Pending::Stage::parts) {
      own.finish_parts();
    } else {
      own.finish_manifest();
    }
  } catch (const core::Error&) {
    const GenerationId id = own.pending->id;
    const std::filesystem::path folder = own.folder_of(id);
    own.pending.reset();
    // Of a start that was taken over the name is its own where its claim is followed by another; in
    // a folder that was made anew it may be the newer start's.
    const auto is_own = [&] {
      try {
        return !is_taken_over() || later_claim(own.path, id.epoch);
      } catch (const core::IoError&) {
        return false;
      }
    };
    if (own.communicator.root() && !has_manifest(folder) && is_own()) {
      std::error_code ignored;  // the error that is on its way says what went wrong
      std::filesystem::remove_all(folder, ignored);
    }
    throw;
  }
}

std::optional<StoredCheckpoint> RunFolder::reopen() {
  State& own = *state_;
  if (own.pending || !own.held) throw core::InternalError("there is no generation to reopen");
  std::optional<StoredCheckpoint> stored;
  std::uint64_t spoilt = 0;
  agree(own.communicator, [&] {
    if (!own.communicator.root()) return;
    const std::filesystem::path folder = own.folder_of(own.held->id);
    std::string why;
    try {
      if (!has_manifest(folder)) {
        why = folder.string() + " is gone";
      } else if (seal_of(folder / "manifest.json") != own.held->manifest) {
        why = folder.string() + " is not what was written there";
      } else {
        stored = open_generation(folder);
      }
    } catch (const core::DataError& error) {
      why = error.what();
    }
    if (why.empty()) return;
    core::log_warning("{}; set aside as {}.bad, it is written once more", why,
                      folder.filename().string());
    io::set_aside(folder);
    spoilt = 1;
  });
  if (own.communicator.all_reduce_max(spoilt) == 0)
    return stored ? std::move(stored) : std::optional(StoredCheckpoint{});
  own.held.reset();
  own.last_step.reset();
  return std::nullopt;
}

void RunFolder::finish() {
  while (pending()) advance();
}

}  // namespace retort::io
