#include "nn/precision.h"

namespace retort::nn {

void declare_precision(core::OptionTable& table, Precision* precision) {
  table.add_choice<Precision>("precision", precision,
                              {{"fp32", Precision::fp32}, {"bf16", Precision::bf16}},
                              "Numbers in which convolutions and linear layers are computed; "
                              "weights, sums, BatchNorm and losses are fp32 either way");
}

bool has_bf16_convolutions() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512bw") != 0 &&
                          __builtin_cpu_supports("avx512vl") != 0 &&
                          __builtin_cpu_supports("avx512dq") != 0;
  return has;
#else
  return false;
#endif
}

std::string precision_warning(Precision precision) {
  if (precision == Precision::fp32) return {};
#if defined(__x86_64__)
  __builtin_cpu_init();
#if !defined(__clang__)  // whose version 14 does not know the name
  if (__builtin_cpu_supports("amx-bf16")) return {};
#endif
  if (__builtin_cpu_supports("avx512bf16"))
    return "--precision bf16: this CPU has bf16 instructions but no matrix tiles (AMX): slower "
           "than fp32";
#endif
  return "--precision bf16: this CPU has no bf16 instructions: much slower than fp32";
}

}  // namespace retort::nn
