#include "io/loader.h"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <turbojpeg.h>

#include "core/error.h"
#include "core/random.h"
#include "tests/unit/io/write_packed.h"

namespace retort::io {
namespace {

constexpr ImageShape kShape{6, 5, 3};
constexpr std::uint64_t kSamples = 103;

std::vector<std::uint8_t> picture(ImageShape shape, std::uint64_t sample) {
  std::vector<std::uint8_t> pixels(shape.elements());
  core::RandomStream random(4, core::RandomUse::test, {sample});
  const auto base = static_cast<std::uint8_t>(random.below(200));
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<std::uint8_t>(base + (i * 7 + sample) % 50);
  return pixels;
}

std::vector<std::byte> jpeg(ImageShape shape, const std::vector<std::uint8_t>& pixels) {
  tjhandle handle = tjInitCompress();
  unsigned char* data = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(tjCompress2(handle, pixels.data(), static_cast<int>(shape.width), 0,
                        static_cast<int>(shape.height), TJPF_RGB, &data, &size, TJSAMP_444, 95, 0),
            0);
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> bytes(begin, begin + size);
  tjFree(data);
  tjDestroy(handle);
  return bytes;
}

/// A packed data set in a folder of its own, written filled by write_packed.
class LoaderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "retort-loader-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(SampleForm form) {
    const std::filesystem::path data = folder_ / (form == SampleForm::raw_image ? "raw" : "jpeg");
    write_packed(data, {form, kShape, {"a", "b", "c"}, kSamples, 40}, [&](std::uint64_t sample) {
      const auto pixels = picture(kShape, sample);
      PackedSample packed;
      if (form == SampleForm::raw_image) {
        const auto bytes = std::as_bytes(std::span(pixels));
        packed.payload.assign(bytes.begin(), bytes.end());
      } else {
        packed.payload = jpeg(kShape, pixels);
        if (sample == broken_) packed.payload.resize(packed.payload.size() / 2);
      }
      // Multi-label and unlabelled samples too.
      for (std::uint32_t l = 0; l < sample % 4; ++l) packed.labels.push_back((l + 1) % 3);
      return packed;
    });
    return data;
  }

  std::filesystem::path folder_;
  std::uint64_t broken_ = kSamples;
};

std::string text_of(std::uint64_t sample) {
  std::string text;
  for (std::uint64_t i = 0; i < sample % 5; ++i) text += "word" + std::to_string(sample + i) + " ";
  return text;
}

LoaderOptions with_augmentation() {
  LoaderOptions options;
  options.seed = 7;
  options.augment.flip = true;
  options.augment.crop = 1;
  options.augment.rotation = 10;
  options.scale = {{0.5}, {0.25}};
  return options;
}

std::vector<MicroBatch> drain(Loader& loader) {
  std::vector<MicroBatch> batches;
  while (auto batch = loader.next()) {
    batches.push_back(*batch);
    loader.recycle(std::move(*batch));  // a wrong reuse would show in what follows
  }
  return batches;
}

bool same(const MicroBatch& a, const MicroBatch& b) {
  return a.epoch == b.epoch && a.shard == b.shard && a.samples == b.samples &&
         a.pixels == b.pixels && a.ids == b.ids && a.id_begin == b.id_begin &&
         a.label_begin == b.label_begin && a.labels == b.labels;
}

TEST_F(LoaderTest, RawPixelsAreTheScaledBytesInOrder) {
  const PackedDataset data(write(SampleForm::raw_image), "train");
  LoaderOptions options;
  options.shuffle = false;
  options.scale = {{0.5}, {0.25}};
  const MicroBatch batch = load_micro_batch(data, options, 0, {38, 43}, 2);  // over a shard's end
  EXPECT_THAT(batch.samples, testing::ElementsAre(38, 39, 40, 41, 42));
  EXPECT_EQ(batch.shard, 2u);
  EXPECT_THAT(batch.label_begin, testing::ElementsAre(0, 2, 5, 5, 6, 8));
  EXPECT_THAT(batch.labels, testing::ElementsAre(1, 2, 1, 2, 0, 1, 1, 2));
  ASSERT_EQ(batch.pixels.size(), 5 * kShape.elements());
  for (std::size_t n = 0; n < 5; ++n) {
    const auto pixels = picture(kShape, 38 + n);
    for (std::uint32_t y = 0; y < 6; ++y)
      for (std::uint32_t x = 0; x < 5; ++x)
        for (std::uint32_t c = 0; c < 3; ++c)
          EXPECT_NEAR(batch.pixels[n * 90 + (c * 6 + y) * 5 + x],
                      (pixels[(y * 5 + x) * 3 + c] / 255.0 - 0.5) / 0.25, 1e-6);
  }
}

TEST_F(LoaderTest, EncodedPicturesAreDecoded) {
  const PackedDataset data(write(SampleForm::encoded_image), "train");
  LoaderOptions options;
  options.shuffle = false;
  const MicroBatch batch = load_micro_batch(data, options, 0, {0, kSamples}, 0);
  double worst = 0;
  for (std::uint64_t sample = 0; sample < kSamples; ++sample) {
    const auto pixels = picture(kShape, sample);
    double sum = 0;
    for (std::size_t p = 0; p < 30; ++p)
      for (std::size_t c = 0; c < 3; ++c)
        sum += std::abs(batch.pixels[sample * 90 + c * 30 + p] - pixels[p * 3 + c] / 255.0);
    worst = std::max(worst, sum / 90);
  }
  EXPECT_LT(worst, 0.04);  // JPEG of quality 95 loses little
  EXPECT_GT(worst, 0);
}

TEST_F(LoaderTest, AnEpochHoldsEverySampleOnceWhateverRanksAndThreads) {
  const PackedDataset data(write(SampleForm::raw_image), "train");
  const BatchPlan plan(data.size(), 32, 8, 4);
  std::map<std::pair<std::uint64_t, std::uint32_t>, MicroBatch> reference;
  for (const int ranks : {1, 2, 3, 4, 8})
    for (const int threads : {0, 1, 3}) {
      std::map<std::uint64_t, std::multiset<std::uint64_t>> seen;
      for (int rank = 0; rank < ranks; ++rank) {
        LoaderOptions options = with_augmentation();
        options.threads = threads;
        options.depth = 1 + rank;
        Loader loader(
            data, plan, options,
            core::partition(8, static_cast<std::uint64_t>(ranks), static_cast<std::uint64_t>(rank)),
            1, 2 * plan.steps_per_epoch());
        std::uint64_t last_epoch = 0;
        for (const MicroBatch& batch : drain(loader)) {
          EXPECT_GE(batch.epoch, last_epoch);
          last_epoch = batch.epoch;
          seen[batch.epoch].insert(batch.samples.begin(), batch.samples.end());
          const auto [found, fresh] =
              reference.insert({{batch.samples.front(), batch.epoch}, batch});
          EXPECT_TRUE(same(found->second, batch));
          EXPECT_TRUE(fresh || ranks > 1 || threads > 0);
        }
      }
      EXPECT_EQ(seen[0].size(), kSamples - 32);  // began at step 1
      EXPECT_EQ(seen[1].size(), kSamples);
      EXPECT_EQ(std::set<std::uint64_t>(seen[1].begin(), seen[1].end()).size(), kSamples);
    }
}

TEST_F(LoaderTest, UnlabelledSamplesFollowLabelledOnesInEveryMicroShard) {
  const PackedDataset data(write(SampleForm::raw_image), "train");
  const BatchPlan plan = BatchPlan(data.size(), 32, 8, 4).with_unlabelled(data.size(), 11);
  const LoaderOptions options = with_augmentation();
  const LoaderOptions other = unlabelled_options(options, 2, 99);
  EXPECT_NE(other.seed, options.seed);  // another order
  const std::uint64_t steps = 30;
  std::map<std::uint64_t, std::multiset<std::uint64_t>> seen;
  std::vector<MicroBatch> reference;
  for (const int threads : {0, 3}) {
    LoaderOptions own = options;
    own.threads = threads;
    Loader loader(data, plan, own, {0, 8}, 0, steps, UnlabelledRows{&data, other});
    const auto batches = drain(loader);
    if (threads > 0) {
      ASSERT_EQ(batches.size(), reference.size());
      for (std::size_t i = 0; i < batches.size(); ++i) EXPECT_TRUE(same(batches[i], reference[i]));
      continue;
    }
    reference = batches;
    std::size_t at = 0;
    for (std::uint64_t s = 0; s < steps; ++s) {
      const auto step = plan.step(s);
      for (std::uint32_t shard = 0; shard < step.active; ++shard) {
        const MicroBatch& batch = batches.at(at++);
        const core::Range part = plan.unlabelled_shard(step, shard);
        const MicroBatch labelled =
            load_micro_batch(data, options, step.epoch, plan.shard(step, shard), shard);
        const MicroBatch unlabelled =
            load_micro_batch(data, other, step.unlabelled_epoch, part, shard);
        EXPECT_EQ(batch.labelled, labelled.samples.size());
        EXPECT_EQ(batch.unlabelled_epoch, step.unlabelled_epoch);
        std::vector<std::uint64_t> ids = labelled.samples;
        for (const std::uint64_t id : unlabelled.samples) {
          ids.push_back(id | kUnlabelledTag);
          seen[step.unlabelled_epoch].insert(id);
        }
        EXPECT_EQ(batch.samples, ids);
        std::vector<float> pixels = labelled.pixels;
        pixels.insert(pixels.end(), unlabelled.pixels.begin(), unlabelled.pixels.end());
        EXPECT_EQ(batch.pixels, pixels);
        EXPECT_EQ(batch.labels, labelled.labels);  // theirs are not looked at
        EXPECT_EQ(batch.label_begin.size(), ids.size() + 1);
        EXPECT_EQ(batch.label_begin.back(), labelled.labels.size());
      }
    }
    EXPECT_EQ(at, batches.size());
  }
  EXPECT_EQ(std::set<std::uint64_t>(seen[0].begin(), seen[0].end()).size(), kSamples);
  EXPECT_EQ(seen[0].size(), kSamples);
  EXPECT_THROW(Loader(data, plan, options, {0, 8}, 0, 1), core::InternalError);
}

TEST_F(LoaderTest, TheCacheChangesNothing) {
  const PackedDataset data(write(SampleForm::raw_image), "train");
  const BatchPlan plan(data.size(), 16, 2, 1);
  std::vector<std::vector<MicroBatch>> results;
  for (const std::uint64_t bytes : {std::uint64_t{0}, kSamples * kShape.elements() - 1,
                                    kSamples * kShape.elements(), std::uint64_t{1} << 30})
    for (const int threads : {0, 3}) {
      LoaderOptions options = with_augmentation();
      options.cache_bytes = bytes;
      options.threads = threads;
      Loader loader(data, plan, options, {0, 2}, 0, 3 * plan.steps_per_epoch());
      results.push_back(drain(loader));
      ASSERT_EQ(results.back().size(), results.front().size());
      for (std::size_t i = 0; i < results.front().size(); ++i)
        EXPECT_TRUE(same(results.back()[i], results.front()[i]));
    }
}

TEST_F(LoaderTest, OrderIsThePlansAndSampleAtNamesIt) {
  const PackedDataset data(write(SampleForm::raw_image), "train");
  const BatchPlan plan(data.size(), 20, 4, 2);
  const LoaderOptions options = with_augmentation();
  Loader loader(data, plan, options, {1, 3}, 0, 7);
  for (std::uint64_t s = 0; s < 7; ++s) {
    const auto step = plan.step(s);
    for (std::uint32_t shard = 1; shard < std::min(3u, step.active); ++shard) {
      const auto batch = loader.next();
      ASSERT_TRUE(batch);
      EXPECT_EQ(batch->shard, shard);
      EXPECT_EQ(batch->epoch, step.epoch);
      const core::Range part = plan.shard(step, shard);
      ASSERT_EQ(batch->samples.size(), part.size());
      for (std::uint64_t i = 0; i < part.size(); ++i)
        EXPECT_EQ(batch->samples[i], sample_at(options, data.size(), step.epoch, part.begin + i));
      EXPECT_TRUE(same(*batch, load_micro_batch(data, options, step.epoch, part, shard)));
    }
  }
  EXPECT_FALSE(loader.next());
  EXPECT_FALSE(loader.next());
  EXPECT_GE(loader.waited(), 0);
}

TEST_F(LoaderTest, PassesRepeatAugmentationAndItsSeedIsItsOwn) {
  const PackedDataset data(write(SampleForm::raw_image), "train");
  LoaderOptions options = with_augmentation();
  options.shuffle = false;
  const auto pixels = [&](std::uint64_t epoch) {
    return load_micro_batch(data, options, epoch, {0, 20}, 0).pixels;
  };
  EXPECT_NE(pixels(0), pixels(2));
  options.passes = 2;
  EXPECT_EQ(pixels(0), pixels(2));
  EXPECT_NE(pixels(0), pixels(1));
  const auto before = pixels(0);
  options.seed = 8;  // the order's, unless augment_seed is unset
  EXPECT_NE(pixels(0), before);
  options.augment_seed = 7;
  EXPECT_EQ(pixels(0), before);
}

TEST_F(LoaderTest, ABrokenPictureComesOutOfNextInItsPlace) {
  broken_ = 57;
  const PackedDataset data(write(SampleForm::encoded_image), "train");
  const BatchPlan plan(data.size(), 10, 2, 1);
  for (const int threads : {0, 1, 4}) {
    LoaderOptions options;
    options.shuffle = false;
    options.threads = threads;
    Loader loader(data, plan, options, {0, 2}, 0, 100);
    for (int i = 0; i < 11; ++i) ASSERT_TRUE(loader.next()) << i;  // 55 samples before it
    for (int again = 0; again < 2; ++again) {
      try {
        loader.next();
        FAIL() << "no error";
      } catch (const core::DataError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("sample 57"));
      }
    }
  }
}

TEST_F(LoaderTest, ADamagedRowNamesShardAndSample) {
  const std::filesystem::path folder = write(SampleForm::raw_image);
  const std::filesystem::path shard = folder / packed_shard_name("train", 1);
  const auto size = std::filesystem::file_size(shard);
  {
    std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size - 100));  // rows come last
    file.write("damage", 6);
  }
  const PackedDataset data(folder, "train");
  LoaderOptions options;
  options.shuffle = false;
  Loader loader(data, BatchPlan(data.size(), 8, 2, 1), options, {0, 2}, 0, 100);
  try {
    while (loader.next()) {
    }
    FAIL() << "no error";
  } catch (const core::DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("shard-000001.h5"));
    EXPECT_THAT(error.what(), testing::HasSubstr("sample 7"));
  }
}

TEST_F(LoaderTest, EndsAtOnceWhereverItsUserStops) {
  const PackedDataset data(write(SampleForm::raw_image), "train");
  const BatchPlan plan(data.size(), 8, 4, 1);
  for (int taken = 0; taken < 12; ++taken)
    for (const int threads : {1, 2, 5}) {
      LoaderOptions options = with_augmentation();
      options.threads = threads;
      options.depth = 1 + taken % 3;
      Loader loader(data, plan, options, {0, 4}, 0, 1000000);
      for (int i = 0; i < taken; ++i) ASSERT_TRUE(loader.next());
    }
}

TEST_F(LoaderTest, NothingToDoIsAnEnd) {
  const PackedDataset data(write(SampleForm::raw_image), "train");
  const BatchPlan plan(data.size(), 103, 8, 100);
  for (const int threads : {0, 2}) {
    LoaderOptions options;
    options.threads = threads;
    EXPECT_FALSE(Loader(data, plan, options, {0, 8}, 5, 5).next());
    // Shards that are never active: only one is, when fill is 100 of a partial batch.
    const BatchPlan partial(data.size(), 104, 8, 100);
    EXPECT_FALSE(Loader(data, partial, options, {1, 8}, 0, 50).next());
  }
  LoaderOptions options;
  options.threads = -1;
  EXPECT_THROW(Loader(data, plan, options, {0, 8}, 0, 1), core::UsageError);
  EXPECT_THROW(load_micro_batch(data, {}, 0, {100, 104}, 0), core::InternalError);
}

TEST_F(LoaderTest, TextsBecomeIdsByTheirRule) {
  const std::filesystem::path folder = folder_ / "text";
  write_packed(folder, {SampleForm::text, {}, {"a", "b"}, 90, 40}, [&](std::uint64_t sample) {
    const std::string text = text_of(sample);
    const auto bytes = std::as_bytes(std::span(text));
    return PackedSample{{bytes.begin(), bytes.end()}, {static_cast<std::uint32_t>(sample % 2)}};
  });
  const PackedDataset data(folder, "train");
  EXPECT_EQ(data.row_bytes(0), 0);
  EXPECT_EQ(data.row_bytes(89), text_of(89).size());
  LoaderOptions options;
  options.text = TextRule{.unit = TextUnit::word, .buckets = 1000, .unit_ngrams = 2};
  const BatchPlan plan(90, 32, 4, 4);
  Loader loader(data, plan, options, {0, 4}, 0, plan.steps_per_epoch());
  std::size_t texts = 0;
  for (const MicroBatch& batch : drain(loader)) {
    EXPECT_TRUE(batch.pixels.empty());
    ASSERT_EQ(batch.id_begin.size(), batch.samples.size() + 1);
    for (std::size_t i = 0; i < batch.samples.size(); ++i, ++texts) {
      std::vector<std::int64_t> expected;
      append_ids(*options.text, text_of(batch.samples[i]), expected);
      EXPECT_THAT(std::vector<std::int64_t>(batch.ids.begin() + batch.id_begin[i],
                                            batch.ids.begin() + batch.id_begin[i + 1]),
                  testing::ElementsAreArray(expected));
    }
  }
  EXPECT_EQ(texts, 90U);
  options.augment.flip = true;
  EXPECT_THROW(load_micro_batch(data, options, 0, {0, 1}, 0), core::UsageError);
  EXPECT_THROW(load_micro_batch(data, {}, 0, {0, 1}, 0), core::DataError);
  const PackedDataset pictures(write(SampleForm::raw_image), "train");
  options.augment.flip = false;
  EXPECT_THROW(load_micro_batch(pictures, options, 0, {0, 1}, 0), core::DataError);
}

}  // namespace
}  // namespace retort::io
