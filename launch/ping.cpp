#include "launch/ping.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <set>

#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/error.h"

namespace retort::launch {
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

class Ping : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.add("rounds", &rounds_, "barriers to time");
  }
  void validate() const override {
    if (rounds_ < 1) throw core::UsageError("option 'rounds': at least one");
  }

  stages::StageOutcome run(stages::StageContext& context) override {
    auto& communicator = context.communicator;
    const auto hosts = communicator.all_gather(host_name());
    const auto sum = communicator.all_reduce_sum(static_cast<std::uint64_t>(communicator.rank()));
    const auto size = static_cast<std::uint64_t>(communicator.size());
    if (sum != size * (size - 1) / 2)
      throw core::InternalError("ping: the sum of all ranks is wrong; MPI is broken here");
    const core::Stopwatch watch;
    for (int i = 0; i < rounds_; ++i) communicator.barrier();
    const double microseconds = watch.seconds() * 1e6 / rounds_;
    if (communicator.root()) {
      const nlohmann::json line = {
          {"ranks", size},
          {"hosts", std::set<std::string>(hosts.begin(), hosts.end()).size()},
          {"barrier_us", microseconds}};
      std::printf("%s\n", line.dump().c_str());
    }
    return stages::StageOutcome::done;
  }

 private:
  int rounds_ = 100;
};

}  // namespace

std::unique_ptr<stages::Stage> make_ping() { return std::make_unique<Ping>(); }

}  // namespace retort::launch
