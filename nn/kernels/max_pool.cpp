#include "nn/kernels/max_pool.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace retort::nn {
namespace {

// Calls visit(place, input row) for each pixel of the window of one output pixel that lies inside
// the picture; a row is a pixel's channels.
template <typename Visit>
void visit_window(const PoolShape& s, std::int64_t image, std::int64_t oy, std::int64_t ox,
                  Visit visit) {
  const std::int64_t top = oy * s.stride - s.padding, left = ox * s.stride - s.padding;
  for (std::int64_t ky = std::max<std::int64_t>(0, -top); ky < std::min(s.kernel, s.height - top);
       ++ky)
    for (std::int64_t kx = std::max<std::int64_t>(0, -left);
         kx < std::min(s.kernel, s.width - left); ++kx)
      visit(static_cast<std::int32_t>(ky * s.kernel + kx),
            ((image * s.height + top + ky) * s.width + left + kx) * s.channels);
}

}  // namespace

void max_pool_forward(const PoolShape& s, const float* x, float* y, std::uint8_t* place) {
  const auto channels = static_cast<std::size_t>(s.channels);
  std::vector<std::int32_t> wide_places(channels);  // as wide as the values: one vector loop
  std::int32_t* at = wide_places.data();
  for (std::int64_t image = 0; image < s.images; ++image)
    for (std::int64_t oy = 0; oy < s.out_height; ++oy)
      for (std::int64_t ox = 0; ox < s.out_width; ++ox) {
        bool first = true;
        visit_window(s, image, oy, ox, [&](std::int32_t index, std::int64_t row) {
          const float* in = x + row;
          if (first) {
            std::copy_n(in, channels, y);
            std::fill_n(at, channels, index);
            first = false;
            return;
          }
#pragma GCC ivdep
          for (std::size_t c = 0; c < channels; ++c) {
            const bool take = (in[c] > y[c]) | std::isnan(in[c]);
            y[c] = take ? in[c] : y[c];
            at[c] = take ? index : at[c];
          }
        });
        for (std::size_t c = 0; c < channels; ++c) place[c] = static_cast<std::uint8_t>(at[c]);
        y += channels;
        place += channels;
      }
}

void max_pool_backward(const PoolShape& s, const float* grad_y, const std::uint8_t* place,
                       float* grad_x) {
  const auto channels = static_cast<std::size_t>(s.channels);
  std::fill_n(grad_x, s.images * s.height * s.width * s.channels, 0.0f);
  std::vector<std::int32_t> wide_places(channels);
  std::int32_t* at = wide_places.data();
  for (std::int64_t image = 0; image < s.images; ++image)
    for (std::int64_t oy = 0; oy < s.out_height; ++oy)
      for (std::int64_t ox = 0; ox < s.out_width; ++ox) {
        for (std::size_t c = 0; c < channels; ++c) at[c] = place[c];
        visit_window(s, image, oy, ox, [&](std::int32_t index, std::int64_t row) {
          float* out = grad_x + row;
#pragma GCC ivdep
          for (std::size_t c = 0; c < channels; ++c) out[c] += at[c] == index ? grad_y[c] : 0.0f;
        });
        grad_y += channels;
        place += channels;
      }
}

}  // namespace retort::nn
