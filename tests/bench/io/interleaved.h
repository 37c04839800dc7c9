// Compares two ways of doing the same work: rounds of one and the other in turn, so that what else
// runs on the machine meets both; the median of the rounds' ratios counts.
#pragma once

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace retort::bench {

template <class Work>
double seconds_of(Work&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
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
