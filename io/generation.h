// Names of generations and claims of a run folder, and the chain: which generations a new start may
// resume from. Plain values; what is on disk is listed here, never changed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort::io {

/// A generation: the state before step `step`, written by start number `epoch`.
struct GenerationId {
  std::uint64_t step = 0;
  std::uint32_t epoch = 0;
  auto operator<=>(const GenerationId&) const = default;
};
std::string name_of(GenerationId id);  // "gen-0000000120-e0002"
std::optional<GenerationId> generation_id(std::string_view name);

/// A generation folder that was completed once: it has a manifest, or it was set aside (NAME.bad).
struct GenerationEntry {
  GenerationId id;
  bool set_aside = false;
};

/// What start number `epoch` resumed from; nothing: it began anew.
struct Claim {
  std::uint32_t epoch = 0;
  std::optional<GenerationId> resumes_from;
};
std::string claim_name(std::uint32_t epoch);  // "epoch-0002"
std::optional<std::uint32_t> claim_epoch(std::string_view name);

/// What a run folder holds.
struct RunContents {
  std::vector<GenerationEntry> generations;
  std::vector<Claim> claims;           // those that can be read
  std::uint32_t newest_epoch = 0;      // over all claims, readable or not, and generations; 0: none
  std::vector<std::string> leftovers;  // folders of killed commits and of unfinished removals
};
RunContents list_run(const std::filesystem::path& run);

/// Generations that may be resumed from, newest first: those of the newest start; then those that
/// it resumed from or that came before in that same start; and so on. A generation that an older
/// start committed after it was superseded is on no chain. `broken`: a claim that the chain needs
/// is missing or damaged, so older generations are not listed.
struct Chain {
  std::vector<GenerationEntry> entries;
  bool broken = false;
};
Chain chain_of(const RunContents& contents);
/// Whether a start resumed from or wrote a generation: if none can be loaded, to begin anew without
/// being asked would throw work away.
bool had_generations(const RunContents& contents, const Chain& chain);
/// Whether there were some and each has been set aside or can't be reached: no start goes on.
bool all_lost(const RunContents& contents, const Chain& chain);

/// RUN/checkpoints and RUN/claims.
std::filesystem::path generations_folder(const std::filesystem::path& run);
std::filesystem::path claims_folder(const std::filesystem::path& run);

}  // namespace retort::io
