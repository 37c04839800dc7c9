#include "io/sources/shard_packing.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "io/image_formats.h"

namespace retort::io {
namespace {

using core::DataError;

constexpr std::uint64_t kUsualShardBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kTableBytes = 32;  // per sample in index tables, at most about

std::uint64_t cost_of(const Catalogue& catalogue, const PackForm& form, std::uint64_t item) {
  if (form.form == SampleForm::raw_image) return form.shape.elements() + kTableBytes;
  const std::uint64_t bytes = catalogue.bytes(item);
  return (bytes > kMaxShardBytes ? 0 : bytes) + kTableBytes;  // too large ones are broken
}

// The dearest shard of a cut.
std::uint64_t largest_shard(const Catalogue& catalogue, const PackForm& form,
                            const std::vector<std::vector<std::uint64_t>>& items,
                            std::uint64_t shard_samples) {
  std::uint64_t largest = 0;
  for (const auto& list : items) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < list.size(); ++i) {
      if (i % shard_samples == 0) sum = 0;
      sum += cost_of(catalogue, form, list[i]);
      largest = std::max(largest, sum);
    }
  }
  return largest;
}

std::string shape_text(ImageShape shape) {
  return fmt::format("{}x{} {}", shape.height, shape.width,
                     shape.channels == 1 ? "grey" : "colour");
}

// A picture that is sound, but not what all others are: the user has to decide.
struct OtherShape : DataError {
  using DataError::DataError;
};

void check_shape(const PackForm& form, ImageShape shape, std::string_view name) {
  const bool size = shape.height == form.shape.height && shape.width == form.shape.width;
  if ((size || form.any_size) && (shape.channels <= form.shape.channels || form.any_channels))
    return;
  throw OtherShape(
      fmt::format("{}: the picture is {}, the first one {}; say what all shall be "
                  "with --size HxW and --channels",
                  name, shape_text(shape), shape_text(form.shape)));
}

// Turns one source sample into the payload of a row.
class SamplePacker {
 public:
  explicit SamplePacker(const PackForm& form) : form_(form) {}

  std::vector<std::byte> pack(SourceSample& sample, const std::string& name) {
    if (form_.form == SampleForm::text) return std::move(sample.bytes);
    const bool encoded = sample.shape.elements() == 0;
    if (encoded && sample.bytes.size() > kMaxShardBytes)
      throw DataError(fmt::format("{}: {} bytes are too many", name, sample.bytes.size()));
    if (encoded && form_.form == SampleForm::encoded_image) {
      check_shape(form_, decoder_.decode(sample.bytes, 0, name).shape, name);
      return std::move(sample.bytes);
    }
    if (form_.form == SampleForm::encoded_image)
      throw core::UsageError("--store encoded: this source has pixels, no encoded pictures");
    if (encoded) {
      image_ = decoder_.decode(sample.bytes, form_.any_channels ? form_.shape.channels : 0, name);
    } else {
      const auto* pixels = reinterpret_cast<const std::uint8_t*>(sample.bytes.data());
      image_.shape = sample.shape;
      image_.pixels.assign(pixels, pixels + sample.bytes.size());
    }
    check_shape(form_, image_.shape, name);
    convert_channels(image_, form_.shape.channels, spare_);
    std::vector<std::byte> row(form_.shape.elements());
    resize_image(image_.pixels, image_.shape, form_.shape, form_.fit,
                 {reinterpret_cast<std::uint8_t*>(row.data()), row.size()});
    return row;
  }

 private:
  const PackForm& form_;
  ImageDecoder decoder_;
  DecodedImage image_;
  std::vector<std::uint8_t> spare_;
};

struct Outcome {
  std::vector<std::byte> payload;
  std::optional<std::string> fault;
};

std::string reason_of(const std::string& name, const std::string& message) {
  return message.starts_with(name + ": ") ? message.substr(name.size() + 2) : message;
}

}  // namespace

ShardPlan plan_shards(const Catalogue& catalogue, const PackForm& form,
                      std::uint64_t shard_samples) {
  if (catalogue.size() == 0) throw DataError("no sample is left to be packed");
  ShardPlan plan;
  plan.items.resize(catalogue.splits.size());
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < catalogue.size(); ++i) {
    plan.items[catalogue.split(i)].push_back(i);
    total += cost_of(catalogue, form, i);
  }
  for (std::size_t s = 0; s < plan.items.size(); ++s)
    if (plan.items[s].empty())
      throw DataError(
          fmt::format("split {} is empty: there are {} samples in all; change --split "
                      "or --validation, or add samples",
                      catalogue.splits[s], catalogue.size()));
  plan.shard_samples = shard_samples;
  if (shard_samples == 0) {
    const std::uint64_t mean = std::max<std::uint64_t>(total / catalogue.size(), 1);
    plan.shard_samples = std::max<std::uint64_t>(kUsualShardBytes / mean, 1);
    while (plan.shard_samples > 1 &&
           largest_shard(catalogue, form, plan.items, plan.shard_samples) > kMaxShardBytes)
      plan.shard_samples = plan.shard_samples / 2;
  }
  if (const std::uint64_t bytes = largest_shard(catalogue, form, plan.items, plan.shard_samples);
      bytes > kMaxShardBytes)
    throw core::UsageError(
        fmt::format("--shard-samples {}: a shard would have {} bytes, more than "
                    "the {} allowed; choose fewer samples",
                    plan.shard_samples, bytes, kMaxShardBytes));
  for (std::uint32_t s = 0; s < plan.items.size(); ++s)
    for (std::uint64_t begin = 0, shard = 0; begin < plan.items[s].size(); ++shard) {
      const std::uint64_t end =
          std::min<std::uint64_t>(begin + plan.shard_samples, plan.items[s].size());
      plan.parts.push_back({s, shard, {begin, end}});
      begin = end;
    }
  return plan;
}

PackedShardBuilder::Result pack_shard(const Catalogue& catalogue, const ShardPlan& plan,
                                      const ShardPlan::Part& part, const PackForm& form,
                                      std::vector<std::unique_ptr<SampleReader>>& readers) {
  const auto& items = plan.items[part.split];
  std::vector<Outcome> outcomes(part.range.size());
  std::vector<std::exception_ptr> errors(readers.size());
  const auto work = [&](std::size_t thread) {
    try {
      SamplePacker packer(form);
      SourceSample sample;
      const core::Range mine = core::partition(outcomes.size(), readers.size(), thread);
      for (std::uint64_t i = mine.begin; i < mine.end; ++i) {
        const std::uint64_t item = items[part.range.begin + i];
        const std::string name(catalogue.name(item));
        try {
          readers[thread]->read(catalogue, item, sample);
          outcomes[i].payload = packer.pack(sample, name);
        } catch (const OtherShape&) {
          throw;
        } catch (const DataError& e) {
          outcomes[i].fault = reason_of(name, e.what());
        }
      }
    } catch (...) {
      errors[thread] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 1; t < readers.size(); ++t) threads.emplace_back(work, t);
    work(0);
  }
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
  PackedShardBuilder builder(form.form, form.shape, catalogue.splits[part.split], part.shard,
                             part.range);
  for (std::uint64_t i = 0; i < outcomes.size(); ++i) {
    const std::uint64_t item = items[part.range.begin + i];
    if (outcomes[i].fault) {
      builder.add_bad(
          {part.range.begin + i, std::string(catalogue.name(item)), *outcomes[i].fault});
    } else {
      builder.add(outcomes[i].payload, catalogue.labels(item));
      std::vector<std::byte>().swap(outcomes[i].payload);
    }
  }
  return builder.finish();
}

}  // namespace retort::io
