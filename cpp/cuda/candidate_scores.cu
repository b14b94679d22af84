// Scores of the classes that can win, the best score outside them, and confidences.
//
// Sixteen threads take a row, as its mass is made of 16 sums; neighbours read neighbouring classes.
// Instructions are the limit, 29 a class, of which 17 are steps that must not be fused: 2.0 ms of
// an H200 for two billion classes (82 models, 25,000 samples of 1,000 classes), which it could read
// in half of that; what is done once a row adds a sixth.
#include "scores.cuh"

namespace ovcore::cuda {
namespace {

constexpr int threads = 128, rows_at_once = threads / mass_lanes;

__global__ void __launch_bounds__(threads)
    confidences_kernel(const ScoredModel* models, MatrixView<const std::int32_t> preds,
                       MatrixView<float> confidence) {
  const std::int64_t n = std::int64_t{blockIdx.x} * rows_at_once + threadIdx.x / mass_lanes;
  const bool is_sample = n < preds.cols;
  for (std::int64_t m = blockIdx.y; m < preds.rows; m += gridDim.y) {
    const LogitsView logits = models[m].logits;
    const std::int32_t top = is_sample ? preds.row(m)[n] : -1;
    double sum = 0;
    if (top >= 0)
      sum = with_row(logits, n, [&](const auto* row) {
        return weigh(row, logits.cols, widen(row[top]), scale_of(models[m].temperature),
                     [](int, const auto&) {});
      });
    const double mass = fold_mass(sum);
    if (is_sample && mass_lane() == 0)
      confidence.row(m)[n] = top < 0 ? std::numeric_limits<float>::quiet_NaN()
                                     : static_cast<float>(__ddiv_rn(1.0, mass));
  }
}

// Which classes a sample lists, a bit each: a word has the classes of one thread in 32 steps.
struct ListedBits {
  std::uint32_t* words;

  static constexpr int classes_per_group = 32 * mass_lanes;
  __host__ __device__ static std::int64_t count_words(std::int64_t n_classes) {
    return ceil_div(n_classes, std::int64_t{classes_per_group}) * mass_lanes;
  }
  // All threads of a block together.
  __device__ void fill(std::int64_t n_words, const std::int32_t* classes, int size) const {
    for (std::int64_t i = threadIdx.x; i < n_words; i += threads) words[i] = 0;
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < size; i += threads) {
      const std::int32_t k = classes[i];
      atomicOr(words + k / classes_per_group * mass_lanes + k % mass_lanes,
               1u << k / mass_lanes % 32);
    }
    __syncthreads();
  }
  // Of a thread's classes from this step on.
  __device__ std::uint32_t from(int step) const {
    return words[step / 32 * mass_lanes + mass_lane()] >> step % 32;
  }
};

template <class Z>
__device__ inline Z largest_of_row(Z value) {
  for (int width = mass_lanes / 2; width > 0; width /= 2)
    value = max(value, __shfl_xor_sync(all_lanes, value, width));
  return value;
}

// One thread's part of a row: the sum of its weights, and the largest logit (for Combine::logit) or
// weight of those of its classes that are not listed.
struct Part {
  double sum, outside;
};

template <class T, class Z>
__device__ Part part_of_row(const T* row, std::int64_t n_classes, Z peak, float scale,
                            bool is_logit, ListedBits listed, bool lists_all) {
  const auto larger_of_unlisted = [&](int step, const auto& values, auto& most) {
    constexpr int n = sizeof values / sizeof *values;
    const std::uint32_t bits = listed.from(step);
#pragma unroll
    for (int i = 0; i < n; ++i)
      if ((bits >> i & 1) == 0) most = max(most, values[i]);
  };
  if (is_logit) {
    Z most = -std::numeric_limits<Z>::infinity();
    for_each_piece<8>(row, n_classes,
                      [&](int step, const auto& z) { larger_of_unlisted(step, z, most); });
    return {1.0 / mass_lanes, static_cast<double>(most)};
  }
  float most = 0;
  const double sum = weigh(row, n_classes, peak, scale, [&](int step, const auto& weights) {
    larger_of_unlisted(step, weights, most);
  });
  return {sum, static_cast<double>(lists_all ? -infinity : most)};
}

// A block takes a sample, sixteen threads a model.
__global__ void __launch_bounds__(threads)
    candidate_scores_kernel(const ScoredModel* models, std::int64_t n_models,
                            std::int64_t n_classes, Combine combine, CandidateLists lists,
                            MatrixView<float> scores, MatrixView<float> outside,
                            MatrixView<double> mass) {
  const ListedBits listed{shared<std::uint32_t>()};
  for (std::int64_t s = blockIdx.x; s < outside.rows; s += gridDim.x) {
    const std::int64_t n = lists.samples[s], first = lists.offsets[s];
    const std::int32_t* classes = lists.classes + first;
    const int size = static_cast<int>(lists.offsets[s + 1] - first);
    listed.fill(ListedBits::count_words(n_classes), classes, size);

    for (std::int64_t some = 0; some < n_models; some += rows_at_once) {
      const std::int64_t m = some + threadIdx.x / mass_lanes;
      const bool is_model = m < n_models;
      const ScoredModel model = models[is_model ? m : 0];
      const std::int32_t top = is_model ? classes[lists.tops.row(s)[m]] : 0;
      Part part = {0, 0};
      if (is_model)
        part = with_row(model.logits, n, [&](const auto* row) {
          return part_of_row(row, n_classes, widen(row[top]), scale_of(model.temperature),
                             combine == Combine::logit, listed, size == n_classes);
        });
      const double total = fold_mass(part.sum), most = largest_of_row(part.outside);
      if (is_model)
        with_row(model.logits, n, [&](const auto* row) {
          using Z = decltype(widen(*row));
          const RowScores<Z> of_row(widen(row[top]), model.temperature, total, combine);
          if (mass_lane() == 0) {
            mass.row(s)[m] = total;
            outside.row(s)[m] = combine == Combine::logit
                                    ? of_row.score(static_cast<Z>(most))
                                    : over_mass(static_cast<float>(most), total);
          }
#pragma unroll 1
          for (int i = mass_lane(); i < size; i += mass_lanes)
            scores.row(first + i)[m] = of_row.score(widen(row[classes[i]]));
        });
    }

    for (std::int64_t column = n_models + threadIdx.x; column < scores.cols; column += threads) {
      outside.row(s)[column] = 0;
      mass.row(s)[column] = 1;
      for (int i = 0; i < size; ++i) scores.row(first + i)[column] = 0;
    }
    __syncthreads();  // nobody reads the bits any more
  }
}

}  // namespace

cudaError_t confidences(const ScoredModel* models, MatrixView<const std::int32_t> preds,
                        MatrixView<float> confidence, cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>(ceil_div<std::int64_t>(preds.cols, rows_at_once)),
                    static_cast<unsigned>(min(preds.rows, std::int64_t{65535})));
  return launch(confidences_kernel, blocks, threads, 0, stream, models, preds, confidence);
}

cudaError_t candidate_scores(const ScoredModel* models, std::int64_t n_models,
                             std::int64_t n_classes, Combine combine, const CandidateLists& lists,
                             MatrixView<float> scores, MatrixView<float> outside,
                             MatrixView<double> mass, cudaStream_t stream) {
  if (n_classes > most_classes) return cudaErrorInvalidValue;
  const auto blocks = static_cast<unsigned>(min(outside.rows, std::int64_t{most_blocks}));
  const auto bytes =
      static_cast<std::size_t>(ListedBits::count_words(n_classes)) * sizeof(std::uint32_t);
  return launch(candidate_scores_kernel, dim3(blocks), threads, bytes, stream, models, n_models,
                n_classes, combine, lists, scores, outside, mass);
}

}  // namespace ovcore::cuda
