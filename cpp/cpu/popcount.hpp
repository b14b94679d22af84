// Counting bits a vector at a time: sums of popcount(a AND b) in the widest register of this
// instruction set.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace ovcore::OVCORE_ISA {

#if defined(__AVX512VPOPCNTDQ__)

using Vector = __m512i;
inline constexpr std::int64_t words_per_vector = 8;

inline Vector load(const std::uint64_t* words) { return _mm512_loadu_si512(words); }
inline Vector zero() { return _mm512_setzero_si512(); }
inline Vector add_popcount_and(Vector sum, Vector a, Vector b) {
  return _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_and_si512(a, b)));
}
inline std::int64_t horizontal_sum(Vector sum) {
  alignas(64) std::int64_t lanes[words_per_vector];
  _mm512_store_si512(lanes, sum);
  std::int64_t total = 0;
  for (const std::int64_t lane : lanes) total += lane;
  return total;
}

#elif defined(__AVX2__)

using Vector = __m256i;
inline constexpr std::int64_t words_per_vector = 4;

inline Vector load(const std::uint64_t* words) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}
inline Vector zero() { return _mm256_setzero_si256(); }
// No popcount instruction for vectors: look both nibbles of every byte up, then sum bytes.
inline Vector add_popcount_and(Vector sum, Vector a, Vector b) {
  const Vector bits_of_nibble = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0,
                                                 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const Vector low_nibble = _mm256_set1_epi8(0x0f);
  const Vector both = _mm256_and_si256(a, b);
  const Vector low = _mm256_shuffle_epi8(bits_of_nibble, _mm256_and_si256(both, low_nibble));
  const Vector high =
      _mm256_shuffle_epi8(bits_of_nibble, _mm256_and_si256(_mm256_srli_epi16(both, 4), low_nibble));
  return _mm256_add_epi64(sum, _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256()));
}
inline std::int64_t horizontal_sum(Vector sum) {
  const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  return _mm_extract_epi64(half, 0) + _mm_extract_epi64(half, 1);
}

#else

using Vector = std::uint64_t;
inline constexpr std::int64_t words_per_vector = 1;

inline Vector load(const std::uint64_t* words) { return *words; }
inline Vector zero() { return 0; }
// Sums of neighbouring 1, 2 and 4 bits, then of all bytes by one multiplication.
inline Vector add_popcount_and(Vector sum, Vector a, Vector b) {
  Vector bits = a & b;
  bits -= (bits >> 1) & 0x5555555555555555;
  bits = (bits & 0x3333333333333333) + ((bits >> 2) & 0x3333333333333333);
  bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
  return sum + ((bits * 0x0101010101010101) >> 56);
}
inline std::int64_t horizontal_sum(Vector sum) { return static_cast<std::int64_t>(sum); }

#endif

}  // namespace ovcore::OVCORE_ISA
