// What ensembles sum: see python/ovcore/_reference_scores.py, which these steps follow to the bit.
// Units that include this are compiled without fused multiply-add.
#pragma once

#include "float_vectors.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

// exp(x) for x <= 0.
inline Floats exponential(Floats x) {
  const Floats lowest = Floats{} - 86.0f;
  const Floats inside = larger(x, lowest);
  const Floats shifted = inside * 1.44269504f + 12582912.0f;  // rounds to a whole number
  const Floats n = shifted - 12582912.0f;
  Floats r = inside - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Floats q = Floats{} + 0.0013814540579915047f;
  q = q * r + 0.00836874544620514f;
  q = q * r + 0.04166838899254799f;
  q = q * r + 0.1666652113199234f;
  q = q * r + 0.4999999403953552f;
  const Floats p = (r * r) * q + r + 1.0f;
  const Ints bits = (Ints)p + ((Ints)shifted << 23);
  return x > lowest ? (Floats)bits : Floats{};
}

inline float beta_of(double temperature) {
  constexpr double tiny = std::numeric_limits<float>::min();
  constexpr double huge = std::numeric_limits<float>::max();
  const double beta = 1 / temperature;
  return static_cast<float>(beta < tiny ? tiny : beta > huge ? huge : beta);
}

// z - peak; 0 at the peak also where that is +inf.
template <class Z>
inline Z distance(Z z, Z peak) {
  return z == peak ? Z{} : z - peak;
}
template <class T>
inline Floats distances(const T* from, float peak) {
  const Floats z = load_floats(from);
  return z == peak ? Floats{} : z - peak;
}
inline Floats distances(const double* from, double peak) {
  const Doubles low = load<Doubles>(from), high = load<Doubles>(from + n_doubles);
  return narrow({low == peak ? Doubles{} : low - peak, high == peak ? Doubles{} : high - peak});
}

// Weights exp((z - peak) / T) of a row, n_floats at a time: piece(first class, weights). Returns
// their sum.
template <class T, class Peak, class Piece>
[[gnu::always_inline]] inline double weigh(const T* row, std::int64_t n_classes, Peak peak,
                                           float beta, const Piece& piece) {
  constexpr int lanes = 16;
  Doubles sums[lanes / n_doubles] = {};
  for_each_piece<lanes>(row, n_classes, [&](std::int64_t k, int i, const T* from) {
    const Floats weight = exponential(distances(from, peak) * beta);
    const Halves wide = widen(weight);
    sums[2 * i] += wide.low;
    sums[2 * i + 1] += wide.high;
    piece(k, weight);
  });
  double lane[lanes];
  std::memcpy(lane, sums, sizeof lane);
  for (int width = lanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}

template <class Peak>
inline float logit_score(Peak z, Peak peak, double temperature) {
  return static_cast<float>(static_cast<double>(distance(z, peak)) / temperature);
}

// One model's scores.
struct Scorer {
  LogitsView logits;
  double temperature;
  float beta;
  bool is_logit;

  Scorer(const ScoredModel& model, Combine combine)
      : logits(model.logits),
        temperature(model.temperature),
        beta(beta_of(model.temperature)),
        is_logit(combine == Combine::logit) {}

  // Of one class of a row whose peak and mass are known.
  template <class T, class Peak>
  float score(const T* row, std::int64_t k, Peak peak, double mass) const {
    const Peak z = widen_one(row[k]);
    if (is_logit) return logit_score(z, peak, temperature);
    const Floats x = Floats{} + static_cast<float>(distance(z, peak)) * beta;
    return static_cast<float>(static_cast<double>(exponential(x)[0]) / mass);
  }

  // Of some classes; they are written `stride` apart.
  template <class T, class Peak>
  void scores(const T* row, const std::int32_t* classes, std::int64_t count, Peak peak, double mass,
              float* to, std::int64_t stride) const {
    for (std::int64_t first = 0; first < count; first += n_floats) {
      const std::int64_t some = count - first < n_floats ? count - first : n_floats;
      Floats x{};
      for (std::int64_t i = 0; i < some; ++i) {
        const Peak z = widen_one(row[classes[first + i]]);
        if (is_logit)
          to[(first + i) * stride] = logit_score(z, peak, temperature);
        else
          x[i] = static_cast<float>(distance(z, peak)) * beta;
      }
      if (is_logit) continue;
      const Floats weights = exponential(x);
      for (std::int64_t i = 0; i < some; ++i)
        to[(first + i) * stride] = static_cast<float>(static_cast<double>(weights[i]) / mass);
    }
  }

  // Adds weight * score of every class to total; with `largest`, total becomes the larger of both.
  // Scratch holds a float for each class.
  template <bool largest, class T, class Peak>
  void add(const T* row, Peak peak, double weight, float* scratch, double* total) const {
    if (is_logit) {
      for (std::int64_t k = 0; k < logits.cols; ++k) {
        const float score = logit_score(static_cast<Peak>(widen_one(row[k])), peak, temperature);
        total[k] += weight * static_cast<double>(score);
      }
      return;
    }
    const double mass = weigh(row, logits.cols, peak, beta, [&](std::int64_t k, Floats weights) {
      if (k + n_floats <= logits.cols)
        store(scratch + k, weights);
      else if (k < logits.cols)
        std::memcpy(scratch + k, &weights, static_cast<std::size_t>(logits.cols - k) * 4);
    });
    for (std::int64_t k = 0; k < logits.cols; ++k) {
      const double score = static_cast<float>(static_cast<double>(scratch[k]) / mass);
      const double term = weight * score;
      total[k] = !largest ? total[k] + term : total[k] > term ? total[k] : term;
    }
  }
};

}  // namespace
}  // namespace ovcore::OVCORE_ISA
