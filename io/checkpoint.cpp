#include "io/checkpoint.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/json_text.h"
#include "io/posix.h"
#include "io/run_folder.h"

namespace retort::io {
namespace {

Manifest checkpoint_manifest(const std::filesystem::path& folder) {
  Manifest manifest = read_manifest(folder, kCheckpointKind);
  if (manifest.format_version < 1 || manifest.format_version > kCheckpointVersion) {
    throw core::DataError(folder.string() + " has format version " +
                          std::to_string(manifest.format_version) + ", this Retort reads 1 to " +
                          std::to_string(kCheckpointVersion) + "; use a newer Retort");
  }
  return manifest;
}

/// Step and state of a generation, for a Checkpoint or a StoredCheckpoint.
template <class T>
T facts_of(const std::filesystem::path& folder, const Manifest& manifest) {
  return read_fields((folder / "manifest.json").string(), [&] {
    return T{manifest.facts.at("step").get<std::uint64_t>(), manifest.facts.at("state"), {}};
  });
}

Checkpoint read_generation(const std::filesystem::path& folder, const Manifest& manifest,
                           const RowSelection& selection) {
  auto checkpoint = facts_of<Checkpoint>(folder, manifest);
  TensorAssembler assembler(selection);
  for (const Member& member : manifest.members) {
    const std::filesystem::path path = folder / member.name;
    assembler.add(read_verified(path, member.seal), path.string(), kCheckpointKind);
  }
  checkpoint.tensors = assembler.finish();
  return checkpoint;
}

// Called when no generation can be loaded: a silent fresh start is right only if there was none.
void require_fresh(const std::filesystem::path& run, const Chain& chain) {
  if (chain.empty()) return;
  throw core::DataError("generations exist in " + generations_folder(run).string() +
                        " and none verifies; restore one of them, or begin anew after: retort "
                        "check " +
                        run.string() + " --repair");
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
  io::set_aside(folder);
}

/// What is wrong with a generation that was made with another recipe than this start's: damage, if
/// the start that it names had this one's, or another generation has.
std::string foreign_fault(const std::filesystem::path& run, const RunContents& own, GenerationId id,
                          const Manifest& manifest, const std::string& recipe_hash) {
  if (manifest.recipe_hash == recipe_hash) return "";
  const std::filesystem::path folder = generations_folder(run) / name_of(id);
  if (std::any_of(own.claims.begin(), own.claims.end(),
                  [&](const Claim& claim) { return claim.epoch == id.epoch; }) ||
      generation_recipes(run).contains(recipe_hash))
    return fmt::format("{} is another run's: it was made with recipe {}, this run has recipe {}",
                       folder.string(), manifest.recipe_hash, recipe_hash);
  throw core::OtherRecipeError(folder.string() + " was made with recipe " + manifest.recipe_hash +
                               ", this run has recipe " + recipe_hash +
                               ": options or inputs changed; use those of the run or choose "
                               "another folder");
}

}  // namespace

std::optional<GenerationId> RunFolder::State::newest(Depth depth) const {
  while (true) {  // what is set aside changes which generations follow
    const RunContents contents = list_run(path, recipe_hash);
    const Chain chain = chain_of(contents);
    const auto next = std::find_if(chain.begin(), chain.end(),
                                   [](const GenerationEntry& entry) { return !entry.set_aside; });
    if (next == chain.end()) {
      require_fresh(path, chain);
      return std::nullopt;
    }
    const std::filesystem::path folder = folder_of(next->id);
    std::optional<Manifest> manifest;
    std::string fault;
    try {
      manifest = checkpoint_manifest(folder);
    } catch (const core::DataError& error) {
      fault = error.what();
    }
    if (manifest) {
      fault = foreign_fault(path, contents, next->id, *manifest, recipe_hash);
      if (fault.empty() && depth == Depth::members) fault = first_fault(folder, *manifest);
    }
    if (fault.empty()) return next->id;
    set_aside(folder, fault);
  }
}

void RunFolder::State::clean() const {
  for (const std::string& name : list_run(path).leftovers) {
    core::log_info("{}: removing what an unfinished commit left", (path / name).string());
    remove_tree(generations_folder(path) / name);
  }
  remove_temporaries(path);
  const RunContents contents = list_run(path);
  for (const DamagedClaim& claim : contents.damaged_claims)
    if (claim.lasting) io::set_aside(claim.path);
  // Of a start that went on to write generations here with another recipe than it says.
  for (const Claim& claim : contents.claims)
    if (claim.recipe_hash != recipe_hash &&
        std::any_of(
            contents.generations.begin(), contents.generations.end(),
            [&](const auto& entry) { return !entry.set_aside && entry.id.epoch == claim.epoch; }))
      io::set_aside(claims_folder(path) / claim_name(claim.epoch));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(claims_folder(path), error)) {
    const std::string name = entry.path().filename().string();
    if (!claim_epoch(name) && !name.ends_with(".bad")) remove_tree(entry.path());
  }
}

RunFolder::RunFolder(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunFolder::~RunFolder() = default;
RunFolder::RunFolder(RunFolder&&) noexcept = default;

RunFolder RunFolder::open(comm::Communicator& communicator, const std::filesystem::path& path,
                          const std::string& recipe_hash, TakeOver take_over) {
  auto state = std::unique_ptr<State>(new State{communicator, path, recipe_hash});
  agree(communicator, [&] {
    if (!communicator.root()) return;
    make_folder(generations_folder(path));
    make_folder(claims_folder(path));
    state->fence = std::make_unique<RunFence>(path, take_over);
    const std::optional<GenerationId> from = state->newest(State::Depth::members);
    const RunContents contents = list_run(path);
    for (const DamagedClaim& claim : contents.damaged_claims)
      core::log_warning("{}; a start goes by the claims before it", claim.why);
    if (!from && std::any_of(contents.claims.begin(), contents.claims.end(),
                             [](const Claim& claim) { return claim.resumes_from.has_value(); }))
      core::log_warning("{}: earlier starts resumed from generations that are gone; begins anew",
                        generations_folder(path).string());
    state->epoch = contents.newest_epoch + 1;
    state->fence->claim(state->epoch, from, recipe_hash);
    // After the claim: a start that lives on and misses a file sees why.
    state->clean();
  });
  state->epoch = static_cast<std::uint32_t>(communicator.all_reduce_max(state->epoch));
  state->live.emplace(path, state->epoch);
  return RunFolder(std::move(state));
}

const std::filesystem::path& RunFolder::path() const { return state_->path; }
std::uint32_t RunFolder::epoch() const { return state_->epoch; }
void RunFolder::require_newest() const { state_->fence->require_newest(state_->epoch); }
void RunFolder::write_as_newest(const std::function<void()>& write) const {
  require_newest();
  state_->as_newest(write);
}

std::optional<Checkpoint> RunFolder::load(const RowSelection& selection) const {
  comm::Communicator& communicator = state_->communicator;
  while (true) {
    std::string name;
    FileSeal manifest;
    agree(communicator, [&] {
      if (!communicator.root()) return;
      const auto id = state_->newest(State::Depth::manifest);
      if (!id) return;
      name = name_of(*id);
      manifest = seal_of(state_->folder_of(*id) / "manifest.json");
    });
    name = communicator.broadcast(name);
    if (name.empty()) return std::nullopt;
    const std::filesystem::path folder = generations_folder(state_->path) / name;
    Checkpoint checkpoint;
    std::string fault;
    agree(communicator, [&] {
      try {
        checkpoint = read_generation(folder, checkpoint_manifest(folder), selection);
      } catch (const core::DataError& error) {
        fault = error.what();
      }
    });
    const std::vector<std::string> faults = communicator.all_gather(fault);
    const auto found = std::find_if(faults.begin(), faults.end(),
                                    [](const std::string& text) { return !text.empty(); });
    if (found == faults.end()) {
      state_->held = State::Held{*generation_id(name), manifest};
      return checkpoint;
    }
    agree(communicator, [&] {
      if (communicator.root()) set_aside(folder, *found);
    });
  }
}

StoredCheckpoint open_generation(const std::filesystem::path& folder) {
  const Manifest manifest = checkpoint_manifest(folder);
  auto checkpoint = facts_of<StoredCheckpoint>(folder, manifest);
  for (const Member& member : manifest.members)
    checkpoint.tensors.add(folder / member.name, member.seal, kCheckpointKind);
  checkpoint.tensors.finish();
  return checkpoint;
}

std::optional<StoredCheckpoint> open_newest(const std::filesystem::path& run_folder) {
  const std::string recipe = recipe_of_run(run_folder);
  RunContents contents = list_run(run_folder, recipe);
  std::erase_if(contents.generations, [&](const GenerationEntry& entry) {
    if (entry.set_aside) return false;
    const std::filesystem::path folder = generations_folder(run_folder) / name_of(entry.id);
    try {
      const std::string own = checkpoint_manifest(folder).recipe_hash;
      if (own == recipe) return false;
      core::log_warning("{} is another run's: it was made with recipe {}, this run has recipe {}",
                        folder.string(), own, recipe);
      return true;
    } catch (const core::DataError&) {
      return false;  // is told below
    }
  });
  const Chain chain = chain_of(contents);
  for (const GenerationEntry& entry : chain) {
    if (entry.set_aside) continue;
    const std::filesystem::path folder = generations_folder(run_folder) / name_of(entry.id);
    try {
      return open_generation(folder);
    } catch (const core::DataError& error) {
      core::log_warning("{}; an older generation is tried", error.what());
    }
  }
  require_fresh(run_folder, chain);
  return std::nullopt;
}

namespace {

std::string digest(std::uint64_t step, const nlohmann::json& state, const std::string& tensors) {
  const std::string text = canonical_text(state);
  core::Sha256 hash;
  hash.update_u64(step).update_u64(text.size()).update(text).update(tensors);
  return hash.hex();
}

}  // namespace

std::string digest(const Checkpoint& checkpoint) {
  return digest(checkpoint.step, checkpoint.state, digest(checkpoint.tensors));
}

std::string digest(const StoredCheckpoint& checkpoint) {
  return digest(checkpoint.step, checkpoint.state, digest(checkpoint.tensors.source()));
}

}  // namespace retort::io
