// What `pack` is asked for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/options.h"
#include "io/image_codec.h"
#include "io/packed_dataset.h"
#include "io/sources/selection.h"
#include "io/sources/source.h"
#include "io/sources/text_options.h"

namespace retort::stages {

struct PackOptions {
  std::string from = "folder";
  std::filesystem::path source, out;
  // Which samples, classes and labels.
  std::vector<std::string> source_splits, keep_splits, drop_labels;
  std::string split = "source";
  std::string carve;
  double validation = 0;
  std::filesystem::path classes;
  io::UnknownLabels unknown_labels = io::UnknownLabels::error;
  // Pictures.
  io::SampleForm store = io::SampleForm::raw_image;
  std::string size;
  std::uint64_t channels = 0;
  io::ImageFit fit = io::ImageFit::stretch;
  bool strict = false;
  double bad_limit = 0.001;

  io::TextOptions text;
  std::uint64_t shard_samples = 0;
  std::uint64_t seed = 1;

  /// --size and --channels; zero where not given. UsageError.
  io::ImageShape shape() const;
};

/// All sources by name, each with options of its own.
using PackSources = std::vector<std::pair<std::string, std::unique_ptr<io::SampleSource>>>;
PackSources make_pack_sources();
io::SourceKind kind_of_source(std::string_view name);

void declare_pack_options(core::OptionTable& table, PackOptions* options,
                          const PackSources& sources);
/// Options against each other, but for the source's own. UsageError.
void check_pack_options(const PackOptions& options, const io::SampleSource& source);

/// The source's list, with splits, classes and labels as the options say. UsageError, DataError.
io::Catalogue list_samples(const PackOptions& options, const io::SampleSource& source,
                           const io::SourceRequest& request);

}  // namespace retort::stages
