// Vectors of floats as wide as the instruction set has them, and rows of logits read through them.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "extremes.hpp"
#include "ovcore/kernels.hpp"

#if defined(__AVX2__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // gcc 12 takes intrinsics' undefined inputs so
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace ovcore::OVCORE_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

typedef float Floats [[gnu::vector_size(vector_bytes)]];
typedef std::int32_t Ints [[gnu::vector_size(vector_bytes)]];
typedef double Doubles [[gnu::vector_size(vector_bytes)]];
typedef std::int64_t Longs [[gnu::vector_size(vector_bytes)]];
constexpr int n_floats = vector_bytes / 4, n_doubles = vector_bytes / 8;

// For lambdas that are the body of a loop over vectors.
#define OVCORE_INLINE __attribute__((always_inline))

// Takes N vectors through a step: one vector waits for each step's result, several keep the chip
// busy meanwhile.
template <int N, class Step>
[[gnu::always_inline]] inline void each(const Step& step) {
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) step(i);
}

constexpr float infinity = std::numeric_limits<float>::infinity();

template <class V, class T>
inline V load(const T* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <class V, class T>
inline void store(T* to, V v) {
  std::memcpy(to, &v, sizeof v);
}

// The lower and the upper half of a vector of floats as doubles, and back; the i-th half vector of
// floats in memory as doubles.
struct Halves {
  Doubles low, high;
};

// As `larger`, in the one instruction that compilers do not always see in it.
#if defined(__AVX512F__)
inline Floats maximum(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
inline Doubles maximum(Doubles a, Doubles b) {
  return (Doubles)_mm512_max_pd((__m512d)a, (__m512d)b);
}
#elif defined(__AVX2__)
inline Floats maximum(Floats a, Floats b) { return (Floats)_mm256_max_ps((__m256)a, (__m256)b); }
inline Doubles maximum(Doubles a, Doubles b) {
  return (Doubles)_mm256_max_pd((__m256d)a, (__m256d)b);
}
#else
template <class V>
inline V maximum(V a, V b) {
  return larger(a, b);
}
#endif

#if defined(__AVX512F__)

inline Halves widen(Floats v) {
  const __m256 high = _mm512_extractf32x8_ps((__m512)v, 1);
  return {(Doubles)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v)),
          (Doubles)_mm512_cvtps_pd(high)};
}
inline Doubles load_half(const float* from, int i) {
  return (Doubles)_mm512_cvtps_pd(load<__m256>(from + i * n_doubles));
}
inline Floats narrow(Halves v) {
  const __m512 low = _mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)v.low));
  return (Floats)_mm512_insertf32x8(low, _mm512_cvtpd_ps((__m512d)v.high), 1);
}
inline Floats load_floats(const float16* from) {
  return (Floats)_mm512_cvtph_ps(load<__m256i>(from));
}
inline Floats load_floats(const bfloat16* from) {
  return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(load<__m256i>(from)), 16);
}
inline std::uint32_t lane_mask(Ints v) { return _mm512_movepi32_mask((__m512i)v); }
inline std::uint32_t lane_mask(Longs v) { return _mm512_movepi64_mask((__m512i)v); }
inline Longs load_longs(const std::int32_t* from) {
  return (Longs)_mm512_cvtepi32_epi64(load<__m256i>(from));
}

#elif defined(__AVX2__)

inline Halves widen(Floats v) {
  const __m128 high = _mm256_extractf128_ps((__m256)v, 1);
  return {(Doubles)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v)),
          (Doubles)_mm256_cvtps_pd(high)};
}
inline Doubles load_half(const float* from, int i) {
  return (Doubles)_mm256_cvtps_pd(load<__m128>(from + i * n_doubles));
}
inline Floats narrow(Halves v) {
  const __m256 low = _mm256_castps128_ps256(_mm256_cvtpd_ps((__m256d)v.low));
  return (Floats)_mm256_insertf128_ps(low, _mm256_cvtpd_ps((__m256d)v.high), 1);
}
inline Floats load_floats(const float16* from) {
  return (Floats)_mm256_cvtph_ps(load<__m128i>(from));
}
inline Floats load_floats(const bfloat16* from) {
  return (Floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(load<__m128i>(from)), 16);
}
inline std::uint32_t lane_mask(Ints v) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps((__m256)v));
}
inline std::uint32_t lane_mask(Longs v) {
  return static_cast<std::uint32_t>(_mm256_movemask_pd((__m256d)v));
}
inline Longs load_longs(const std::int32_t* from) {
  return (Longs)_mm256_cvtepi32_epi64(load<__m128i>(from));
}

#else

inline Halves widen(Floats v) { return {Doubles{v[0], v[1]}, Doubles{v[2], v[3]}}; }
inline Doubles load_half(const float* from, int i) { return Doubles{from[2 * i], from[2 * i + 1]}; }
inline Floats narrow(Halves v) {
  return Floats{static_cast<float>(v.low[0]), static_cast<float>(v.low[1]),
                static_cast<float>(v.high[0]), static_cast<float>(v.high[1])};
}
inline Ints load_shorts(const void* from) {
  std::uint16_t bits[n_floats];
  std::memcpy(bits, from, sizeof bits);
  return Ints{bits[0], bits[1], bits[2], bits[3]};
}
// The exponent is moved to its place in a float and scaled by 2^112, which also makes subnormal
// numbers normal; infinity and NaN keep the highest exponent.
inline Floats load_floats(const float16* from) {
  const Ints bits = load_shorts(from);
  const Ints magnitude = (bits & 0x7fff) << 13;
  const Ints scaled = (Ints)((Floats)magnitude * 0x1p112f);
  const Ints value = (bits & 0x7c00) == 0x7c00 ? (magnitude | 0x7f800000) : scaled;
  return (Floats)(value | ((bits & 0x8000) << 16));
}
inline Floats load_floats(const bfloat16* from) { return (Floats)(load_shorts(from) << 16); }
inline std::uint32_t lane_mask(Ints v) {
  return (v[0] & 1u) | (v[1] & 2u) | (v[2] & 4u) | (v[3] & 8u);
}
inline std::uint32_t lane_mask(Longs v) {
  return static_cast<std::uint32_t>((v[0] & 1) | (v[1] & 2));
}
inline Longs load_longs(const std::int32_t* from) { return Longs{from[0], from[1]}; }

#endif

// Combines the lanes of a vector by halves.
template <class T, class V, class Combine>
[[gnu::always_inline]] inline T across(V v, const Combine& combine) {
  T lane[sizeof(V) / sizeof(T)];
  std::memcpy(lane, &v, sizeof v);
#pragma GCC unroll 4
  for (int width = sizeof(V) / sizeof(T) / 2; width > 0; width /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < width; ++i) lane[i] = combine(lane[i], lane[i + width]);
  return lane[0];
}
inline float largest_lane(Floats v) {
  return across<float>(v, [](float a, float b) { return larger(a, b); });
}
inline double largest_lane(Doubles v) {
  return across<double>(v, [](double a, double b) { return larger(a, b); });
}
inline double sum_of_lanes(Doubles v) {
  return across<double>(v, [](double a, double b) { return a + b; });
}

inline Floats load_floats(const float* from) { return load<Floats>(from); }

// -infinity as an element of a row.
template <class T>
inline T lowest_element() {
  if constexpr (sizeof(T) == 2)
    return {static_cast<std::uint16_t>(std::is_same_v<T, float16> ? 0xfc00 : 0xff80)};
  else
    return -std::numeric_limits<T>::infinity();
}

// Reads a row in pieces of `Length` elements; what is missing from the last one is -infinity.
template <int Length, class T>
struct Pieces {
  T rest[Length];

  // Where the piece at class k can be read.
  [[gnu::always_inline]] const T* at(const T* row, std::int64_t k, std::int64_t n_classes) {
    if (k + Length <= n_classes) return row + k;
    for (int i = 0; i < Length; ++i) rest[i] = lowest_element<T>();
    std::memcpy(rest, row + k, static_cast<std::size_t>(n_classes - k) * sizeof(T));
    return rest;
  }
};

// Calls piece(first class, pointer, number of vectors that lie there) for a row: `Many` vectors at
// a time, `Few` where less than half of that is left. Pieces should be marked always_inline: what
// they add up then stays in registers.
template <int Many, int Few, class T, class Piece>
[[gnu::always_inline]] inline void for_each_piece(const T* row, std::int64_t n_classes,
                                                  const Piece& piece) {
  constexpr int many = Many * n_floats, few = Few * n_floats;
  std::int64_t k = 0;
  Pieces<many, T> large;
  for (; 2 * (n_classes - k) > many; k += many)
    piece(k, large.at(row, k, n_classes), std::integral_constant<int, Many>());
  Pieces<few, T> small;
  for (; k < n_classes; k += few)
    piece(k, small.at(row, k, n_classes), std::integral_constant<int, Few>());
}

inline float widen_one(float value) { return value; }
inline double widen_one(double value) { return value; }
inline float widen_one(bfloat16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
inline float widen_one(float16 value) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(value.bits & 0x7fff) << 13;
  float scaled;
  std::memcpy(&scaled, &magnitude, sizeof scaled);
  scaled *= 0x1p112f;
  std::uint32_t bits;
  std::memcpy(&bits, &scaled, sizeof bits);
  if ((value.bits & 0x7c00) == 0x7c00) bits = magnitude | 0x7f800000;
  bits |= static_cast<std::uint32_t>(value.bits & 0x8000) << 16;
  std::memcpy(&scaled, &bits, sizeof scaled);
  return scaled;
}

// Calls use(pointer to the elements of row n) in their type.
template <class Use>
[[gnu::always_inline]] inline auto with_row(const LogitsView& logits, std::int64_t n,
                                            const Use& use) {
  const std::int64_t at = n * logits.row_stride;
  switch (logits.element) {
    case Element::float64:
      return use(static_cast<const double*>(logits.data) + at);
    case Element::float16:
      return use(static_cast<const float16*>(logits.data) + at);
    case Element::bfloat16:
      return use(static_cast<const bfloat16*>(logits.data) + at);
    default:
      return use(static_cast<const float*>(logits.data) + at);
  }
}

}  // namespace
}  // namespace ovcore::OVCORE_ISA
