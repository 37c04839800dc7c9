#include "comm/shared_window.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <fstream>
#include <new>
#include <random>

namespace retort::comm {
namespace {

constexpr std::size_t kSlotBytes = std::size_t{512} << 10;  // several stay in the L2 cache
constexpr std::size_t kMostBytes = std::size_t{128} << 20;
constexpr std::size_t kLeastSlotBytes = std::size_t{64} << 10;
constexpr long kNap = 300'000;  // nanoseconds
constexpr int kSpins = 64;
constexpr int kYields = 2;

std::string host_identity() {
  char name[HOST_NAME_MAX + 1] = "";
  gethostname(name, sizeof name - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return std::string(name) + " " + boot;
}

struct Descriptor {
  ~Descriptor() {
    if (number >= 0) close(number);
  }
  int number = -1;
};

void* map(int descriptor, std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

std::string fresh_name() {
  std::random_device random;
  return "/retort-" + std::to_string(getpid()) + "-" + std::to_string(random());
}

}  // namespace

void SharedCounter::raise(std::uint32_t value) {
  // Sequentially consistent, as in wait(): either this sees who waits, or that sees the value.
  value_.store(value);
  if (waiting_.load() != 0) syscall(SYS_futex, &value_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void SharedCounter::wait(std::uint32_t value, const std::function<void()>& meanwhile) {
  for (int looks = 0; !reached(value); ++looks) {
    if (looks < kSpins) {
      __builtin_ia32_pause();
      continue;
    }
    if (looks < kSpins + kYields) {
      sched_yield();
      continue;
    }
    waiting_.fetch_add(1);
    const std::uint32_t seen = value_.load();
    if (!reached(value)) {
      const timespec nap{0, kNap};
      syscall(SYS_futex, &value_, FUTEX_WAIT, seen, &nap, nullptr, 0);
    }
    waiting_.fetch_sub(1);
    meanwhile();
  }
}

std::unique_ptr<SharedWindow> SharedWindow::open(Communicator& communicator) {
  const int ranks = communicator.size();
  const std::vector<std::string> hosts = communicator.all_gather(host_identity());
  if (std::any_of(hosts.begin(), hosts.end(), [&](const auto& h) { return h != hosts[0]; }))
    return nullptr;
  const std::size_t slots = static_cast<std::size_t>(ranks) * kSlots;
  const std::size_t slot_bytes =
      std::clamp(kMostBytes / slots / 64 * 64, kLeastSlotBytes, kSlotBytes);
  const std::size_t head = sizeof(Counters) * static_cast<std::size_t>(ranks);
  const std::size_t bytes = head + slots * slot_bytes;

  std::string name;
  Descriptor descriptor;
  void* memory = nullptr;
  if (communicator.root()) {
    name = fresh_name();
    descriptor.number = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
    // All of it is taken now: a full /dev/shm must not kill a write later on.
    if (descriptor.number >= 0 &&
        posix_fallocate(descriptor.number, 0, static_cast<off_t>(bytes)) == 0)
      memory = map(descriptor.number, bytes);
    if (memory)
      for (int rank = 0; rank < ranks; ++rank)
        new (static_cast<std::byte*>(memory) + sizeof(Counters) * static_cast<std::size_t>(rank))
            Counters();
  }
  const std::string shared_name =
      communicator.broadcast(memory || !communicator.root() ? name : "");
  if (!communicator.root() && !shared_name.empty()) {
    descriptor.number = shm_open(shared_name.c_str(), O_RDWR, 0600);
    if (descriptor.number >= 0) memory = map(descriptor.number, bytes);
  }
  // The name goes as soon as everybody has the memory, so that nothing is left behind by a kill.
  const bool failed = communicator.any(memory == nullptr);
  if (communicator.root() && descriptor.number >= 0) shm_unlink(name.c_str());
  if (!failed)
    return std::unique_ptr<SharedWindow>(new SharedWindow(memory, bytes, slot_bytes, ranks));
  if (memory) munmap(memory, bytes);
  return nullptr;
}

SharedWindow::SharedWindow(void* memory, std::size_t bytes, std::size_t slot_bytes, int ranks)
    : memory_(static_cast<std::byte*>(memory)),
      bytes_(bytes),
      slot_bytes_(slot_bytes),
      ranks_(ranks) {}

SharedWindow::~SharedWindow() { munmap(memory_, bytes_); }

std::byte* SharedWindow::slot(int rank, std::uint32_t round) const {
  const std::size_t index = static_cast<std::size_t>(rank) * kSlots + round % kSlots;
  return memory_ + sizeof(Counters) * static_cast<std::size_t>(ranks_) + index * slot_bytes_;
}

SharedWindow::Counters& SharedWindow::counters(int rank) const {
  return *std::launder(
      reinterpret_cast<Counters*>(memory_ + sizeof(Counters) * static_cast<std::size_t>(rank)));
}

}  // namespace retort::comm
