// Negative log likelihood and its derivatives, one pass over the logits.
//
// In double precision, in x = beta (z - max of the row), with a polynomial of degree 8 for exp on
// [-ln(2) / 2, ln(2) / 2] (relative error 1e-12). Compiled with fused multiply-add where there is
// one: unlike scores, these sums are not the same to the last bit on every chip.
#include <cmath>

#include "float_vectors.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

// exp(x) for x in [-700, 0]; NaN of NaN.
inline Doubles exponential(Doubles x) {
  constexpr double round = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to a whole number
  const Doubles shifted = x * 1.4426950408889634 + round;
  const Doubles n = shifted - round;
  const Doubles r = (x - n * 0.69314718055994529) - n * 2.3190468138462996e-17;
  Doubles q = Doubles{} + 2.4708197192136353e-05;
  q = q * r + 0.00019909006517828244;
  q = q * r + 0.0013889197743474524;
  q = q * r + 0.008333281705260917;
  q = q * r + 0.04166666439831035;
  q = q * r + 0.166666667847942;
  q = q * r + 0.5000000000428515;
  const Doubles p = (r * r) * q + r + 1.0;
  return (Doubles)((Longs)p + ((Longs)shifted << 52));
}

inline double sum(Doubles v) {
  double total = 0;
  for (int i = 0; i < n_doubles; ++i) total += v[i];
  return total;
}

template <class T>
inline Halves load_halves(const T* from) {
  if constexpr (std::is_same_v<T, double>)
    return {load<Doubles>(from), load<Doubles>(from + n_doubles)};
  else
    return widen(load_floats(from));
}

// Largest element of a row; which of them counts where there is a NaN does not matter.
template <class T>
inline double largest(const T* row, std::int64_t n_classes) {
  if constexpr (std::is_same_v<T, double>) {
    Doubles low = Doubles{} - infinity, high = low;
    for_each_piece<n_floats>(row, n_classes, [&](std::int64_t, int, const T* from) {
      low = larger(load<Doubles>(from), low);
      high = larger(load<Doubles>(from + n_doubles), high);
    });
    low = larger(low, high);
    double result = low[0];
    for (int i = 1; i < n_doubles; ++i) result = larger<double>(result, low[i]);
    return result;
  } else {
    Floats most = Floats{} - infinity;
    for_each_piece<n_floats>(row, n_classes, [&](std::int64_t, int, const T* from) {
      most = larger(load_floats(from), most);
    });
    float result = most[0];
    for (int i = 1; i < n_floats; ++i) result = larger<float>(result, most[i]);
    return result;
  }
}

// Sums over the classes of a row: of weights exp(x), of weights times x, and times x^2.
struct Moments {
  Doubles zeroth, first, second;
};

template <class T>
inline Moments moments(const T* row, std::int64_t n_classes, double peak, double beta) {
  Moments sums[2] = {};
  const auto add = [&](Moments& to, Doubles z) {
    const Doubles unbounded = (z - peak) * beta, lowest = Doubles{} - 700.0;
    const Doubles x = unbounded < lowest ? lowest : unbounded;  // a NaN stays one
    const Doubles weight = exponential(x), weighted = weight * x;
    to.zeroth += weight;
    to.first += weighted;
    to.second += weighted * x;
  };
  for_each_piece<n_floats>(row, n_classes, [&](std::int64_t, int, const T* from) {
    const Halves z = load_halves(from);
    add(sums[0], z.low);
    add(sums[1], z.high);
  });
  return {sums[0].zeroth + sums[1].zeroth, sums[0].first + sums[1].first,
          sums[0].second + sums[1].second};
}

}  // namespace

NllSums temperature_nll(const LogitsView& logits, const std::int64_t* target, double beta,
                        Range samples) {
  NllSums sums{0, 0, 0};
  double product = 1;  // of the rows' sums: one logarithm serves many rows
  for (std::int64_t n = samples.first; n < samples.last; ++n) {
    with_row(logits, n, [&](const auto* row) {
      const double peak = largest(row, logits.cols);
      const Moments found = moments(row, logits.cols, peak, beta);
      const double total = sum(found.zeroth);
      const double mean = sum(found.first) / total;
      const double x_target = (static_cast<double>(widen_one(row[target[n]])) - peak) * beta;
      product *= total;
      if (!(product < 1e200)) {
        sums.nll += std::log(product);
        product = 1;
      }
      sums.nll -= x_target;
      sums.slope += mean - x_target;
      sums.curvature += sum(found.second) / total - mean * mean;
    });
  }
  sums.nll += std::log(product);
  sums.slope /= beta;
  sums.curvature /= beta * beta;
  return sums;
}

}  // namespace ovcore::OVCORE_ISA
