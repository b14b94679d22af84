// Error bits, one pass over the logits.
//
// A block makes one word of one model: 64 samples. A whole warp reads a long row, four lanes a
// short one, 16 bytes at a time where rows are aligned, so that memory is the limit: five
// instructions an element take a third of the time that 16-bit logits take to arrive.
#include "device.cuh"

namespace ovcore::cuda {
namespace {

constexpr unsigned threads = 256;

// Largest element so far and the lowest class that has it. A NaN, once met, stays.
template <class V>
struct Best {
  V value;
  std::int32_t at;

  __device__ void look(V v, std::int32_t k, bool& is_nan) {
    is_nan |= v != v;
    at = v > value ? k : at;
    value = v > value ? v : value;
  }
  template <int lanes>
  __device__ void fold() {
    for (int width = lanes / 2; width > 0; width /= 2) {
      const V other = __shfl_xor_sync(all_lanes, value, width);
      const std::int32_t other_at = __shfl_xor_sync(all_lanes, at, width);
      const bool wins = other != other || other > value || (other == value && other_at < at);
      value = wins ? other : value;
      at = wins ? other_at : at;
    }
  }
};

// One of the elements that 16 bytes hold.
template <class T>
__device__ T element(const uint4& bytes, int e) {
  const unsigned words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
  if constexpr (sizeof(T) == 8) {
    return __longlong_as_double(
        static_cast<long long>(static_cast<std::uint64_t>(words[2 * e + 1]) << 32 | words[2 * e]));
  } else if constexpr (sizeof(T) == 4) {
    return __uint_as_float(words[e]);
  } else {
    return T{static_cast<std::uint16_t>(words[e / 2] >> (16 * (e % 2)))};
  }
}

// Predicted class of a row that `lanes` neighbouring lanes read together, -1 where there is none.
template <int lanes, class T>
__device__ std::int32_t arg_max(const T* row, std::int64_t n_classes, int lane) {
  using V = decltype(widen(*row));
  constexpr int in_vector = 16 / static_cast<int>(sizeof(T));
  constexpr int together = 4;  // loads on their way at once
  Best<V> best{-static_cast<V>(infinity), std::numeric_limits<std::int32_t>::max()};
  bool is_nan = false;
  const auto look = [&](std::int64_t k) {
    best.look(widen(row[k]), static_cast<std::int32_t>(k), is_nan);
  };

  const auto past = reinterpret_cast<std::uintptr_t>(row) % 16 / sizeof(T);
  const std::int64_t to_aligned = past == 0 ? 0 : in_vector - static_cast<std::int64_t>(past);
  const std::int64_t head = to_aligned < n_classes ? to_aligned : n_classes;
  const std::int64_t n_vectors = (n_classes - head) / in_vector;
#pragma unroll 1
  for (std::int64_t k = lane; k < head; k += lanes) look(k);
  const auto* vectors = reinterpret_cast<const uint4*>(row + head);
  for (std::int64_t first = lane; first < n_vectors; first += together * lanes) {
    uint4 loaded[together];
#pragma unroll
    for (int i = 0; i < together; ++i)
      if (first + i * lanes < n_vectors) loaded[i] = vectors[first + i * lanes];
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const std::int64_t v = first + i * lanes;
      if (v < n_vectors) {
        const auto k = static_cast<std::int32_t>(head + v * in_vector);
#pragma unroll
        for (int e = 0; e < in_vector; ++e)
          best.look(widen(element<T>(loaded[i], e)), k + e, is_nan);
      }
    }
  }
#pragma unroll 1
  for (std::int64_t k = head + n_vectors * in_vector + lane; k < n_classes; k += lanes) look(k);

  if (is_nan) best.value = std::numeric_limits<V>::quiet_NaN();
  best.template fold<lanes>();
  return best.value > -static_cast<V>(infinity) ? best.at : -1;
}

// A thread of the first 64 for each sample of the word; both halves are written by their warps.
__device__ void write_word(bool is_wrong, std::uint64_t* word) {
  const unsigned bits = __ballot_sync(all_lanes, is_wrong);
  if (lane_id() == 0) reinterpret_cast<unsigned*>(word)[warp_id()] = bits;
}

template <int lanes>
__global__ void __launch_bounds__(threads, 2)
    pack_logits(const LogitsView* models, const std::int64_t* target, std::int64_t n_samples,
                MatrixView<std::uint64_t> words, MatrixView<std::int32_t> preds,
                std::int64_t* without) {
  constexpr int rows_at_once = static_cast<int>(threads) / lanes;
  std::int32_t* predicted = shared<std::int32_t>();  // 64
  const std::int64_t m = blockIdx.x / words.cols, w = blockIdx.x % words.cols;
  const LogitsView logits = models[m];
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  for (int i = static_cast<int>(threadIdx.x) / lanes; i < 64; i += rows_at_once) {
    std::int64_t n = w * 64 + i;
    if (n >= n_samples) n = n_samples - 1;  // all lanes meet in arg_max
    std::int32_t found = -1;
    if (n >= 0)
      found = with_row(logits, n,
                       [&](const auto* row) { return arg_max<lanes>(row, logits.cols, lane); });
    if (lane == 0) predicted[i] = found;
  }
  __syncthreads();
  if (threadIdx.x < 64) {
    const std::int64_t n = w * 64 + threadIdx.x;
    const bool is_there = n < n_samples;
    const std::int32_t found = is_there ? predicted[threadIdx.x] : 0;
    if (is_there && preds.data != nullptr) preds.row(m)[n] = found;
    write_word(is_there && found != target[n], words.row(m) + w);
    const int lacking = __popc(__ballot_sync(all_lanes, found < 0));
    if (lane_id() == 0 && lacking > 0) add(without + m, lacking);
  }
}

__global__ void pack_preds(const IntegersView* preds, const std::int64_t* target,
                           std::int64_t n_samples, MatrixView<std::uint64_t> words) {
  const std::int64_t m = blockIdx.x / words.cols, w = blockIdx.x % words.cols;
  const std::int64_t n = w * 64 + threadIdx.x;
  write_word(n < n_samples && read_integer(preds[m], n) != target[n], words.row(m) + w);
}

}  // namespace

cudaError_t pack_errors(const LogitsView* models, std::int64_t n_models, std::int64_t row_bytes,
                        const std::int64_t* target, std::int64_t n_samples,
                        MatrixView<std::uint64_t> words, MatrixView<std::int32_t> preds,
                        std::int64_t* without, cudaStream_t stream) {
  const std::int64_t n_blocks = n_models * words.cols;
  if (n_blocks > most_blocks) return cudaErrorInvalidValue;
  OVCORE_RETURN_IF_ERROR(
      set_to_zero(without, static_cast<std::size_t>(n_models) * sizeof *without, stream));
  constexpr std::int64_t short_row = 256;
  return launch(row_bytes <= short_row ? pack_logits<4> : pack_logits<32>,
                dim3(static_cast<unsigned>(n_blocks)), threads, 64 * sizeof(std::int32_t), stream,
                models, target, n_samples, words, preds, without);
}

cudaError_t pack_errors(const IntegersView* preds, std::int64_t n_models,
                        const std::int64_t* target, std::int64_t n_samples,
                        MatrixView<std::uint64_t> words, cudaStream_t stream) {
  const std::int64_t n_blocks = n_models * words.cols;
  if (n_blocks > most_blocks) return cudaErrorInvalidValue;
  return launch(pack_preds, dim3(static_cast<unsigned>(n_blocks)), 64, 0, stream, preds, target,
                n_samples, words);
}

}  // namespace ovcore::cuda
