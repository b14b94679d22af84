// What the three ways to count joint errors share, and for tensor cores the way of bits from rows
// of words to tiles of counts.
#pragma once

#include "async_copy.cuh"
#include "pair_tiles.cuh"

namespace ovcore::cuda {

// Add counts to a joint that is 0, entries i <= j alone. Rows of words start at multiples of 16
// bytes.
cudaError_t joint_errors_mma(MatrixView<const std::uint64_t> words, MatrixView<std::int64_t> joint,
                             cudaStream_t stream);
cudaError_t joint_errors_wgmma(MatrixView<const std::uint64_t> words,
                               MatrixView<std::int64_t> joint, cudaStream_t stream);

namespace {

// Tensor cores take tiles of 128 x 256 pairs. An SM reads 384 rows for 32,768 pairs: smaller tiles
// ask more of the second-level cache than it gives (see joint_errors_mma.cu).
inline constexpr int tensor_square = 256, tensor_rows = 128, tensor_cols = 256;
inline constexpr int tensor_threads = 256;
inline constexpr int tensor_panel = tensor_rows + tensor_cols;  // rows of words in a stage

inline constexpr int chunk_bytes = 16, chunk_words = 2;

// Stages in shared memory: 128 rows of the tile's rows, then 256 of its columns, each with so many
// chunks of 16 bytes. They are swizzled: where a row has 128 bytes, chunk c of row r lies at
// c ^ (r % 8); where it has 64, at c ^ (r / 2 % 4). Eight rows' chunks c then lie in different
// banks.
template <int Chunks>
__device__ inline int swizzled(int row, int chunk) {
  static_assert(Chunks == 4 || Chunks == 8);
  return row * Chunks + (chunk ^ (Chunks == 8 ? row % 8 : row / 2 % 4));
}

// Copies one chunk of every 256 / Chunks rows: a thread's share of a stage.
template <int Chunks>
class StageCopies {
  static constexpr int step = tensor_threads / Chunks;  // rows
  static constexpr int of_rows = tensor_rows / step, of_cols = tensor_cols / step;
  static_assert(step % 8 == 0, "all of a thread's rows are swizzled alike");

 public:
  static constexpr int stage_bytes = tensor_panel * Chunks * chunk_bytes;
  static constexpr int stage_samples = Chunks * chunk_bytes * 8;

  __device__ StageCopies(const MatrixView<const std::uint64_t>& words, const Part& part)
      : last_(part.last), n_words_(words.cols), step_(step * words.row_stride) {
    const int row = static_cast<int>(threadIdx.x) / Chunks;
    const int chunk = static_cast<int>(threadIdx.x) % Chunks;
    to_ = swizzled<Chunks>(row, chunk) * chunk_bytes;
    word_ = chunk * chunk_words;
    // Rows past the last are not read, but their addresses are multiples of 16 bytes, too.
    rows_ = words.row(min(part.row + row, words.rows - 1)) + word_;
    cols_ = words.row(min(part.col + row, words.rows - 1)) + word_;
    rows_left_ = clamped(words.rows - part.row - row);
    cols_left_ = clamped(words.rows - part.col - row);
  }

  // Queues the copies of a stage, as a group; an empty one past the last stage. What lies past the
  // last row or word is 0.
  __device__ void bring(std::int64_t stage, char* slot) const {
    if (stage < last_) {
      const std::int64_t word = stage * (Chunks * chunk_words);
      const std::int64_t left = n_words_ - word - word_;
      if (left >= chunk_words)
        copy(word, slot, chunk_bytes);
      else
        copy(word, slot, left == 1 ? chunk_bytes / chunk_words : 0);
    }
    commit_copies();
  }

 private:
  __device__ void copy(std::int64_t word, char* slot, int bytes) const {
    constexpr int stride = step * Chunks * chunk_bytes;
#pragma unroll
    for (int i = 0; i < of_rows; ++i)
      copy_async<chunk_bytes>(slot + to_ + i * stride, rows_ + word + i * step_,
                              i * step < rows_left_ ? bytes : 0);
#pragma unroll
    for (int i = 0; i < of_cols; ++i)
      copy_async<chunk_bytes>(slot + to_ + (of_rows + i) * stride, cols_ + word + i * step_,
                              i * step < cols_left_ ? bytes : 0);
  }
  __device__ static int clamped(std::int64_t rows) {
    return static_cast<int>(max(std::int64_t{0}, min(rows, std::int64_t{tensor_panel})));
  }

  const std::uint64_t *rows_, *cols_;
  std::int64_t last_, n_words_, step_;
  int to_, word_, rows_left_, cols_left_;
};

// Queues a kernel that counts stages of Copies.
template <class Copies, class Kernel>
inline cudaError_t count_on_tensor_cores(Kernel kernel, int shared_bytes,
                                         MatrixView<const std::uint64_t> words,
                                         MatrixView<std::int64_t> joint, cudaStream_t stream) {
  Plan plan;
  OVCORE_RETURN_IF_ERROR(make_plan<tensor_square>(
      words.rows, ceil_div(words.cols * samples_per_word, std::int64_t{Copies::stage_samples}),
      Copies::stage_samples, 1, &plan));
  OVCORE_RETURN_IF_ERROR(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                              cudaFuncAttributeMaxDynamicSharedMemorySize,
                                              shared_bytes));
  return launch(kernel, blocks_of(plan), tensor_threads, static_cast<std::size_t>(shared_bytes),
                stream, words, joint, plan);
}

// Adds a thread's counts of 16 x 8 pairs: both tensor core instructions give lane l those of rows
// l / 4 and l / 4 + 8, columns l % 4 * 2 and the next.
__device__ inline void add_fragment(const MatrixView<std::int64_t>& joint, std::int64_t row,
                                    std::int64_t col, const int* counts) {
#pragma unroll
  for (int e = 0; e < 4; ++e)
    add_pair(joint, row + lane_id() / 4 + e / 2 * 8, col + lane_id() % 4 * 2 + e % 2, counts[e]);
}

}  // namespace
}  // namespace ovcore::cuda
