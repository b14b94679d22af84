// Negative log likelihood and its derivatives, one pass over the logits.
//
// In double precision, in y = beta (z - max of the row) / ln(2), with a polynomial of degree 8 for
// 2^f on [-1/2, 1/2] (relative error 1e-12). Compiled with fused multiply-add where there is
// one: unlike scores, these sums are not the same to the last bit on every chip.
#include <cmath>

#include "float_vectors.hpp"
#include "prefetch.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

// 2^y for y in [-1000, 0]; NaN of NaN.
template <int N>
[[gnu::always_inline]] inline void power_of_two(const Doubles (&y)[N], Doubles (&p)[N]) {
  constexpr double round = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to a whole number
  Doubles shifted[N], f[N];
  each<N>([&](int i) OVCORE_INLINE { shifted[i] = y[i] + round; });
  each<N>([&](int i) OVCORE_INLINE { f[i] = y[i] - (shifted[i] - round); });
  each<N>([&](int i)
              OVCORE_INLINE { p[i] = f[i] * 1.3178911009191396e-06 + 1.5309201208946875e-05; });
  each<N>([&](int i) OVCORE_INLINE { p[i] = p[i] * f[i] + 0.00015403825904460795; });
  each<N>([&](int i) OVCORE_INLINE { p[i] = p[i] * f[i] + 0.0013333454696129819; });
  each<N>([&](int i) OVCORE_INLINE { p[i] = p[i] * f[i] + 0.009618128614981038; });
  each<N>([&](int i) OVCORE_INLINE { p[i] = p[i] * f[i] + 0.05550410935429923; });
  each<N>([&](int i) OVCORE_INLINE { p[i] = p[i] * f[i] + 0.24022650698117548; });
  each<N>([&](int i) OVCORE_INLINE { p[i] = p[i] * f[i] + 0.6931471805481754; });
  each<N>([&](int i) OVCORE_INLINE { p[i] = p[i] * f[i] + 1.0; });
  each<N>([&](int i) OVCORE_INLINE { p[i] = (Doubles)((Longs)p[i] + ((Longs)shifted[i] << 52)); });
}

template <class T>
inline Doubles load_doubles(const T* from, int i) {
  if constexpr (std::is_same_v<T, double>) {
    return load<Doubles>(from + i * n_doubles);
  } else if constexpr (std::is_same_v<T, float>) {
    return load_half(from, i);
  } else {
    const Halves wide = widen(load_floats(from + i / 2 * n_floats));
    return i % 2 == 0 ? wide.low : wide.high;
  }
}

constexpr int many = n_floats == 16 ? 4 : 2, few = 1;  // vectors of floats, two of doubles each

// Largest element of a row; which of them counts where there is a NaN does not matter.
template <class T>
inline double largest(const T* row, std::int64_t n_classes) {
  using V = std::conditional_t<std::is_same_v<T, double>, Doubles, Floats>;
  V most[4];
  for (V& v : most) v = V{} - infinity;
  for_each_piece<4, 1>(row, n_classes, [&](std::int64_t, const T* from, auto count) OVCORE_INLINE {
    constexpr int n = decltype(count)::value * (std::is_same_v<T, double> ? 2 : 1);
    each<n>([&](int i) OVCORE_INLINE {
      if constexpr (std::is_same_v<T, double>)
        most[i % 4] = maximum(load<V>(from + i * n_doubles), most[i % 4]);
      else
        most[i % 4] = maximum(load_floats(from + i * n_floats), most[i % 4]);
    });
  });
  return largest_lane(maximum(maximum(most[0], most[1]), maximum(most[2], most[3])));
}

// Sums over the classes of a row: of weights 2^y, of weights times y, and times y^2.
struct Moments {
  Doubles zeroth{}, first{}, second{};
};

template <class T>
inline Moments moments(const T* row, std::int64_t n_classes, double peak, double scale) {
  Moments sums;
  for_each_piece<many, few>(
      row, n_classes, [&](std::int64_t k, const T* from, auto count) OVCORE_INLINE {
        constexpr int n = 2 * decltype(count)::value;
        ask_for_memory<n * n_doubles* static_cast<int>(sizeof(T))>(row + k);
        Doubles y[n], weight[n], weighted[n];
        each<n>([&](int i) OVCORE_INLINE { y[i] = (load_doubles(from, i) - peak) * scale; });
        each<n>([&](int i)
                    OVCORE_INLINE { y[i] = maximum(Doubles{} - 1000.0, y[i]); });  // NaN stays
        power_of_two<n>(y, weight);
        each<n>([&](int i) OVCORE_INLINE { weighted[i] = weight[i] * y[i]; });
        each<n>([&](int i) OVCORE_INLINE { sums.zeroth += weight[i]; });
        each<n>([&](int i) OVCORE_INLINE { sums.first += weighted[i]; });
        each<n>([&](int i) OVCORE_INLINE { sums.second += weighted[i] * y[i]; });
      });
  return sums;
}

}  // namespace

NllSums temperature_nll(const LogitsView& logits, const std::int64_t* target, double beta,
                        Range samples) {
  constexpr double ln2 = 0.69314718055994531;
  const double scale = beta / ln2;
  NllSums sums{0, 0, 0};
  double product = 1;  // of the rows' sums: one logarithm serves many rows
  double of_targets = 0;
  for (std::int64_t n = samples.first; n < samples.last; ++n) {
    with_row(logits, n, [&](const auto* row) {
      const double peak = largest(row, logits.cols);
      const Moments found = moments(row, logits.cols, peak, scale);
      const double total = sum_of_lanes(found.zeroth);
      const double mean = sum_of_lanes(found.first) / total;
      const double y_target = (static_cast<double>(widen_one(row[target[n]])) - peak) * scale;
      product *= total;
      if (!(product < 1e200)) {
        sums.nll += std::log(product);
        product = 1;
      }
      of_targets += y_target;
      sums.slope += mean - y_target;
      sums.curvature += sum_of_lanes(found.second) / total - mean * mean;
    });
  }
  sums.nll += std::log(product) - of_targets * ln2;
  const auto over = [](double value, double by) {  // what is left of classes cut off at -1000 is 0
    return std::fabs(value) < 1e-200 ? 0.0 : value / by;
  };
  sums.slope = over(sums.slope, scale);
  sums.curvature = over(sums.curvature, scale * scale);
  return sums;
}

}  // namespace ovcore::OVCORE_ISA
