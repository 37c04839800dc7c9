// Steps with the head divided by classes on an accelerator, run on the CPU
// (tests/unit/nn/host_accelerator.h), against the CPU's own.
#include <gtest/gtest.h>

#include "tests/unit/nn/host_accelerator.h"
#include "tests/unit/stages/device_sharded_fixture.h"

namespace retort::stages {
namespace {

class DeviceShardedEngine : public DeviceShardedFixture {
 protected:
  std::unique_ptr<nn::Accelerator> make_accelerator() override {
    return std::make_unique<nn::HostAccelerator>();
  }
};

RETORT_DEVICE_SHARDED_TESTS(DeviceShardedEngine, 1e-5, 1e-3, )

TEST_F(DeviceShardedEngine, WhatItCannotDoStaysOnTheCpu) {
  EXPECT_EQ(device_sharded_obstacle(options_), "");
  options_.gpu_order = comm::GpuOrder::any_world;
  EXPECT_NE(device_sharded_obstacle(options_), "");
}

}  // namespace
}  // namespace retort::stages
