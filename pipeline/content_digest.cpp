#include "pipeline/content_digest.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "io/manifest.h"
#include "io/model_folder.h"
#include "io/run_section.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 64;  // folders; symbolic links may lead in circles

/// Changes whenever the file is written: path, size, times, inode.
std::string stamp_of(const fs::path& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0)
    throw core::IoError(fmt::format("{}: {}", path.string(), std::strerror(errno)));
  return fmt::format("{}|{}|{}.{}|{}.{}|{}", fs::absolute(path).lexically_normal().string(),
                     facts.st_size, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec,
                     facts.st_ctim.tv_sec, facts.st_ctim.tv_nsec, facts.st_ino);
}

}  // namespace

ContentDigests::ContentDigests(fs::path cache) : cache_(std::move(cache)) {
  if (!fs::exists(cache_)) return;
  try {
    const auto bytes = io::read_file(cache_);
    const auto where = cache_.string();
    const auto json =
        io::parse_sealed({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where);
    hashes_ = io::read_fields(
        where, [&] { return json.at("hashes").get<std::map<std::string, std::string>>(); });
  } catch (const core::DataError&) {
    hashes_.clear();  // the files are simply hashed again
  }
}

std::string ContentDigests::of(const fs::path& path) {
  std::error_code code;
  const auto status = fs::status(path, code);
  if (!fs::exists(status))
    throw core::UsageError(fmt::format("{} does not exist; check the path", path.string()));
  if (!fs::is_directory(status)) {
    // Of a run's section: what it is to be. Damage is the stage's to refuse; it is no other input.
    if (const auto seal = io::seal_in_section(path)) return "file:" + seal->sha256;
    return "file:" + file_hash(path);
  }
  if (!io::has_manifest(path)) return "folder:" + folder_hash(path);
  const auto manifest = io::read_manifest(path);
  if (!io::in_run(path))
    if (const auto other = changed_export(path, manifest); !other.empty()) return other;
  if (manifest.content_digest.empty()) return "manifest:" + file_hash(path / "manifest.json");
  return manifest.kind + ":" + manifest.content_digest;
}

std::string ContentDigests::file_hash(const fs::path& path) {
  const auto stamp = stamp_of(path);
  auto known = hashes_.find(stamp);
  if (known == hashes_.end()) {
    known = hashes_.emplace(stamp, io::seal_of(path).sha256).first;
    changed_ = true;
  }
  used_.insert(*known);
  return known->second;
}

std::string ContentDigests::changed_export(const fs::path& path, const io::Manifest& manifest) {
  core::Sha256 sha;
  const auto files = io::exported_model_files(path);
  bool changed = files.empty() && std::ranges::any_of(manifest.members, [](const auto& member) {
                   return member.name.ends_with(".safetensors");
                 });
  for (const auto& file : files) {
    const auto name = file.lexically_relative(path).generic_string(), hash = file_hash(file);
    sha.update_u64(name.size()).update(name).update(hash);
    changed = changed || std::ranges::none_of(manifest.members, [&](const io::Member& member) {
                return member.name == name && member.seal.sha256 == hash;
              });
  }
  return changed ? "changed:" + sha.hex() : "";
}

std::string ContentDigests::folder_hash(const fs::path& path) {
  std::vector<fs::path> files;
  try {
    auto entry =
        fs::recursive_directory_iterator(path, fs::directory_options::follow_directory_symlink);
    for (; entry != fs::recursive_directory_iterator(); ++entry) {
      if (entry.depth() > kDeepest)
        throw core::DataError(fmt::format(
            "{} is nested deeper than {} folders; a symbolic link that leads in a circle?",
            path.string(), kDeepest));
      if (entry->is_regular_file()) files.push_back(entry->path().lexically_relative(path));
    }
  } catch (const fs::filesystem_error& error) {
    throw core::IoError(fmt::format("can't list {}: {}", path.string(), error.code().message()));
  }
  std::sort(files.begin(), files.end());
  core::Sha256 sha;
  for (const auto& file : files) {
    const auto name = file.generic_string();
    sha.update_u64(name.size()).update(name).update(file_hash(path / file));
  }
  return sha.hex();
}

void ContentDigests::save() {
  if (!changed_ && used_.size() == hashes_.size()) return;
  io::make_folder(cache_.parent_path());
  io::write_file(cache_, std::string_view(io::sealed_text({{"hashes", used_}})));
  hashes_ = used_;
  changed_ = false;
}

}  // namespace retort::pipeline
