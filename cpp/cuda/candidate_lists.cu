// The classes that can win a sample: its target and every model's prediction.
//
// A warp takes a sample and goes down from the highest class, one pass over the models for each
// class: few are listed for many models. The predictions of 128 models stay in registers; more are
// read again in every pass. Warps of a block take neighbouring samples, whose predictions by one
// model lie in the same 32 bytes.
#include "device.cuh"

namespace ovcore::cuda {
namespace {

constexpr int threads = 256, samples_at_once = threads / warp_size;
constexpr std::int32_t no_class = std::numeric_limits<std::int32_t>::min();

// What all models predict for one sample; a lane has every 32nd model.
struct Predictions {
  static constexpr int n_held = 4;
  const std::int32_t* of_first;
  std::int64_t stride, n_models;
  std::int32_t held[n_held];

  __device__ Predictions(MatrixView<const std::int32_t> preds, std::int64_t n)
      : of_first(preds.data + n), stride(preds.row_stride), n_models(preds.rows) {
#pragma unroll
    for (int i = 0; i < n_held; ++i) {
      const std::int64_t m = lane_id() + i * warp_size;
      held[i] = m < n_models ? of_first[m * stride] : no_class;
    }
  }

  // Calls visit(model, its prediction) for the lane's models.
  template <class Visit>
  __device__ void for_each(const Visit& visit) const {
#pragma unroll
    for (int i = 0; i < n_held; ++i)
      if (lane_id() + i * warp_size < n_models) visit(lane_id() + i * warp_size, held[i]);
    for (std::int64_t m = lane_id() + n_held * warp_size; m < n_models; m += warp_size)
      visit(m, of_first[m * stride]);
  }

  __device__ bool differ() const {
    bool found = false;
    for_each([&](std::int64_t, std::int32_t k) { found = found || k != *of_first; });
    return __any_sync(all_lanes, found) != 0;
  }

  // Highest class below a limit among them and the target; no_class where there is none.
  __device__ std::int32_t highest_below(std::int32_t limit, std::int32_t target) const {
    std::int32_t most = target < limit ? target : no_class;
    for_each([&](std::int64_t, std::int32_t k) {
      if (k < limit) most = max(most, k);
    });
    return __reduce_max_sync(all_lanes, most);
  }
};

__device__ inline std::int64_t sample_of_warp() {
  return std::int64_t{blockIdx.x} * samples_at_once + warp_id();
}
constexpr std::int32_t above_all = std::numeric_limits<std::int32_t>::max();

__global__ void __launch_bounds__(threads)
    count_candidates_kernel(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                            bool all, std::int32_t* sizes) {
  const std::int64_t n = sample_of_warp();
  if (n >= preds.cols) return;
  const Predictions predictions(preds, n);
  const auto of_target = static_cast<std::int32_t>(target[n]);
  std::int32_t size = 0;
  if (all || predictions.differ())
    for (std::int32_t k = above_all; (k = predictions.highest_below(k, of_target)) != no_class;)
      ++size;
  if (lane_id() == 0) sizes[n] = size;
}

__global__ void __launch_bounds__(threads)
    list_candidates_kernel(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                           const std::int64_t* samples, const std::int64_t* offsets,
                           std::int64_t n_listed, std::int32_t* classes, std::int32_t* positions,
                           MatrixView<std::int32_t> tops) {
  const std::int64_t s = sample_of_warp();
  if (s >= n_listed) return;
  const Predictions predictions(preds, samples[s]);
  const auto of_target = static_cast<std::int32_t>(target[samples[s]]);
  const std::int64_t first = offsets[s];
  std::int32_t* places = tops.row(s);
  auto place = static_cast<std::int32_t>(offsets[s + 1] - first);
  for (std::int32_t k = above_all; (k = predictions.highest_below(k, of_target)) != no_class;) {
    --place;
    if (lane_id() == 0) {
      classes[first + place] = k;
      if (k == of_target) positions[s] = place;
    }
    predictions.for_each([&](std::int64_t m, std::int32_t predicted) {
      if (predicted == k) places[m] = place;
    });
  }
  for (std::int64_t m = preds.rows + lane_id(); m < tops.cols; m += warp_size) places[m] = -1;
}

unsigned blocks_for(std::int64_t n_samples) {
  return static_cast<unsigned>(ceil_div<std::int64_t>(n_samples, samples_at_once));
}

}  // namespace

cudaError_t count_candidates(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                             bool all, std::int32_t* sizes, cudaStream_t stream) {
  return launch(count_candidates_kernel, dim3(blocks_for(preds.cols)), threads, 0, stream, preds,
                target, all, sizes);
}

cudaError_t list_candidates(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                            const std::int64_t* samples, const std::int64_t* offsets,
                            std::int64_t n_listed, std::int32_t* classes, std::int32_t* positions,
                            MatrixView<std::int32_t> tops, cudaStream_t stream) {
  return launch(list_candidates_kernel, dim3(blocks_for(n_listed)), threads, 0, stream, preds,
                target, samples, offsets, n_listed, classes, positions, tops);
}

}  // namespace ovcore::cuda
