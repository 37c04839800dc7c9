#include "nn/tail_bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"

namespace retort::nn {
namespace {

struct Node {
  double x = 0, f = 0;
  double slope = std::numeric_limits<double>::quiet_NaN();  // unknown
};

double line(const Node& a, const Node& b, double x) {
  return a.f + (x - a.x) * (b.f - a.f) / (b.x - a.x);
}

// Nodes by ascending x, the known value at x = 0 first.
std::vector<Node> nodes_of(const TailFacts& facts) {
  const std::size_t count = facts.temperatures.size();
  if (facts.tail_lse.size() != count ||
      (!facts.tail_mean.empty() && facts.tail_mean.size() != count) ||
      !std::is_sorted(facts.temperatures.begin(), facts.temperatures.end()))
    throw core::InternalError("tail bounds: values and ascending temperatures do not match");
  std::vector<Node> nodes = {{0, std::log(static_cast<double>(facts.tail_count))}};
  for (std::size_t i = count; i-- > 0;) {
    Node node{1 / facts.temperatures[i], facts.tail_lse[i]};
    if (!facts.tail_mean.empty()) node.slope = facts.tail_mean[i];
    nodes.push_back(node);
  }
  return nodes;
}

}  // namespace

TailBounds tail_bounds(const TailFacts& facts, double temperature) {
  if (!(temperature > 0) || !std::isfinite(temperature))
    throw core::UsageError("temperature " + std::to_string(temperature) + " is not above 0");
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (facts.tail_count == 0) return {-kInfinity, -kInfinity};
  for (std::size_t i = 0; i < facts.temperatures.size(); ++i)
    if (std::abs(facts.temperatures[i] - temperature) <= 1e-9 * temperature)
      return {facts.tail_lse[i], facts.tail_lse[i]};
  const std::vector<Node> nodes = nodes_of(facts);
  const double x = 1 / temperature;
  std::size_t right = 0;  // first node right of x; x > 0, so at least node 0 is left of it
  while (right < nodes.size() && nodes[right].x < x) ++right;
  const Node& before = nodes[right - 1];
  const bool beyond = right == nodes.size();

  TailBounds bounds;
  bounds.lower = -kInfinity;
  bounds.upper = beyond ? before.f + (x - before.x) * facts.smallest_stored_logit
                        : line(before, nodes[right], x);
  const auto raise = [&](double value) { bounds.lower = std::max(bounds.lower, value); };
  if (right >= 2) raise(line(nodes[right - 2], before, x));
  if (right + 1 < nodes.size()) raise(line(nodes[right], nodes[right + 1], x));
  if (!beyond) raise(nodes[right].f - (nodes[right].x - x) * facts.smallest_stored_logit);
  if (!std::isnan(before.slope)) raise(before.f + (x - before.x) * before.slope);
  if (!beyond && !std::isnan(nodes[right].slope))
    raise(nodes[right].f + (x - nodes[right].x) * nodes[right].slope);
  // Rounding may put two bounds of a straight f the wrong way round.
  bounds.lower = std::min(bounds.lower, bounds.upper);
  return bounds;
}

}  // namespace retort::nn
