// IDX files as MNIST has them: train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with
// t10k, plain or gzip: magic 00 00 08 RANK, big-endian sizes, bytes.
#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <system_error>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/sources/gzip.h"
#include "io/sources/source.h"

namespace retort::io {
namespace {

using core::DataError;
namespace fs = std::filesystem;

// Above any published set; a gzip bomb stops here.
constexpr std::uint64_t kMaxIdxBytes = std::uint64_t{8} << 30;

struct IdxFile {
  fs::path path;
  std::vector<std::uint64_t> sizes;  // per dimension
  std::vector<std::byte> bytes;      // whole content
  std::size_t header = 0;
  std::span<const std::byte> values() const { return std::span(bytes).subspan(header); }
};

IdxFile read_idx(const fs::path& path, unsigned rank, std::string_view what) {
  IdxFile file;
  file.path = path;
  file.bytes = read_maybe_gzip(path, kMaxIdxBytes);
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint64_t>(file.bytes[i]); };
  file.header = 4 + 4 * rank;
  if (file.bytes.size() >= 4 && (at(0) != 0 || at(1) != 0 || at(2) != 8 || at(3) != rank))
    throw DataError(
        fmt::format("{}: starts with {:02x} {:02x} {:02x} {:02x}, but IDX {} of bytes "
                    "start with 00 00 08 {:02x}",
                    path.string(), at(0), at(1), at(2), at(3), what, rank));
  if (file.bytes.size() < file.header)
    throw DataError(fmt::format("{}: {} bytes are too few for an IDX header", path.string(),
                                file.bytes.size()));
  std::uint64_t elements = 1;
  for (unsigned d = 0; d < rank; ++d) {
    const std::size_t i = 4 + 4 * d;
    file.sizes.push_back(at(i) << 24 | at(i + 1) << 16 | at(i + 2) << 8 | at(i + 3));
    if (file.sizes.back() != 0 && elements > kMaxIdxBytes / file.sizes.back())
      throw DataError(fmt::format("{}: the header declares an absurd size", path.string()));
    elements *= file.sizes.back();
  }
  if (file.values().size() != elements)
    throw DataError(fmt::format("{}: the header declares {} bytes of {}, the file holds {}",
                                path.string(), elements, what, file.values().size()));
  return file;
}

struct IdxSplit {
  std::string name;    // "train"
  std::string prefix;  // of the file names
  IdxFile images;
  IdxFile labels;
};

std::optional<fs::path> find_idx(const fs::path& folder, const std::string& prefix,
                                 const std::string& what) {
  for (const char* separator : {"-", "."})
    for (const char* end : {".gz", ""}) {
      const fs::path path =
          folder / fmt::format("{}-{}{}{}", prefix, what.substr(0, what.find('-')), separator,
                               what.substr(what.find('-') + 1) + end);
      std::error_code error;
      if (fs::exists(path, error)) return path;
    }
  return std::nullopt;
}

std::vector<IdxSplit> read_all(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found)
    throw core::UsageError(fmt::format("--source {}: there is no such folder", folder.string()));
  if (error) throw core::IoError(fmt::format("--source {}: {}", folder.string(), error.message()));
  if (!fs::is_directory(status))
    throw core::UsageError(
        fmt::format("--source {}: not a folder; name the folder that holds "
                    "train-images-idx3-ubyte.gz",
                    folder.string()));
  std::vector<IdxSplit> splits;
  for (const auto& [name, prefix] :
       {std::pair<const char*, const char*>{"train", "train"}, {"test", "t10k"}}) {
    const auto images = find_idx(folder, prefix, "images-idx3-ubyte");
    const auto labels = find_idx(folder, prefix, "labels-idx1-ubyte");
    if (!images && !labels) continue;
    if (!images || !labels)
      throw DataError(fmt::format("{}: there are {} but no {}-{}", folder.string(),
                                  (images ? images : labels)->filename().string(), prefix,
                                  images ? "labels-idx1-ubyte.gz" : "images-idx3-ubyte.gz"));
    IdxSplit split{name, prefix, read_idx(*images, 3, "images"), read_idx(*labels, 1, "labels")};
    if (split.images.sizes[0] != split.labels.sizes[0])
      throw DataError(fmt::format("{} holds {} images, {} holds {} labels", images->string(),
                                  split.images.sizes[0], labels->string(), split.labels.sizes[0]));
    if (!splits.empty() && !std::equal(split.images.sizes.begin() + 1, split.images.sizes.end(),
                                       splits[0].images.sizes.begin() + 1))
      throw DataError(fmt::format("{}: images are {}x{}, those of {} are {}x{}", images->string(),
                                  split.images.sizes[1], split.images.sizes[2],
                                  splits[0].images.path.filename().string(),
                                  splits[0].images.sizes[1], splits[0].images.sizes[2]));
    splits.push_back(std::move(split));
  }
  if (splits.empty())
    throw DataError(
        fmt::format("{}: no IDX files; pack looks for train-images-idx3-ubyte.gz, "
                    "train-labels-idx1-ubyte.gz and the same with t10k",
                    folder.string()));
  return splits;
}

class IdxReader : public SampleReader {
 public:
  explicit IdxReader(std::shared_ptr<const std::vector<IdxSplit>> splits)
      : splits_(std::move(splits)) {}

  void read(const Catalogue&, std::uint64_t item, SourceSample& sample) override {
    std::uint64_t index = item;  // the list holds the files one after the other
    for (const IdxSplit& split : *splits_) {
      if (index < split.images.sizes[0]) {
        sample.shape = {static_cast<std::uint32_t>(split.images.sizes[1]),
                        static_cast<std::uint32_t>(split.images.sizes[2]), 1};
        const auto pixels =
            split.images.values().subspan(index * sample.shape.elements(), sample.shape.elements());
        sample.bytes.assign(pixels.begin(), pixels.end());
        return;
      }
      index -= split.images.sizes[0];
    }
    throw DataError("the IDX files changed since they were listed");
  }

 private:
  std::shared_ptr<const std::vector<IdxSplit>> splits_;
};

class IdxSource : public SampleSource {
 public:
  void declare(core::OptionTable&) override {}

  Catalogue list(const SourceRequest& request) const override {
    const std::vector<IdxSplit> splits = read_all(request.path);
    Catalogue catalogue;
    core::Sha256 origin;
    std::set<std::uint32_t> labels;
    for (const IdxSplit& split : splits)
      for (const std::byte b : split.labels.values())
        labels.insert(std::to_integer<std::uint32_t>(b));
    std::array<std::uint32_t, 256> class_of{};
    for (const std::uint32_t label : labels) {
      class_of[label] = static_cast<std::uint32_t>(catalogue.class_names.size());
      catalogue.class_names.push_back(std::to_string(label));
    }
    const auto& sizes = splits[0].images.sizes;
    catalogue.shape = {static_cast<std::uint32_t>(sizes[1]), static_cast<std::uint32_t>(sizes[2]),
                       1};
    for (const IdxSplit& split : splits) {
      origin.update(split.images.bytes).update(split.labels.bytes);
      const auto split_index = static_cast<std::uint32_t>(catalogue.splits.size());
      catalogue.splits.push_back(split.name);
      const auto values = split.labels.values();
      for (std::uint64_t i = 0; i < values.size(); ++i) {
        const std::uint32_t label = class_of[std::to_integer<unsigned>(values[i])];
        catalogue.add(fmt::format("{}#{}", split.prefix, i), std::span(&label, 1), split_index,
                      catalogue.shape.elements());
      }
    }
    catalogue.origin = origin.hex();
    return catalogue;
  }

  std::unique_ptr<SampleReader> open(const SourceRequest& request,
                                     const Catalogue&) const override {
    if (!splits_) splits_ = std::make_shared<const std::vector<IdxSplit>>(read_all(request.path));
    return std::make_unique<IdxReader>(splits_);
  }

 private:
  // Read once per process: readers of all threads share it (open() is called by one thread).
  mutable std::shared_ptr<const std::vector<IdxSplit>> splits_;
};

}  // namespace

std::unique_ptr<SampleSource> make_idx_source() { return std::make_unique<IdxSource>(); }

}  // namespace retort::io
