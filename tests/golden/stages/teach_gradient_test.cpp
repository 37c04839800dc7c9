// The soft cases of golden/topk-distillation.json by way of disk: a teacher that answers with the
// case's logits, `teach`, the shards that it wrote, and the loss on what they give back.
#include <cmath>
#include <map>

#include "io/logit_store.h"
#include "nn/loss.h"
#include "tests/golden/nn/golden_file.h"
#include "tests/golden/stages/exact_teacher.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::stages {
namespace {

using golden::flat;
using golden::Json;
using golden::Quantity;

constexpr const char* kFile = "topk-distillation.json";
const std::map<std::string, nn::TailMode> kModes = {
    {"residual", nn::TailMode::residual},
    {"uniform", nn::TailMode::uniform},
    {"renormalise", nn::TailMode::renormalise},
    {"renormalise_stored", nn::TailMode::renormalise_stored}};
const std::map<std::string, nn::SoftScale> kScales = {
    {"none", nn::SoftScale::none},
    {"inverse_temperature", nn::SoftScale::inverse_temperature},
    {"temperature_squared", nn::SoftScale::temperature_squared}};

struct Case {
  explicit Case(const Json& json)
      : classes(json.at("parameters").at("N")),
        k(json.at("parameters").at("K")),
        temperature(json.at("parameters").at("temperature")),
        scale(kScales.at(json.at("parameters").at("soft_scale"))),
        student(flat<double>(json.at("inputs").at("student_logits"))),
        ids(flat<std::uint32_t>(json.at("inputs").at("topk_ids"))),
        stored(flat<double>(json.at("inputs").at("topk_logits"))),
        tail(flat<double>(json.at("inputs").at("tail_lse"))),
        rows(tail.size()) {}
  /// c(tau): what the file multiplies a loss by.
  double factor() const {
    if (scale == nn::SoftScale::none) return 1;
    return scale == nn::SoftScale::inverse_temperature ? 1 / temperature
                                                       : temperature * temperature;
  }
  /// [rows, classes]: the listed logits where they are listed; the others alike, so that their
  /// log-sum-exp is the case's.
  std::vector<float> dense() const {
    std::vector<float> all(rows * classes);
    for (std::size_t row = 0; row < rows; ++row) {
      const double lowest = stored[row * k + k - 1];
      double rest = lowest;
      if (classes > k)
        rest = temperature * (tail[row] - std::log(static_cast<double>(classes - k)));
      // A tail of classes that tie with the last listed one may come out above it by rounding.
      std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(row * classes), classes,
                  static_cast<float>(std::min(rest, lowest)));
      for (std::size_t i = 0; i < k; ++i)
        all[row * classes + ids[row * k + i]] = static_cast<float>(stored[row * k + i]);
    }
    return all;
  }

  std::size_t classes;
  std::uint32_t k;
  double temperature;
  nn::SoftScale scale;
  std::vector<double> student;
  std::vector<std::uint32_t> ids;
  std::vector<double> stored, tail;
  std::size_t rows;
};

class TeachGradient : public testing::Test {
 protected:
  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }

  void write_problem(const Case& each) {
    write_exact_teacher(folder_.path(), each.rows, each.classes, each.dense(), each.rows);
  }

  /// What `teach` stored, as it comes back from its shards.
  struct Rows {
    std::vector<std::uint32_t> ids;
    std::vector<float> logits, tail;
  };
  Rows teach(const Case& each, const std::string& precision) {
    comm::Communicator one = comm::Communicator::single();
    const auto out = path("logits-" + precision);
    EXPECT_EQ(run_stage(one, "teach",
                        {{"data", path("data").string(), "test"},
                         {"model", path("exact").string(), "test"},
                         {"out", out.string(), "test"},
                         {"top-k", std::to_string(each.k), "test"},
                         {"temperatures", Json(each.temperature).dump(), "test"},
                         {"stored-precision", precision, "test"},
                         {"shard-samples", "2", "test"},
                         {"batch", "2", "test"}}),
              StageOutcome::done);
    const io::LogitStore store(out);
    std::vector<std::uint64_t> samples(each.rows);
    for (std::size_t i = 0; i < each.rows; ++i) samples[i] = i;
    Rows rows{std::vector<std::uint32_t>(each.rows * each.k),
              std::vector<float>(each.rows * each.k), std::vector<float>(each.rows)};
    store.read(0, samples, rows.ids, rows.logits, rows.tail);
    return rows;
  }

  template <class T>
  static std::vector<T> gradient(const Case& each, const Rows& rows, nn::TailMode mode) {
    const std::vector<T> student(each.student.begin(), each.student.end());
    const std::vector<T> logits(rows.logits.begin(), rows.logits.end());
    const std::vector<T> tail(rows.tail.begin(), rows.tail.end());
    std::vector<T> grad(student.size());
    const nn::SparseTargets<T> soft{each.k, rows.ids, logits, tail};
    nn::loss_and_gradient<T>(each.rows, each.classes, student, nullptr, 0, &soft,
                             {mode, each.scale, each.temperature}, 1, std::span(grad));
    return grad;
  }

 private:
  core::TemporaryFolder folder_;
};

TEST_F(TeachGradient, OfEachModeFromShards) {
  RETORT_LOAD_GOLDEN(file, kFile);
  int compared = 0;
  for (const Json& json : file.at("cases")) {
    if (json.at("kind") != "soft") continue;
    SCOPED_TRACE(json.at("name").get<std::string>());
    const Case each(json);
    write_problem(each);
    const Rows exact = teach(each, "fp32");
    EXPECT_EQ(exact.ids, each.ids);
    const Rows small = teach(each, "fp16-gaps");
    EXPECT_EQ(small.ids, each.ids);
    for (const auto& [mode, expected] : json.at("expected").items()) {
      SCOPED_TRACE(mode);
      const auto wanted = flat<double>(expected.at("grad"));
      // The shards hold fp32, so fp32's tolerance is the file's for both precisions of the loss.
      golden::expect_close<float>(gradient<float>(each, exact, kModes.at(mode)), wanted,
                                  Quantity::gradient, each.factor(), "grad, loss in fp32");
      golden::expect_close<float>(gradient<double>(each, exact, kModes.at(mode)), wanted,
                                  Quantity::gradient, each.factor(), "grad, loss in fp64");
      // A stored gap is off by at most 2^-11 of itself: p moves by less than 2^-9 for these K.
      const auto rounded = gradient<double>(each, small, kModes.at(mode));
      for (std::size_t i = 0; i < wanted.size(); ++i)
        EXPECT_NEAR(rounded[i], wanted[i], std::ldexp(each.factor() / each.temperature, -9));
      ++compared;
    }
    std::filesystem::remove_all(path("data"));
    for (const char* name : {"teacher", "exact", "logits-fp32", "logits-fp16-gaps"})
      std::filesystem::remove_all(path(name));
  }
  EXPECT_GE(compared, 4 * 16);
}

}  // namespace
}  // namespace retort::stages
