// Writes a packed data set of one split through the parts that `pack` uses: for tests and
// benchmarks that need one without running the stage.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "io/manifest.h"
#include "io/packed_shard.h"

namespace retort::io {

struct PackedSample {
  std::vector<std::byte> payload;
  std::vector<std::uint32_t> labels;
};

struct PackedRequest {
  SampleForm form = SampleForm::raw_image;
  ImageShape shape;
  std::vector<std::string> class_names;
  std::uint64_t samples = 0;
  std::uint64_t samples_per_shard = 0;
};

inline void write_packed(const std::filesystem::path& folder, const PackedRequest& request,
                         const std::function<PackedSample(std::uint64_t)>& sample) {
  Manifest manifest;
  manifest.kind = kPackedManifestKind;
  manifest.format_version = kPackedFormatVersion;
  SequenceDigest all;
  const std::uint64_t step = request.samples_per_shard;
  for (std::uint64_t shard = 0; shard * step < request.samples; ++shard) {
    const core::Range range{shard * step, std::min(request.samples, (shard + 1) * step)};
    PackedShardBuilder builder(request.form, request.shape, "train", shard, range);
    for (std::uint64_t i = range.begin; i < range.end; ++i) {
      const PackedSample s = sample(i);
      builder.add(s.payload, s.labels);
    }
    const auto result = builder.finish();
    const std::string name = packed_shard_name("train", shard);
    std::filesystem::create_directories((folder / name).parent_path());
    all.append(result.facts.digest);
    manifest.members.push_back(
        {name, write_file(folder / name, result.image), result.facts.to_json()});
  }
  const std::string classes(kPackedClassesName);
  manifest.members.push_back(
      {classes, write_file(folder / classes, packed_classes_image(request.class_names)),
       nlohmann::json::object()});
  const std::string class_digest = packed_class_digest(request.class_names);
  manifest.facts = {
      {"form", name_of(request.form)},
      {"height", request.shape.height},
      {"width", request.shape.width},
      {"channels", request.shape.channels},
      {"class_digest", class_digest},
      {"splits",
       {{{"name", "train"},
         {"samples", request.samples},
         {"digest", packed_split_digest(request.form, request.shape, class_digest, all)}}}}};
  write_manifest(folder, manifest);
}

}  // namespace retort::io
