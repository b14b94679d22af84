// The part of CUDA's device language that ovcore uses, as C++17: see simt.hpp.
#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "async.hpp"
#include "cuda_runtime_api.h"
#include "simt.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

inline constexpr int warpSize = simt::lanes_per_warp;

// Vectors, aligned as a GPU demands for loading one at once.
#define SIMT_VECTORS(name, T, align2, align4)                \
  struct __align__(align2) name##2 { T x, y; };              \
  struct __align__(align4) name##4 { T x, y, z, w; };        \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
SIMT_VECTORS(char, signed char, 2, 4)
SIMT_VECTORS(uchar, unsigned char, 2, 4)
SIMT_VECTORS(short, short, 4, 8)
SIMT_VECTORS(ushort, unsigned short, 4, 8)
SIMT_VECTORS(int, int, 8, 16)
SIMT_VECTORS(uint, unsigned, 8, 16)
SIMT_VECTORS(float, float, 8, 16)
SIMT_VECTORS(double, double, 16, 16)
SIMT_VECTORS(longlong, long long, 16, 16)
SIMT_VECTORS(ulonglong, unsigned long long, 16, 16)
#undef SIMT_VECTORS

// Barriers and what a warp does together.

namespace simt {

template <class T>
inline constexpr bool is_shuffled = std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8);

inline void demand_all_lanes(unsigned mask, Site site) {
  if (mask != 0xffffffffu) fail("a mask that does not name all lanes of the warp", site);
}

template <class T, class Source>
T shuffle(unsigned mask, T value, const Source& source, Site site) {
  static_assert(is_shuffled<T>, "only integers and floating-point numbers of 4 and 8 bytes");
  demand_all_lanes(mask, site);
  return collective<Scope::warp, lanes_per_warp, T>(
      value, [&](const T* all, int lane) { return all[source(lane)]; }, site);
}

template <class T, class Reduce>
T reduce(unsigned mask, T value, const Reduce& step, Site site) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  demand_all_lanes(mask, site);
  return collective<Scope::warp, lanes_per_warp, T>(
      value,
      [&](const T* all, int) {
        T result = all[0];
        for (int i = 1; i < lanes_per_warp; ++i) result = step(result, all[i]);
        return result;
      },
      site);
}

}  // namespace simt

#define SIMT_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(SIMT_SITE) {
  simt::wait(simt::Scope::block, {"__syncthreads", file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE) {
  simt::demand_all_lanes(mask, {"__syncwarp", file, line});
  simt::wait(simt::Scope::warp, {"__syncwarp", file, line});
}

// Lanes are taken from groups of `width`, a power of two; a lane that has no such neighbour keeps
// its own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = simt::lanes_per_warp, SIMT_SITE) {
  const auto source = [=](int lane) { return (lane & -width) | (from & (width - 1)); };
  return simt::shuffle(mask, value, source, {"__shfl_sync", file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = simt::lanes_per_warp,
                 SIMT_SITE) {
  const auto source = [=](int lane) {
    const unsigned in_group = static_cast<unsigned>(lane & (width - 1));
    return in_group >= delta ? lane - static_cast<int>(delta) : lane;
  };
  return simt::shuffle(mask, value, source, {"__shfl_up_sync", file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = simt::lanes_per_warp,
                   SIMT_SITE) {
  const auto source = [=](int lane) {
    const unsigned left = static_cast<unsigned>(width - 1 - (lane & (width - 1)));
    return left >= delta ? lane + static_cast<int>(delta) : lane;
  };
  return simt::shuffle(mask, value, source, {"__shfl_down_sync", file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = simt::lanes_per_warp, SIMT_SITE) {
  const auto source = [=](int lane) {
    const int other = (lane ^ bits) & (simt::lanes_per_warp - 1);
    return other <= (lane | (width - 1)) ? other : lane;
  };
  return simt::shuffle(mask, value, source, {"__shfl_xor_sync", file, line});
}

inline unsigned __ballot_sync(unsigned mask, int holds, SIMT_SITE) {
  const simt::Site site = {"__ballot_sync", file, line};
  simt::demand_all_lanes(mask, site);
  return simt::collective<simt::Scope::warp, simt::lanes_per_warp, unsigned>(
      static_cast<unsigned>(holds != 0),
      [](const unsigned* all, int) {
        unsigned lanes = 0;
        for (int i = 0; i < simt::lanes_per_warp; ++i) lanes |= all[i] << i;
        return lanes;
      },
      site);
}
inline int __any_sync(unsigned mask, int holds, SIMT_SITE) {
  const auto step = [](int a, int b) { return a | b; };
  return simt::reduce(mask, static_cast<int>(holds != 0), step, {"__any_sync", file, line});
}
inline int __all_sync(unsigned mask, int holds, SIMT_SITE) {
  const auto step = [](int a, int b) { return a & b; };
  return simt::reduce(mask, static_cast<int>(holds != 0), step, {"__all_sync", file, line});
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, SIMT_SITE) {
  static_assert(simt::is_shuffled<T>);
  const simt::Site site = {"__match_any_sync", file, line};
  simt::demand_all_lanes(mask, site);
  return simt::collective<simt::Scope::warp, simt::lanes_per_warp, unsigned>(
      value,
      [](const T* all, int lane) {
        unsigned lanes = 0;
        for (int i = 0; i < simt::lanes_per_warp; ++i)
          lanes |= static_cast<unsigned>(std::memcmp(all + i, all + lane, sizeof(T)) == 0) << i;
        return lanes;
      },
      site);
}

template <class T>
T __reduce_add_sync(unsigned mask, T value, SIMT_SITE) {
  const auto step = [](T a, T b) {  // wraps around
    return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
  };
  return simt::reduce(mask, value, step, {"__reduce_add_sync", file, line});
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, SIMT_SITE) {
  const auto step = [](T a, T b) { return b < a ? b : a; };
  return simt::reduce(mask, value, step, {"__reduce_min_sync", file, line});
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, SIMT_SITE) {
  const auto step = [](T a, T b) { return a < b ? b : a; };
  return simt::reduce(mask, value, step, {"__reduce_max_sync", file, line});
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, SIMT_SITE) {
  const auto step = [](unsigned a, unsigned b) { return a | b; };
  return simt::reduce(mask, value, step, {"__reduce_or_sync", file, line});
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, SIMT_SITE) {
  const auto step = [](unsigned a, unsigned b) { return a & b; };
  return simt::reduce(mask, value, step, {"__reduce_and_sync", file, line});
}
#undef SIMT_SITE

// Memory. Fibers run one after the other: any step is atomic. Floating-point atomics are missing
// because their results depend on the order of threads.

template <class T>
T __ldg(const T* at) {
  return *at;
}
template <class T>
T __ldcs(const T* at) {
  return *at;
}
template <class T>
T __ldcg(const T* at) {
  return *at;
}
template <class T>
void __stcs(T* at, T value) {
  *at = value;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

#define SIMT_ATOMIC(name, T, result) \
  inline T name(T* at, T value) {    \
    const T old = *at;               \
    *at = static_cast<T>(result);    \
    return old;                      \
  }
#define SIMT_ATOMICS(T)                                \
  SIMT_ATOMIC(atomicMin, T, value < old ? value : old) \
  SIMT_ATOMIC(atomicMax, T, old < value ? value : old) \
  SIMT_ATOMIC(atomicAnd, T, old& value)                \
  SIMT_ATOMIC(atomicOr, T, old | value)                \
  SIMT_ATOMIC(atomicXor, T, old ^ value)
SIMT_ATOMICS(int)
SIMT_ATOMICS(unsigned)
SIMT_ATOMICS(long long)
SIMT_ATOMICS(unsigned long long)
SIMT_ATOMIC(atomicAdd, int, static_cast<unsigned>(old) + static_cast<unsigned>(value))
SIMT_ATOMIC(atomicAdd, unsigned, old + value)
SIMT_ATOMIC(atomicAdd, unsigned long long, old + value)
SIMT_ATOMIC(atomicExch, int, value)
SIMT_ATOMIC(atomicExch, unsigned, value)
SIMT_ATOMIC(atomicExch, unsigned long long, value)
#undef SIMT_ATOMICS
#undef SIMT_ATOMIC

template <class T>
T atomicCAS(T* at, T expected, T value) {
  static_assert(std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  const T old = *at;
  if (old == expected) *at = value;
  return old;
}

// Bits.

namespace simt {

template <class To, class From>
To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

}  // namespace simt

inline unsigned __float_as_uint(float v) { return simt::bits_as<unsigned>(v); }
inline int __float_as_int(float v) { return simt::bits_as<int>(v); }
inline float __uint_as_float(unsigned v) { return simt::bits_as<float>(v); }
inline float __int_as_float(int v) { return simt::bits_as<float>(v); }
inline long long __double_as_longlong(double v) { return simt::bits_as<long long>(v); }
inline double __longlong_as_double(long long v) { return simt::bits_as<double>(v); }

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline int __clz(int v) { return v == 0 ? 32 : __builtin_clz(static_cast<unsigned>(v)); }
inline int __clzll(long long v) {
  return v == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(v));
}
inline unsigned __brev(unsigned v) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (v >> i & 1u) << (31 - i);
  return reversed;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return shift % 32 == 0 ? high : high << shift % 32 | low >> (32 - shift % 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return shift % 32 == 0 ? low : low >> shift % 32 | high << (32 - shift % 32);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}

// Arithmetic. Steps that are rounded one by one, whatever the compiler fuses elsewhere: it does not
// see through the empty asm.

namespace simt {

template <class T>
T rounded(T value) {
#if defined(__x86_64__)
  __asm__("" : "+x"(value));
#else
  __asm__("" : "+w"(value));
#endif
  return value;
}

}  // namespace simt

inline float __fadd_rn(float a, float b) { return simt::rounded(a + b); }
inline float __fsub_rn(float a, float b) { return simt::rounded(a - b); }
inline float __fmul_rn(float a, float b) { return simt::rounded(a * b); }
inline float __fdiv_rn(float a, float b) { return simt::rounded(a / b); }
inline float __fsqrt_rn(float a) { return simt::rounded(sqrtf(a)); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return simt::rounded(a + b); }
inline double __dsub_rn(double a, double b) { return simt::rounded(a - b); }
inline double __dmul_rn(double a, double b) { return simt::rounded(a * b); }
inline double __ddiv_rn(double a, double b) { return simt::rounded(a / b); }
inline double __dsqrt_rn(double a) { return simt::rounded(::sqrt(a)); }
inline double __fma_rn(double a, double b, double c) { return ::fma(a, b, c); }
inline float __double2float_rn(double v) { return static_cast<float>(v); }

// min and max of mixed types are ambiguous where they are in CUDA; of a NaN and a number, the
// number.
#define SIMT_MIN_MAX(A, B, T)                                                             \
  inline T min(A a, B b) {                                                                \
    return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a); \
  }                                                                                       \
  inline T max(A a, B b) {                                                                \
    return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a); \
  }
#define SIMT_MIN_MAX_OF(T)                         \
  SIMT_MIN_MAX(T, T, T)                            \
  SIMT_MIN_MAX(unsigned T, unsigned T, unsigned T) \
  SIMT_MIN_MAX(T, unsigned T, unsigned T)          \
  SIMT_MIN_MAX(unsigned T, T, unsigned T)
SIMT_MIN_MAX_OF(int)
SIMT_MIN_MAX_OF(long)
SIMT_MIN_MAX_OF(long long)
#undef SIMT_MIN_MAX_OF
#undef SIMT_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(float a, double b) { return fmin(a, b); }
inline double max(float a, double b) { return fmax(a, b); }
inline double min(double a, float b) { return fmin(a, b); }
inline double max(double a, float b) { return fmax(a, b); }

[[noreturn]] inline void __trap() { simt::fail("a kernel trapped", {"__trap", "", 0}); }

// The host's side that takes types.

template <class T>
cudaError_t cudaMalloc(T** memory, std::size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(memory), bytes);
}
template <class T>
cudaError_t cudaMallocAsync(T** memory, std::size_t bytes, cudaStream_t stream) {
  return cudaMallocAsync(reinterpret_cast<void**>(memory), bytes, stream);
}
template <class T>
cudaError_t cudaFuncSetAttribute(T* kernel, cudaFuncAttribute attribute, int value) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const auto with_values = [&](Parameters... values) {
    const auto thread = [&] { kernel(values...); };
    using Thread = decltype(thread);
    return simt::launch(
        *config, reinterpret_cast<const void*>(kernel),
        [](const void* of) { (*static_cast<Thread*>(of))(); }, &thread);
  };
  return with_values(std::forward<Arguments>(arguments)...);
}
