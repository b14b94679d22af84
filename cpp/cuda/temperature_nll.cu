// Negative log likelihood and its derivatives.
//
// Sixteen threads take a row: a pass for its peak, then, from the cache, one for the moments of
// d = z - peak under weights 2^(scale d). Powers of two are made of 32 steps between 1 and 2, one
// held by each lane, and a polynomial for the rest: 2^r = 1 + r q(r) to 8e-14 for |r| <= 1/64. That
// is 13 operations in double precision a class, of which a multiprocessor starts 64 a clock, and
// some 29 instructions in all, of which it starts 128: an H200 takes at least 4.0 ms for
// 82 x 50,000 rows of 1,000 classes, twice the time of reading them. Chips made for graphics start
// 2 such operations a clock and take thirty times as long.
#include <cstring>

#include "scores.cuh"

namespace ovcore::cuda {
namespace {

constexpr int threads = 128, rows_at_once = threads / mass_lanes;
constexpr int rows_each = 8;  // a logarithm serves that many
constexpr std::int64_t rows_per_block = rows_at_once * rows_each;

// What turns distances into exponents of 2.
__device__ inline double scale_of_beta(double beta) { return beta / 0.69314718055994531; }

struct Words {
  std::uint32_t low, high;
};
__device__ inline Words words_of(double value) {
  Words words;
  memcpy(&words, &value, sizeof words);
  return words;
}
__device__ inline double double_of(Words words) {
  double value;
  memcpy(&value, &words, sizeof value);
  return value;
}

// The larger of two, or NaN if there is one.
__device__ inline float larger_or_nan(float a, float b) {
#if defined(OVCORE_SIMT)
  return a > b || a != a ? a : b;
#else
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#endif
}
__device__ inline double larger_or_nan(double a, double b) { return a > b || a != a ? a : b; }

template <class Z>
__device__ inline Z largest_of_row(Z value) {
  for (int width = mass_lanes / 2; width > 0; width /= 2)
    value = larger_or_nan(value, __shfl_xor_sync(all_lanes, value, width));
  return value;
}

// 2^(scale d) for d <= 0. Lanes enter together.
class Powers {
 public:
  __device__ explicit Powers(double by) : scale(by) {
    step = words_of(exp2(lane_id() / 32.0));
    step.high -= static_cast<std::uint32_t>(lane_id()) << 15;
    lowest = min(words_of(-1000 / by).high, 0xffefffffu);  // finite
  }
  // Distances where y = scale d is below -1000 go up to about that.
  __device__ double cut_off(double d) const {
    Words words = words_of(d);
    words.high = min(words.high, lowest);  // a larger word is a lower number
    return double_of(words);
  }
  __device__ double operator()(double d) const {
    constexpr double round = 6755399441055744.0 / 32;  // adding it rounds to whole 32nds
    const double shifted = fma(d, scale, round);
    const double r = fma(d, scale, round - shifted);
    // y = e + j / 32 + r: the low word counts 32nds, and e goes to the exponent; what that adds
    // for j is missing from the step.
    const std::uint32_t count = words_of(shifted).low;
    const int j = static_cast<int>(count % 32);
    Words power = {__shfl_sync(all_lanes, step.low, j), __shfl_sync(all_lanes, step.high, j)};
    power.high += count << 15;
    double q = fma(r, 0.009618270605870193, 0.055504517047807525);
    q = fma(q, r, 0.24022650694465855);
    q = fma(q, r, 0.6931471805349293);
    return fma(double_of(power), q * r, double_of(power));
  }

 private:
  double scale;
  Words step;
  std::uint32_t lowest;
};

// Sums over a row's classes: of weights, of weights times d, and times d^2.
struct Moments {
  double zeroth = 0, first = 0, second = 0;
};

template <class T, class Z>
__device__ inline Moments moments(const T* row, std::int64_t n_classes, Z peak,
                                  const Powers& power) {
  Moments sums;
  for_each_piece<8>(row, n_classes, [&](int, const auto& z) {
    for (const Z logit : z) {
      const double d = power.cut_off(static_cast<double>(logit) - static_cast<double>(peak));
      const double weight = power(d), weighted = weight * d;
      sums.zeroth += weight;
      sums.first += weighted;
      sums.second = fma(weighted, d, sums.second);
    }
  });
  return {fold_mass(sums.zeroth), fold_mass(sums.first), fold_mass(sums.second)};
}

__device__ inline void add_to(NllSums& sums, const NllSums& more) {
  sums.nll += more.nll;
  sums.slope += more.slope;
  sums.curvature += more.curvature;
}

__global__ void __launch_bounds__(threads)
    add_rows_kernel(const LogitsView* models, std::int64_t n_models, const std::int64_t* target,
                    const double* beta, std::int64_t n_samples, NllSums* partial) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  NllSums* const of_rows = shared<NllSums>();
  const std::int64_t first = blockIdx.x * rows_per_block + threadIdx.x / mass_lanes;
  for (std::int64_t m = blockIdx.y; m < n_models; m += gridDim.y) {
    const LogitsView logits = models[m];
    const Powers power(scale_of_beta(beta[m]));
    NllSums sums{0, 0, 0};
    double product = 1, of_targets = 0;
#pragma unroll 1
    for (int i = 0; i < rows_each; ++i) {
      const std::int64_t n = first + i * rows_at_once;
      const bool is_sample = n < n_samples;
      with_row(logits, is_sample ? n : n_samples - 1, [&](const auto* row) {
        using Z = decltype(widen(*row));
        constexpr Z unbounded = std::numeric_limits<Z>::infinity();
        Z peak = -unbounded;
        for_each_piece<8>(row, logits.cols, [&](int, const auto& z) {
          for (const Z logit : z) peak = larger_or_nan(peak, logit);
        });
        peak = largest_of_row(peak);
        const Moments found = moments(row, logits.cols, peak, power);
        if (!is_sample) return;
        const double total = peak > -unbounded && peak < unbounded ? found.zeroth : nan;
        const double mean = found.first / total;
        const double of_target =
            static_cast<double>(widen(row[target[n]])) - static_cast<double>(peak);
        product *= total;
        of_targets += of_target;
        sums.slope += mean - of_target;
        sums.curvature += found.second / total - mean * mean;
      });
    }
    sums.nll = log(product) - beta[m] * of_targets;
    if (mass_lane() == 0) of_rows[threadIdx.x / mass_lanes] = sums;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int i = 1; i < rows_at_once; ++i) add_to(sums, of_rows[i]);
      partial[m * gridDim.x + blockIdx.x] = sums;
    }
    __syncthreads();
  }
}

// A warp adds up a model's blocks.
__global__ void __launch_bounds__(warp_size)
    add_blocks_kernel(const NllSums* partial, const double* beta, std::int64_t n_blocks,
                      NllSums* sums) {
  const NllSums* from = partial + blockIdx.x * n_blocks;
  NllSums all{0, 0, 0};
  for (std::int64_t i = lane_id(); i < n_blocks; i += warp_size) add_to(all, from[i]);
  for (int width = warp_size / 2; width > 0; width /= 2) {
    add_to(all, {__shfl_xor_sync(all_lanes, all.nll, width),
                 __shfl_xor_sync(all_lanes, all.slope, width),
                 __shfl_xor_sync(all_lanes, all.curvature, width)});
  }
  const double scale = scale_of_beta(beta[blockIdx.x]);
  const auto kept = [](double value, double by) {  // what is left of classes cut off is 0
    return fabs(value * by) < 1e-200 ? 0.0 : value;
  };
  if (lane_id() == 0)
    sums[blockIdx.x] = {all.nll, kept(all.slope, scale), kept(all.curvature, scale * scale)};
}

std::int64_t count_blocks(std::int64_t n_samples) { return ceil_div(n_samples, rows_per_block); }

}  // namespace

std::size_t nll_scratch(std::int64_t n_models, std::int64_t n_samples) {
  return static_cast<std::size_t>(n_models * count_blocks(n_samples)) * sizeof(NllSums);
}

cudaError_t temperature_nll(const LogitsView* models, std::int64_t n_models,
                            const std::int64_t* target, const double* beta, std::int64_t n_samples,
                            void* partial, NllSums* sums, cudaStream_t stream) {
  const std::int64_t n_blocks = count_blocks(n_samples);
  const dim3 blocks(static_cast<unsigned>(n_blocks),
                    static_cast<unsigned>(min(n_models, std::int64_t{65535})));
  auto* const of_blocks = static_cast<NllSums*>(partial);
  OVCORE_RETURN_IF_ERROR(launch(add_rows_kernel, blocks, threads, rows_at_once * sizeof(NllSums),
                                stream, models, n_models, target, beta, n_samples, of_blocks));
  return launch(add_blocks_kernel, dim3(static_cast<unsigned>(n_models)), warp_size, 0, stream,
                static_cast<const NllSums*>(of_blocks), beta, n_blocks, sums);
}

}  // namespace ovcore::cuda
