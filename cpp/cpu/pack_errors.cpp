// Arg max of each row against its target, one bit a sample.
//
// Floats are compared as integers that order the same way, so that the search for the maximum
// vectorises without relaxing floating-point rules: flip the low bits of negatives, and let -0 be
// 0. One pass finds the largest and the smallest key (a NaN lies outside [-inf, +inf] in this
// order); a second finds the first element equal to the largest while the row is still in cache.
#include <cstring>

#include "kernel_table.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

template <class T>
struct Order;
template <>
struct Order<float> {
  using Key = std::int32_t;
  static constexpr Key infinity = 0x7f800000;
};
template <>
struct Order<double> {
  using Key = std::int64_t;
  static constexpr Key infinity = 0x7ff0000000000000;
};
template <>
struct Order<float16> {
  using Key = std::int16_t;
  static constexpr Key infinity = 0x7c00;
};
template <>
struct Order<bfloat16> {
  using Key = std::int16_t;
  static constexpr Key infinity = 0x7f80;
};

template <class T>
inline typename Order<T>::Key key_of(const T& value) {
  using Key = typename Order<T>::Key;
  constexpr int sign = static_cast<int>(8 * sizeof(Key)) - 1;
  constexpr Key low_bits = static_cast<Key>(~(static_cast<std::uint64_t>(1) << sign));
  Key bits;
  std::memcpy(&bits, &value, sizeof bits);
  const Key key = static_cast<Key>(bits ^ ((bits >> sign) & low_bits));
  return static_cast<Key>(key + (key == -1));  // -1 is the key of -0 alone
}

// Index of the row's first maximum, or -1 where the row has no prediction.
template <class T>
std::int32_t arg_max(const T* row, std::int64_t n_classes) {
  using Key = typename Order<T>::Key;
  constexpr Key infinity = Order<T>::infinity;
  constexpr Key minus_infinity = static_cast<Key>(-infinity - 1);
  Key largest = key_of(row[0]);
  Key smallest = largest;
  for (std::int64_t k = 1; k < n_classes; ++k) {
    const Key key = key_of(row[k]);
    largest = key > largest ? key : largest;
    smallest = key < smallest ? key : smallest;
  }
  if (largest > infinity || smallest < minus_infinity || largest == minus_infinity) return -1;

  constexpr std::int64_t stride = 64;  // a vectorised yes/no per stride, then the exact place
  std::int64_t k = 0;
  for (; k + stride <= n_classes; k += stride) {
    int found = 0;
    for (std::int64_t i = 0; i < stride; ++i) found |= key_of(row[k + i]) == largest;
    if (found) break;
  }
  while (key_of(row[k]) != largest) ++k;
  return static_cast<std::int32_t>(k);
}

}  // namespace

template <class T>
std::int64_t pack_errors(MatrixView<const T> logits, const std::int64_t* target, Range samples,
                         std::uint64_t* words, std::int32_t* preds) {
  std::int64_t without_prediction = 0;
  for (std::int64_t n = samples.first; n < samples.last; n += samples_per_word) {
    const std::int64_t left = samples.last - n;
    const std::int64_t in_word = left < samples_per_word ? left : samples_per_word;
    std::uint64_t word = 0;
    for (std::int64_t bit = 0; bit < in_word; ++bit) {
      const std::int32_t pred = arg_max(logits.row(n + bit), logits.cols);
      without_prediction += pred < 0;
      word |= static_cast<std::uint64_t>(pred != target[n + bit]) << bit;
      if (preds != nullptr) preds[n + bit] = pred;
    }
    words[n / samples_per_word] = word;
  }
  return without_prediction;
}

template std::int64_t pack_errors(MatrixView<const float>, const std::int64_t*, Range,
                                  std::uint64_t*, std::int32_t*);
template std::int64_t pack_errors(MatrixView<const double>, const std::int64_t*, Range,
                                  std::uint64_t*, std::int32_t*);
template std::int64_t pack_errors(MatrixView<const float16>, const std::int64_t*, Range,
                                  std::uint64_t*, std::int32_t*);
template std::int64_t pack_errors(MatrixView<const bfloat16>, const std::int64_t*, Range,
                                  std::uint64_t*, std::int32_t*);

}  // namespace ovcore::OVCORE_ISA
