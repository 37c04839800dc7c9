#include "io/manifest.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "core/error.h"
#include "io/json_text.h"
#include "io/posix.h"

namespace retort::io {
namespace {

constexpr std::string_view kManifestName = "manifest.json";

bool is_hash(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

void check_member_name(std::string_view name, const std::string& where) {
  const auto reject = [&](const std::string& why) {
    throw core::DataError(where + " names the member '" + std::string(name) + "', which " + why +
                          "; restore it or make its folder anew");
  };
  if (name.empty()) reject("is empty");
  if (name.size() > 1000) reject("is too long");
  if (name == kManifestName) reject("is the manifest itself");
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '\\')
      reject("holds a control character or \\");
  }
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") reject("leads out of the folder");
    begin = end + 1;
  }
}

nlohmann::json member_json(const Member& member) {
  return {{"name", member.name},
          {"size", member.seal.size},
          {"sha256", member.seal.sha256},
          {"facts", member.facts}};
}

Member member_from_json(const nlohmann::json& json, const std::string& where) {
  return read_fields(where, [&] {
    Member member;
    member.name = json.at("name").get<std::string>();
    const nlohmann::json& size = json.at("size");
    if (!size.is_number_unsigned()) throw_bad_fields(where, "a size is not a number from 0");
    member.seal.size = size.get<std::uint64_t>();
    member.seal.sha256 = json.at("sha256").get<std::string>();
    member.facts = json.at("facts");
    check_member_name(member.name, where);
    if (!is_hash(member.seal.sha256)) throw_bad_fields(where, "a SHA-256 is not 64 hex digits");
    return member;
  });
}

FileSeal write_manifest(const std::filesystem::path& folder, Manifest manifest) {
  std::sort(manifest.members.begin(), manifest.members.end(),
            [](const Member& a, const Member& b) { return a.name < b.name; });
  const std::string where = (folder / kManifestName).string();
  nlohmann::json members = nlohmann::json::array();
  for (std::size_t i = 0; i < manifest.members.size(); ++i) {
    const Member& member = manifest.members[i];
    check_member_name(member.name, where);
    if (i > 0 && member.name == manifest.members[i - 1].name) {
      throw core::InternalError(where + " would name the member " + member.name + " twice");
    }
    members.push_back(member_json(member));
  }
  nlohmann::json object = {{"kind", manifest.kind},
                           {"format_version", manifest.format_version},
                           {"recipe_hash", manifest.recipe_hash},
                           {"content_digest", manifest.content_digest},
                           {"facts", std::move(manifest.facts)},
                           {"members", std::move(members)}};
  if (!manifest.companions.empty()) {
    std::sort(manifest.companions.begin(), manifest.companions.end());
    for (const std::string& name : manifest.companions) check_member_name(name, where);
    object["companions"] = std::move(manifest.companions);
  }
  return write_file(folder / kManifestName, sealed_text(std::move(object)));
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kManifestName;
  if (!has_manifest(folder)) {
    throw core::DataError(path.string() +
                          " is missing: the folder is not complete or not Retort's; check the path "
                          "or run its stage to the end");
  }
  const std::vector<std::byte> bytes = read_file(path);
  const std::string where = path.string();
  const nlohmann::json object =
      parse_sealed({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where);
  return read_fields(where, [&] {
    Manifest manifest;
    manifest.kind = object.at("kind").get<std::string>();
    manifest.format_version = object.at("format_version").get<std::uint32_t>();
    manifest.recipe_hash = object.at("recipe_hash").get<std::string>();
    manifest.content_digest = object.at("content_digest").get<std::string>();
    manifest.facts = object.at("facts");
    std::set<std::string> names;
    for (const nlohmann::json& json : object.at("members")) {
      manifest.members.push_back(member_from_json(json, where));
      if (!names.insert(manifest.members.back().name).second) {
        throw_bad_fields(where, "a member is named twice");
      }
    }
    if (object.contains("companions"))
      manifest.companions = object.at("companions").get<std::vector<std::string>>();
    for (const std::string& name : manifest.companions) check_member_name(name, where);
    return manifest;
  });
}

Manifest read_manifest(const std::filesystem::path& folder, std::string_view kind) {
  Manifest manifest = read_manifest(folder);
  if (manifest.kind != kind) {
    throw core::DataError(folder.string() + " holds a '" + manifest.kind + "', not a '" +
                          std::string(kind) + "'; give the right folder");
  }
  return manifest;
}

bool has_manifest(const std::filesystem::path& folder) {
  std::error_code error;
  return std::filesystem::is_regular_file(folder / kManifestName, error);
}

void remove_manifest(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::remove(folder / kManifestName, error);
  if (error) throw_io_error("remove", folder / kManifestName, error.value());
  sync_folder(folder);
}

std::vector<MemberFault> verify_members(const std::filesystem::path& folder,
                                        const Manifest& manifest) {
  std::vector<MemberFault> faults;
  for (const Member& member : manifest.members) {
    if (std::string fault = member_fault(folder, member); !fault.empty()) {
      faults.push_back({member.name, std::move(fault)});
    }
  }
  return faults;
}

std::string member_fault(const std::filesystem::path& folder, const Member& member) {
  const std::filesystem::path path = folder / member.name;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return "missing";
  try {
    const FileSeal found = seal_of(path);
    if (found.size != member.seal.size) {
      return "has " + std::to_string(found.size) + " bytes, not " +
             std::to_string(member.seal.size);
    }
    if (found.sha256 != member.seal.sha256) return "has another SHA-256";
  } catch (const core::Error& fault) {  // unreadable counts as a fault, `check` lists it
    return fault.what();
  }
  return "";
}

}  // namespace retort::io
