// Margins on the logit of a sample's own class in a head of normalised embeddings and weights.
//
// With the angle t between embedding and class weight, its logit is
//   s * (psi(m1 * t + m2) - m3),   others: s * cos(t).
// m1 = 1, m2 > 0: ArcFace (Deng et al., CVPR 2019, eq. 3); m3 > 0: CosFace (Wang et al., CVPR 2018,
// eq. 4); together the combined margin (ArcFace, eq. 4). psi is cos as far as pi; beyond it
// SphereFace's continuation (Liu et al., CVPR 2017, section 3.3), psi(a) = (-1)^k cos(a) - 2k for a
// in [k pi, (k + 1) pi], so that the logit falls with the angle everywhere and has no jump.
#pragma once

namespace retort::nn {

struct Margin {
  double scale = 64;                         // s
  double factor = 1, angle = 0, cosine = 0;  // m1, m2 (radians), m3

  bool none() const { return factor == 1 && angle == 0 && cosine == 0; }
  /// UsageError: s not above 0, m1 below 1, m2 outside [0, pi / 2], m3 outside [0, 1], not finite.
  void validate() const;
};

struct MarginValue {
  double logit = 0;
  double slope = 1;  // d logit / d plain
};
/// The logit of a sample's own class; `plain`: s * cos(t). Near t = 0 and t = pi the slope is taken
/// at a sine of 1e-4.
MarginValue apply(const Margin& margin, double plain);

}  // namespace retort::nn
