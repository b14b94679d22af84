// Bits a vector at a time, in the widest register of this instruction set.
#pragma once

#include <cstdint>

#include "ovcore/kernels.hpp"

#if defined(__AVX2__)
// gcc 12 takes the intrinsics' own "undefined" operands for mistakes of ours
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace ovcore::OVCORE_ISA {

#if defined(__AVX512VPOPCNTDQ__)

using Vector = __m512i;
inline constexpr std::int64_t words_per_vector = 8;

inline Vector load(const std::uint64_t* words) { return _mm512_loadu_si512(words); }
inline void store(std::uint64_t* words, Vector v) { _mm512_storeu_si512(words, v); }
inline Vector zero() { return _mm512_setzero_si512(); }
inline Vector both(Vector a, Vector b) { return _mm512_and_si512(a, b); }
// acc OR (a XOR b) in one instruction: 0xf6 is its truth table
inline Vector or_differ(Vector acc, Vector a, Vector b) {
  return _mm512_ternarylogic_epi64(acc, a, b, 0xf6);
}
inline Vector add_popcount(Vector sum, Vector bits) {
  return _mm512_add_epi64(sum, _mm512_popcnt_epi64(bits));
}
// Bit s of to[p * plane_words] is bit p of values[s], s < 64, p < n_planes.
inline void planes_of(const std::uint16_t* values, std::int64_t n_planes, std::uint64_t* to) {
  const __m512i low = _mm512_loadu_si512(values), high = _mm512_loadu_si512(values + 32);
  __m512i bit = _mm512_set1_epi16(1);
  for (std::int64_t plane = 0; plane < n_planes; ++plane) {
    to[plane * plane_words] = _mm512_test_epi16_mask(low, bit) |
                              static_cast<std::uint64_t>(_mm512_test_epi16_mask(high, bit)) << 32;
    bit = _mm512_slli_epi16(bit, 1);
  }
}
inline std::int64_t horizontal_sum(Vector sum) {
  const __m256i four =
      _mm256_add_epi64(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
  const __m128i two =
      _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
  return _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
}

// Sums of the lanes of four vectors, side by side.
inline __m256i horizontal_sums(Vector a, Vector b, Vector c, Vector d) {
  const Vector ab = _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  const Vector cd = _mm512_add_epi64(_mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d));
  // 128-bit parts: ab0 + ab1, ab2 + ab3, cd0 + cd1, cd2 + cd3
  const Vector pairs =
      _mm512_add_epi64(_mm512_shuffle_i64x2(ab, cd, 0x88), _mm512_shuffle_i64x2(ab, cd, 0xdd));
  const __m256i low = _mm512_castsi512_si256(pairs), high = _mm512_extracti64x4_epi64(pairs, 1);
  return _mm256_add_epi64(_mm256_permute2x128_si256(low, high, 0x20),
                          _mm256_permute2x128_si256(low, high, 0x31));
}

#elif defined(__AVX2__)

using Vector = __m256i;
inline constexpr std::int64_t words_per_vector = 4;

inline Vector load(const std::uint64_t* words) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}
inline void store(std::uint64_t* words, Vector v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), v);
}
inline Vector zero() { return _mm256_setzero_si256(); }
inline Vector both(Vector a, Vector b) { return _mm256_and_si256(a, b); }
inline Vector or_differ(Vector acc, Vector a, Vector b) {
  return _mm256_or_si256(acc, _mm256_xor_si256(a, b));
}
// No popcount instruction for vectors: look both nibbles of every byte up, then sum bytes.
inline Vector add_popcount(Vector sum, Vector bits) {
  const Vector bits_of_nibble = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0,
                                                 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const Vector low_nibble = _mm256_set1_epi8(0x0f);
  const Vector low = _mm256_shuffle_epi8(bits_of_nibble, _mm256_and_si256(bits, low_nibble));
  const Vector high =
      _mm256_shuffle_epi8(bits_of_nibble, _mm256_and_si256(_mm256_srli_epi16(bits, 4), low_nibble));
  return _mm256_add_epi64(sum, _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256()));
}
// Bit s of to[p * plane_words] is bit p of values[s], s < 64, p < n_planes.
inline void planes_of(const std::uint16_t* values, std::int64_t n_planes, std::uint64_t* to) {
  for (std::int64_t plane = 0; plane < n_planes; ++plane) {
    std::uint64_t bits = 0;
    const __m128i to_sign = _mm_cvtsi32_si128(15 - static_cast<int>(plane));
    for (int s = 0; s < 64; s += 32) {
      const auto* from = reinterpret_cast<const __m256i*>(values + s);
      const __m256i low = _mm256_sll_epi16(_mm256_loadu_si256(from), to_sign);
      const __m256i high = _mm256_sll_epi16(_mm256_loadu_si256(from + 1), to_sign);
      // packs halves of both in turn; the permutation puts them in order
      const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
      bits |= static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes)))
              << s;
    }
    to[plane * plane_words] = bits;
  }
}
inline std::int64_t horizontal_sum(Vector sum) {
  const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  return _mm_extract_epi64(half, 0) + _mm_extract_epi64(half, 1);
}

#else

using Vector = std::uint64_t;
inline constexpr std::int64_t words_per_vector = 1;

inline Vector load(const std::uint64_t* words) { return *words; }
inline void store(std::uint64_t* words, Vector v) { *words = v; }
inline Vector zero() { return 0; }
inline Vector both(Vector a, Vector b) { return a & b; }
inline Vector or_differ(Vector acc, Vector a, Vector b) { return acc | (a ^ b); }
// Sums of neighbouring 1, 2 and 4 bits, then of all bytes by one multiplication.
inline Vector add_popcount(Vector sum, Vector bits) {
  bits -= (bits >> 1) & 0x5555555555555555;
  bits = (bits & 0x3333333333333333) + ((bits >> 2) & 0x3333333333333333);
  bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
  return sum + ((bits * 0x0101010101010101) >> 56);
}
// Bit s of to[p * plane_words] is bit p of values[s], s < 64, p < n_planes.
inline void planes_of(const std::uint16_t* values, std::int64_t n_planes, std::uint64_t* to) {
  for (std::int64_t plane = 0; plane < n_planes; ++plane) {
    std::uint64_t bits = 0;
    for (int s = 0; s < 64; ++s) bits |= static_cast<std::uint64_t>(values[s] >> plane & 1) << s;
    to[plane * plane_words] = bits;
  }
}
inline std::int64_t horizontal_sum(Vector sum) { return static_cast<std::int64_t>(sum); }

#endif

// out[c] = (or +=, where `add`) the sum of the lanes of sums[c].
template <int Cols>
inline void write_sums(const Vector (&sums)[Cols], bool add, std::int64_t* out) {
#if defined(__AVX512VPOPCNTDQ__)
  if constexpr (Cols == 4) {
    __m256i totals = horizontal_sums(sums[0], sums[1], sums[2], sums[3]);
    auto* to = reinterpret_cast<__m256i*>(out);
    if (add) totals = _mm256_add_epi64(totals, _mm256_loadu_si256(to));
    return _mm256_storeu_si256(to, totals);
  }
#endif
  for (int c = 0; c < Cols; ++c) out[c] = horizontal_sum(sums[c]) + (add ? out[c] : 0);
}

}  // namespace ovcore::OVCORE_ISA
