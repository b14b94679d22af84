// Looking at one sample in full, where sums of the listed classes do not settle it.
#pragma once

#include <cmath>

#include "scores.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

// Lowest class that a sample's list does not have; n_classes where it has all.
inline std::int64_t lowest_unlisted(const CandidateLists& lists, std::int64_t s,
                                    std::int64_t n_classes) {
  std::int64_t k = 0;
  for (std::int64_t u = lists.offsets[s]; u < lists.offsets[s + 1] && lists.classes[u] == k; ++u)
    ++k;
  return k < n_classes ? k : n_classes;
}

// What a class must score for one model, at least, to reach the target's sum with at most `other`
// for the other model: their sum, once rounded, reaches it from half a unit in its last place
// below.
inline double left_open(double of_target, double other) {
  return of_target - other - 3e-16 * (std::fabs(of_target) + std::fabs(other));
}

// All scores of one model on one listed sample.
struct ScoredRow {
  Scorer scorer;
  std::int64_t n;
  double peak, mass;

  template <class Score>
  ScoredRow(const Candidates<Score>& all, std::int64_t s, std::int64_t m)
      : scorer(all.models[m], all.combine),
        n(all.lists.samples[s]),
        peak(0),
        mass(all.mass.row(s)[m]) {
    const std::int64_t top = all.lists.classes[all.lists.offsets[s] + all.lists.tops.row(s)[m]];
    with_row(scorer.logits, n, [&](const auto* row) { peak = widen_one(row[top]); });
  }

  float score(std::int64_t k) const {
    return with_row(scorer.logits, n, [&](const auto* row) {
      using Peak = decltype(widen_one(*row));
      return scorer.score(row, k, static_cast<Peak>(peak), mass);
    });
  }

  void add_to(double* total, float* scratch) const {
    with_row(scorer.logits, n, [&](const auto* row) {
      using Peak = decltype(widen_one(*row));
      scorer.template add<false>(row, static_cast<Peak>(peak), 1.0, scratch, total);
    });
  }

  // A logit below which every score is less than `limit`: somewhat too low, never too high.
  double threshold(double limit) const {
    const double t = scorer.temperature;
    if (!(limit > 0 || scorer.is_logit) || !(t > 1e-30 && t < 1e30)) return -infinity;
    if (peak == infinity) return infinity;
    // In units of x = (z - peak) / T, which float32 steps know to about 2e-5.
    const double x = scorer.is_logit ? limit : std::log(limit * mass) - 1e-3;
    const double z = peak + x * t;
    return z - 1e-5 * (std::fabs(x * t) + std::fabs(peak) * 1e-9);
  }

  // Whether some class with a score of at least `limit` passes the test.
  template <class Test>
  bool any_above(double limit, const Test& test) const {
    const double lowest = threshold(limit);
    return with_row(scorer.logits, n, [&](const auto* row) {
      bool found = false;
      if constexpr (std::is_same_v<decltype(row), const double*>) {
        for (std::int64_t k = 0; k < scorer.logits.cols; ++k)
          found = found || (row[k] >= lowest && test(k));
      } else {
        const double slack = lowest == infinity ? 0 : std::fabs(lowest) * 1e-6;
        const auto bound = static_cast<float>(lowest - slack);
        for_each_piece<1, 1>(row, scorer.logits.cols,
                             [&](std::int64_t k, const auto* from, auto) OVCORE_INLINE {
                               std::uint32_t bits = lane_mask(load_floats(from) >= bound);
                               for (; bits != 0 && !found; bits >>= 1, ++k)
                                 found = (bits & 1) != 0 && k < scorer.logits.cols && test(k);
                             });
      }
      return found;
    });
  }
};

}  // namespace
}  // namespace ovcore::OVCORE_ISA
