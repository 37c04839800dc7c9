// Sources of samples for `pack`. A source lists everything that is there (rank 0 does, the list is
// broadcast) and hands out single samples. A new one is one .cpp and one line in source.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/options.h"
#include "io/augment.h"
#include "io/sources/text_options.h"

namespace retort::io {

enum class SourceKind { images, texts };

/// The list of a source's samples, in the order in which they are packed.
class Catalogue {
 public:
  std::vector<std::string> class_names;
  /// The classes are those, whether or not samples show them (glyphs: they are chosen). Known to
  /// the rank that listed; not serialised.
  bool classes_are_chosen = false;
  std::vector<std::string> splits;  // as the source has them; at least one
  ImageShape shape;                 // of the pictures, as far as the first one tells; 0 of texts
  std::string origin;               // digest of what the list came from; enters the recipe hash
  nlohmann::json facts = nlohmann::json::object();  // "source" in the manifest
  /// Changes when a file of the source is written, where `origin` does not cover their bytes: a
  /// digest of names, sizes and times. Known to the rank that listed; not serialised.
  std::string stamp;

  /// Where in a file a sample lies, for readers that need to know.
  struct Place {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };

  /// `name` says to users and to the source's reader which sample it is; `bytes` as stored there,
  /// of a text: as it will be packed.
  void add(std::string_view name, std::span<const std::uint32_t> labels, std::uint32_t split,
           std::uint64_t bytes);
  void add(std::string_view name, std::span<const std::uint32_t> labels, std::uint32_t split,
           std::uint64_t bytes, Place place);
  std::uint64_t size() const { return split_.size(); }
  std::string_view name(std::uint64_t item) const;
  std::span<const std::uint32_t> labels(std::uint64_t item) const;
  std::uint32_t split(std::uint64_t item) const { return split_[item]; }
  void set_split(std::uint64_t item, std::uint32_t split) { split_[item] = split; }
  std::uint64_t bytes(std::uint64_t item) const { return bytes_[item]; }
  /// Of a sample that was added with one.
  Place place(std::uint64_t item) const { return places_.at(item); }
  static constexpr std::uint32_t kNoLabel = ~std::uint32_t{0};
  /// Class i becomes class to[i]; kNoLabel takes the label away. class_names stay as they are.
  void map_labels(std::span<const std::uint32_t> to);
  /// Takes the labels of the samples of split s away where of_split[s] != 0.
  void drop_labels(const std::vector<std::uint8_t>& of_split);
  /// Leaves out the samples i with keep[i] == 0.
  void keep_samples(const std::vector<std::uint8_t>& keep);
  /// SHA-256 over what is packed: names, classes, labels, splits, sizes, shape, origin.
  std::string digest() const;
  /// For the broadcast; parse(serialise()) is identity.
  std::string serialise() const;
  static Catalogue parse(std::string_view text);

 private:
  std::string pack(std::string_view facts_text) const;
  std::string names_;
  std::vector<std::uint64_t> name_end_;
  std::vector<std::uint32_t> labels_;
  std::vector<std::uint64_t> label_end_;
  std::vector<std::uint32_t> split_;
  std::vector<std::uint64_t> bytes_;
  std::vector<Place> places_;  // empty: no sample has one
};

/// One sample as the source has it: pixels of `shape`; or (shape is empty) an encoded picture, or
/// valid UTF-8.
struct SourceSample {
  ImageShape shape;
  std::vector<std::byte> bytes;
};

/// Hands out samples; one per thread.
class SampleReader {
 public:
  virtual ~SampleReader() = default;
  /// DataError for a broken sample (it is counted and left out), IoError if reading fails.
  virtual void read(const Catalogue& catalogue, std::uint64_t item, SourceSample& sample) = 0;
};

/// What `pack` was asked for that sources care about.
struct SourceRequest {
  std::filesystem::path path;  // --source; empty if not given
  TextOptions text;            // of sources of texts
  ImageShape shape;            // --size and --channels; zero where not given
  std::uint64_t seed = 1;
  int threads = 1;
};

class SampleSource {
 public:
  virtual ~SampleSource() = default;
  /// Binds the source's own options.
  virtual void declare(core::OptionTable& table) = 0;
  /// True if --source must be given.
  virtual bool needs_path() const { return true; }
  /// Files that the source reads without being told where they are (installed fonts), in an order
  /// that does not depend on where; those that are missing are left out. Plans look at them as at
  /// inputs. Empty where all is below --source.
  virtual std::vector<std::filesystem::path> found_files(const SourceRequest&) const { return {}; }
  /// Everything that is there. UsageError, DataError, IoError.
  virtual Catalogue list(const SourceRequest& request) const = 0;
  /// A reader for samples of `catalogue`.
  virtual std::unique_ptr<SampleReader> open(const SourceRequest& request,
                                             const Catalogue& catalogue) const = 0;
};

struct SourceEntry {
  std::string_view name;
  std::string_view summary;
  SourceKind kind;
  std::unique_ptr<SampleSource> (*make)();
};
std::span<const SourceEntry> source_registry();

}  // namespace retort::io
