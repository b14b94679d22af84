// What ensembles sum: see python/ovcore/_reference_scores.py, which these steps follow to the bit.
// Units that include this are compiled without fused multiply-add.
#pragma once

#include "float_vectors.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

// Vectors taken through the same steps at once.
constexpr int side_by_side = n_floats == 8 ? 2 : 4;

// y = 2^y for y <= 0. From -124 on that is 0, whatever the steps before made of it.
template <int N>
[[gnu::always_inline]] inline void power_of_two(Floats (&y)[N]) {
  Floats shifted[N], f[N], q[N];
  each<N>([&](int i) OVCORE_INLINE { shifted[i] = y[i] + 12582912.0f; });  // a whole number
  each<N>([&](int i) OVCORE_INLINE { f[i] = y[i] - (shifted[i] - 12582912.0f); });
  each<N>([&](int i)
              OVCORE_INLINE { q[i] = f[i] * 0.00015353320432157173f + 0.0013398926044037507f; });
  each<N>([&](int i) OVCORE_INLINE { q[i] = q[i] * f[i] + 0.009618437854461696f; });
  each<N>([&](int i) OVCORE_INLINE { q[i] = q[i] * f[i] + 0.05550332347906885f; });
  each<N>([&](int i) OVCORE_INLINE { q[i] = q[i] * f[i] + 0.240226479069414f; });
  each<N>([&](int i) OVCORE_INLINE { q[i] = q[i] * f[i] + 0.6931472029069689f; });
  each<N>([&](int i) OVCORE_INLINE { q[i] = q[i] * f[i] + 1.0f; });
  each<N>([&](int i) OVCORE_INLINE {
    const Ints bits = (Ints)q[i] + ((Ints)shifted[i] << 23);
    y[i] = y[i] > Floats{} - 124.0f ? (Floats)bits : Floats{};
  });
}
inline Floats power_of_two(Floats y) {
  Floats one[1] = {y};
  power_of_two<1>(one);
  return one[0];
}

// 1 / (T ln 2): what distances are multiplied by.
inline float scale_of(double temperature) {
  constexpr double tiny = std::numeric_limits<float>::min();
  constexpr double huge = std::numeric_limits<float>::max();
  const double scale = 1 / 0.69314718055994531 / temperature;
  return static_cast<float>(scale < tiny ? tiny : scale > huge ? huge : scale);
}

// z - peak; 0 at the peak also where that is +inf.
template <class Z>
inline Z distance(Z z, Z peak) {
  return z == peak ? Z{} : z - peak;
}
template <bool is_infinite, class V, class Z>
inline V distance(V z, Z peak) {
  if constexpr (!is_infinite) return z - peak;
  return z == peak ? V{} : z - peak;
}
template <bool is_infinite, class T>
inline Floats distances(const T* from, float peak) {
  return distance<is_infinite>(load_floats(from), peak);
}
template <bool is_infinite>
inline Floats distances(const double* from, double peak) {
  return narrow({distance<is_infinite>(load<Doubles>(from), peak),
                 distance<is_infinite>(load<Doubles>(from + n_doubles), peak)});
}

// Weights exp((z - peak) / T) of a row, n_floats at a time: piece(first class, weights). Returns
// their sum, made of 16 sums: class k is added to that of k % 16.
template <bool is_infinite, class T, class Peak, class Piece>
[[gnu::always_inline]] inline double weigh(const T* row, std::int64_t n_classes, Peak peak,
                                           float scale, const Piece& piece) {
  constexpr int lanes = 16, vectors = lanes / n_floats;
  static_assert(side_by_side % vectors == 0);
  Doubles sums[2 * vectors] = {};
  for_each_piece<side_by_side, vectors>(
      row, n_classes, [&](std::int64_t k, const T* from, auto count) OVCORE_INLINE {
        constexpr int n = decltype(count)::value;
        Floats weights[n];
        each<n>([&](int i) OVCORE_INLINE {
          weights[i] = distances<is_infinite>(from + i * n_floats, peak) * scale;
        });
        power_of_two<n>(weights);
        // Halves are widened as they are read back, which is cheaper than taking vectors apart.
        float stored[n * n_floats];
        std::memcpy(stored, weights, sizeof stored);
        asm("" : "+m"(stored));
        each<2 * n>([&](int i) OVCORE_INLINE { sums[i % (2 * vectors)] += load_half(stored, i); });
        each<n>([&](int i) OVCORE_INLINE { piece(k + i * n_floats, weights[i]); });
      });
  double lane[lanes];
  std::memcpy(lane, sums, sizeof lane);
  for (int width = lanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}

template <class T, class Peak, class Piece>
[[gnu::always_inline]] inline double weigh(const T* row, std::int64_t n_classes, Peak peak,
                                           float scale, const Piece& piece) {
  if (peak == static_cast<Peak>(infinity)) return weigh<true>(row, n_classes, peak, scale, piece);
  return weigh<false>(row, n_classes, peak, scale, piece);
}

template <class Peak>
inline float logit_score(Peak z, Peak peak, double temperature) {
  return static_cast<float>(static_cast<double>(distance(z, peak)) / temperature);
}

// One model's scores.
struct Scorer {
  LogitsView logits;
  double temperature;
  float scale;
  bool is_logit;

  Scorer(const ScoredModel& model, Combine combine)
      : logits(model.logits),
        temperature(model.temperature),
        scale(scale_of(model.temperature)),
        is_logit(combine == Combine::logit) {}

  // Of one class of a row whose peak and mass are known.
  template <class T, class Peak>
  float score(const T* row, std::int64_t k, Peak peak, double mass) const {
    const Peak z = widen_one(row[k]);
    if (is_logit) return logit_score(z, peak, temperature);
    const Floats y = Floats{} + static_cast<float>(distance(z, peak)) * scale;
    return static_cast<float>(static_cast<double>(power_of_two(y)[0]) / mass);
  }

  // Of some classes; they are written `stride` apart.
  template <class T, class Peak>
  void scores(const T* row, const std::int32_t* classes, std::int64_t count, Peak peak, double mass,
              float* to, std::int64_t stride) const {
    for (std::int64_t first = 0; first < count; first += n_floats) {
      const std::int64_t some = count - first < n_floats ? count - first : n_floats;
      Floats y{};
      for (std::int64_t i = 0; i < some; ++i) {
        const Peak z = widen_one(row[classes[first + i]]);
        if (is_logit)
          to[(first + i) * stride] = logit_score(z, peak, temperature);
        else
          y[i] = static_cast<float>(distance(z, peak)) * scale;
      }
      if (is_logit) continue;
      const Floats weights = power_of_two(y);
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
    const double mass =
        weigh(row, logits.cols, peak, scale, [&](std::int64_t k, Floats weights) OVCORE_INLINE {
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
