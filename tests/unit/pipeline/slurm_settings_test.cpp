#include "pipeline/slurm_settings.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "pipeline/slurm_site.h"

namespace retort::pipeline {
namespace {

template <class Work>
std::string refusal_of(Work work) {
  try {
    work();
  } catch (const core::UsageError& error) {
    return error.what();
  }
  return "accepted";
}

std::string site_refusal(const std::string& text) {
  return refusal_of([&] { Site(text, "site.ini"); });
}

TEST(SlurmTime, IsReadAsSlurmReadsIt) {
  EXPECT_EQ(slurm_seconds("30"), 1800);
  EXPECT_EQ(slurm_seconds("30:15"), 1815);
  EXPECT_EQ(slurm_seconds("1:30:00"), 5400);
  EXPECT_EQ(slurm_seconds("2-12"), 216000);
  EXPECT_EQ(slurm_seconds("2-12:30"), 217800);
  EXPECT_EQ(slurm_seconds("2-12:30:05"), 217805);
  EXPECT_EQ(slurm_seconds("UNLIMITED"), -1);
  for (const char* bad : {"", "1h", "1:2:3:4", "-5", "1-"})
    EXPECT_THROW(slurm_seconds(bad), core::UsageError) << bad;
}

TEST(SlurmMemory, IsInMegabytes) {
  EXPECT_EQ(slurm_megabytes("4000"), 4000);
  EXPECT_EQ(slurm_megabytes("4G"), 4096);
  EXPECT_EQ(slurm_megabytes("512m"), 512);
  EXPECT_EQ(slurm_megabytes("2T"), 2097152);
  EXPECT_EQ(slurm_megabytes("2048K"), 2);
  for (const char* bad : {"", "G", "4GB", "x"})
    EXPECT_THROW(slurm_megabytes(bad), core::UsageError) << bad;
}

TEST(Site, LaterBlocksWinAndLinesAddUp) {
  const Site site(
      "partition = short\nnodes = 2\nprolog = export A=1\nmodules = gcc,openmpi\n"
      "[train]\nnodes = 4\nprolog = export B=2\n[@teacher]\npartition = long\n",
      "site.ini");
  const auto teacher = site.settings("train", "teacher", {{"nodes", "8", "--nodes"}});
  EXPECT_EQ(teacher.partition, "long");
  EXPECT_EQ(teacher.nodes, 8);
  EXPECT_EQ(teacher.prolog, (std::vector<std::string>{"export A=1", "export B=2"}));
  EXPECT_EQ(teacher.modules, (std::vector<std::string>{"gcc", "openmpi"}));
  const auto data = site.settings("pack", "data", {});
  EXPECT_EQ(data.partition, "short");
  EXPECT_EQ(data.nodes, 2);
  EXPECT_EQ(site.settings("train", "baseline", {}).nodes, 4);
}

TEST(Site, NamesFileAndLineOfWhatIsWrong) {
  EXPECT_EQ(site_refusal("partiton = x\n"),
            "site.ini:1: unknown option 'partiton'; did you mean 'partition'?");
  EXPECT_EQ(
      site_refusal("\n[trian]\nnodes = 2\n"),
      "site.ini:2: section [trian] is no stage; did you mean [train]? ([@trian] is for a section "
      "of a plan)");
  EXPECT_NE(site_refusal("nodes = 0\n").find("site.ini:1: "), std::string::npos);
  EXPECT_EQ(site_refusal("time = 1h\n"),
            "site.ini:1: time: '1h' is no time or size that Slurm reads");
  EXPECT_EQ(site_refusal("nodes = 1\nnodes = 2\n"),
            "site.ini:2: 'nodes' was set at site.ini:1 already; keep one");
  EXPECT_NE(site_refusal("account = a b\n").find("holds a blank"), std::string::npos);
  EXPECT_EQ(site_refusal("prolog = a\nprolog = b\n"), "accepted");
  const Site site("container = pyxis\n", "site.ini");
  EXPECT_EQ(refusal_of([&] { site.settings("train", "teacher", {}); }),
            "section teacher: container is set but no image; name one, or container = none");
}

TEST(Site, SaysWhichBlocksWereProbablyMeantForASection) {
  const Site site("[@teachr]\nnodes = 2\n[@student]\nnodes = 3\n[@elsewhere]\nnodes = 4\n",
                  "site.ini");
  EXPECT_EQ(site.likely_slips({"data", "teacher", "student"}),
            (std::vector<std::string>{
                "site.ini:1: the plan has no section teachr; did you mean [@teacher]?"}));
}

TEST(JobRequest, RanksFollowFromNodesOrNodesFromRanks) {
  JobSettings settings;
  EXPECT_EQ(request_of(settings, RankUse::many, 0), JobRequest{});
  settings.nodes = 2;
  settings.ranks_per_node = 4;
  settings.cpus = 8;
  EXPECT_EQ(request_of(settings, RankUse::many, 0), (JobRequest{2, 8, 4, 8, 0, 0, 0}));
  EXPECT_EQ(request_of(settings, RankUse::one, 0), (JobRequest{1, 1, 0, 8, 0, 0, 0}));
  settings.nodes = 0;
  settings.ranks = 6;
  EXPECT_EQ(request_of(settings, RankUse::many, 0).nodes, 2);
  settings.nodes = 1;
  EXPECT_EQ(refusal_of([&] { request_of(settings, RankUse::many, 0); }),
            "6 ranks don't fit on 1 nodes with 4 ranks each (ranks-per-node); give 2 nodes");
  settings.ranks_per_node = 0;
  settings.nodes = 7;
  EXPECT_NE(refusal_of([&] { request_of(settings, RankUse::many, 0); }), "accepted");
}

TEST(JobRequest, CpusFollowThePlansThreadsUnlessSaid) {
  JobSettings settings;
  EXPECT_EQ(request_of(settings, RankUse::many, 3).cpus, 3);
  settings.cpus = 2;
  EXPECT_EQ(request_of(settings, RankUse::many, 3).cpus, 2);
}

TEST(JobRequest, TheWarningMustComeAfterTheStart) {
  JobSettings settings;
  settings.time = "2";
  settings.warn = 120;
  EXPECT_NE(refusal_of([&] { request_of(settings, RankUse::many, 0); }).find("before the warning"),
            std::string::npos);
  settings.time = "3";
  EXPECT_EQ(request_of(settings, RankUse::many, 0).time, 180);
}

}  // namespace
}  // namespace retort::pipeline
