// teach on one rank: what is stored, what is refused, what a second start does.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/stop.h"
#include "io/checkpoint.h"
#include "io/logit_store.h"
#include "io/manifest.h"
#include "stages/capture.h"
#include "stages/inference.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/stages/small_teacher.h"

namespace retort::stages {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class TeachTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new core::TemporaryFolder;
    write_noise(folder_->path() / "data", {});
    write_teacher(folder_->path() / "teacher", {}, "convnet", model_options(), 3);
  }
  static void TearDownTestSuite() { delete folder_; }
  static nlohmann::json model_options() { return {{"channels", "8,16"}, {"strides", "1,2"}}; }

  static fs::path data() { return folder_->path() / "data"; }
  static fs::path teacher() { return folder_->path() / "teacher"; }
  fs::path out(const std::string& name) const { return own_.path() / name; }

  std::vector<GivenOption> options(const fs::path& to, std::vector<GivenOption> more = {}) const {
    std::vector<GivenOption> all = {
        {"data", data().string(), "test"}, {"model", teacher().string(), "test"},
        {"out", to.string(), "test"},      {"top-k", "5", "test"},
        {"shard-samples", "64", "test"},   {"batch", "32", "test"}};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  StageOutcome teach(const std::string& to, std::vector<GivenOption> more = {}, int threads = 1) {
    comm::Communicator one = comm::Communicator::single();
    return run_stage(one, "teach", options(out(to), std::move(more)), threads);
  }
  /// The same without --top-k.
  StageOutcome teach_draws(const std::string& to, const std::vector<GivenOption>& more,
                           int threads = 1) {
    std::vector<GivenOption> all = options(out(to));
    std::erase_if(all, [](const GivenOption& option) { return option.name == "top-k"; });
    all.insert(all.end(), more.begin(), more.end());
    comm::Communicator one = comm::Communicator::single();
    return run_stage(one, "teach", all, threads);
  }
  template <class E>
  std::string error(const std::string& to, std::vector<GivenOption> more = {}) {
    try {
      teach(to, std::move(more));
    } catch (const E& e) {
      return e.what();
    }
    return "no such error";
  }

  static core::TemporaryFolder* folder_;
  core::TemporaryFolder own_;
};
core::TemporaryFolder* TeachTest::folder_ = nullptr;

std::vector<std::byte> bytes_of(const fs::path& path) { return io::read_file(path); }

TEST_F(TeachTest, StoresTheTeachersBestClassesAndTheRest) {
  EXPECT_EQ(teach("logits"), StageOutcome::done);
  const io::LogitStore store(out("logits"));
  const io::PackedDataset packed(data(), "train");
  const LoadedModel model = load_model(teacher());
  EXPECT_EQ(store.facts().teacher_digest, model.digest);
  EXPECT_EQ(store.facts().samples, 300u);
  io::LoaderOptions loader;
  loader.shuffle = false;
  loader.scale = model.description.scale;
  for (std::uint64_t begin = 0; begin < 300; begin += 150) {
    const io::MicroBatch batch = io::load_micro_batch(packed, loader, 0, {begin, begin + 150}, 0);
    const at::Tensor logits = infer(model, batch);
    const float* z = logits.const_data_ptr<float>();
    std::vector<std::uint32_t> ids(150 * 5);
    std::vector<float> values(150 * 5), tails(150 * 4);
    store.read(0, batch.samples, ids, values, tails);
    for (std::size_t row = 0; row < 150; ++row) {
      // Slow and obvious, in double; the batches differ from those of teach, so not to the last
      // bit.
      const float* own = z + row * 37;
      std::vector<std::uint32_t> order(37);
      for (std::uint32_t c = 0; c < 37; ++c) order[c] = c;
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return own[a] > own[b]; });
      for (std::size_t k = 0; k < 5; ++k) {
        EXPECT_NEAR(values[row * 5 + k], own[order[k]],
                    2e-3 * std::max(1.0F, std::abs(own[order[0]])));
        EXPECT_NEAR(own[ids[row * 5 + k]], own[order[k]], 1e-4);
      }
      for (std::size_t t = 0; t < 4; ++t) {
        double sum = 0;
        for (std::uint32_t c = 0; c < 37; ++c)
          if (std::find(&ids[row * 5], &ids[row * 5 + 5], c) == &ids[row * 5 + 5])
            sum += std::exp(static_cast<double>(own[c]) / static_cast<double>(t + 1));
        EXPECT_NEAR(tails[row * 4 + t], std::log(sum), 1e-4);
      }
    }
  }
}

TEST_F(TeachTest, ThreadsChangeNoByte) {
  teach("one");
  teach("three", {}, 3);
  for (int shard = 0; shard < 5; ++shard) {
    const std::string name = io::logit_shard_name(0, static_cast<std::uint64_t>(shard));
    EXPECT_EQ(bytes_of(out("one") / name), bytes_of(out("three") / name)) << name;
  }
  EXPECT_EQ(bytes_of(out("one") / "manifest.json"), bytes_of(out("three") / "manifest.json"));
}

TEST_F(TeachTest, DigestIsOfTheContentNotTheLayout) {
  teach("a");
  teach("b", {{"ids", "u32", "test"}, {"shard-samples", "128", "test"}});
  teach("c", {{"top-k", "6", "test"}});
  const auto digest = [&](const char* name) { return io::read_manifest(out(name)).content_digest; };
  EXPECT_EQ(digest("a"), digest("b"));
  EXPECT_NE(digest("a"), digest("c"));
}

TEST_F(TeachTest, PassesDifferByAugmentationAndAreReproducible) {
  const std::vector<GivenOption> augmented = {
      {"passes", "2", "test"}, {"augment-crop", "2", "test"}, {"augment-flip", "true", "test"}};
  teach("a", augmented);
  teach("b", augmented, 2);
  const io::LogitStore store(out("a"));
  EXPECT_EQ(store.facts().passes, 2u);
  EXPECT_NE(bytes_of(out("a") / io::logit_shard_name(0, 1)),
            bytes_of(out("a") / io::logit_shard_name(1, 1)));
  EXPECT_EQ(bytes_of(out("a") / io::logit_shard_name(1, 1)),
            bytes_of(out("b") / io::logit_shard_name(1, 1)));
}

TEST_F(TeachTest, ResumesWithTheShardsThatAreThere) {
  teach("whole");
  // As a killed run leaves it: no manifest, records of finished shards, one shard damaged after.
  const io::Manifest manifest = io::read_manifest(out("whole"));
  io::MemberLedger ledger(out("part"), manifest.recipe_hash);
  for (const io::Member& member : manifest.members)
    if (member.name != io::logit_shard_name(0, 2))
      ledger.commit(member.name, bytes_of(out("whole") / member.name), member.facts);
  const fs::path damaged = out("part") / io::logit_shard_name(0, 4);
  std::vector<std::byte> bytes = bytes_of(damaged);
  bytes[bytes.size() / 2] ^= std::byte{1};
  std::ofstream(damaged, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  const auto untouched = fs::last_write_time(out("part") / io::logit_shard_name(0, 1));
  // The recipe knows the model, the data and the options, not the folder.
  EXPECT_EQ(teach("part"), StageOutcome::done);
  EXPECT_EQ(bytes_of(out("part") / "manifest.json"), bytes_of(out("whole") / "manifest.json"));
  for (const io::Member& member : manifest.members)
    EXPECT_EQ(bytes_of(out("part") / member.name), bytes_of(out("whole") / member.name));
  EXPECT_EQ(fs::last_write_time(out("part") / io::logit_shard_name(0, 1)), untouched);
  EXPECT_TRUE(fs::exists(damaged.string() + ".bad"));
}

TEST_F(TeachTest, IsDoneAtOnceWhenComplete) {
  teach("logits");
  const auto before = fs::last_write_time(out("logits") / io::logit_shard_name(0, 0));
  EXPECT_EQ(teach("logits"), StageOutcome::done);
  EXPECT_EQ(fs::last_write_time(out("logits") / io::logit_shard_name(0, 0)), before);
  EXPECT_THAT(error<core::UsageError>("logits", {{"top-k", "6", "test"}}),
              HasSubstr("other options or inputs"));
}

TEST_F(TeachTest, RefusesASecondStart) {
  comm::Communicator one = comm::Communicator::single();
  const io::RunFolder live =
      io::RunFolder::open(one, out("live"), "recipe", io::RunFolder::TakeOver::no);
  EXPECT_NE(error<core::UsageError>("live"), "no such error");
  EXPECT_FALSE(fs::exists(out("live") / "manifest.json"));
}

TEST_F(TeachTest, EstimateWritesNothing) {
  EXPECT_EQ(teach("nowhere", {{"estimate", "true", "test"}}), StageOutcome::done);
  EXPECT_FALSE(fs::exists(out("nowhere")));
}

TEST_F(TeachTest, NamesWhatIsWrongWithTheOptions) {
  EXPECT_THAT(error<core::UsageError>("x", {{"top-k", "38", "test"}}),
              HasSubstr("--top-k 38: " + teacher().string() + " knows only 37 classes"));
  EXPECT_THAT(error<core::UsageError>("x", {{"top-k", "0", "test"}}), HasSubstr("--top-k 0"));
  EXPECT_THAT(error<core::UsageError>("x", {{"passes", "0", "test"}}), HasSubstr("--passes 0"));
  EXPECT_THAT(error<core::UsageError>("x", {{"passes", "3", "test"}}),
              HasSubstr("without augmentation"));
  EXPECT_THAT(error<core::UsageError>("x", {{"batch", "0", "test"}}), HasSubstr("--batch 0"));
  EXPECT_THAT(error<core::UsageError>("x", {{"temperatures", "2,1", "test"}}),
              HasSubstr("--temperatures"));
  EXPECT_THAT(error<core::UsageError>("x", {{"temperatures", "0", "test"}}),
              HasSubstr("--temperatures"));
  EXPECT_THAT(error<core::UsageError>("x", {{"split", "trian", "test"}}), HasSubstr("train"));
  EXPECT_NE(error<core::DataError>("x", {{"model", (data() / "none").string(), "test"}}),
            "no such error");
  EXPECT_FALSE(fs::exists(out("x")));
}

TEST_F(TeachTest, DrawsFollowTheTeacherAndTheSeedAlone) {
  const std::vector<GivenOption> draws = {{"sample", "12", "test"},
                                          {"sample-exponent", "0.5", "test"},
                                          {"temperatures", "1,2", "test"}};
  EXPECT_EQ(teach_draws("one", draws), StageOutcome::done);
  EXPECT_EQ(teach_draws("three", draws, 3), StageOutcome::done);
  for (const char* file : {"manifest.json", "pass-00/shard-000003.h5"})
    EXPECT_EQ(bytes_of(out("one") / file), bytes_of(out("three") / file)) << file;
  const io::LogitStore store(out("one"));
  EXPECT_EQ(store.facts().layout.sampling, (io::DrawParameters{12, 0.5, 1}));
  const io::SampledRows rows = store.read_sampled(0, std::vector<std::uint64_t>{17, 0, 299});
  // log pi is the softmax of half the logits: all classes' sum is known from tau = 2.
  for (std::size_t row = 0; row < 3; ++row)
    for (std::uint64_t i = rows.begin[row]; i < rows.begin[row + 1]; ++i)
      EXPECT_NEAR(rows.log_proposal[i], rows.logits[i] / 2 - rows.full_lse[row * 2 + 1], 1e-5);
  auto other = draws;
  other.push_back({"seed", "2", "test"});
  teach_draws("other", other);
  EXPECT_NE(bytes_of(out("one") / io::logit_shard_name(0, 0)),
            bytes_of(out("other") / io::logit_shard_name(0, 0)));
  const auto digest = [&](const char* name) { return io::read_manifest(out(name)).content_digest; };
  auto layout = draws;
  layout.push_back({"ids", "u32", "test"});
  layout.push_back({"shard-samples", "100", "test"});
  teach_draws("layout", layout);
  EXPECT_EQ(digest("one"), digest("layout"));
  EXPECT_NE(digest("one"), digest("other"));
}

TEST_F(TeachTest, LabelsOfUnlabelledSamplesComeBesideOrAlone) {
  SmallProblem more;
  more.classes = 5;  // whose labels are not looked at
  more.samples = 70;
  write_noise(own_.path() / "more", more);
  const std::vector<GivenOption> unlabelled = {
      {"unlabelled", (own_.path() / "more").string(), "test"}, {"top-h", "3", "test"}};
  EXPECT_EQ(teach("both", unlabelled), StageOutcome::done);
  comm::Communicator one = comm::Communicator::single();
  std::vector<GivenOption> alone = unlabelled;
  alone.insert(alone.end(), {{"model", teacher().string(), "test"},
                             {"out", out("alone").string(), "test"},
                             {"shard-samples", "64", "test"},
                             {"batch", "32", "test"}});
  EXPECT_EQ(run_stage(one, "teach", alone), StageOutcome::done);
  EXPECT_EQ(io::LogitStore(out("both")).facts().samples, 300u);
  const io::LogitStore store(out("both"), io::LogitPart::unlabelled);
  EXPECT_EQ(store.facts(), io::LogitStore(out("alone"), io::LogitPart::unlabelled).facts());
  EXPECT_THROW(io::LogitStore{out("alone")}, core::DataError);
  for (const char* file : {"shard-000000.h5", "shard-000001.h5"})
    EXPECT_EQ(bytes_of(out("both") / "unlabelled/pass-00" / file),
              bytes_of(out("alone") / "unlabelled/pass-00" / file));
  // Probabilities of all classes, in double.
  const LoadedModel model = load_model(teacher());
  const io::PackedDataset packed(own_.path() / "more", "train");
  io::LoaderOptions loader;
  loader.shuffle = false;
  loader.scale = model.description.scale;
  const io::MicroBatch batch = io::load_micro_batch(packed, loader, 0, {0, 70}, 0);
  const at::Tensor logits = infer(model, batch);
  std::vector<std::uint32_t> ids(70 * 3);
  std::vector<float> probabilities(70 * 3);
  store.read_labels(0, batch.samples, ids, probabilities);
  for (std::size_t row = 0; row < 70; ++row) {
    const float* z = logits.const_data_ptr<float>() + row * 37;
    double sum = 0;
    for (std::size_t c = 0; c < 37; ++c) sum += std::exp(static_cast<double>(z[c]));
    std::vector<double> sorted(z, z + 37);
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::size_t h = 0; h < 3; ++h) {
      EXPECT_NEAR(probabilities[row * 3 + h], std::exp(sorted[h]) / sum, 1e-4);
      EXPECT_NEAR(z[ids[row * 3 + h]], sorted[h], 1e-3);
    }
  }
}

TEST_F(TeachTest, NamesOptionsThatDoNotGoTogether) {
  const auto refused = [&](std::vector<GivenOption> more, const char* text) {
    EXPECT_THAT(error<core::UsageError>("x", std::move(more)), HasSubstr(text));
    EXPECT_FALSE(fs::exists(out("x")));
  };
  refused({{"sample", "5", "test"}}, "--top-k: says how the best classes are stored");
  refused({{"top-h", "2", "test"}}, "--top-h: needs --unlabelled");
  refused({{"sample-exponent", "1", "test"}}, "--sample-exponent: needs --sample");
  refused({{"unlabelled", data().string(), "test"}, {"top-h", "38", "test"}},
          "knows only 37 classes");
  refused({{"data", "", "test"}}, "--data is required");
  refused({{"data", "", "test"}, {"unlabelled", data().string(), "test"}},
          "--top-k: needs --data: there is --unlabelled alone");
  comm::Communicator one = comm::Communicator::single();
  for (const auto& [name, value] : {std::pair{"sample", "65536"}, {"sample-temperature", "0"}}) {
    std::vector<GivenOption> given = {{"data", data().string(), "test"},
                                      {"model", teacher().string(), "test"},
                                      {"out", out("x").string(), "test"},
                                      {"sample", "5", "test"},
                                      {name, value, "test"}};
    EXPECT_THROW(run_stage(one, "teach", given), core::UsageError) << name;
  }
}

TEST_F(TeachTest, AllClassesMayBeStored) {
  teach("all", {{"top-k", "37", "test"}});
  const io::LogitStore store(out("all"));
  const std::vector<std::uint64_t> samples = {0, 299};
  std::vector<std::uint32_t> ids(2 * 37);
  std::vector<float> values(2 * 37), tails(2 * 4);
  store.read(0, samples, ids, values, tails);
  EXPECT_EQ(tails[0], -std::numeric_limits<float>::infinity());
}

TEST_F(TeachTest, RefusesOtherClasses) {
  SmallProblem other;
  other.classes = 36;
  write_noise(own_.path() / "other", other);
  EXPECT_THAT(error<core::DataError>("x", {{"data", (own_.path() / "other").string(), "test"}}),
              HasSubstr("37 classes"));
}

TEST_F(TeachTest, NamesSamplesWhoseLogitsAreNotFinite) {
  // Weights of one class, as a diverging training leaves them: its logit overflows.
  io::ModelFile file = io::read_model(teacher());
  const float largest = std::numeric_limits<float>::max();
  for (const char* name : {"fc.weight", "fc.bias"}) {
    io::Tensor& tensor = file.tensors.at(name);
    const std::uint64_t of_a_class = tensor.elements() / tensor.shape.front();
    for (std::uint64_t i = 0; i < of_a_class; ++i)
      std::memcpy(tensor.bytes.data() + i * sizeof largest, &largest, sizeof largest);
  }
  io::write_model(own_.path() / "diverged", file.description, file.tensors);
  const std::string text =
      error<core::DataError>("x", {{"model", (own_.path() / "diverged").string(), "test"}});
  EXPECT_THAT(text, HasSubstr("samples 0, 1, 2, 3, 4, ..."));
  EXPECT_FALSE(fs::exists(out("x") / "manifest.json"));
}

TEST_F(TeachTest, StopsAtABatchAndGoesOnLater) {
  // A child asks itself to stop; the flag is the process's own and stays.
  EXPECT_EXIT(
      {
        core::request_stop();
        std::exit(teach("stopped") == StageOutcome::stopped ? 75 : 1);
      },
      testing::ExitedWithCode(75), "");
  EXPECT_FALSE(fs::exists(out("stopped") / "manifest.json"));
  EXPECT_EQ(teach("stopped"), StageOutcome::done);
}

}  // namespace
}  // namespace retort::stages
