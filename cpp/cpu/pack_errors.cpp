// Arg max of each row against its target, one bit a sample.
//
// Floats are compared as integers that order the same way: the low bits of negatives are flipped.
// One pass over a row finds its largest and its smallest key (a NaN lies outside [-inf, +inf] in
// this order) and asks for the rows to come; then the first element with the bits of the largest is
// found while the row is in cache. -0 has a key of its own, below that of +0, which it equals: only
// where the largest is +0 does the search overlook the sign.
#include <cstring>
#include <limits>

#include "extremes.hpp"
#include "find_first.hpp"
#include "kernel_table.hpp"
#include "prefetch.hpp"

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

#if defined(__AVX512F__)
constexpr int widest = 64;  // bytes
#elif defined(__AVX2__)
constexpr int widest = 32;
#else
constexpr int widest = 16;
#endif
// So few are compared one by one: those that fill no more than a short vector and some.
template <class Key>
constexpr std::int64_t few_classes = 16 / sizeof(Key) + 8;

template <class Key, int Bytes>
struct Keys {
  typedef Key Vector [[gnu::vector_size(Bytes)]];
  static constexpr std::int64_t lanes = Bytes / sizeof(Key);
};

// Keys of scalars or vectors; also maps keys back to bits.
template <class Key, class Bits>
inline Bits order(Bits bits) {
  constexpr int sign = 8 * sizeof(Key) - 1;
  constexpr Key low_bits = static_cast<Key>(~(static_cast<std::uint64_t>(1) << sign));
  return static_cast<Bits>(bits ^ ((bits >> sign) & low_bits));
}

template <class Key, int Bytes>
inline typename Keys<Key, Bytes>::Vector load_keys(const void* from) {
  typename Keys<Key, Bytes>::Vector bits;
  std::memcpy(&bits, from, sizeof bits);
  return order<Key>(bits);
}

// Reduces a vector to one lane by halves.
template <class Key, int Bytes, class Combine>
inline Key reduce(typename Keys<Key, Bytes>::Vector v, const Combine& combine) {
  if constexpr (Bytes > 16) {
    typename Keys<Key, Bytes / 2>::Vector half[2];
    std::memcpy(half, &v, sizeof v);
    return reduce<Key, Bytes / 2>(combine(half[0], half[1]), combine);
  } else {
    Key result = v[0];
    for (std::int64_t i = 1; i < Keys<Key, Bytes>::lanes; ++i) result = combine(result, v[i]);
    return result;
  }
}

template <class Key>
struct Extremes {
  Key largest, smallest;
};

// Largest and smallest key of a row. The last vector overlaps the one before it; a row too short
// for a vector is read in narrower ones, in the end one by one.
template <class Key, int Bytes = widest>
inline Extremes<Key> extremes(const char* row, std::int64_t length) {
  using V = Keys<Key, Bytes>;
  if (length < V::lanes) {
    if constexpr (Bytes > 16) return extremes<Key, Bytes / 2>(row, length);
    Key bits;
    std::memcpy(&bits, row, sizeof bits);
    Extremes<Key> found{order<Key>(bits), order<Key>(bits)};
    for (std::int64_t k = 1; k < length; ++k) {
      std::memcpy(&bits, row + k * static_cast<std::int64_t>(sizeof bits), sizeof bits);
      found = {larger(found.largest, order<Key>(bits)), smaller(found.smallest, order<Key>(bits))};
    }
    return found;
  }
  const char* end = row + length * static_cast<std::int64_t>(sizeof(Key));
  typename V::Vector largest[2], smallest[2];
  largest[0] = smallest[0] = largest[1] = smallest[1] = load_keys<Key, Bytes>(end - Bytes);
  for (; row + 2 * Bytes <= end; row += 2 * Bytes) {
    ask_for_memory<2 * Bytes>(row);
    for (int i = 0; i < 2; ++i) {
      const auto keys = load_keys<Key, Bytes>(row + i * Bytes);
      largest[i] = larger(largest[i], keys);
      smallest[i] = smaller(smallest[i], keys);
    }
  }
  if (row + Bytes <= end) {
    const auto keys = load_keys<Key, Bytes>(row);
    largest[0] = larger(largest[0], keys);
    smallest[0] = smaller(smallest[0], keys);
  }
  const auto max = [](auto a, auto b) { return larger(a, b); };
  const auto min = [](auto a, auto b) { return smaller(a, b); };
  return {reduce<Key, Bytes>(max(largest[0], largest[1]), max),
          reduce<Key, Bytes>(min(smallest[0], smallest[1]), min)};
}

// The same for a few classes, compared one by one. The largest key and the lowest class that has it
// are the maximum of one number made of both; no branch depends on the values, so rows overlap.
template <class T>
inline std::int32_t arg_max_of_few(const T* row, std::int64_t n_classes) {
  using Key = typename Order<T>::Key;
  constexpr std::int64_t infinity = Order<T>::infinity, minus_infinity = -infinity - 1;
  std::int64_t largest = std::numeric_limits<std::int64_t>::min();
  std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t k = 0; k < n_classes; ++k) {
    Key bits;
    std::memcpy(&bits, row + k, sizeof bits);
    std::int64_t key = order<Key>(bits);
    key += key == -1;  // the key of -0 alone: +0 and -0 are equal
    std::int64_t of_both = key * (std::int64_t{1} << 32) + (few_classes<Key> - k);
    asm("" : "+r"(of_both));  // so few are not worth vectors
    largest = larger(largest, of_both);
    smallest = smaller(smallest, key);
  }
  const std::int64_t key = largest >> 32;
  if (key > infinity || smallest < minus_infinity || key == minus_infinity) return -1;
  return static_cast<std::int32_t>(few_classes<Key> - (largest & 0xff));
}

// Index of the row's first maximum, or -1 where the row has no prediction.
template <class T>
inline std::int32_t arg_max(const T* row, std::int64_t n_classes) {
  using Key = typename Order<T>::Key;
  constexpr Key infinity = Order<T>::infinity;
  constexpr Key minus_infinity = static_cast<Key>(-infinity - 1);
  const char* bytes = reinterpret_cast<const char*>(row);
  if (n_classes * sizeof(Key) < 2 * widest) ask_for_memory<2 * widest>(bytes);
  if constexpr (sizeof(Key) <= 4)
    if (n_classes <= few_classes<Key>) return arg_max_of_few(row, n_classes);
  const auto [largest, smallest] = extremes<Key>(bytes, n_classes);
  if (largest > infinity || smallest < minus_infinity || largest == minus_infinity) return -1;
  constexpr Key all_bits = -1, all_but_sign = std::numeric_limits<Key>::max();
  const Key value = order<Key>(largest);
  return static_cast<std::int32_t>(find_first(reinterpret_cast<const Key*>(row), n_classes, value,
                                              value == 0 ? all_but_sign : all_bits));
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

void pack_errors(const std::int64_t* preds, const std::int64_t* target, Range samples,
                 std::uint64_t* words) {
  for (std::int64_t n = samples.first; n < samples.last; n += samples_per_word) {
    const std::int64_t left = samples.last - n;
    const std::int64_t in_word = left < samples_per_word ? left : samples_per_word;
    std::uint64_t word = 0;
    for (std::int64_t bit = 0; bit < in_word; ++bit)
      word |= static_cast<std::uint64_t>(preds[n + bit] != target[n + bit]) << bit;
    words[n / samples_per_word] = word;
  }
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
