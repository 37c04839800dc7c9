#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/fault_point.h"
#include "core/hash.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/json_text.h"
#include "io/manifest.h"
#include "io/posix.h"

namespace retort::io {
namespace {

constexpr std::string_view kSuffix = ".json";

std::filesystem::path record_path(const std::filesystem::path& folder, const std::string& name) {
  std::filesystem::path path = folder / "members" / name;
  path += kSuffix;
  return path;
}

void write_record(const std::filesystem::path& folder, const std::string& recipe_hash,
                  const std::string& origin, const Member& member) {
  nlohmann::json object = member_json(member);
  object["recipe_hash"] = recipe_hash;
  if (!origin.empty()) object["origin"] = origin;
  const std::filesystem::path path = record_path(folder, member.name);
  make_folder(path.parent_path());
  write_file(path, sealed_text(std::move(object)));
}

// Unlink that tolerates another rank having been faster.
void remove_file(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove(path, error);
  if (error) throw_io_error("remove", path, error.value());
}

void set_aside(const std::filesystem::path& folder, const Member& member,
               const std::string& fault) {
  const std::filesystem::path path = folder / member.name;
  core::log_warning("{}: {}; set aside, it will be made anew", path.string(), fault);
  remove_file(record_path(folder, member.name));
  io::set_aside(path);
}

// Not complete any more: back to records, then the manifest goes.
void unseal(const std::filesystem::path& folder, const std::string& recipe_hash,
            const std::string& origin, const std::vector<Member>& good) {
  for (const Member& member : good) write_record(folder, recipe_hash, origin, member);
  remove_manifest(folder);
}

// A member as its record has it, and the recipe that it was made with.
struct Recorded {
  Member member;
  std::string recipe, origin;
};

// All records of a folder. Damaged ones are removed.
std::vector<Recorded> read_records(const std::filesystem::path& folder) {
  const std::filesystem::path root = folder / "members";
  std::vector<Recorded> found;
  std::error_code error;
  if (!std::filesystem::is_directory(root, error)) return found;
  std::vector<std::filesystem::path> paths;
  for (auto entry = std::filesystem::recursive_directory_iterator(root, error);
       !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (entry->path().extension() == kSuffix && entry->is_regular_file(ignored)) {
      paths.push_back(entry->path());
    }
  }
  if (error) throw_io_error("list", root, error.value());
  for (const std::filesystem::path& path : paths) {
    const std::string where = path.string();
    std::string name = path.lexically_relative(root).generic_string();
    name.resize(name.size() - kSuffix.size());
    Recorded record;
    try {
      const std::vector<std::byte> bytes = read_file(path);
      const nlohmann::json object =
          parse_sealed({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where);
      record.member = member_from_json(object, where);
      record.recipe =
          read_fields(where, [&] { return object.at("recipe_hash").get<std::string>(); });
      record.origin = read_fields(where, [&] { return object.value("origin", ""); });
      if (record.member.name != name)
        throw_bad_fields(where, "it names the member " + record.member.name);
    } catch (const core::DataError& fault) {
      // Without its record a member was never finished: it is simply made anew.
      core::log_warning("{}", fault.what());
      remove_file(path);
      continue;
    }
    found.push_back(std::move(record));
  }
  return found;
}

[[noreturn]] void refuse_recipe(const std::filesystem::path& folder, std::string_view state,
                                const std::string& was, const std::string& now) {
  throw core::OtherRecipeError(folder.string() + ": holds " + std::string(state) +
                               " result made with other options or inputs (" + was.substr(0, 12) +
                               ", now " + now.substr(0, 12) +
                               "): repeat those, choose another output folder or remove this one");
}

}  // namespace

MemberLedger::MemberLedger(std::filesystem::path folder, std::string recipe_hash,
                           std::string origin)
    : folder_(std::move(folder)),
      recipe_hash_(std::move(recipe_hash)),
      origin_(std::move(origin)) {}

MemberLedger MemberLedger::existing(const std::filesystem::path& folder, std::string origin) {
  if (has_manifest(folder)) return {folder, read_manifest(folder).recipe_hash, std::move(origin)};
  std::error_code error;
  for (auto entry = std::filesystem::recursive_directory_iterator(folder / "members", error);
       !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->path().extension() != kSuffix) continue;
    try {
      const std::vector<std::byte> bytes = read_file(entry->path());
      const auto object = parse_sealed({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                       entry->path().string());
      return {folder, object.at("recipe_hash").get<std::string>(), std::move(origin)};
    } catch (const core::DataError&) {
      continue;  // records() sees to a damaged one
    } catch (const nlohmann::json::exception&) {
      continue;
    }
  }
  return {folder, ""};
}

void MemberLedger::commit(const std::string& name, std::span<const std::byte> bytes,
                          nlohmann::json facts) {
  check_member_name(name, folder_.string());
  const std::filesystem::path path = folder_ / name;
  make_folder(path.parent_path());
  Member member{name, write_file(path, bytes), std::move(facts)};
  write_record(folder_, recipe_hash_, origin_, member);
}

std::vector<Member> MemberLedger::records() const {
  std::vector<Member> members;
  for (Recorded& record : read_records(folder_)) {
    if (record.recipe != recipe_hash_)
      refuse_recipe(folder_, "an unfinished", record.recipe, recipe_hash_);
    members.push_back(std::move(record.member));
  }
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.name < b.name; });
  return members;
}

bool MemberLedger::holds_others() const {
  const std::vector<Recorded> all = read_records(folder_);
  return std::any_of(all.begin(), all.end(),
                     [&](const Recorded& record) { return record.recipe != recipe_hash_; });
}

void MemberLedger::discard() const {
  if (has_manifest(folder_))
    throw core::InternalError(folder_.string() + " is complete: its members must stay");
  for (const Recorded& record : read_records(folder_)) {
    const std::filesystem::path path = folder_ / record.member.name;
    remove_file(path);  // before its record: a kill in between leaves one that says what to remove
    remove_file(record_path(folder_, record.member.name));
    std::error_code not_empty;
    if (path.parent_path() != folder_) std::filesystem::remove(path.parent_path(), not_empty);
  }
}

std::vector<Member> MemberLedger::adopt() const {
  remove_temporaries(folder_);
  if (!origin_.empty())
    for (const Recorded& record : read_records(folder_))
      if (record.recipe == recipe_hash_ && record.origin != origin_)
        set_aside(folder_, record.member,
                  record.origin.empty() ? "may be made from other source files"
                                        : "was made from other source files");
  std::vector<Member> candidates = records();
  std::optional<Manifest> manifest;
  if (has_manifest(folder_)) {
    manifest = read_manifest(folder_);
    if (manifest->recipe_hash != recipe_hash_)
      refuse_recipe(folder_, "a finished", manifest->recipe_hash, recipe_hash_);
    candidates = manifest->members;
  }
  std::vector<Member> good;
  std::vector<std::pair<Member, std::string>> bad;
  for (Member& member : candidates) {
    std::string fault = member_fault(folder_, member);
    if (fault.empty()) {
      good.push_back(std::move(member));
    } else {
      bad.emplace_back(std::move(member), std::move(fault));
    }
  }
  if (bad.empty()) return good;
  if (manifest) unseal(folder_, recipe_hash_, origin_, good);
  for (const auto& [member, fault] : bad) set_aside(folder_, member, fault);
  return good;
}

std::vector<Member> MemberLedger::reopen() const {
  std::vector<Member> good = adopt();
  if (has_manifest(folder_)) unseal(folder_, recipe_hash_, origin_, good);
  return good;
}

void MemberLedger::seal(comm::Communicator& communicator, Manifest manifest) {
  const core::FaultPlace place("commit");
  communicator.barrier();
  agree(communicator, [&] {
    if (!communicator.root()) return;
    manifest.recipe_hash = recipe_hash_;
    manifest.members = records();
    for (const Member& member : manifest.members) {
      std::error_code error;
      const auto size = std::filesystem::file_size(folder_ / member.name, error);
      if (error || size != member.seal.size) {
        throw core::DataError((folder_ / member.name).string() +
                              " vanished or changed while its folder was being completed; run the "
                              "stage again");
      }
    }
    if (manifest.content_digest.empty()) manifest.content_digest = content_digest(manifest);
    write_manifest(folder_, std::move(manifest));
    pass_fault_point("ledger-remove", "remove", folder_ / "members");
    remove_tree(folder_ / "members");
  });
}

std::string content_digest(const Manifest& manifest) {
  std::vector<Member> members = manifest.members;
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.name < b.name; });
  core::Sha256 hash;
  const auto field = [&](std::string_view text) { hash.update_u64(text.size()).update(text); };
  field(manifest.kind);
  hash.update_u64(manifest.format_version);
  field(canonical_text(manifest.facts));
  hash.update_u64(members.size());
  for (const Member& member : members) {
    field(member.name);
    field(member.seal.sha256);
  }
  return hash.hex();
}

}  // namespace retort::io
