#include "comm/watchdog.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "core/log.h"

namespace retort::comm {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLongestBeat{1000};
constexpr milliseconds kShortestBeat{50};
constexpr milliseconds kConnectPatience{3000};
constexpr milliseconds kGoodbyePatience{1000};  // its thread has only to wake up and to send

milliseconds processor_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto part = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return std::chrono::duration_cast<milliseconds>(part(usage.ru_utime) + part(usage.ru_stime));
}

}  // namespace

struct Watchdog::State {
  State(Job j, std::unique_ptr<WatchListener> l, const Activity& a,
        std::function<void(const std::string&)> e)
      : job(std::move(j)),
        activity(a),
        end(std::move(e)),
        listener(std::move(l)),
        beat(std::clamp(job.limit / 8, kShortestBeat, kLongestBeat)),
        wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~State() {
    if (wake >= 0) ::close(wake);
  }

  Job job;
  const Activity& activity;
  std::function<void(const std::string&)> end;
  std::unique_ptr<WatchListener> listener;  // of rank 0
  milliseconds beat;
  int wake;
  std::atomic<bool> leaving{false};
  std::promise<void> parted;    // kept once all who are connected have heard goodbye, or the end
  std::vector<RankView> ranks;  // of rank 0: all; elsewhere: rank 0 alone
  std::vector<WatchSocket> sockets;  // beside them; rank 0's own stays closed
  std::vector<WatchSocket> unknown;  // connected, not yet introduced
  bool ended = false;
  std::thread thread;

  bool root() const { return job.rank == 0; }

  RankSign own_sign() const {
    const auto text = [](const char* literal) {
      return literal == nullptr ? std::string() : std::string(literal);
    };
    return {activity.collective.load(), activity.place.load(), text(activity.unit.load()),
            text(activity.operation.load()), processor_time()};
  }

  void begin() {
    const auto now = WatchClock::now();
    const std::size_t count = root() ? job.hosts.size() : 1;
    ranks.resize(count);
    sockets.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      ranks[i].host = job.hosts[i];
      ranks[i].heard = ranks[i].changed = now;
      ranks[i].watched = root() && i == 0;
    }
    if (root()) return;
    sockets[0] = connect_to(job.address, kConnectPatience);
    if (!sockets[0].open()) {
      core::log_warning(
          "the watchdog of rank 0 on host {} can't be reached at {} from host {}: if this rank "
          "hangs, nobody will notice; open TCP ports between the nodes",
          job.hosts[0], job.address, job.hosts[static_cast<std::size_t>(job.rank)]);
      return;
    }
    ranks[0].watched = true;
    sockets[0].send({WatchKind::hello, job.rank, job.token, own_sign()});
  }

  /// Also to ranks that have connected and are not introduced yet.
  void part() {
    if (!ended) {
      meet_newcomers(WatchClock::now());
      send_all(WatchKind::goodbye);
      for (WatchSocket& socket : unknown) socket.send({WatchKind::goodbye, job.rank, 0, {}});
    }
    parted.set_value();
  }

  void send_all(WatchKind kind) {
    const WatchMessage message{kind, job.rank, job.token, own_sign()};
    for (WatchSocket& socket : sockets) socket.send(message);
  }

  // What has come from rank i's connection.
  void listen_to(std::size_t i, WatchClock::time_point now) {
    const WatchSocket::Received received = sockets[i].receive();
    for (const WatchMessage& message : received.messages) {
      if (message.kind == WatchKind::goodbye) ranks[i].left = true;
      if (message.kind == WatchKind::end) {
        ended = true;
        end("");
      }
      hear(ranks[i], message.sign, now);
    }
    if (received.broken) {
      sockets[i].close();
      if (!ranks[i].left) ranks[i].gone = now;
    }
  }

  void meet_newcomers(WatchClock::time_point now) {
    if (!root()) return;
    while (auto socket = listener->accept()) unknown.push_back(std::move(*socket));
    for (std::size_t i = 0; i < unknown.size();) {
      const WatchSocket::Received received = unknown[i].receive();
      if (received.messages.empty() && !received.broken) {
        ++i;
        continue;
      }
      if (!received.messages.empty()) introduce(std::move(unknown[i]), received.messages[0], now);
      unknown.erase(unknown.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  void introduce(WatchSocket socket, const WatchMessage& hello, WatchClock::time_point now) {
    const auto rank = static_cast<std::size_t>(hello.rank);
    if (hello.kind != WatchKind::hello || hello.token != job.token || hello.rank < 1 ||
        rank >= ranks.size() || ranks[rank].watched)
      return;
    sockets[rank] = std::move(socket);
    ranks[rank].watched = true;
    hear(ranks[rank], hello.sign, now);
  }

  // What happened while this process stood still (stopped, or starved) counts for nobody.
  void forgive(WatchClock::time_point now) {
    for (RankView& rank : ranks) rank.heard = rank.changed = now;
  }

  void wait_for_news() {
    std::vector<pollfd> wanted = {{wake, POLLIN, 0}};
    if (listener) wanted.push_back({listener->descriptor(), POLLIN, 0});
    for (const auto* list : {&sockets, &unknown})
      for (const WatchSocket& socket : *list)
        if (socket.open()) wanted.push_back({socket.descriptor(), POLLIN, 0});
    ::poll(wanted.data(), wanted.size(), static_cast<int>(beat.count()));
  }

  void judge(WatchClock::time_point now) {
    const auto lost = find_lost(ranks, job.limit, now);
    if (!lost) return;
    if (!root()) {
      // All ranks see that rank 0 is lost: the first speaks, and ends the job before the others do.
      std::this_thread::sleep_for(milliseconds(std::min(1500 * (job.rank - 1), 3000)));
      if (leaving) return;
    }
    ended = true;
    send_all(WatchKind::end);
    end(lost->line);
  }

  void watch() {
    pthread_setname_np(pthread_self(), "retort-watch");
    auto last = WatchClock::now();
    auto next_beat = last;
    while (!leaving && !ended) {
      wait_for_news();
      const auto now = WatchClock::now();
      const bool stood_still = now - last > 2 * beat + milliseconds(1000);
      last = now;
      meet_newcomers(now);
      for (std::size_t i = 0; i < sockets.size(); ++i) listen_to(i, now);
      if (root()) hear(ranks[0], own_sign(), now);
      if (stood_still) forgive(now);
      if (now >= next_beat) {
        send_all(WatchKind::sign);
        next_beat = now + beat;
      }
      if (!leaving && !ended) judge(now);
    }
    part();
  }
};

Watchdog::Watchdog(Job job, std::unique_ptr<WatchListener> listener, const Activity& activity,
                   std::function<void(const std::string&)> end)
    : state_(
          std::make_unique<State>(std::move(job), std::move(listener), activity, std::move(end))) {
  parted_ = state_->parted.get_future().share();
  state_->begin();
  // Signals are for the threads of the program.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  state_->thread = std::thread([state = state_.get()] { state->watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  say_goodbye();
  state_->thread.join();
}

void Watchdog::say_goodbye() {
  state_->leaving = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(state_->wake, &one, sizeof one);
  // Whoever goes at once after this would else be taken for dead.
  if (std::this_thread::get_id() == state_->thread.get_id()) return;
  const std::shared_future<void> parted = parted_;
  parted.wait_for(kGoodbyePatience);
}

}  // namespace retort::comm
