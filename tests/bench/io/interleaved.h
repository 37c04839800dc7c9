// Compares two ways of doing the same work in one thread: rounds of one and the other in turn, so
// that what else runs on the machine meets both; the median of the rounds' ratios counts. Time is
// the thread's processor time (system calls included): what a core does for it, whoever else has
// it.
#pragma once

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <vector>

namespace retort::bench {

inline double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

template <class Work>
double seconds_of(Work&& work) {
  const double begin = thread_seconds();
  work();
  return thread_seconds() - begin;
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

struct Comparison {
  double ratio = 0;  // median of seconds(reference) / seconds(subject): above 1, subject is faster
  double subject = 0;    // median seconds of a round
  double reference = 0;  // alike
};

/// One round of each first that doesn't count.
template <class Subject, class Reference>
Comparison compare(int rounds, Subject&& subject, Reference&& reference) {
  std::vector<double> ratios, subjects, references;
  for (int round = -1; round < rounds; ++round) {
    // Who begins changes from round to round.
    double s = 0, r = 0;
    if (round % 2 == 0) s = seconds_of(subject);
    r = seconds_of(reference);
    if (round % 2 != 0) s = seconds_of(subject);
    if (round < 0) continue;
    ratios.push_back(r / s);
    subjects.push_back(s);
    references.push_back(r);
  }
  return {median(ratios), median(subjects), median(references)};
}

/// The cores that this process may use, in order.
inline std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

/// Keeps this thread, and the threads it starts from now on, on one core.
inline void pin_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  sched_setaffinity(0, sizeof set, &set);
}

}  // namespace retort::bench
