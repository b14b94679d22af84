// Histograms of the angle between two models' confidences, without division or arc tangent.
//
// Whether confidence a >= slope * confidence b is asked of every slope, and what reaches one slope
// but not the next is in the bin between them. Rounded up to float, slope * b is a threshold that a
// is compared with as it lies: thresholds are made once for all pairs that share b. A sample adds
// to one of four counts, each a byte of one 32-bit lane, so that a comparison and an addition count
// all outcomes of a vector of samples.
#include <cstring>

#include "float_vectors.hpp"
#include "kernel_table.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

constexpr std::int64_t lanes = n_floats;
typedef std::uint32_t Counts [[gnu::vector_size(vector_bytes)]];  // four of a byte each

constexpr std::int64_t n_outcomes = 4;
constexpr std::int64_t together = 4;          // thresholds that one look at a sample serves
constexpr std::int64_t block_samples = 1008;  // whose thresholds take 16 KiB
static_assert(angle_lanes % lanes == 0 && block_samples % angle_lanes == 0, "whole vectors");
static_assert(block_samples <= 255 * lanes, "a byte of a lane counts to 255");

// The least float that is no less than x >= 0.
[[gnu::always_inline]] inline float round_up(double x) {
  float nearest = static_cast<float>(x);
  std::int32_t bits;
  std::memcpy(&bits, &nearest, sizeof bits);
  bits += static_cast<double>(nearest) < x;
  std::memcpy(&nearest, &bits, sizeof bits);
  return nearest;
}

// A block of the second model of a pair: where it is wrong, and thresholds on the first.
struct Second {
  alignas(64) std::uint32_t outcomes[block_samples];  // 1 where right, 1 << 8 where wrong, or 0
  alignas(64) float thresholds[together][block_samples];

  void read_outcomes(const float* confidence, std::int64_t n_samples) {
    for (std::int64_t n = 0; n < n_samples; ++n)
      outcomes[n] = confidence[n] == 0 ? 0 : confidence[n] > 0 ? 1 : 1 << 8;
  }
  void read_thresholds(const float* confidence, std::int64_t n_samples, double slope, float* to) {
    for (std::int64_t n = 0; n < n_samples; ++n)
      to[n] = round_up(slope * static_cast<double>(__builtin_fabsf(confidence[n])));
  }
};

// Adds the samples at or above each threshold to counts[outcome * n_bins + threshold].
void count_block(const float* first, const Second& second, std::int64_t n_samples,
                 std::int64_t n_thresholds, std::int64_t n_bins, std::int64_t* counts) {
  Counts sums[together] = {};
  for (std::int64_t n = 0; n < n_samples; n += lanes) {
    const Floats confidence = load<Floats>(first + n);
    const Counts one = load<Counts>(second.outcomes + n);
    const Counts adds = confidence > 0 ? one : one << 16;
    const Floats size = confidence > 0 ? confidence : -confidence;
#pragma GCC unroll 8
    for (int t = 0; t < together; ++t)
      sums[t] += size >= load<Floats>(second.thresholds[t] + n) ? adds : Counts{};
  }
  for (std::int64_t t = 0; t < n_thresholds; ++t) {
    const Counts low = sums[t] & 0x00ff00ff, high = sums[t] >> 8 & 0x00ff00ff;
    std::uint32_t even = 0, odd = 0;  // two counts each, in 16 bits
    for (std::int64_t i = 0; i < lanes; ++i) {
      even += low[i];
      odd += high[i];
    }
    counts[t] += even & 0xffff;
    counts[n_bins + t] += odd & 0xffff;
    counts[2 * n_bins + t] += even >> 16;
    counts[3 * n_bins + t] += odd >> 16;
  }
}

}  // namespace

void angle_histogram(MatrixView<const float> confidence, const AnglePair* pairs, Range range,
                     const double* slopes, std::int64_t n_bins,
                     MatrixView<std::int64_t> histogram) {
  for (std::int64_t p = range.first; p < range.last; ++p)
    for (std::int64_t i = 0; i < n_outcomes * n_bins; ++i) histogram.row(pairs[p].row)[i] = 0;

  Second second = {};
  for (std::int64_t n = 0; n < confidence.cols; n += block_samples) {
    const std::int64_t left = confidence.cols - n;
    const std::int64_t n_samples = left < block_samples ? left : block_samples;
    for (std::int64_t p = range.first, next; p < range.last; p = next) {
      for (next = p + 1; next < range.last && pairs[next].second == pairs[p].second;) ++next;
      const float* of_second = confidence.row(pairs[p].second) + n;
      second.read_outcomes(of_second, n_samples);
      for (std::int64_t bin = 0; bin < n_bins; bin += together) {
        const std::int64_t here = n_bins - bin < together ? n_bins - bin : together;
        for (std::int64_t t = 0; t < here; ++t)  // all samples reach the first bin
          second.read_thresholds(of_second, n_samples, bin + t == 0 ? 0 : slopes[bin + t - 1],
                                 second.thresholds[t]);
        for (std::int64_t i = p; i < next; ++i)
          count_block(confidence.row(pairs[i].first) + n, second, n_samples, here, n_bins,
                      histogram.row(pairs[i].row) + bin);
      }
    }
  }

  for (std::int64_t p = range.first; p < range.last; ++p)
    for (std::int64_t outcome = 0; outcome < n_outcomes; ++outcome) {
      std::int64_t* counts = histogram.row(pairs[p].row) + outcome * n_bins;
      for (std::int64_t bin = 0; bin + 1 < n_bins; ++bin) counts[bin] -= counts[bin + 1];
    }
}

}  // namespace ovcore::OVCORE_ISA
