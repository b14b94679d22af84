// Histograms of the angle between two models' confidences, without division or arc tangent.
//
// The bin of a sample is the number of slopes s with conf_1 >= s * conf_2. Products of ascending
// slopes ascend also when rounded, so that a binary search finds it: log2(n_bins) products in
// double. A block counts samples of one pair in shared memory; a sample costs 11 bytes, which other
// pairs of the same models leave in the second-level cache.
#include <algorithm>

#include "device.cuh"

namespace ovcore::cuda {
namespace {

constexpr int n_threads = 256;
constexpr int n_outcomes = 4;
constexpr int at_once = 4;                // samples of a thread
constexpr std::int64_t most_bins = 3072;  // whose counts are in shared memory: 48 KiB

struct Angles {
  MatrixView<const float> confidence;
  MatrixView<const std::uint8_t> right;
  const std::int64_t* pairs;
  const double* slopes;
  unsigned n_slopes;
  unsigned widest_step;  // the largest power of two that is not above n_slopes
  const std::uint8_t* keep;
};

__global__ void __launch_bounds__(n_threads)
    count_angles(Angles of, std::int64_t per_slice, std::int64_t* histogram) {
  int* counts = shared<int>();
  const std::int64_t n_bins = std::int64_t{of.n_slopes} + 1, n_counts = n_outcomes * n_bins;
  const bool are_shared = n_bins <= most_bins;
  std::int64_t* to = histogram + blockIdx.x * n_counts;
  if (are_shared)
    for (std::int64_t i = threadIdx.x; i < n_counts; i += n_threads) counts[i] = 0;
  __syncthreads();

  const std::int64_t start = blockIdx.y * per_slice, mine = start + threadIdx.x;
  const std::int64_t first = of.pairs[2 * std::int64_t{blockIdx.x}];
  const std::int64_t second = of.pairs[2 * std::int64_t{blockIdx.x} + 1];
  const float* confidence_1 = of.confidence.row(first) + mine;
  const float* confidence_2 = of.confidence.row(second) + mine;
  const std::uint8_t* right_1 = of.right.row(first) + mine;
  const std::uint8_t* right_2 = of.right.row(second) + mine;
  const std::uint8_t* keep = of.keep + mine;
  int left = static_cast<int>(min(per_slice, of.confidence.cols - start) - threadIdx.x);
  while (left > 0) {
    float a[at_once], b[at_once];
    bool counted[at_once], is_right_1[at_once], is_right_2[at_once];
#pragma unroll
    for (int i = 0; i < at_once; ++i) {
      const int n = i * n_threads < left ? i * n_threads : 0;
      counted[i] = (n == i * n_threads) & (__ldg(keep + n) != 0);
      a[i] = __ldg(confidence_1 + n);
      b[i] = __ldg(confidence_2 + n);
      is_right_1[i] = __ldg(right_1 + n) != 0;
      is_right_2[i] = __ldg(right_2 + n) != 0;
    }
    constexpr int step = at_once * n_threads;
    left -= step;
    confidence_1 += step;
    confidence_2 += step;
    right_1 += step;
    right_2 += step;
    keep += step;
    unsigned bins[at_once] = {};
    for (unsigned more = of.widest_step; more > 0; more /= 2) {
      double slopes[at_once];
#pragma unroll
      for (int i = 0; i < at_once; ++i)
        slopes[i] = __ldg(of.slopes + (min(bins[i] + more, of.n_slopes) - 1));
#pragma unroll
      for (int i = 0; i < at_once; ++i) {
        const bool reached = double{a[i]} >= __dmul_rn(slopes[i], double{b[i]});
        if (reached & (bins[i] + more <= of.n_slopes)) bins[i] += more;
      }
    }
#pragma unroll
    for (int i = 0; i < at_once; ++i) {
      if (!counted[i]) continue;
      const int outcome = (is_right_1[i] ? 0 : 2) + (is_right_2[i] ? 0 : 1);
      const std::int64_t at = outcome * n_bins + bins[i];
      if (are_shared)
        atomicAdd(&counts[at], 1);
      else
        add(&to[at], 1);
    }
  }

  __syncthreads();
  if (are_shared)
    for (std::int64_t i = threadIdx.x; i < n_counts; i += n_threads)
      if (counts[i] != 0) add(&to[i], counts[i]);
}

}  // namespace

cudaError_t angle_histogram(MatrixView<const float> confidence,
                            MatrixView<const std::uint8_t> right, const std::int64_t* pairs,
                            std::int64_t n_pairs, const double* slopes, std::int64_t n_bins,
                            const std::uint8_t* keep, std::int64_t* histogram,
                            cudaStream_t stream) {
  const std::int64_t n_samples = confidence.cols, n_counts = n_outcomes * n_bins;
  const std::size_t bytes = static_cast<std::size_t>(n_pairs * n_counts) * sizeof *histogram;
  OVCORE_RETURN_IF_ERROR(set_to_zero(histogram, bytes, stream));
  if (n_pairs == 0 || n_samples == 0) return cudaSuccess;
  if (n_bins > std::int64_t{1} << 30) return cudaErrorInvalidValue;
  Angles of{confidence, right, pairs, slopes, static_cast<unsigned>(n_bins - 1), 0, keep};
  for (unsigned step = 1; step <= of.n_slopes; step *= 2) of.widest_step = step;

  // Enough blocks for some rounds, of many more samples than counts to hand in.
  constexpr std::int64_t enough_blocks = 4096, most = 1 << 30;
  const std::int64_t least = 4 * std::max(std::int64_t{2 * at_once * n_threads},
                                          std::min(n_counts, n_outcomes * most_bins));
  const std::int64_t per_slice =
      std::clamp(ceil_div(n_samples * n_pairs, enough_blocks), least, most);
  const std::int64_t n_slices = ceil_div(n_samples, per_slice);
  const std::size_t shared_bytes =
      n_bins <= most_bins ? static_cast<std::size_t>(n_counts) * sizeof(int) : 0;
  return launch(count_angles, dim3(static_cast<unsigned>(n_pairs), static_cast<unsigned>(n_slices)),
                n_threads, shared_bytes, stream, of, per_slice, histogram);
}

}  // namespace ovcore::cuda
