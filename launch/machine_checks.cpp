#include "launch/machine_checks.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "comm/communicator.h"
#include "comm/mpi_version.h"
#include "core/captured_run.h"
#include "core/error.h"
#include "core/find_program.h"
#include "io/hdf5_version.h"
#include "launch/local_ranks.h"
#include "nn/device.h"
#include "nn/torch_version.h"

namespace retort::launch {
namespace {

constexpr double kGiga = 1e9;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// "key : value" lines of /proc; the first of each key.
std::map<std::string, std::string> proc_fields(const std::filesystem::path& path) {
  std::map<std::string, std::string> fields;
  std::istringstream text(text_of(path));
  for (std::string line; std::getline(text, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto key_end = line.find_last_not_of(" \t", colon == 0 ? 0 : colon - 1);
    const auto value = line.find_first_not_of(" \t", colon + 1);
    fields.emplace(line.substr(0, key_end + 1),
                   value == std::string::npos ? "" : line.substr(value));
  }
  return fields;
}

double kilobytes(const std::map<std::string, std::string>& fields, const std::string& key) {
  const auto at = fields.find(key);
  return at == fields.end() ? 0 : std::atof(at->second.c_str()) * 1024;
}

std::string gigabytes(double bytes) { return fmt::format("{:.1f} GB", bytes / kGiga); }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Check check_processor() {
  const auto fields = proc_fields("/proc/cpuinfo");
  const auto at = [&](const std::string& key) {
    const auto found = fields.find(key);
    return found == fields.end() ? std::string() : found->second;
  };
  const std::string flags = " " + at("flags") + " ";
  std::string known;
  for (const char* flag : {"sse4_2", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile"})
    if (flags.find(fmt::format(" {} ", flag)) != std::string::npos)
      known += (known.empty() ? "" : " ") + std::string(flag);
  const std::string name = at("model name");
  Check check{"processor", Verdict::ok,
              fmt::format("{} ({})", name.empty() ? "unknown" : name, known), ""};
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    check.verdict = Verdict::warning;
    check.advice = "no AVX2 or FMA: build with -DRETORT_ARCH= for this machine; it will be slow";
  }
#endif
  return check;
}

Check check_cores() {
  const int usable = usable_cores();
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  Check check{"cores", Verdict::ok, fmt::format("{} usable of {}", usable, online), ""};
  std::istringstream quota(text_of("/sys/fs/cgroup/cpu.max"));
  double time = 0;
  double period = 0;
  if (quota >> time >> period && period > 0) {
    check.found += fmt::format(", limited to the time of {:.1f}", time / period);
    if (time / period + 0.5 < usable) {
      check.verdict = Verdict::warning;
      check.advice = fmt::format("give --threads {} or fewer over all ranks, else they are held up",
                                 std::max(1, static_cast<int>(time / period)));
    }
  }
  return check;
}

Check check_memory() {
  constexpr double kLittle = 2 * kGiga;
  const auto fields = proc_fields("/proc/meminfo");
  double total = kilobytes(fields, "MemTotal");
  double available = kilobytes(fields, "MemAvailable");
  std::istringstream limit(text_of("/sys/fs/cgroup/memory.max"));
  double bytes = 0;
  if (limit >> bytes && bytes > 0 && bytes < total) {
    total = bytes;
    const double used = std::atof(text_of("/sys/fs/cgroup/memory.current").c_str());
    available = std::min(available, bytes - used);
  }
  Check check{"memory", Verdict::ok,
              fmt::format("{}, {} free", gigabytes(total), gigabytes(available)), ""};
  if (available < kLittle) {
    check.verdict = Verdict::warning;
    check.advice = "less than 2 GB free: end other programs, or take few ranks and small batches";
  }
  return check;
}

Check check_torch() {
  return {"LibTorch", Verdict::ok,
          fmt::format("{}, kernels for {}", nn::torch_version(), nn::torch_cpu_capability()), ""};
}

Check check_mpi() {
  constexpr auto kLimit = std::chrono::seconds(60);
  Check check{"MPI", Verdict::ok, comm::mpi_version(), ""};
  if (comm::started_with_ranks()) {
    check.found += ", started with ranks: not tried again";
    return check;
  }
  if (core::find_program("mpirun").empty()) {
    check.verdict = Verdict::warning;
    check.found += ", no mpirun on PATH";
    check.advice = "install openmpi-bin for -n N; srun --mpi=pmix works without it";
    return check;
  }
  try {
    if (geteuid() == 0) {
      setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
      setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    }
    auto words = mpirun_words(2, usable_cores(), "/proc/self/exe", {"ping"});
    words[words.size() - 2] = std::filesystem::read_symlink("/proc/self/exe").string();
    const core::CapturedRun run = core::run_captured(words, kLimit);
    if (run.exit_code == 0) {
      const auto line = nlohmann::json::parse(run.output);
      check.found +=
          fmt::format(", 2 ranks: {:.0f} us a barrier", line.at("barrier_us").get<double>());
      return check;
    }
    check.found += fmt::format(", 2 ranks failed with exit code {}: {}", run.exit_code,
                               first_line(run.errors));
  } catch (const std::exception& error) {
    check.found += fmt::format(", 2 ranks failed: {}", error.what());
  }
  check.verdict = Verdict::problem;
  check.advice = "run `mpirun -n 2 hostname` and mend what it says; one rank works meanwhile";
  return check;
}

Check check_hdf5() { return {"HDF5", Verdict::ok, io::hdf5_version(), ""}; }

Check check_shared_memory() {
  constexpr double kLittle = 0.128 * kGiga;  // Open MPI maps a few megabytes for each rank
  struct statvfs info {};
  if (statvfs("/dev/shm", &info) != 0)
    return {"shared memory", Verdict::warning, "no /dev/shm",
            "ranks of one node will talk slower; mount a tmpfs there"};
  const double bytes = static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize);
  Check check{"shared memory", Verdict::ok, fmt::format("{:.2f} GB free", bytes / kGiga), ""};
  if (bytes < kLittle) {
    check.verdict = Verdict::warning;
    check.advice = "little for many ranks: in a container give --shm-size 1g";
  }
  return check;
}

std::vector<Check> check_limits() {
  constexpr rlim_t kFiles = 1024;
  constexpr rlim_t kStack = 1 << 20;
  const auto shown = [](rlim_t value) {
    return value == RLIM_INFINITY ? std::string("unlimited") : std::to_string(value);
  };
  rlimit files{};
  rlimit stack{};
  getrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_STACK, &stack);
  std::vector<Check> checks;
  checks.push_back({"open files", Verdict::ok, shown(files.rlim_cur), ""});
  if (files.rlim_cur < kFiles) {
    checks.back().verdict = Verdict::warning;
    checks.back().advice = "ulimit -n 1024 or more: every shard of a data set is an open file";
  }
  checks.push_back({"stack", Verdict::ok,
                    stack.rlim_cur == RLIM_INFINITY ? shown(stack.rlim_cur)
                                                    : shown(stack.rlim_cur / 1024) + " kB",
                    ""});
  if (stack.rlim_cur < kStack) {
    checks.back().verdict = Verdict::warning;
    checks.back().advice = "ulimit -s 8192";
  }
  return checks;
}

Check check_gpu() {
  const nn::GpuFacts facts = nn::gpu_facts();
  if (!facts.names.empty())
    return {"GPU", Verdict::ok, fmt::format("{}: one rank each", fmt::join(facts.names, "; ")), ""};
  int devices = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("nvidia") && name.size() > 6 &&
        std::all_of(name.begin() + 6, name.end(), [](unsigned char c) { return std::isdigit(c); }))
      ++devices;
  }
  if (devices == 0)
    return {"GPU", Verdict::ok,
            fmt::format("none ({}): everything runs on the CPU", facts.obstacle), ""};
  const std::string driver = first_line(text_of("/proc/driver/nvidia/version"));
  return {"GPU", Verdict::warning,
          fmt::format("{} NVIDIA device(s), {}; {}", devices, driver, facts.obstacle),
          facts.built ? "the driver must be one for CUDA 13 or later; compare nvidia-smi"
                      : "build with the preset cuda to use them"};
}

Check check_slurm() {
  if (core::find_program("sbatch").empty())
    return {"Slurm", Verdict::ok, "not here: use retort -n N or mpirun", ""};
  const char* job = std::getenv("SLURM_JOB_ID");
  return {"Slurm", Verdict::ok,
          job == nullptr ? std::string("sbatch is here") : fmt::format("inside job {}", job), ""};
}

}  // namespace retort::launch
