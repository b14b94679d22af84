// What an ensemble predicts: sums over all classes, for samples on which its models differ.
//
// A block takes a sample. Sixteen threads a row find every model's mass; then each thread goes
// through the models in order with a few classes of its own. That reads the rows twice, the second
// time from a cache, and makes every weight twice; a score is a division in double on top.
#include "scores.cuh"

namespace ovcore::cuda {
namespace {

constexpr int threads = 256, rows_at_once = threads / mass_lanes;
constexpr int n_own = 4;  // classes a thread takes through all models at once

// What scores of a model on the block's sample are made of.
struct RowFacts {
  double peak, mass, scale;
};

struct Shared {
  double most[threads / warp_size];
  std::int64_t best[threads / warp_size];
};

// The largest of all threads' values, and the lowest class that has it. The result is thread 0's.
__device__ std::int64_t class_of_largest(double most, std::int64_t best) {
  const auto meet = [&](double other_most, std::int64_t other_best) {
    if (other_most > most || (other_most == most && other_best < best)) {
      most = other_most;
      best = other_best;
    }
  };
  for (int width = warp_size / 2; width > 0; width /= 2) {
    const double other_most = __shfl_xor_sync(all_lanes, most, width);
    meet(other_most, __shfl_xor_sync(all_lanes, best, width));
  }
  Shared* const all = shared<Shared>();
  if (lane_id() == 0) {
    all->most[warp_id()] = most;
    all->best[warp_id()] = best;
  }
  __syncthreads();
  if (threadIdx.x == 0)
    for (int warp = 1; warp < threads / warp_size; ++warp) meet(all->most[warp], all->best[warp]);
  return best;
}

// Whether some model predicts another class than the first. Every warp finds out by itself.
__device__ bool models_differ(MatrixView<const std::int32_t> preds, std::int64_t n) {
  bool differ = false;
  for (std::int64_t m = lane_id(); m < preds.rows; m += warp_size)
    differ = differ || preds.row(m)[n] != preds.data[n];
  return __any_sync(all_lanes, differ) != 0;
}

// Adds up the scores of classes first, first + threads, ... of all models.
__device__ void add_models(const ScoredModel* models, const double* weights, Combine combine,
                           std::int64_t n_models, std::int64_t n_classes, std::int64_t n,
                           const RowFacts* facts, std::int64_t first, double (&total)[n_own]) {
#pragma unroll
  for (int i = 0; i < n_own; ++i) total[i] = combine == Combine::max ? -1 : 0;
  for (std::int64_t m = 0; m < n_models; ++m) {
    const ScoredModel model = models[m];
    const RowFacts of_row = facts[m];
    const double by = weights[m];
    with_row(model.logits, n, [&](const auto* row) {
      using Z = decltype(widen(*row));
      const auto peak = static_cast<Z>(of_row.peak);
      const auto scale = static_cast<float>(of_row.scale);
      Z z[n_own];
#pragma unroll
      for (int i = 0; i < n_own; ++i) {
        const std::int64_t k = first + i * threads;
        z[i] = k < n_classes ? widen(row[k]) : peak;
      }
#pragma unroll
      for (int i = 0; i < n_own; ++i) {
        const float score = combine == Combine::logit
                                ? logit_score(z[i], peak, model.temperature)
                                : over_mass(weight_of(z[i], peak, scale), of_row.mass);
        const double term = __dmul_rn(by, static_cast<double>(score));
        if (combine == Combine::max)
          total[i] = total[i] > term ? total[i] : term;
        else
          total[i] = __dadd_rn(total[i], term);
      }
    });
  }
}

__global__ void __launch_bounds__(threads, 3)
    ensemble_predictions_kernel(const ScoredModel* models, const double* weights, Combine combine,
                                std::int64_t n_classes, MatrixView<const std::int32_t> preds,
                                RowFacts* scratch, std::int32_t* ensemble) {
  const std::int64_t n_models = preds.rows;
  RowFacts* const facts = scratch + blockIdx.x * n_models;
  for (std::int64_t n = blockIdx.x; n < preds.cols; n += gridDim.x) {
    if (!models_differ(preds, n)) {
      if (threadIdx.x == 0) ensemble[n] = preds.data[n];
      continue;
    }
    for (std::int64_t some = 0; some < n_models; some += rows_at_once) {
      const std::int64_t m = some + threadIdx.x / mass_lanes;
      const bool is_model = m < n_models;
      RowFacts of_row = {0, 0, 0};
      if (is_model) {
        const ScoredModel model = models[m];
        const float scale = scale_of(model.temperature);
        with_row(model.logits, n, [&](const auto* row) {
          const auto peak = widen(row[preds.row(m)[n]]);
          of_row.peak = peak;
          of_row.scale = scale;
          if (combine != Combine::logit)
            of_row.mass = weigh(row, n_classes, peak, scale, [](int, const auto&) {});
        });
      }
      of_row.mass = fold_mass(of_row.mass);
      if (is_model && mass_lane() == 0) facts[m] = of_row;
    }
    __syncthreads();

    double most = -static_cast<double>(infinity);
    std::int64_t best = -1;
    for (std::int64_t first = threadIdx.x; first < n_classes; first += n_own * threads) {
      double total[n_own];
      add_models(models, weights, combine, n_models, n_classes, n, facts, first, total);
#pragma unroll
      for (int i = 0; i < n_own; ++i) {
        const std::int64_t k = first + i * threads;
        if (k < n_classes && total[i] > most) {
          most = total[i];
          best = k;
        }
      }
    }
    best = class_of_largest(most, best);
    if (threadIdx.x == 0) ensemble[n] = static_cast<std::int32_t>(best);
    __syncthreads();  // before facts and shared memory are written again
  }
}

// Blocks fill a large chip twice; scratch stays below 100 MB up to 16,000 models.
std::int64_t count_blocks(std::int64_t n_models, std::int64_t n_samples) {
  constexpr std::int64_t most = 2048, few = 256, most_facts = 1 << 22;
  const std::int64_t enough = max(few, min(most, most_facts / max(n_models, std::int64_t{1})));
  return min(n_samples, enough);
}

}  // namespace

std::size_t ensemble_scratch(std::int64_t n_models, std::int64_t n_samples) {
  return static_cast<std::size_t>(count_blocks(n_models, n_samples) * n_models) * sizeof(RowFacts);
}

cudaError_t ensemble_predictions(const ScoredModel* models, const double* weights, Combine combine,
                                 std::int64_t n_classes, MatrixView<const std::int32_t> preds,
                                 void* scratch, std::int32_t* ensemble, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(count_blocks(preds.rows, preds.cols));
  return launch(ensemble_predictions_kernel, dim3(blocks), threads, sizeof(Shared), stream, models,
                weights, combine, n_classes, preds, static_cast<RowFacts*>(scratch), ensemble);
}

}  // namespace ovcore::cuda
