#include "io/checkpoint.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/fault_point.h"
#include "io/generation.h"
#include "io/json_text.h"
#include "io/manifest.h"
#include "io/posix.h"
#include "io/run_fence.h"

namespace retort::io {
namespace {

constexpr std::string_view kKind = "checkpoint";
constexpr std::uint32_t kFormatVersion = 1;

Manifest checkpoint_manifest(const std::filesystem::path& folder) {
  Manifest manifest = read_manifest(folder, kKind);
  if (manifest.format_version < 1 || manifest.format_version > kFormatVersion) {
    throw core::DataError(folder.string() + " has format version " +
                          std::to_string(manifest.format_version) + ", this Retort reads 1 to " +
                          std::to_string(kFormatVersion) + "; use a newer Retort");
  }
  return manifest;
}

Checkpoint read_generation(const std::filesystem::path& folder, const Manifest& manifest) {
  const std::string where = (folder / "manifest.json").string();
  Checkpoint checkpoint = read_fields(where, [&] {
    return Checkpoint{
        manifest.facts.at("step").get<std::uint64_t>(), manifest.facts.at("state"), {}};
  });
  TensorAssembler assembler;
  for (const Member& member : manifest.members) {
    const std::filesystem::path path = folder / member.name;
    assembler.add(read_verified(path, member.seal), path.string(), kKind);
  }
  checkpoint.tensors = assembler.finish();
  return checkpoint;
}

// Called when no generation can be loaded: a silent fresh start is right only if there was none.
void require_fresh(const std::filesystem::path& run, const RunContents& contents,
                   const Chain& chain) {
  if (chain.entries.empty() && !(chain.broken && !contents.generations.empty())) return;
  throw core::DataError("generations exist in " + generations_folder(run).string() +
                        " and none verifies; restore one of them, or remove the run folder to "
                        "start anew");
}

std::string first_fault(const std::filesystem::path& folder, const Manifest& manifest) {
  for (const Member& member : manifest.members) {
    const std::string fault = member_fault(folder, member);
    if (!fault.empty()) return (folder / member.name).string() + ": " + fault;
  }
  return "";
}

// Moves a generation out of the way; its bytes stay for inspection.
void set_aside(const std::filesystem::path& folder, const std::string& why) {
  core::log_warning("{}; set aside as {}.bad, an older generation is tried", why,
                    folder.filename().string());
  std::filesystem::path bad = folder;
  bad += ".bad";
  remove_tree(bad);
  rename_durably(folder, bad);
}

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

}  // namespace

struct RunFolder::State {
  comm::Communicator& communicator;
  std::filesystem::path path;
  std::string recipe_hash;
  std::unique_ptr<RunFence> fence;  // rank 0
  std::uint32_t epoch = 0;
  std::optional<std::uint64_t> last_step;  // committed by this start
  std::string last_state;

  std::filesystem::path folder_of(GenerationId id) const {
    return generations_folder(path) / name_of(id);
  }

  void require_recipe(const Manifest& manifest, GenerationId id) const {
    if (manifest.recipe_hash == recipe_hash) return;
    throw core::DataError(folder_of(id).string() + " was made with recipe " + manifest.recipe_hash +
                          ", this run has recipe " + recipe_hash +
                          ": options or inputs changed; use those of the run or choose another "
                          "folder");
  }

  // Rank 0: the newest generation of the chain whose manifest can be read and, if asked for, whose
  // members verify. Others are set aside. DataError if there is none but there were some.
  enum class Depth { manifest, members };
  std::optional<GenerationId> newest(Depth depth) const {
    const RunContents contents = list_run(path);
    const Chain chain = chain_of(contents);
    for (const GenerationEntry& entry : chain.entries) {
      if (entry.set_aside) continue;
      const std::filesystem::path folder = folder_of(entry.id);
      std::optional<Manifest> manifest;
      std::string fault;
      try {
        manifest = checkpoint_manifest(folder);
      } catch (const core::DataError& error) {
        fault = error.what();
      }
      if (manifest) {
        require_recipe(*manifest, entry.id);  // no damage: ends the run, sets nothing aside
        if (depth == Depth::members) fault = first_fault(folder, *manifest);
      }
      if (fault.empty()) return entry.id;
      set_aside(folder, fault);
    }
    require_fresh(path, contents, chain);
    return std::nullopt;
  }

  // What killed commits and removals left behind; never a generation.
  void clean() const {
    for (const std::string& name : list_run(path).leftovers) {
      core::log_info("{}: removing what an unfinished commit left", (path / name).string());
      remove_tree(generations_folder(path) / name);
    }
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(claims_folder(path), error)) {
      if (!claim_epoch(entry.path().filename().string())) remove_tree(entry.path());
    }
  }

  // Removes all but the newest `keep` of the chain. A failure costs disk space, not the run.
  void prune(int keep) const {
    const RunContents contents = list_run(path);
    std::vector<GenerationId> kept;
    for (const GenerationEntry& entry : chain_of(contents).entries) {
      if (!entry.set_aside && kept.size() < static_cast<std::size_t>(keep)) {
        kept.push_back(entry.id);
      }
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

  std::vector<Member> write_parts(const std::filesystem::path& folder,
                                  std::span<const TensorRange> ranges) const {
    std::vector<Member> members;
    std::vector<std::vector<std::byte>> images = tensor_images(kKind, ranges);
    for (std::size_t i = 0; i < images.size(); ++i) {
      const std::string name = fmt::format("part-{:05}-{:03}.h5", communicator.rank(), i);
      pass_fault_point("checkpoint-part", "write", folder / name);
      members.push_back({name, write_file(folder / name, images[i])});
      images[i] = {};
    }
    return members;
  }
};

RunFolder::RunFolder(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunFolder::~RunFolder() = default;
RunFolder::RunFolder(RunFolder&&) noexcept = default;

RunFolder RunFolder::open(comm::Communicator& communicator, const std::filesystem::path& path,
                          const std::string& recipe_hash, TakeOver take_over) {
  auto state =
      std::unique_ptr<State>(new State{communicator, path, recipe_hash, nullptr, 0, {}, {}});
  agree(communicator, [&] {
    if (!communicator.root()) return;
    make_folder(generations_folder(path));
    make_folder(claims_folder(path));
    state->fence = std::make_unique<RunFence>(path, take_over);
    state->clean();
    const std::optional<GenerationId> from = state->newest(State::Depth::members);
    state->epoch = list_run(path).newest_epoch + 1;
    state->fence->claim(state->epoch, from, recipe_hash);
  });
  state->epoch = static_cast<std::uint32_t>(communicator.all_reduce_max(state->epoch));
  return RunFolder(std::move(state));
}

const std::filesystem::path& RunFolder::path() const { return state_->path; }
std::uint32_t RunFolder::epoch() const { return state_->epoch; }
void RunFolder::require_newest() const { state_->fence->require_newest(state_->epoch); }

std::optional<Checkpoint> RunFolder::load() const {
  comm::Communicator& communicator = state_->communicator;
  while (true) {
    std::string name;
    agree(communicator, [&] {
      if (!communicator.root()) return;
      if (const auto id = state_->newest(State::Depth::manifest)) name = name_of(*id);
    });
    name = communicator.broadcast(name);
    if (name.empty()) return std::nullopt;
    const std::filesystem::path folder = generations_folder(state_->path) / name;
    Checkpoint checkpoint;
    std::string fault;
    agree(communicator, [&] {
      try {
        checkpoint = read_generation(folder);
      } catch (const core::DataError& error) {
        fault = error.what();
      }
    });
    const std::vector<std::string> faults = communicator.all_gather(fault);
    const auto found = std::find_if(faults.begin(), faults.end(),
                                    [](const std::string& text) { return !text.empty(); });
    if (found == faults.end()) return checkpoint;
    agree(communicator, [&] {
      if (communicator.root()) set_aside(folder, *found);
    });
  }
}

void RunFolder::commit(std::uint64_t step, const nlohmann::json& state,
                       std::span<const TensorRange> ranges, int keep) {
  const FaultPlace place("checkpoint");
  State& own = *state_;
  comm::Communicator& communicator = own.communicator;
  const std::filesystem::path folder = own.folder_of({step, own.epoch});
  std::string state_text;
  bool again = false;
  agree(communicator, [&] {
    if (keep < 2) throw core::InternalError("a run must keep at least two generations");
    if (!communicator.root()) return;
    own.fence->require_newest(own.epoch);
    state_text = canonical_text(state);
    if (own.last_step && step <= *own.last_step) {
      again = step == *own.last_step && state_text == own.last_state;
      if (again) return;
      throw core::InternalError("commit of step " + std::to_string(step) + " after step " +
                                std::to_string(*own.last_step) + " with another state");
    }
    remove_tree(folder);  // of a commit of this start that failed
    make_folder(folder);
  });
  if (communicator.any(again)) return;
  std::vector<Member> members;
  try {
    agree(communicator, [&] { members = own.write_parts(folder, ranges); });
    nlohmann::json report = {{"members", nlohmann::json::array()}, {"ranges", coverage_of(ranges)}};
    for (const Member& member : members) report["members"].push_back(member_json(member));
    const std::vector<std::string> reports = communicator.all_gather(report.dump());
    agree(communicator, [&] {
      if (!communicator.root()) return;
      Manifest manifest;
      manifest.kind = kKind;
      manifest.format_version = kFormatVersion;
      manifest.recipe_hash = own.recipe_hash;
      manifest.facts = {{"step", step}, {"state", state}};
      std::vector<nlohmann::json> lists;
      for (const std::string& text : reports) {
        nlohmann::json json = nlohmann::json::parse(text);
        for (const nlohmann::json& member : json.at("members")) {
          manifest.members.push_back(member_from_json(member, folder.string()));
        }
        lists.push_back(std::move(json.at("ranges")));
      }
      check_coverage(lists);
      pass_fault_point("checkpoint-manifest", "write", folder / "manifest.json");
      write_manifest(folder, std::move(manifest));
    });
  } catch (const core::Error&) {
    if (communicator.root() && !has_manifest(folder)) {
      std::error_code ignored;  // the error that is on its way says what went wrong
      std::filesystem::remove_all(folder, ignored);
    }
    throw;
  }
  own.last_step = step;
  own.last_state = state_text;
  if (communicator.root()) {
    try {
      own.fence->require_newest(own.epoch);  // a newer start may be reading what we would remove
      own.prune(keep);
    } catch (const core::Error& error) {
      core::log_warning("old generations stay: {}", error.what());
    }
  }
}

Checkpoint read_generation(const std::filesystem::path& folder) {
  return read_generation(folder, checkpoint_manifest(folder));
}

std::optional<Checkpoint> load_newest(const std::filesystem::path& run_folder) {
  const RunContents contents = list_run(run_folder);
  const Chain chain = chain_of(contents);
  for (const GenerationEntry& entry : chain.entries) {
    if (entry.set_aside) continue;
    try {
      return read_generation(generations_folder(run_folder) / name_of(entry.id));
    } catch (const core::DataError& error) {
      core::log_warning("{}; an older generation is tried", error.what());
    }
  }
  require_fresh(run_folder, contents, chain);
  return std::nullopt;
}

std::string digest(const Checkpoint& checkpoint) {
  const std::string state = canonical_text(checkpoint.state);
  core::Sha256 hash;
  hash.update_u64(checkpoint.step).update_u64(state.size()).update(state);
  hash.update(digest(checkpoint.tensors));
  return hash.hex();
}

}  // namespace retort::io
