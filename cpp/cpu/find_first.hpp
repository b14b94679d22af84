// The first element of a row that equals a value, a vector at a time.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace ovcore::OVCORE_ISA {
namespace {

#if defined(__AVX512BW__)

inline std::uint32_t equal(const std::int16_t* at, std::int16_t value, std::int16_t mask) {
  return _mm512_testn_epi16_mask(_mm512_xor_si512(_mm512_loadu_si512(at), _mm512_set1_epi16(value)),
                                 _mm512_set1_epi16(mask));
}
inline std::uint32_t equal(const std::int32_t* at, std::int32_t value, std::int32_t mask) {
  return _mm512_testn_epi32_mask(_mm512_xor_si512(_mm512_loadu_si512(at), _mm512_set1_epi32(value)),
                                 _mm512_set1_epi32(mask));
}
inline std::uint32_t equal(const std::int64_t* at, std::int64_t value, std::int64_t mask) {
  return _mm512_testn_epi64_mask(_mm512_xor_si512(_mm512_loadu_si512(at), _mm512_set1_epi64(value)),
                                 _mm512_set1_epi64(mask));
}
template <class Int>
inline constexpr std::int64_t vector_length = 64 / sizeof(Int);
template <class Int>
inline constexpr int mask_bits = 1;  // of the comparison, per element

#elif defined(__AVX2__)

inline __m256i differing(const void* at, __m256i value, __m256i mask) {
  const __m256i bits = _mm256_loadu_si256(static_cast<const __m256i*>(at));
  return _mm256_and_si256(_mm256_xor_si256(bits, value), mask);
}
inline std::uint32_t byte_mask(__m256i zeros) {
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(zeros));
}
inline std::uint32_t equal(const std::int16_t* at, std::int16_t value, std::int16_t mask) {
  const __m256i d = differing(at, _mm256_set1_epi16(value), _mm256_set1_epi16(mask));
  return byte_mask(_mm256_cmpeq_epi16(d, _mm256_setzero_si256()));
}
inline std::uint32_t equal(const std::int32_t* at, std::int32_t value, std::int32_t mask) {
  const __m256i d = differing(at, _mm256_set1_epi32(value), _mm256_set1_epi32(mask));
  return byte_mask(_mm256_cmpeq_epi32(d, _mm256_setzero_si256()));
}
inline std::uint32_t equal(const std::int64_t* at, std::int64_t value, std::int64_t mask) {
  const __m256i d = differing(at, _mm256_set1_epi64x(value), _mm256_set1_epi64x(mask));
  return byte_mask(_mm256_cmpeq_epi64(d, _mm256_setzero_si256()));
}
template <class Int>
inline constexpr std::int64_t vector_length = 32 / sizeof(Int);
template <class Int>
inline constexpr int mask_bits = sizeof(Int);

#else

template <class Int>
inline std::uint32_t equal(const Int* at, Int value, Int mask) {
  using Bits [[gnu::may_alias]] = Int;
  return ((*static_cast<const Bits*>(at) ^ value) & mask) == 0;
}
template <class Int>
inline constexpr std::int64_t vector_length = 1;
template <class Int>
inline constexpr int mask_bits = 1;

#endif

// Index of the first element whose bits under the mask are those of value. There is one.
template <class Int>
std::int64_t find_first(const Int* row, std::int64_t length, Int value, Int mask) {
  std::int64_t k = 0;
  for (; k + vector_length<Int> <= length; k += vector_length<Int>)
    if (const std::uint32_t found = equal(row + k, value, mask))
      return k + __builtin_ctz(found) / mask_bits<Int>;
  using Bits [[gnu::may_alias]] = Int;
  const Bits* bits = row;
  while (((bits[k] ^ value) & mask) != 0) ++k;
  return k;
}

}  // namespace
}  // namespace ovcore::OVCORE_ISA
