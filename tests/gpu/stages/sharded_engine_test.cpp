// Steps with the head divided by classes on a GPU against the CPU's.
#include "tests/gpu/device_array.h"
#include "tests/unit/stages/device_sharded_fixture.h"

namespace retort::stages {
namespace {

class GpuShardedEngine : public DeviceShardedFixture {
 protected:
  std::unique_ptr<nn::Accelerator> make_accelerator() override {
    return nn::make_accelerator(nn::Device{0});
  }
};

// cuDNN adds in other orders than oneDNN.
RETORT_DEVICE_SHARDED_TESTS(GpuShardedEngine, 1e-4, 3e-3, RETORT_NEEDS_GPU();)

}  // namespace
}  // namespace retort::stages
