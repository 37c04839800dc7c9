// read-flip: one bit of a file flips, and the next command reads it. read-wrong: the file is cut
// short, has a block of zeros, or is another run's or an older run's file of that name. The command
// must refuse it with exit code 65 and one line that names it, or give the undisturbed answer.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "tests/fault/fault.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr Seconds kLimit{60};
constexpr std::uint64_t kBlock = 512;  // of zeros

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

/// The output without the time that it took.
std::string timeless(std::string text) {
  const std::string key = "\"seconds\":";
  for (std::size_t at = text.find(key); at != std::string::npos; at = text.find(key, at + 1))
    text.erase(at + key.size(), text.find_first_of(",}", at) - at - key.size());
  return text;
}

/// A command that reads the whole of some files of a finished run.
struct Reader {
  std::string name;
  std::vector<std::string> folders;  // below the run: every file in and below them that it reads
  std::vector<std::string> words;    // RUN/ and OUT stand for the folders
  bool makes_model = false;          // its answer is OUT/model/model.h5, else its standard output
};

std::vector<Reader> readers() {
  const std::vector<std::string> student = {
      "--model",   "mlp", "--hidden",       "4",   "--epochs",      "2",
      "--batch",   "130", "--micro-shards", "1",   "--temperature", "2",
      "--threads", "1",   "--out",          "OUT", "--log-level",   "error"};
  const auto with = [](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  return {
      {"evaluate",
       {"data/manifest.json", "data/classes.h5", "data/train", "student/model"},
       {"evaluate", "--data", "RUN/data", "--model", "RUN/student/model", "--split", "train",
        "--json", "--threads", "1", "--log-level", "error"}},
      {"distill",
       {"logits/manifest.json", "logits/pass-00", "logits/pass-01"},
       with({"distill", "--data", "RUN/data", "--logits", "RUN/logits", "--augment-shift", "0.1"},
            student),
       true},
      {"distill from draws",
       {"draws/manifest.json", "draws/pass-00", "draws/unlabelled"},
       with({"distill", "--data", "RUN/data", "--logits", "RUN/draws", "--tail", "sampled",
             "--unlabelled", "RUN/data", "--unlabelled-split", "test", "--unlabelled-batch", "13",
             "--beta", "0.4"},
            student),
       true},
      {"train on labels",
       {"labels/manifest.json", "labels/classes.h5", "labels/labels-000000.h5"},
       {"train", "--data",         "RUN/data", "--label-matrix", "RUN/labels", "--model",
        "mlp",   "--hidden",       "4",        "--epochs",       "2",          "--batch",
        "130",   "--micro-shards", "1",        "--threads",      "1",          "--out",
        "OUT",   "--log-level",    "error"},
       true},
      {"inspect a generation",
       {"student/checkpoints", "student/claims"},
       {"inspect", "--digest", "RUN/student", "--log-level", "error"}},
      {"check",
       {"data", "teacher", "logits", "student", "draws", "labels", "mixed", "score"},
       {"check", "RUN", "--log-level", "error"}},
  };
}

/// Files that no command has to read: locks, live signs, TensorBoard's.
bool is_read(const fs::path& path) {
  const std::string name = path.filename().string();
  return name != "lock" && name != "source.json" && !name.starts_with("heartbeat") &&
         !name.starts_with("events.") && name != "metrics.jsonl";
}

struct Answer {
  Ending ending;
  std::string text;
};

class Readings {
 public:
  Readings(const TinyPlan& plan, fs::path run) : plan_(plan), run_(std::move(run)) {
    for (Reader& reader : readers()) {
      Target target;
      for (const std::string& place : reader.folders) add_files(run_ / place, target.files);
      target.reader = std::move(reader);
      target.answer = ask(target.reader);
      if (target.answer.ending.exit_code != 0)
        throw std::runtime_error(target.reader.name + ": " + target.answer.ending.output);
      targets_.push_back(std::move(target));
    }
  }

  struct Target {
    Reader reader;
    std::vector<fs::path> files;
    Answer answer;  // undisturbed
  };
  const Target& target(int number) const {
    return targets_[static_cast<std::size_t>(number) % targets_.size()];
  }
  const fs::path& run() const { return run_; }

  Answer ask(const Reader& reader) const {
    const fs::path out = plan_.work() / "out";
    fs::remove_all(out);
    Start start;
    start.command = {plan_.program().string()};
    for (std::string word : reader.words) {
      if (word == "OUT") word = out.string();
      if (word == "RUN") word = run_.string();
      if (word.starts_with("RUN/")) word = (run_ / word.substr(4)).string();
      start.command.push_back(word);
    }
    start.limit = kLimit;
    Answer answer;
    answer.ending = fault::run(start);
    answer.text = timeless(answer.ending.output);
    if (reader.makes_model && answer.ending.exit_code == 0)
      answer.text = core::sha256_hex(bytes_of(out / "model" / "model.h5"));
    return answer;
  }

 private:
  static void add_files(const fs::path& place, std::vector<fs::path>& files) {
    if (fs::is_regular_file(place)) {
      files.push_back(place);
      return;
    }
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(place))
      if (entry.is_regular_file() && entry.file_size() > 0 && is_read(entry.path()))
        found.push_back(entry.path());
    if (found.empty()) throw std::runtime_error(place.string() + " holds no file");
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }

  const TinyPlan& plan_;
  fs::path run_;
  std::vector<Target> targets_;
};

/// The bytes to put in the place of a file's own; empty: this damage does not fit the file.
struct Damage {
  std::string name;
  std::string bytes;
};

Damage flip(const std::string& bytes, RandomStream& random) {
  Damage damage{"", bytes};
  const std::uint64_t at = random.below(bytes.size());
  const std::uint64_t bit = random.below(8);
  damage.bytes[at] = static_cast<char>(damage.bytes[at] ^ (1 << bit));
  damage.name = fmt::format("bit {} of byte {}", bit, at);
  return damage;
}

Damage wrong(const std::string& bytes, const fs::path& other, const fs::path& older, int kind,
             RandomStream& random) {
  switch (kind) {
    case 0: {
      const std::uint64_t size = random.below(bytes.size());
      return {fmt::format("cut to {} of {} bytes", size, bytes.size()), bytes.substr(0, size)};
    }
    case 1: {
      Damage damage{"", bytes};
      const std::uint64_t at = random.below(bytes.size());
      const std::uint64_t end = std::min<std::uint64_t>(bytes.size(), at + kBlock);
      damage.bytes.replace(at, end - at, end - at, '\0');
      damage.name = fmt::format("zeros from byte {} to {}", at, end);
      return damage;
    }
    case 2:
      return {"another run's", fs::exists(other) ? bytes_of(other) : ""};
    default:
      return {"an older run's", fs::exists(older) ? bytes_of(older) : ""};
  }
}

bool is_refusal(const Ending& ending, const fs::path& victim) {
  if (ending.exit_code != static_cast<int>(core::ExitCode::data)) return false;
  const std::vector<std::string> lines = error_lines(ending.output);
  // A whole manifest of another run accuses the files that it does not fit.
  const bool manifest = victim.filename() == "manifest.json";
  const fs::path named = manifest ? victim.parent_path() : victim;
  return lines.size() == 1 && lines[0].find(named.string()) != std::string::npos;
}

using MakeDamage =
    std::function<Damage(const fs::path& victim, const std::string& bytes, RandomStream& random)>;

Outcome one_reading(const Readings& readings, const Readings::Target& target,
                    const fs::path& victim, const Damage& damage, Tally& tally,
                    const Report& report) {
  const Answer answer = readings.ask(target.reader);
  const std::string story = fmt::format("{}, {}: {}", target.reader.name,
                                        fs::relative(victim, readings.run()).string(), damage.name);
  if (answer.ending.timed_out) {
    report(fmt::format("{}: hangs; {}", story, answer.ending.state));
    return Outcome::hang;
  }
  if (is_refusal(answer.ending, victim)) {
    ++tally.refused;
    return Outcome::identical;
  }
  if (answer.ending.exit_code != 0) {
    report(fmt::format("{}: exit code {}, no line that names the file; {}", story,
                       answer.ending.exit_code, tail(answer.ending.output)));
    return Outcome::crash;
  }
  if (answer.text == target.answer.text) return Outcome::identical;
  report(fmt::format("{}: another answer", story));
  return Outcome::silent;
}

Tally damage_readings(const TinyPlan& plan, const FaultOptions& options, const Report& report,
                      const MakeDamage& make) {
  const Readings readings(plan, plan.work() / "undisturbed");
  Tally tally;
  for (int i = 0; i < options.count; ++i) {
    RandomStream random(options.seed, core::RandomUse::test, {5, static_cast<std::uint64_t>(i)});
    const Readings::Target& target = readings.target(i);
    try {
      fs::path victim;
      std::string bytes;
      Damage damage;
      do {  // an equal file of another run is no damage
        victim = target.files[random.below(target.files.size())];
        bytes = bytes_of(victim);
        damage = make(victim, bytes, random);
      } while (damage.bytes == bytes || damage.name.empty() ||
               (damage.bytes.empty() && damage.name.find("run's") != std::string::npos));
      write_bytes(victim, damage.bytes);
      const Outcome outcome = one_reading(readings, target, victim, damage, tally, report);
      write_bytes(victim, bytes);
      tally.add(outcome);
    } catch (const std::exception& error) {
      report(fmt::format("case {}: {}", i, error.what()));
      tally.add(Outcome::crash);
    }
  }
  return tally;
}

/// The plan run once more with other options: every file has its counterpart there.
fs::path run_with(const TinyPlan& plan, const std::string& name,
                  const std::vector<std::string>& words) {
  const fs::path folder = plan.work() / name;
  fs::remove_all(folder);
  const Ending ending = run(plan.with(words).start(folder, 1, 1));
  if (ending.exit_code != 0) throw std::runtime_error(name + ": " + ending.output);
  return folder;
}

}  // namespace

Tally flip_read_bits(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  run_undisturbed(plan);
  return damage_readings(plan, options, report,
                         [](const fs::path&, const std::string& bytes, RandomStream& random) {
                           return flip(bytes, random);
                         });
}

Tally read_wrong_files(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  const Undisturbed reference = run_undisturbed(plan);
  const fs::path other =
      run_with(plan, "other",
               {"--set", "teacher.seed=2", "--set", "student.seed=2", "--set", "data.seed=2"});
  const fs::path older =
      run_with(plan, "older", {"--set", "teacher.epochs=2", "--set", "student.epochs=3"});
  return damage_readings(
      plan, options, report,
      [&](const fs::path& victim, const std::string& bytes, RandomStream& random) {
        const fs::path name = fs::relative(victim, reference.run);
        return wrong(bytes, other / name, older / name, static_cast<int>(random.below(4)), random);
      });
}

}  // namespace retort::fault
