// A folder of pictures per class, with or without split folders (train, test, validation) above.
#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <system_error>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/image_codec.h"
#include "io/sources/source.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using core::DataError;
using core::IoError;
using core::UsageError;
namespace fs = std::filesystem;

constexpr int kMaxDepth = 32;                         // links may form a circle
constexpr std::uint64_t kNoFile = ~std::uint64_t{0};  // size of a dangling link, a pipe, a device

// Names of split folders and what they are called in the packed dataset.
const std::map<std::string, std::string, std::less<>> kSplitFolders = {
    {"train", "train"}, {"test", "test"}, {"validation", "validation"}, {"val", "validation"}};

/// Which folders of a picture's path name its class.
struct ClassRule {
  enum class Kind { whole, levels, none };
  Kind kind = Kind::whole;
  int first = 1, last = 1;  // levels below --source, from 1

  static ClassRule parse(const std::string& text) {
    if (text == "folder") return {};
    if (text == "none") return {Kind::none, 0, 0};
    ClassRule rule{Kind::levels, 0, 0};
    const char* end = text.data() + text.size();
    auto result = std::from_chars(text.data(), end, rule.first);
    rule.last = rule.first;
    if (result.ec == std::errc() && result.ptr != end && *result.ptr == '-')
      result = std::from_chars(result.ptr + 1, end, rule.last);
    if (result.ec != std::errc() || result.ptr != end || rule.first < 1 || rule.last < rule.first ||
        rule.last > kMaxDepth)
      throw UsageError(
          fmt::format("--class-from {}: write folder, none, a level as 2 or levels "
                      "as 1-2 (1 is the first folder below --source)",
                      text));
    return rule;
  }
};

bool is_picture(const fs::path& path) {
  std::string end = path.extension().string();
  std::transform(end.begin(), end.end(), end.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  for (const char* known : {".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".pnm"})
    if (end == known) return true;
  return false;
}

struct Found {
  std::string path;  // relative, '/' between folders
  std::uint64_t bytes = 0;
  std::int64_t written = 0;  // modification time, in the clock's own ticks
};

struct Walk {
  std::vector<Found> pictures;
  std::vector<std::string> empty_folders;  // without any entry that counts, below the source
  std::uint64_t ignored = 0;
  std::string first_ignored;
};

void walk(const fs::path& folder, const std::string& relative, int depth, Walk& out) {
  if (depth > kMaxDepth)
    throw DataError(fmt::format("{}: more than {} folders deep; is there a link to a parent?",
                                folder.string(), kMaxDepth));
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error)
    throw IoError(fmt::format("{}: cannot list the folder: {}", folder.string(), error.message()));
  std::size_t inside = 0;
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.starts_with('.')) continue;
    if (!is_plain_utf8(name))
      throw DataError(fmt::format("{}: the name {} is not plain UTF-8 text; rename it",
                                  folder.string(), escaped(name)));
    const std::string path = relative.empty() ? name : relative + '/' + name;
    const fs::file_status status = fs::status(entries->path(), error);
    if (error && status.type() != fs::file_type::not_found)
      throw IoError(fmt::format("{}: {}", entries->path().string(), error.message()));
    if (fs::is_directory(status)) {
      walk(entries->path(), path, depth + 1, out);
      ++inside;
    } else if (is_picture(entries->path())) {
      const bool regular = fs::is_regular_file(status);
      const std::uint64_t size = regular ? fs::file_size(entries->path(), error) : 0;
      std::error_code no_time;
      const auto written = fs::last_write_time(entries->path(), no_time).time_since_epoch().count();
      out.pictures.push_back(
          {path, regular && !error ? size : kNoFile, no_time ? 0 : std::int64_t{written}});
      ++inside;
    } else {
      ++out.ignored;
      if (out.first_ignored.empty() || path < out.first_ignored) out.first_ignored = path;
    }
    error.clear();
  }
  if (error)
    throw IoError(fmt::format("{}: cannot list the folder: {}", folder.string(), error.message()));
  if (inside == 0 && !relative.empty()) out.empty_folders.push_back(relative);
}

std::vector<std::string_view> folders_of(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t slash; (slash = path.find('/')) != path.npos; path.remove_prefix(slash + 1))
    parts.push_back(path.substr(0, slash));
  return parts;
}

struct Placed {
  std::string class_name;
  std::string split;
};

// Where a picture belongs, by its path.
Placed place(const std::string& path, const ClassRule& rule, bool has_split_folders) {
  auto parts = folders_of(path);
  Placed placed;
  placed.split = "train";
  if (has_split_folders) placed.split = kSplitFolders.find(parts.at(0))->second;
  if (rule.kind == ClassRule::Kind::none) return placed;
  std::size_t first = has_split_folders ? 1 : 0, last = parts.size();
  if (rule.kind == ClassRule::Kind::levels) {
    first = static_cast<std::size_t>(rule.first - 1);
    last = static_cast<std::size_t>(rule.last);
  }
  if (first >= parts.size() || last > parts.size() || first >= last)
    throw DataError(
        fmt::format("{}: lies in no class folder; put pictures into a folder per "
                    "class, or see --class-from",
                    path));
  for (std::size_t i = first; i < last; ++i) {
    if (i > first) placed.class_name += '/';
    placed.class_name += parts[i];
  }
  return placed;
}

class FolderReader : public SampleReader {
 public:
  explicit FolderReader(fs::path root) : root_(std::move(root)) {}
  void read(const Catalogue& catalogue, std::uint64_t item, SourceSample& sample) override {
    sample.shape = {};
    if (catalogue.bytes(item) == kNoFile)
      throw DataError(fmt::format("{}: not a file, or a link to nothing", catalogue.name(item)));
    sample.bytes = read_file(root_ / catalogue.name(item));
  }

 private:
  fs::path root_;
};

class FolderSource : public SampleSource {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Source: folder");
    table
        .add("class-from", &class_from_,
             "what names the class: folder (all folders below the split folder), the folder at a "
             "level below --source (2) or at several (1-2), or none (unlabelled)")
        .value_name = "LEVELS";
  }

  Catalogue list(const SourceRequest& request) const override {
    const ClassRule rule = ClassRule::parse(class_from_);
    check_root(request.path);
    Walk found;
    walk(request.path, "", 0, found);
    if (found.pictures.empty())
      throw DataError(fmt::format("{}: no picture found (.jpg, .jpeg, .png, .pgm, .ppm, .pnm)",
                                  request.path.string()));
    std::sort(found.pictures.begin(), found.pictures.end(),
              [](const Found& a, const Found& b) { return a.path < b.path; });
    const bool split_folders = all_in_split_folders(found.pictures);
    check_empty_folders(request.path, found, rule, split_folders);
    Catalogue catalogue;
    std::map<std::string, std::uint32_t> classes, splits;
    std::vector<Placed> places;
    for (const Found& picture : found.pictures) {
      places.push_back(place(picture.path, rule, split_folders));
      classes[places.back().class_name];
      splits[places.back().split];
    }
    for (auto& [name, index] : classes) {
      index = static_cast<std::uint32_t>(catalogue.class_names.size());
      if (rule.kind != ClassRule::Kind::none) catalogue.class_names.push_back(name);
    }
    for (auto& [name, index] : splits) {
      index = static_cast<std::uint32_t>(catalogue.splits.size());
      catalogue.splits.push_back(name);
    }
    // Class by class, as most readers of a dataset expect.
    std::vector<std::uint64_t> order(places.size());
    for (std::uint64_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::uint64_t a, std::uint64_t b) {
      return places[a].class_name < places[b].class_name;
    });
    for (const std::uint64_t i : order) {
      const std::uint32_t label = classes.at(places[i].class_name);
      const std::size_t labels = rule.kind == ClassRule::Kind::none ? 0 : 1;
      catalogue.add(found.pictures[i].path, std::span(&label, labels), splits.at(places[i].split),
                    found.pictures[i].bytes);
    }
    catalogue.shape = first_shape(request.path, catalogue);
    catalogue.origin = core::sha256_hex(std::string_view("folder"));
    catalogue.stamp = stamp_of(found.pictures);
    if (found.ignored > 0)
      catalogue.facts["ignored_files"] = {{"count", found.ignored}, {"first", found.first_ignored}};
    return catalogue;
  }

  std::unique_ptr<SampleReader> open(const SourceRequest& request,
                                     const Catalogue&) const override {
    return std::make_unique<FolderReader>(request.path);
  }

 private:
  static std::string stamp_of(const std::vector<Found>& pictures) {
    core::Sha256 stamp;
    for (const Found& picture : pictures)
      stamp.update_u64(picture.path.size())
          .update(picture.path)
          .update_u64(picture.bytes)
          .update_u64(static_cast<std::uint64_t>(picture.written));
    return stamp.hex();
  }

  static void check_root(const fs::path& root) {
    std::error_code error;
    const fs::file_status status = fs::status(root, error);
    if (status.type() == fs::file_type::not_found)
      throw UsageError(fmt::format("--source {}: there is no such folder", root.string()));
    if (error) throw IoError(fmt::format("--source {}: {}", root.string(), error.message()));
    if (!fs::is_directory(status))
      throw UsageError(fmt::format("--source {}: not a folder", root.string()));
  }

  static bool all_in_split_folders(const std::vector<Found>& pictures) {
    return std::all_of(pictures.begin(), pictures.end(), [](const Found& picture) {
      const auto slash = picture.path.find('/');
      return slash != std::string::npos &&
             kSplitFolders.contains(std::string_view(picture.path).substr(0, slash));
    });
  }

  // A folder that would be a class but holds no picture: a sign of a broken copy.
  static void check_empty_folders(const fs::path& root, Walk& found, const ClassRule& rule,
                                  bool split_folders) {
    if (rule.kind != ClassRule::Kind::whole || found.empty_folders.empty()) return;
    std::sort(found.empty_folders.begin(), found.empty_folders.end());
    const std::string& first = found.empty_folders.front();
    const bool split = split_folders && first.find('/') == std::string::npos;
    throw DataError(
        fmt::format("{}: {} folder {} holds no picture{}; fill it or remove it", root.string(),
                    split ? "split" : "class", first,
                    found.empty_folders.size() == 1
                        ? ""
                        : fmt::format(" (nor do {} others)", found.empty_folders.size() - 1)));
  }

  // Of the first picture with a sound header: what --size and --channels default to.
  static ImageShape first_shape(const fs::path& root, const Catalogue& catalogue) {
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(catalogue.size(), 100); ++i) {
      const fs::path path = root / catalogue.name(i);
      try {
        return read_image_header(read_file(path), path.string());
      } catch (const core::Error&) {
        // Counted when it is packed; here the next one will do.
      }
    }
    return {};
  }

  std::string class_from_ = "folder";
};

}  // namespace

std::unique_ptr<SampleSource> make_folder_source() { return std::make_unique<FolderSource>(); }

}  // namespace retort::io
