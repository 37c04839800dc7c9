// The one addition of the reduction tree, with a destination of its own. Plain IEEE additions.
#pragma once

#include <cstddef>

namespace retort::comm {

/// sum[i] = a[i] + b[i] for i < n. `sum` may be `a` or `b`; no other overlap.
void add(float* sum, const float* a, const float* b, std::size_t n);
void add(double* sum, const double* a, const double* b, std::size_t n);

}  // namespace retort::comm
