#include "io/generation.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "io/manifest.h"
#include "io/posix.h"

namespace retort::io {
namespace {

constexpr std::string_view kBad = ".bad";
constexpr std::string_view kOld = ".old";
constexpr std::uint64_t kMostEpochs = 1'000'000'000;  // far from where a number of starts wraps

// A decimal number of all of `text`; nothing for anything else.
std::optional<std::uint64_t> number_of(std::string_view text) {
  if (text.empty() || text.size() > 18 ||
      text.find_first_not_of("0123456789") != std::string_view::npos) {
    return std::nullopt;
  }
  return std::stoull(std::string(text));
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error && error.value() != ENOENT) throw_io_error("list", folder, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::string name_of(GenerationId id) { return fmt::format("gen-{:010}-e{:04}", id.step, id.epoch); }

std::optional<GenerationId> generation_id(std::string_view name) {
  if (!name.starts_with("gen-")) return std::nullopt;
  const std::size_t mark = name.find("-e", 4);
  if (mark == std::string_view::npos) return std::nullopt;
  const auto step = number_of(name.substr(4, mark - 4));
  const auto epoch = number_of(name.substr(mark + 2));
  if (!step || !epoch || *epoch > kMostEpochs) return std::nullopt;
  const GenerationId id{*step, static_cast<std::uint32_t>(*epoch)};
  if (name_of(id) != name) return std::nullopt;
  return id;
}

std::string claim_name(std::uint32_t epoch) { return fmt::format("epoch-{:04}", epoch); }

std::optional<std::uint32_t> claim_epoch(std::string_view name) {
  if (!name.starts_with("epoch-")) return std::nullopt;
  const auto epoch = number_of(name.substr(6));
  if (!epoch || *epoch == 0 || *epoch > kMostEpochs) return std::nullopt;
  const auto value = static_cast<std::uint32_t>(*epoch);
  if (claim_name(value) != name) return std::nullopt;
  return value;
}

std::optional<std::uint32_t> set_aside_claim(std::string_view name) {
  if (!name.ends_with(kBad)) return std::nullopt;
  return claim_epoch(name.substr(0, name.size() - kBad.size()));
}

std::filesystem::path generations_folder(const std::filesystem::path& run) {
  return run / "checkpoints";
}

std::filesystem::path claims_folder(const std::filesystem::path& run) { return run / "claims"; }

RunContents list_run(const std::filesystem::path& run) {
  RunContents contents;
  const std::filesystem::path generations = generations_folder(run);
  for (const std::string& name : names_in(generations)) {
    if (const auto id = generation_id(name)) {
      if (has_manifest(generations / name)) {
        contents.generations.push_back({*id, false});
      } else {
        contents.leftovers.push_back(name);
      }
      contents.newest_epoch = std::max(contents.newest_epoch, id->epoch);
    } else if (name.ends_with(kBad)) {
      const auto bad = generation_id(name.substr(0, name.size() - kBad.size()));
      if (bad) {
        contents.generations.push_back({*bad, true});
        contents.newest_epoch = std::max(contents.newest_epoch, bad->epoch);
      }
    } else if (name.ends_with(kOld) && generation_id(name.substr(0, name.size() - kOld.size()))) {
      contents.leftovers.push_back(name);
    }
  }
  const std::filesystem::path claims = claims_folder(run);
  for (const std::string& name : names_in(claims)) {
    const auto epoch = claim_epoch(name);
    if (!epoch) {
      // One that was set aside keeps its number.
      if (const auto bad = set_aside_claim(name))
        contents.newest_epoch = std::max(contents.newest_epoch, *bad);
      continue;
    }
    contents.newest_epoch = std::max(contents.newest_epoch, *epoch);
    const std::string where = (claims / name).string();
    try {
      const std::vector<std::byte> bytes = read_file(claims / name);
      const nlohmann::json json =
          parse_sealed({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where);
      contents.claims.push_back(read_fields(where, [&] {
        Claim claim{*epoch, std::nullopt, json.at("recipe_hash").get<std::string>()};
        if (json.at("epoch").get<std::uint64_t>() != *epoch) {
          throw_bad_fields(where, "it names another epoch");
        }
        if (const nlohmann::json& from = json.at("resumes_from"); !from.is_null()) {
          claim.resumes_from = generation_id(from.get<std::string>());
          if (!claim.resumes_from || claim.resumes_from->epoch >= *epoch) {
            throw_bad_fields(where, "it resumes from no earlier generation");
          }
        }
        return claim;
      }));
    } catch (const core::Error& error) {  // damaged, or no file that can be read
      std::error_code code;
      const bool file = std::filesystem::is_regular_file(claims / name, code);
      contents.damaged_claims.push_back(
          {claims / name, error.what(), !file || error.code() == core::ExitCode::data});
    }
  }
  return contents;
}

RunContents list_run(const std::filesystem::path& run, const std::string& recipe_hash) {
  RunContents contents = list_run(run);
  std::erase_if(contents.claims,
                [&](const Claim& claim) { return claim.recipe_hash != recipe_hash; });
  return contents;
}

std::map<std::string, int> generation_recipes(const std::filesystem::path& run) {
  std::map<std::string, int> recipes;
  for (const GenerationEntry& entry : list_run(run).generations) {
    if (entry.set_aside) continue;
    try {
      ++recipes[read_manifest(generations_folder(run) / name_of(entry.id)).recipe_hash];
    } catch (const core::Error&) {
      // Whoever opens it is told.
    }
  }
  return recipes;
}

std::vector<Claim> foreign_claims(const std::filesystem::path& run) {
  const RunContents contents = list_run(run);
  const auto contradicts = [&](const Claim& claim, const GenerationEntry& entry) {
    if (entry.set_aside || entry.id.epoch != claim.epoch) return false;
    try {
      return read_manifest(generations_folder(run) / name_of(entry.id)).recipe_hash !=
             claim.recipe_hash;
    } catch (const core::Error&) {
      return false;  // whoever opens it is told
    }
  };
  std::vector<Claim> foreign;
  for (const Claim& claim : contents.claims)
    if (std::any_of(contents.generations.begin(), contents.generations.end(),
                    [&](const auto& entry) { return contradicts(claim, entry); }))
      foreign.push_back(claim);
  return foreign;
}

bool has_mixed_recipes(const std::filesystem::path& run) {
  return generation_recipes(run).size() > 1 || !foreign_claims(run).empty();
}

std::string recipe_of_run(const std::filesystem::path& run) {
  const auto generations = generation_recipes(run);
  std::map<std::string, std::pair<int, int>> votes;  // of generations, of claims
  for (const auto& [recipe, count] : generations) votes[recipe].first = count;
  for (const Claim& claim : list_run(run).claims) ++votes[claim.recipe_hash].second;
  const auto most = std::max_element(
      votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == votes.end() ? "" : most->first;
}

Chain chain_of(const RunContents& contents) {
  std::map<std::uint32_t, std::optional<Claim>> starts;  // all that are known of
  for (const GenerationEntry& entry : contents.generations) starts[entry.id.epoch];
  for (const Claim& claim : contents.claims) starts[claim.epoch] = claim;
  std::vector<GenerationEntry> sorted = contents.generations;
  std::sort(sorted.begin(), sorted.end(), [](const GenerationEntry& a, const GenerationEntry& b) {
    return a.id.step > b.id.step;
  });
  Chain chain;
  std::uint32_t epoch = contents.newest_epoch;
  std::optional<std::uint64_t> last_step;  // of an older start only what its successor had seen
  while (epoch > 0) {
    for (const GenerationEntry& entry : sorted) {
      if (entry.id.epoch == epoch && (!last_step || entry.id.step <= *last_step))
        chain.push_back(entry);
    }
    const auto start = starts.find(epoch);
    if (start == starts.end() || !start->second) {
      // It resumed from one that is not newer than its own oldest; whose, nobody knows.
      for (const GenerationEntry& entry : chain)
        if (!entry.set_aside && (!last_step || entry.id.step < *last_step))
          last_step = entry.id.step;
      const auto next = starts.lower_bound(epoch);
      epoch = next == starts.begin() ? 0 : std::prev(next)->first;
      continue;
    }
    const auto& from = start->second->resumes_from;
    if (!from || from->epoch >= epoch) break;
    epoch = from->epoch;
    last_step = from->step;
  }
  return chain;
}

bool all_lost(const Chain& chain) {
  return !chain.empty() &&
         std::all_of(chain.begin(), chain.end(), [](const auto& entry) { return entry.set_aside; });
}

}  // namespace retort::io
