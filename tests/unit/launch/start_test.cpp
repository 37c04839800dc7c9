#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/version.h"
#include "launch/agreement.h"
#include "launch/allocated_ranks.h"
#include "launch/build_id.h"
#include "launch/joined_ranks.h"
#include "launch/local_ranks.h"
#include "launch/machine_checks.h"

namespace retort::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(MpirunWords, RanksYieldOnlyWhereTheyShareCores) {
  EXPECT_THAT(
      mpirun_words(2, 2, "/bin/retort", {"train", "--x"}),
      ElementsAre("mpirun", "-q", "--bind-to", "none", "-n", "2", "/bin/retort", "train", "--x"));
  EXPECT_THAT(mpirun_words(3, 2, "r", {}),
              ElementsAre("mpirun", "-q", "--bind-to", "none", "--oversubscribe", "--mca",
                          "mpi_yield_when_idle", "1", "-n", "3", "r"));
  EXPECT_GE(usable_cores(), 1);
}

TEST(SrunWords, TakeTheAllocationsCpusAndTheSitesMpi) {
  EXPECT_THAT(srun_words(4, "", "2", "/bin/retort", {"run", "p.ini"}),
              ElementsAre("srun", "--kill-on-bad-exit=1", "--quit-on-interrupt", "--mpi=pmix",
                          "--cpus-per-task=2", "-n", "4", "/bin/retort", "run", "p.ini"));
  EXPECT_THAT(srun_words(2, "pmi2", "", "r", {}),
              ElementsAre("srun", "--kill-on-bad-exit=1", "--quit-on-interrupt", "-n", "2", "r"));
}

TEST(BuildId, IsTheOneOfTheProgramsFile) {
  const std::string id = build_id();
  ASSERT_GE(id.size(), 16U);  // which hash it is, the linker decides
  std::string bytes;
  for (std::size_t i = 0; i < id.size(); i += 2)
    bytes += static_cast<char>(std::stoi(id.substr(i, 2), nullptr, 16));
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::string program{std::istreambuf_iterator<char>(file), {}};
  EXPECT_NE(program.find(bytes), std::string::npos);
}

TEST(LaunchedTask, IsWhatTheLauncherSays) {
  const auto of = [](std::map<std::string, std::string> set) {
    return launched_task([set](const char* name) {
      const auto found = set.find(name);
      return found == set.end() ? std::string() : found->second;
    });
  };
  EXPECT_EQ(of({}).count, 1);
  // A batch script is no step, whatever its job has.
  EXPECT_EQ(of({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).count, 1);
  const LaunchedTask step = of({{"SLURM_PROCID", "3"}, {"SLURM_STEP_NUM_TASKS", "4"}});
  EXPECT_EQ(step.number, 3);
  EXPECT_EQ(step.count, 4);
  EXPECT_EQ(step.launcher, "srun");
  // mpirun in one task of srun: its ranks are those that count.
  EXPECT_EQ(of({{"SLURM_PROCID", "0"},
                {"SLURM_STEP_NUM_TASKS", "4"},
                {"OMPI_COMM_WORLD_RANK", "0"},
                {"OMPI_COMM_WORLD_SIZE", "1"}})
                .count,
            1);
}

TEST(Agreement, NamesTheFirstDifference) {
  EXPECT_EQ(first_difference({"a = 1\nb = 2\n", "a = 1\nb = 2\n"}), "");
  EXPECT_EQ(first_difference({"a = 1\nb = 2\n", "a = 1\nb = 2\n", "a = 1\nb = 3\n"}),
            "'b' differs between ranks: rank 0 has '2', rank 2 has '3'");
  EXPECT_EQ(first_difference({"a = 1\nb = 2\n", "a = 1\nc = 2\n"}),
            "ranks have different options: rank 0 has 'b', rank 1 has 'c'");
  EXPECT_EQ(first_difference({"a = 1\n", "a = 1\nc = 2\n"}),
            "ranks have different options: rank 0 has '', rank 1 has 'c'");
}

TEST(Agreement, CoversCommandVersionAndEveryOption) {
  int a = 1;
  int b = 2;
  std::filesystem::path out = "o # 1";
  core::OptionTable table;
  table.add("a", &a, "decides");
  table.add("b", &b, "when to checkpoint").effect = core::OptionEffect::run;
  table.add("out", &out, "where").effect = core::OptionEffect::output;
  EXPECT_EQ(shared_options("train", table),
            "command = train\nprogram version = " + std::string(core::kVersion) +
                "\nprogram build = " + build_id() + "\na = 1\nb = 2\nout = \"o # 1\"\n");
}

TEST(MachineChecks, SayWhatTheyFound) {
  EXPECT_THAT(check_cores().found, HasSubstr("usable of"));
  EXPECT_THAT(check_memory().found, HasSubstr("GB free"));
  EXPECT_THAT(check_processor().found, HasSubstr("("));
  EXPECT_EQ(check_limits().size(), 2u);
}

TEST(MachineChecks, AFolderThatCannotBeWrittenIsAProblem) {
  // /proc refuses new files to everybody, root included.
  const auto checks = check_disk("/proc");
  ASSERT_EQ(checks.size(), 2u);
  EXPECT_EQ(checks[1].verdict, Verdict::problem);
  EXPECT_THAT(checks[1].found, HasSubstr("cannot write in /proc"));
}

TEST(MachineChecks, AMissingFolderIsJudgedByItsParent) {
  const auto checks = check_disk("/tmp/no-such-folder-here/deeper");
  ASSERT_EQ(checks.size(), 2u);
  EXPECT_THAT(checks[0].found, HasSubstr("at /tmp ("));
  EXPECT_THAT(checks[1].found, HasSubstr("ms in the middle"));
}

}  // namespace
}  // namespace retort::launch
