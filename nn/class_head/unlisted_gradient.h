// The gradient on logits of classes that a row does not name.
#pragma once

namespace retort::nn {

/// The gradient on the logit z of any class that the row does not list:
///   hard * exp(z - reference) + soft * exp((z - reference) / temperature) - constant.
struct UnlistedGradient {
  float reference = 0, hard = 0, soft = 0, constant = 0;
};

}  // namespace retort::nn
