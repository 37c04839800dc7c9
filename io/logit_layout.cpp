#include "io/logit_layout.h"

#include <cmath>
#include <string>

#include "core/error.h"

namespace retort::io {
namespace {

[[noreturn]] void fail(const std::string& what) { throw core::UsageError("logit layout: " + what); }

void check_sampling(const DrawParameters& sampling) {
  if (sampling.draws == 0 || sampling.draws > 65535)
    fail(std::to_string(sampling.draws) + " draws; 1 to 65535 are possible");
  if (!(sampling.exponent >= 0) || !std::isfinite(sampling.exponent))
    fail("the exponent of the draws is " + std::to_string(sampling.exponent) + ", not 0 or above");
  if (!(sampling.temperature > 0) || !std::isfinite(sampling.temperature))
    fail("the temperature of the draws is " + std::to_string(sampling.temperature) +
         ", not above 0");
}

}  // namespace

void LogitLayout::validate() const {
  if (classes == 0 || classes > std::uint64_t{1} << 32)
    fail(std::to_string(classes) + " classes; 1 to 4294967296 are possible");
  if (form == RowForm::sampled) {
    if (top_k != 0) fail("sampled rows have no top-k");
    check_sampling(sampling);
  } else {
    const std::string name = form == RowForm::top_h ? "top-h " : "top-k ";
    if (top_k == 0 || top_k > classes)
      fail(name + std::to_string(top_k) + " of " + std::to_string(classes) +
           " classes; choose 1 to the class count");
    if (!(sampling == DrawParameters{})) fail("only sampled rows have draws");
  }
  if (form == RowForm::top_h && !temperatures.empty()) fail("top-h rows have no temperatures");
  if (ids == IdForm::u16 && classes > 65536)
    fail(std::to_string(classes) + " classes don't fit 16-bit ids; use packed ones");
  double last = 0;
  for (const double t : temperatures) {
    if (!std::isfinite(t) || t <= last)
      fail("temperatures must be positive, finite and strictly increasing");
    last = t;
  }
}

}  // namespace retort::io
