// Which vector instructions a kernel may use. Each kernel gives the same bits with all of them.
#pragma once

#include <array>
#include <string_view>

namespace retort::nn {

/// any: what the compiler was told that every CPU has; avx2: AVX2 and FMA; avx512: AVX-512 F and
/// DQ.
enum class CpuKind { any, avx2, avx512 };
inline constexpr std::array kCpuKinds{CpuKind::any, CpuKind::avx2, CpuKind::avx512};

/// The best that this CPU has; it has those before it, too.
inline CpuKind cpu_kind() {
#if defined(__x86_64__)
  static const CpuKind kind =
      __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0
          ? CpuKind::avx512
      : __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 ? CpuKind::avx2
                                                                                  : CpuKind::any;
  return kind;
#else
  return CpuKind::any;
#endif
}

inline std::string_view name_of(CpuKind kind) {
  return kind == CpuKind::avx512 ? "avx512" : kind == CpuKind::avx2 ? "avx2" : "any";
}

}  // namespace retort::nn
