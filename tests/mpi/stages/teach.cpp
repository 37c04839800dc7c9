// teach on several ranks: the same bytes as one rank, each shard computed once.
#include <algorithm>
#include <filesystem>
#include <optional>

#include "core/error.h"
#include "io/manifest.h"
#include "stages/section_output.h"
#include "tests/mpi/mpi_main.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/stages/small_teacher.h"

namespace retort::stages {
namespace {

namespace fs = std::filesystem;
using tests::ranks;

/// A folder that all ranks see, with data and teacher in it.
class Workplace {
 public:
  Workplace() {
    if (ranks().root()) {
      folder_.emplace();
      write_noise(folder_->path() / "data", {});
      write_teacher(folder_->path() / "teacher", {}, "convnet",
                    {{"channels", "8,16"}, {"strides", "1,2"}}, 3);
    }
    path_ = ranks().broadcast(folder_ ? folder_->path().string() : "");
  }
  ~Workplace() { ranks().barrier(); }
  fs::path operator/(const char* name) const { return path_ / name; }
  StageOutcome teach(comm::Communicator& communicator, const char* to, int threads,
                     const std::vector<GivenOption>& more = {}) const {
    std::vector<GivenOption> options = {{"data", (path_ / "data").string(), "test"},
                                        {"model", (path_ / "teacher").string(), "test"},
                                        {"out", (path_ / to).string(), "test"},
                                        {"top-k", "5", "test"},
                                        {"shard-samples", "20", "test"},
                                        {"batch", "8", "test"},
                                        {"passes", "2", "test"},
                                        {"augment-crop", "1", "test"}};
    options.insert(options.end(), more.begin(), more.end());
    return run_stage(communicator, "teach", options, threads);
  }

 private:
  std::optional<core::TemporaryFolder> folder_;
  fs::path path_;
};

void expect_equal_folders(const fs::path& a, const fs::path& b) {
  const io::Manifest manifest = io::read_manifest(a);
  EXPECT_EQ(manifest.members.size(), 30u);
  EXPECT_EQ(io::read_file(a / "manifest.json"), io::read_file(b / "manifest.json"));
  for (const io::Member& member : manifest.members)
    EXPECT_EQ(io::read_file(a / member.name), io::read_file(b / member.name)) << member.name;
}

TEST(Teach, GivesTheSameBytesOnAnyNumberOfRanks) {
  const Workplace place;
  EXPECT_EQ(place.teach(ranks(), "all", 2), StageOutcome::done);
  if (ranks().root()) {
    comm::Communicator one = comm::Communicator::single();
    EXPECT_EQ(place.teach(one, "one", 1), StageOutcome::done);
    expect_equal_folders(place / "one", place / "all");
    const auto results = nlohmann::json::parse([&] {
      const auto bytes = io::read_file(place / "all" / "results.json");
      return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }());
    // Every sample of every pass by exactly one rank.
    EXPECT_EQ(results.at("computed"), 600);
  }
  // Complete on all ranks at once, with no claim left over from before.
  EXPECT_EQ(place.teach(ranks(), "all", 1), StageOutcome::done);
  EXPECT_EQ(place.teach(ranks(), "again", 1), StageOutcome::done);
  if (ranks().root()) expect_equal_folders(place / "one", place / "again");
}

TEST(Teach, GoesOnWhereOthersStopped) {
  const Workplace place;
  if (ranks().root()) {
    comm::Communicator one = comm::Communicator::single();
    place.teach(one, "whole", 1);
    const io::Manifest manifest = io::read_manifest(place / "whole");
    io::MemberLedger ledger(place / "part", manifest.recipe_hash);
    for (std::size_t i = 0; i < manifest.members.size(); i += 3)
      ledger.commit(manifest.members[i].name,
                    io::read_file(place / "whole" / manifest.members[i].name),
                    manifest.members[i].facts);
  }
  ranks().barrier();
  EXPECT_EQ(place.teach(ranks(), "part", 1), StageOutcome::done);
  if (ranks().root()) expect_equal_folders(place / "whole", place / "part");
}

TEST(Teach, ErrorsOfTheFolderComeOutOnAllRanks) {
  const Workplace place;
  EXPECT_EQ(place.teach(ranks(), "out", 1), StageOutcome::done);
  EXPECT_THROW(place.teach(ranks(), "out", 1, {{"top-k", "7", "test"}}), core::Error);
  EXPECT_THROW(place.teach(ranks(), "else", 1, {{"top-k", "38", "test"}}), core::UsageError);
}

}  // namespace
}  // namespace retort::stages
