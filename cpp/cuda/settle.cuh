// Looking at one sample in full, where sums of the listed classes do not settle it.
#pragma once

#include "scores.cuh"

namespace ovcore::cuda {
namespace {

// What a class must score for one model, at least, to reach the target's sum with at most `other`
// for the other model: their sum, once rounded, reaches it from half a unit in its last place
// below.
__device__ inline double left_open(double of_target, double other) {
  return of_target - other - 3e-16 * (fabs(of_target) + fabs(other));
}

// All scores of one model on one listed sample. They are made of distances to the peak, which are
// formed in the precision of the logits and widened: one piece of code scores all element types.
struct ScoredRow {
  LogitsView logits;
  std::int64_t n;
  double peak;
  RowScores<double> of_distance;

  __device__ ScoredRow(const Candidates<float>& all, std::int64_t s, std::int64_t m)
      : logits(all.models[m].logits),
        n(all.lists.samples[s]),
        peak(0),
        of_distance(0.0, all.models[m].temperature, all.mass.row(s)[m], all.combine) {
    const std::int64_t top = all.lists.classes[all.lists.offsets[s] + all.lists.tops.row(s)[m]];
    peak = with_row(logits, n, [&](const auto* row) { return double{widen(row[top])}; });
  }

  // Of the classes first, first + 32, ...; 0 past the last.
  template <int n_scores>
  __device__ void scores(std::int64_t first, float (&to)[n_scores]) const {
    double distances[n_scores];
    with_row(logits, n, [&](const auto* row) {
      using Z = decltype(widen(*row));
#pragma unroll
      for (int i = 0; i < n_scores; ++i) {
        const std::int64_t k = first + i * warp_size;
        const Z z = k < logits.cols ? widen(row[k]) : static_cast<Z>(peak);
        distances[i] = distance(z, static_cast<Z>(peak));
      }
    });
#pragma unroll
    for (int i = 0; i < n_scores; ++i) to[i] = of_distance.score(distances[i]);
  }
  __device__ float score(std::int64_t k) const {
    float one[1];
    scores(k, one);
    return one[0];
  }

  // A logit below which every score is less than `limit`: somewhat too low, never too high.
  __device__ double threshold(double limit) const {
    const double t = of_distance.temperature;
    if (!(limit > 0 || of_distance.is_logit) || !(t > 1e-30 && t < 1e30)) return -infinity;
    if (peak == infinity) return infinity;
    // In units of x = (z - peak) / T, which float32 steps know to about 2e-5.
    const double x = of_distance.is_logit ? limit : log(limit * of_distance.mass) - 1e-3;
    const double z = peak + x * t - 1e-5 * (fabs(x * t) + fabs(peak) * 1e-9);
    return z - fabs(z) * 1e-6;  // also when rounded to float
  }

  // Which of the classes first, first + 32, ... have a logit of at least `lowest`: one bit each.
  template <int n_classes>
  __device__ unsigned at_least(double lowest, std::int64_t first) const {
    return with_row(logits, n, [&](const auto* row) {
      using Z = decltype(widen(*row));
      unsigned bits = 0;
#pragma unroll
      for (int i = 0; i < n_classes; ++i) {
        const std::int64_t k = first + i * warp_size;
        if (k < logits.cols && widen(row[k]) >= static_cast<Z>(lowest)) bits |= 1u << i;
      }
      return bits;
    });
  }
};

// Whether a class whose sum is `rival` wins against the target.
__device__ inline bool beats(double rival, std::int64_t k, double of_target, std::int64_t target) {
  return rival > of_target || (rival == of_target && k < target);
}

}  // namespace
}  // namespace ovcore::cuda
