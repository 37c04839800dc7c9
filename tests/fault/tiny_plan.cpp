#include "tests/fault/tiny_plan.h"

#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>

#include <fmt/format.h>

#include "core/hash.h"
#include "core/random.h"
#include "io/checkpoint.h"
#include "io/manifest.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;

constexpr int kClasses = 13;
constexpr int kPictures = 23;  // of each class; 3 go to the test split
constexpr int kSide = 8;
constexpr const char* kLabels = "labels";

// 13 x 20 = 260 training pictures: 5 batches of 50 and one of 10.
constexpr const char* kPlan = R"(
[data]
stage = pack
from = folder
source = {source}
split = train=rest,test=3
shard-samples = 64

[teacher]
stage = train
data = @data
validation = test
model = convnet
channels = 8,12
strides = 1,2
dropout = 0.2
epochs = 5
batch = 50
micro-shards = 4
optimiser = sgd
learning-rate = 0.05
average-decay = 0.9
augment-shift = 0.1
augment-rotation = 10
checkpoint-every = 3

[logits]
stage = teach
data = @data
model = @teacher
top-k = 5
passes = 2
temperatures = 1,2
shard-samples = 40
augment-shift = 0.1

[student]
stage = distill
data = @data
validation = test
logits = @logits
model = convnet
channels = 4,8
strides = 2,2
dropout = 0.1
epochs = 4
batch = 50
micro-shards = 4
alpha = 0.6
temperature = 2
optimiser = adamw
learning-rate = 0.01
average-decay = 0.9
augment-shift = 0.1
checkpoint-every = 2

[draws]
stage = teach
data = @data
model = @teacher
sample = 9
temperatures = 1,2
unlabelled = @data
unlabelled-split = test
top-h = 2
shard-samples = 100

[labels]
stage = smooth
model = @teacher
top-m = 6
negatives = softmax
tile = 4
checkpoint-every = 2

[mixed]
like = student
head = sharded
sample-rate = 0.7
label-matrix = @labels
label-mix = 0.3
logits = @draws
tail = sampled
unlabelled = @data
unlabelled-split = test
unlabelled-batch = 8
beta = 0.4
augment-shift = 0
epochs = 2

[score]
stage = evaluate
data = @data
model = @student
)";

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

// A class is a smooth pattern of its own, a picture that pattern with noise.
std::string picture(int of_class, int number) {
  core::RandomStream noise(17, core::RandomUse::test,
                           {static_cast<std::uint64_t>(of_class), std::uint64_t(number)});
  std::string text = fmt::format("P5\n{} {}\n255\n", kSide, kSide);
  for (int y = 0; y < kSide; ++y)
    for (int x = 0; x < kSide; ++x) {
      const int pattern = ((x * (1 + of_class % 4) + y * (1 + of_class / 4)) % kSide) * 24;
      text.push_back(static_cast<char>(pattern + static_cast<int>(noise.below(64))));
    }
  return text;
}

// As `retort inspect --digest` says it; a process for each would take longer than the plan.
std::string section_digest(const fs::path& folder) {
  const io::Manifest manifest = io::read_manifest(folder);
  return manifest.content_digest.empty() ? io::content_digest(manifest) : manifest.content_digest;
}

std::string sha256_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  return core::sha256_hex(bytes);
}

// gen-SSSSSSSSSS-eEEEE: the highest step; two runs may differ in the epoch of the claim.
fs::path last_generation(const fs::path& folder) {
  fs::path last;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("gen-") && !name.ends_with(".bad") && name > last.filename().string())
      last = entry.path();
  }
  return last;
}

}  // namespace

TinyPlan::TinyPlan(const fs::path& program, fs::path work)
    : program_(fs::canonical(program)), work_(std::move(work)) {
  fs::create_directories(work_);
  work_ = fs::canonical(work_);
  const fs::path source = work_ / "pictures";
  for (int c = 0; c < kClasses; ++c) {
    const fs::path folder = source / fmt::format("class-{:02}", c);
    fs::create_directories(folder);
    for (int i = 0; i < kPictures; ++i)
      write_text(folder / fmt::format("{:02}.pgm", i), picture(c, i));
  }
  write_text(work_ / "tiny.ini", fmt::format(kPlan, fmt::arg("source", source.string())));
}

const std::vector<std::string>& TinyPlan::sections() {
  static const std::vector<std::string> names = {"data",  "teacher", "logits", "student",
                                                 "draws", kLabels,   "mixed",  "score"};
  return names;
}

Start TinyPlan::start(const fs::path& run, int ranks, int threads) const {
  Start start;
  start.command = {program_.string(),
                   "-n",
                   std::to_string(ranks),
                   "--threads",
                   std::to_string(threads),
                   "run",
                   (work_ / "tiny.ini").string(),
                   "--out",
                   run.string()};
  start.command.insert(start.command.end(), options_.begin(), options_.end());
  return start;
}

Start TinyPlan::resume(const fs::path& run, int ranks, int threads) const {
  Start start;
  start.command = {program_.string(),       "-n",     std::to_string(ranks), "--threads",
                   std::to_string(threads), "resume", run.string()};
  return start;
}

TinyPlan TinyPlan::with(const std::vector<std::string>& options) const {
  TinyPlan other = *this;
  other.options_.insert(other.options_.end(), options.begin(), options.end());
  return other;
}

TinyPlan::Fingerprint TinyPlan::fingerprint(const fs::path& run) {
  Fingerprint prints;
  for (const std::string& section : sections()) {
    prints[section] = section_digest(run / section);
    const fs::path generation = last_generation(run / section / "checkpoints");
    // How far pairs of tiles have come depends on the ranks; the labels that come of them do not.
    if (!generation.empty() && section != kLabels)
      prints[section + "/checkpoint"] = io::digest(io::open_generation(generation));
  }
  for (const std::string section : {"data", "logits", "draws", kLabels})
    for (const auto& entry : fs::recursive_directory_iterator(run / section)) {
      const std::string name = fs::relative(entry.path(), run).string();
      if (entry.path().extension() == ".h5" && !name.starts_with(section + "/checkpoints"))
        prints[name] = sha256_of(entry.path());
    }
  return prints;
}

std::string differences(const TinyPlan::Fingerprint& want, const TinyPlan::Fingerprint& have) {
  std::string text;
  for (const auto& [key, value] : want)
    if (!have.contains(key) || have.at(key) != value) text += key + " ";
  for (const auto& [key, value] : have)
    if (!want.contains(key)) text += key + " ";
  return text;
}

}  // namespace retort::fault
