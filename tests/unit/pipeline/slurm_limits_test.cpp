#include "pipeline/slurm_limits.h"

#include <gtest/gtest.h>

#include "pipeline/slurm_queue.h"

namespace retort::pipeline {
namespace {

// As Slurm 22.05 prints them, shortened by fields that nobody reads.
constexpr const char* kPartitions =
    "PartitionName=normal AllowGroups=ALL Default=YES QoS=N/A DefaultTime=00:10:00 MaxNodes=3 "
    "MaxTime=1-00:00:00 MinNodes=0 MaxCPUsPerNode=UNLIMITED Nodes=n[1-4] State=UP TotalCPUs=40 "
    "TotalNodes=4 MaxMemPerNode=UNLIMITED\n"
    "PartitionName=small Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED MaxCPUsPerNode=4 Nodes=n1 "
    "State=UP MaxMemPerNode=1000\n"
    "PartitionName=closed Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED State=DOWN\n";
constexpr const char* kNodes =
    "normal|n1|8|4000|(null)\nnormal|n2|8|4000|(null)\nnormal|n3|16|64000|gpu:a100:4(S:0-1)\n"
    "normal|n4|8|4000|gpu:1,shard:8\nsmall|n1|8|4000|(null)\n";

ClusterLimits limits() {
  return {parse_partitions(kPartitions), parse_nodes(kNodes),
          parse_largest_task("MaxArraySize            = 501\n")};
}
std::string why(const std::string& partition, const JobRequest& request) {
  return refusal(limits(), partition, request);
}

TEST(ClusterLimits, AreReadFromWhatSlurmPrints) {
  const auto read = limits();
  ASSERT_EQ(read.partitions.size(), 3u);
  EXPECT_TRUE(read.partitions[0].is_default);
  EXPECT_EQ(read.partitions[0].most_nodes, 3);
  EXPECT_EQ(read.partitions[0].most_time, 86400);
  EXPECT_EQ(read.partitions[0].most_cpus, -1);
  EXPECT_EQ(read.partitions[1].most_cpus, 4);
  EXPECT_EQ(read.partitions[1].most_mem, 1000);
  ASSERT_EQ(read.nodes.size(), 5u);
  EXPECT_EQ(read.nodes[2].gpus, 4);
  EXPECT_EQ(read.nodes[3].gpus, 1);
  EXPECT_EQ(read.largest_task, 500u);
  EXPECT_EQ(parse_largest_task(""), 1000u);
}

TEST(ClusterLimits, WhatFitsIsNotRefused) {
  EXPECT_EQ(why("", {}), "");
  EXPECT_EQ(why("normal", {.nodes = 3, .ranks = 24}), "");
  EXPECT_EQ(why("normal", {.nodes = 1, .ranks = 4, .cpus = 4, .gpus = 4}), "");
  EXPECT_EQ(why("closed,normal", {.time = 86400}), "");
  EXPECT_EQ(why("small", {.time = -1}), "");
}

TEST(ClusterLimits, WhatCouldNeverRunIsRefused) {
  EXPECT_EQ(why("nromal", {}), "there is no partition 'nromal'; did you mean normal?");
  EXPECT_EQ(why("closed", {}),
            "partition closed is DOWN; wait or choose another (sinfo lists them)");
  EXPECT_EQ(why("normal", {.nodes = 4, .ranks = 4}),
            "nodes: partition normal allows 3 nodes for a job, 4 are asked for");
  EXPECT_EQ(why("small", {.nodes = 2, .ranks = 2}),
            "nodes: partition small has 1 node, 2 are asked for");
  EXPECT_EQ(
      why("normal", {.time = 86401}),
      "time: partition normal allows 1-0:00:00 at most, 1-0:00:01 is asked for; a job that needs "
      "longer goes on in its next start");
  EXPECT_NE(why("normal", {.time = -1}), "");
  EXPECT_EQ(
      why("normal", {.nodes = 1, .ranks = 5, .cpus = 4}),
      "cpus: 20 are needed on a node (5 ranks with 4 each), no node of partition normal has more "
      "than 16");
  EXPECT_NE(why("small", {.nodes = 1, .ranks = 5}), "");  // MaxCPUsPerNode
  EXPECT_NE(why("small", {.mem = 2000}), "");
  EXPECT_NE(why("normal", {.mem = 65000}), "");
  EXPECT_NE(why("normal", {.gpus = 5}), "");
  EXPECT_EQ(
      why("normal", {.nodes = 2, .ranks = 2, .gpus = 2}),
      "partition normal: 1 of 4 nodes have what is asked for on each (1 CPU, 0 MB, 2 GPUs), 2 "
      "nodes needed");
  EXPECT_EQ(why("normal", {.ranks = 41}),
            "41 ranks with 1 CPU each need 41 CPUs, partition normal has 40");
  EXPECT_NE(refusal({}, "", {}), "");  // no default
}

TEST(JobStates, AreReadFromSqueueAndSacct) {
  const auto states = parse_job_states(
      "12|RUNNING|None\n13_2|PENDING|Dependency\n14|CANCELLED by "
      "1000\n15|FAILED|NonZeroExitCode\n");
  ASSERT_EQ(states.size(), 4u);
  EXPECT_TRUE(states.at("12").active());
  EXPECT_EQ(states.at("12").reason, "");
  EXPECT_TRUE(states.at("13_2").active());
  EXPECT_EQ(states.at("13_2").reason, "Dependency");
  EXPECT_EQ(states.at("14").state, "CANCELLED");
  EXPECT_FALSE(states.at("14").active());
  EXPECT_FALSE(states.at("15").active());
  EXPECT_TRUE((JobState{"COMPLETING", ""}).active());
  EXPECT_TRUE((JobState{"REQUEUE_HOLD", ""}).active());
}

}  // namespace
}  // namespace retort::pipeline
