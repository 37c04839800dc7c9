// Names of generations and claims of a run folder, and the chain: which generations a new start may
// resume from. Plain values; what is on disk is listed here, never changed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
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

/// What start number `epoch` resumed from (nothing: it began anew), and its recipe, which is that
/// of all it commits.
struct Claim {
  std::uint32_t epoch = 0;
  std::optional<GenerationId> resumes_from;
  std::string recipe_hash{};
};
std::string claim_name(std::uint32_t epoch);  // "epoch-0002"
std::optional<std::uint32_t> claim_epoch(std::string_view name);
/// Of "epoch-0002.bad".
std::optional<std::uint32_t> set_aside_claim(std::string_view name);

struct DamagedClaim {
  std::filesystem::path path;
  std::string why;       // a line that names it
  bool lasting = false;  // false: a read failed, which may pass
};

/// What a run folder holds.
struct RunContents {
  std::vector<GenerationEntry> generations;
  std::vector<Claim> claims;  // those that can be read
  std::vector<DamagedClaim> damaged_claims;
  std::uint32_t newest_epoch = 0;      // over all claims, readable or not, and generations; 0: none
  std::vector<std::string> leftovers;  // folders of killed commits and of unfinished removals
};
RunContents list_run(const std::filesystem::path& run);
/// The same without the claims of other recipes: of starts that never committed, or another run's.
RunContents list_run(const std::filesystem::path& run, const std::string& recipe_hash);
/// Recipes of the generations whose manifests can be read, and how many have each.
std::map<std::string, int> generation_recipes(const std::filesystem::path& run);
/// Claims of starts whose generations have another recipe than they say.
std::vector<Claim> foreign_claims(const std::filesystem::path& run);
/// Whether its generations and such claims name more than one: then only a start, which knows its
/// own, can tell which are the run's.
bool has_mixed_recipes(const std::filesystem::path& run);
/// For those who are not told the recipe of a run: the one that most of its generations name, in
/// doubt most of its claims. Empty: they name none.
std::string recipe_of_run(const std::filesystem::path& run);

/// Generations that may be resumed from, newest first: those of the newest start; then those that
/// it resumed from or that came before in that same start; and so on. A generation that an older
/// start committed after it was superseded is on no chain. Where the claim of a start is missing or
/// damaged, the start before it follows, with what it has up to the first generation of that start:
/// starts of one recipe write the same for a step, so a late commit that slips in there is right.
/// Not empty: to begin anew without being asked would throw work away, if none can be loaded.
using Chain = std::vector<GenerationEntry>;
Chain chain_of(const RunContents& contents);
/// Whether there were generations and each has been set aside: no start goes on.
bool all_lost(const Chain& chain);

/// RUN/checkpoints and RUN/claims.
std::filesystem::path generations_folder(const std::filesystem::path& run);
std::filesystem::path claims_folder(const std::filesystem::path& run);

}  // namespace retort::io
