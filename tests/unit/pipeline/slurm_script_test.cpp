#include "pipeline/slurm_script.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/captured_run.h"
#include "core/error.h"

namespace retort::pipeline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string template_text(const std::string& name) {
  const char* source = std::getenv("RETORT_SOURCE");
  if (source == nullptr) return "RETORT_SOURCE is not set";
  std::ifstream stream(std::string(source) + "/slurm/templates/" + name);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

ScriptInput teacher() {
  ScriptInput input;
  input.plan = "digits";
  input.name = "teacher";
  input.run = "/home/you/runs/digits";
  input.started = "/home/you";
  input.log = "teacher.log";
  input.program = "/opt/retort/bin/retort";
  input.settings.partition = "normal";
  input.settings.account = "project";
  input.settings.time = "12:00:00";
  input.settings.modules = {"openmpi/4.1"};
  input.settings.prolog = {"export OMPI_MCA_btl=tcp,self"};
  input.settings.sbatch = {"--mail-type=FAIL"};
  input.whole = {2, 4, 2, 8, 0, 0, 43200};
  input.steps = {{"teacher", input.whole}};
  return input;
}

// The committed templates are what users read: exactly what the program writes.
TEST(JobScript, OfASectionIsTheTemplate) {
  EXPECT_EQ(job_script(teacher()), template_text("section.sh"));
}

TEST(JobScript, OfSeedsIsTheTemplate) {
  auto input = teacher();
  input.tasks = Tasks::array;
  input.log = "teacher.seed-%a.log";
  EXPECT_EQ(job_script(input), template_text("seeds.sh"));
}

TEST(JobScript, OfOneJobInAContainerIsTheTemplate) {
  auto input = teacher();
  input.name = "all";
  input.log = "all.log";
  input.program = "retort";
  input.settings.modules.clear();
  input.settings.container = Container::pyxis;
  input.settings.image = "retort+0.1.sqsh";
  input.settings.mounts = {"/home:/home"};
  input.steps.insert(input.steps.begin(), {"data", {2, 2, 0, 1, 0, 0, 0}});
  input.workers = Workers::as_plan;
  EXPECT_EQ(job_script(input), template_text("one_job.sh"));
}

TEST(JobScript, ApptainerStandsBetweenSrunAndRetort) {
  auto input = teacher();
  input.settings.container = Container::apptainer;
  input.settings.image = "my image.sif";
  input.settings.gpus = 4;
  const auto text = job_script(input);
  EXPECT_THAT(text, HasSubstr("inside=(apptainer exec --nv 'my image.sif')\n"));
  EXPECT_THAT(text, HasSubstr("alone=(apptainer exec --nv 'my image.sif')\n"));
}

TEST(JobScript, IsGoodBash) {
  for (const char* name : {"section.sh", "seeds.sh", "one_job.sh"}) {
    const auto file = std::string(std::getenv("RETORT_SOURCE")) + "/slurm/templates/" + name;
    const auto run = core::run_captured({"bash", "-n", file}, std::chrono::seconds(20));
    EXPECT_EQ(run.exit_code, 0) << run.errors;
  }
}

TEST(JobScript, PathsThatSlurmReadsInItsOwnWayAreRefused) {
  auto input = teacher();
  input.run = "/home/my runs";
  EXPECT_THAT(job_script(input),
              HasSubstr("#SBATCH --output=\"/home/my runs/.slurm/teacher.log\"\n"));
  EXPECT_THAT(job_script(input), HasSubstr("run='/home/my runs'\n"));
  input.run = "/home/p#2";
  EXPECT_THAT(job_script(input), HasSubstr("#SBATCH --output=\"/home/p#2/.slurm/teacher.log\"\n"));
  input.plan = "it's my plan\nrm";  // of a file of that name
  EXPECT_THAT(job_script(input), HasSubstr("#SBATCH --job-name=it_s_my_plan_rm.teacher\n"));
  EXPECT_THAT(job_script(input), Not(HasSubstr("my plan")));
  for (const char* bad : {"/home/100%", "/home/x%a", "/home/a\"b", "/home/a\\b"}) {
    input.run = bad;
    EXPECT_THROW(job_script(input), core::UsageError) << bad;
  }
}

TEST(JobScript, WithoutWarningThereIsNoSignal) {
  auto input = teacher();
  input.settings.warn = 0;
  EXPECT_THAT(job_script(input), Not(HasSubstr("--signal")));
}

TEST(ShellWord, IsQuotedWhereItMustBe) {
  EXPECT_EQ(shell_word("/a/b-c=1,2"), "/a/b-c=1,2");
  EXPECT_EQ(shell_word("a b"), "'a b'");
  EXPECT_EQ(shell_word("it's $HOME"), "'it'\\''s $HOME'");
  EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace retort::pipeline
