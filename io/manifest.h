// Manifest: manifest.json of a folder. It alone says what is complete. Members with size and
// SHA-256; a checksum over the manifest's own canonical text; no time, host or rank in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/communicator.h"
#include "io/atomic_file.h"

namespace retort::io {

struct Member {
  std::string name;  // relative to the folder, '/' separators
  FileSeal seal;
  nlohmann::json facts = nlohmann::json::object();  // what readers need without parsing the file
};

struct Manifest {
  std::string kind;  // "packed_dataset", "logits", "label_matrix", "checkpoint", ...
  std::uint32_t format_version = 1;
  std::string recipe_hash;     // what was asked for: options, inputs' digests
  std::string content_digest;  // logical content, whatever the layout
  nlohmann::json facts = nlohmann::json::object();
  std::vector<Member> members;          // sorted by name when written
  std::vector<std::string> companions;  // files beside them that carry their own checksum
                                        // (io/companions.h); sorted when written
};

/// SHA-256 over kind, version, facts, and names and hashes of the members: the content digest of
/// folders whose members are the same bytes for every layout and world size.
std::string content_digest(const Manifest& manifest);

/// Writes FOLDER/manifest.json atomically. One rank calls it.
FileSeal write_manifest(const std::filesystem::path& folder, Manifest manifest);
/// Reads and verifies the manifest itself (not its members). DataError names folder and fault.
Manifest read_manifest(const std::filesystem::path& folder, std::string_view kind);
Manifest read_manifest(const std::filesystem::path& folder);  // any kind
bool has_manifest(const std::filesystem::path& folder);
/// Makes the folder incomplete, durably. No error if there is none.
void remove_manifest(const std::filesystem::path& folder);

/// DataError that names `where` unless `name` is a plain relative path below the folder.
void check_member_name(std::string_view name, const std::string& where);
nlohmann::json member_json(const Member& member);
Member member_from_json(const nlohmann::json& json, const std::string& where);  // DataError
/// What is wrong with a member on disk; empty if nothing is. Reads every byte.
std::string member_fault(const std::filesystem::path& folder, const Member& member);

/// Names and faults of members that are missing, of another size or another hash; empty if all are
/// right. Reads every byte.
struct MemberFault {
  std::string name;
  std::string fault;
};
std::vector<MemberFault> verify_members(const std::filesystem::path& folder,
                                        const Manifest& manifest);

/// Members that are written over a long time by many ranks (packed shards, logit shards): each
/// finished member gets a record FOLDER/members/NAME.json (seal, facts, recipe hash), written after
/// the member. A restart adopts the members whose record fits the recipe and whose bytes verify;
/// seal() gathers all records into manifest.json and removes the records. Fault points:
/// ledger-remove, and those of AtomicFile.
class MemberLedger {
 public:
  /// `origin`: what the recipe does not cover, such as the times of source files; members on record
  /// with another one, or with none, are made anew. Empty: nothing.
  MemberLedger(std::filesystem::path folder, std::string recipe_hash, std::string origin = {});
  /// That of a folder which is there, with the recipe of its manifest or records.
  static MemberLedger existing(const std::filesystem::path& folder, std::string origin = {});
  /// Writes the member's bytes and then its record. Any rank, distinct names.
  void commit(const std::string& name, std::span<const std::byte> bytes, nlohmann::json facts);
  /// The members that are there and right, sorted by name. One with a foreign recipe: UsageError
  /// that says so and what to do; one that fails its hash is set aside (NAME.bad) and not listed.
  /// On a sealed folder: the members of its manifest; if one is bad, the folder becomes unsealed.
  /// Reads every byte; one rank calls it and tells the others, before anyone commits.
  std::vector<Member> adopt() const;
  /// The same, and a sealed folder becomes unsealed even if all its members are right.
  std::vector<Member> reopen() const;
  /// The members that have records of this recipe, sorted by name, without reading their bytes.
  std::vector<Member> records() const;
  /// True if a record is of another recipe.
  bool holds_others() const;
  /// Removes every member that has a record, whatever its recipe, and the records; no other file.
  /// For a folder that never was complete: InternalError for one that is.
  void discard() const;
  /// Collective: barrier, then rank 0 writes manifest.json from the records. Sets the recipe hash
  /// and the members of `manifest`, and its content digest if that is empty (content_digest()).
  /// Errors come out on all ranks.
  void seal(comm::Communicator& communicator, Manifest manifest);

 private:
  std::filesystem::path folder_;
  std::string recipe_hash_, origin_;
};

}  // namespace retort::io
