#include "stages/pack_options.h"

#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/log.h"
#include "io/class_map.h"
#include "io/sources/split.h"

namespace retort::stages {
namespace {

using core::DataError;
using core::UsageError;

std::vector<std::string> sources_of_kind(io::SourceKind kind) {
  std::vector<std::string> names;
  for (const auto& entry : io::source_registry())
    if (entry.kind == kind) names.emplace_back(entry.name);
  return names;
}

void declare_choice_of_samples(core::OptionTable& table, PackOptions* options) {
  table
      .add("source-splits", &options->source_splits,
           "splits of the source that are read; empty: all")
      .value_name = "SPLIT,...";
  table
      .add("split", &options->split,
           "source (its own splits), fractions of each class (train=0.8,validation=0.1,test=0.1) "
           "or samples of each class (train=rest,test=2)")
      .value_name = "SPLIT";
  table.add("validation", &options->validation,
            "carve a validation split out of train: a fraction below 1 or a number of samples, of "
            "each class; 0: none");
  table
      .add("carve", &options->carve,
           "carve other splits out of train, after --validation (unlabelled=0.8), in the same way")
      .value_name = "SPLIT=N,...";
  auto& classes =
      table.add("classes", &options->classes,
                "the classes in their order: a file with one name a line, or a packed dataset "
                "whose classes they are; empty: those that occur, sorted by name");
  classes.effect = core::OptionEffect::input;
  table.add_choice("unknown-labels", &options->unknown_labels,
                   {{"error", io::UnknownLabels::error},
                    {"drop", io::UnknownLabels::drop},
                    {"unlabelled", io::UnknownLabels::unlabelled}},
                   "a label that is not among --classes: an error, its sample is left out, or its "
                   "sample is packed without it");
  table
      .add("drop-labels", &options->drop_labels,
           "splits that are packed without labels; all: every one")
      .value_name = "SPLIT,...";
  table
      .add("keep-splits", &options->keep_splits,
           "splits that are packed in the end; the classes stay those of all; empty: all")
      .value_name = "SPLIT,...";
}

void declare_pictures(core::OptionTable& table, PackOptions* options) {
  table.group("Sources of pictures");
  table.add_choice("store", &options->store,
                   {{"raw", io::SampleForm::raw_image}, {"encoded", io::SampleForm::encoded_image}},
                   "pixels of one size, or JPEG, PNG, PNM bytes as they came");
  table.add("size", &options->size, "side or HEIGHTxWIDTH in pixels; empty: what the source has")
      .value_name = "SIZE";
  table.add("channels", &options->channels, "1 (grey) or 3 (colour); 0: what the source has");
  table.add_choice("fit", &options->fit,
                   {{"stretch", io::ImageFit::stretch}, {"crop", io::ImageFit::crop}},
                   "how a picture of another shape gets to --size: both axes on their own, or the "
                   "largest centred part");
  table.add("bad-limit", &options->bad_limit,
            "broken pictures that are left out at most: a fraction below 1, or a number");
  table.add("strict", &options->strict, "a single broken picture is an error");
}

std::vector<std::string> read_classes(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    throw UsageError(fmt::format("--classes {}: there is no such file", path.string()));
  if (std::filesystem::is_directory(path, error)) return io::packed_class_names(path);
  return io::read_class_list(path);
}

void apply_class_list(io::Catalogue& catalogue, const PackOptions& options) {
  const io::UnknownFound unknown = io::apply_classes(
      catalogue, read_classes(options.classes), options.unknown_labels, options.classes.string());
  if (unknown.labels == 0) return;
  catalogue.facts["unknown_labels"] = {
      {"labels", unknown.labels}, {"samples", unknown.samples}, {"first", unknown.first}};
  core::log_warning("{} labels are not in {}, the first is {}: {} samples {}", unknown.labels,
                    options.classes.string(), unknown.first, unknown.samples,
                    options.unknown_labels == io::UnknownLabels::drop ? "were left out"
                                                                      : "are packed without label");
}

}  // namespace

io::ImageShape PackOptions::shape() const {
  io::ImageShape shape;
  shape.channels = static_cast<std::uint32_t>(channels);
  if (size.empty()) return shape;
  const char* end = size.data() + size.size();
  auto result = std::from_chars(size.data(), end, shape.height);
  shape.width = shape.height;
  if (result.ec == std::errc() && result.ptr != end && *result.ptr == 'x')
    result = std::from_chars(result.ptr + 1, end, shape.width);
  if (result.ec != std::errc() || result.ptr != end || shape.height < 1 || shape.width < 1 ||
      shape.height > 8192 || shape.width > 8192)
    throw UsageError(
        fmt::format("--size {}: write a side as 24, or HEIGHTxWIDTH as 32x48, of 1 to "
                    "8192 pixels",
                    size));
  return shape;
}

PackSources make_pack_sources() {
  PackSources sources;
  for (const auto& entry : io::source_registry()) sources.emplace_back(entry.name, entry.make());
  return sources;
}

io::SourceKind kind_of_source(std::string_view name) {
  for (const auto& entry : io::source_registry())
    if (entry.name == name) return entry.kind;
  throw UsageError(fmt::format("--from {}: no such source", name));
}

void declare_pack_options(core::OptionTable& table, PackOptions* options,
                          const PackSources& sources) {
  using core::OptionEffect;
  table.group("Packing");
  std::vector<std::pair<std::string, std::string>> words;
  std::string summaries;
  for (const auto& entry : io::source_registry()) {
    words.emplace_back(entry.name, entry.name);
    summaries += fmt::format("{}{} ({})", summaries.empty() ? "" : ", ", entry.name, entry.summary);
  }
  table.add_choice("from", &options->from, words, "kind of source: " + summaries);
  auto& source = table.add("source", &options->source,
                           "folder to read, of texts also a single file; glyphs: where to look for "
                           "fonts instead of /usr/share/fonts");
  source.effect = OptionEffect::input;
  auto& out = table.add("out", &options->out, "folder of the packed dataset");
  out.effect = OptionEffect::output;
  out.required = true;
  declare_choice_of_samples(table, options);
  table.add("shard-samples", &options->shard_samples,
            "samples per shard file; 0: such that one has about 64 MB");
  table.add("seed", &options->seed, "seed of the split and of fixed variants");
  table.only_with("from", sources_of_kind(io::SourceKind::images),
                  [&] { declare_pictures(table, options); });
  table.only_with("from", sources_of_kind(io::SourceKind::texts),
                  [&] { io::declare_text_options(table, &options->text); });
  table.only_with("from", std::vector<std::string>{"jsonl", "json"},
                  [&] { io::declare_json_options(table, &options->text); });
  for (const auto& [name, entry] : sources)
    table.only_with("from", std::vector<std::string>{name},
                    [&, &source = entry] { source->declare(table); });
}

void check_pack_options(const PackOptions& options, const io::SampleSource& source) {
  (void)options.shape();
  if (options.split != "source") (void)io::parse_split(options.split);
  if (!options.carve.empty()) (void)io::parse_carve(options.carve);
  if (options.channels != 0 && options.channels != 1 && options.channels != 3)
    throw UsageError(fmt::format("--channels {}: pictures have 1 or 3", options.channels));
  const double v = options.validation;
  if (!(v >= 0) || (v >= 1 && v != static_cast<double>(static_cast<std::uint64_t>(v))) || v > 1e9)
    throw UsageError(fmt::format("--validation {}: give a fraction below 1 or a whole number", v));
  if (!(options.bad_limit >= 0))
    throw UsageError(fmt::format("--bad-limit {}: must not be negative", options.bad_limit));
  if (options.source.empty() && source.needs_path())
    throw UsageError(fmt::format("--from {} needs --source FOLDER", options.from));
  if (options.store == io::SampleForm::encoded_image && options.fit == io::ImageFit::crop)
    throw UsageError(
        "--store encoded --fit crop: encoded pictures are stretched when they are "
        "loaded; use --store raw to crop");
  if (options.unknown_labels != io::UnknownLabels::error && options.classes.empty())
    throw UsageError("--unknown-labels: without --classes every label is known");
}

io::Catalogue list_samples(const PackOptions& options, const io::SampleSource& source,
                           const io::SourceRequest& request) {
  io::Catalogue catalogue = source.list(request);
  if (catalogue.size() == 0)
    throw DataError(fmt::format("{}: no sample found", options.source.string()));
  if (!options.source_splits.empty()) {
    io::keep_splits(catalogue, options.source_splits, "--source-splits");
    io::drop_unused_classes(catalogue);
  }
  if (!options.classes.empty()) apply_class_list(catalogue, options);
  std::uint64_t short_classes = 0;
  if (options.split != "source") {
    if (options.source_splits.empty() && catalogue.splits.size() > 1) {
      core::log_warning(
          "--split mixes the source's own splits ({}) and cuts them anew: leave it out to keep "
          "them, or say with --source-splits which to cut",
          fmt::join(catalogue.splits, ", "));
    }
    short_classes += io::apply_split(catalogue, io::parse_split(options.split), options.seed);
  }
  if (options.validation > 0)
    short_classes += io::carve_validation(catalogue, options.validation, options.seed);
  if (!options.carve.empty())
    short_classes +=
        io::carve_splits(catalogue, io::parse_carve(options.carve), options.seed, "--carve");
  if (short_classes > 0)
    core::log_warning(
        "{} classes have too few samples to hold some out: they stay whole in the "
        "split that gets the rest",
        short_classes);
  if (!options.drop_labels.empty())
    io::drop_labels(catalogue, options.drop_labels, "--drop-labels");
  if (!options.keep_splits.empty())
    io::keep_splits(catalogue, options.keep_splits, "--keep-splits");
  return catalogue;
}

}  // namespace retort::stages
