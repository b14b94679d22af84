// What counts over all pairs of models share: tiles of the upper triangle, their split over
// samples, and the mirror image that fills the lower triangle.
//
// A job's blocks count tiles of S / 2 x S pairs, two to a square of S x S on or right of the
// diagonal. Where there are few tiles, several blocks count parts of the samples of each; they add
// integers to an output that starts at 0, so their order does not matter.
#pragma once

#include <algorithm>

#include "device.cuh"

namespace ovcore::cuda {
namespace {

// ---- tiles and splits -------------------------------------------------------------------------

struct Plan {
  unsigned squares;        // to a side of the matrix
  unsigned tiles;          // two to a square
  std::int64_t splits;     // of each tile
  std::int64_t stages;     // of samples, in all
  std::int64_t per_split;  // stages
};

// A block's tile, its first row and column, and its stages.
struct Part {
  std::int64_t row, col, first, last;
};

__host__ __device__ inline unsigned triangle(unsigned n) {
  return n % 2 == 0 ? n / 2 * (n + 1) : (n + 1) / 2 * n;
}

// The last column c with triangle(c) <= index < 2^31.
__device__ inline unsigned column_of(unsigned index) {
  unsigned column = 0;
  for (unsigned step = 1u << 15; step > 0; step /= 2)
    if (triangle(column + step) <= index) column += step;
  return column;
}

// What a block counts. Squares are numbered in bands of four columns, and in a band row by row:
// blocks that run at the same time share rows and columns, which the second-level cache holds.
template <int S>
__device__ inline Part part_of(const Plan& plan, unsigned block) {
  constexpr unsigned band_columns = 4;
  const unsigned tile = block % plan.tiles, square = tile / 2;
  const unsigned band = column_of(square) / band_columns * band_columns;
  const unsigned width = min(band_columns, plan.squares - band);
  unsigned at = square - triangle(band), row, col;
  if (at < band * width) {
    row = at / width;
    col = band + at % width;
  } else {  // the band's end on the diagonal, column by column
    at -= band * width;
    col = column_of(at);
    row = band + at - triangle(col);
    col += band;
  }
  const std::int64_t first = block / plan.tiles * plan.per_split;
  return {std::int64_t{row} * S + tile % 2 * (S / 2), std::int64_t{col} * S, first,
          min(first + plan.per_split, plan.stages)};
}

// Splits every tile for the shortest schedule: waves of blocks, each as long as one block.
//
//   stages           that a tile takes
//   samples          of a stage
//   blocks_at_once   of one multiprocessor
template <int S>
inline cudaError_t make_plan(std::int64_t n_models, std::int64_t stages, std::int64_t samples,
                             std::int64_t blocks_at_once, Plan* plan) {
  constexpr std::int64_t most_samples = 1 << 30;  // of a split: its counts are int32
  constexpr std::int64_t overhead = 4;            // of a block, in stages
  int device, processors;
  OVCORE_RETURN_IF_ERROR(cudaGetDevice(&device));
  OVCORE_RETURN_IF_ERROR(
      cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  const std::int64_t slots = blocks_at_once * processors;
  const std::int64_t squares = ceil_div(n_models, std::int64_t{S});
  if (squares >= 1 << 15) return cudaErrorInvalidValue;
  const std::int64_t tiles = squares * (squares + 1);
  const std::int64_t least =
      std::max(std::int64_t{1}, ceil_div(stages, most_samples / samples - 1));
  std::int64_t best = least, shortest = std::numeric_limits<std::int64_t>::max();
  const std::int64_t most = std::min(stages, least + 4 * ceil_div(slots, tiles));
  for (std::int64_t splits = least; splits <= most; ++splits) {
    const std::int64_t length =
        ceil_div(tiles * splits, slots) * (ceil_div(stages, splits) + overhead);
    if (length >= shortest) continue;
    best = splits;
    shortest = length;
  }
  const std::int64_t per_split = std::max(std::int64_t{1}, ceil_div(stages, best));
  const std::int64_t splits = std::max(std::int64_t{1}, ceil_div(stages, per_split));
  if (tiles * splits > std::numeric_limits<std::int32_t>::max()) return cudaErrorInvalidValue;
  *plan = {static_cast<unsigned>(squares), static_cast<unsigned>(tiles), splits, stages, per_split};
  return cudaSuccess;
}

inline dim3 blocks_of(const Plan& plan) {
  return dim3(static_cast<unsigned>(plan.tiles * plan.splits));
}

// ---- output -----------------------------------------------------------------------------------

// Adds to a pair of the upper triangle; others are ignored.
__device__ inline void add_pair(const MatrixView<std::int64_t>& counts, std::int64_t i,
                                std::int64_t j, std::int64_t count) {
  if (i <= j && j < counts.rows) add(counts.row(i) + j, count);
}

inline cudaError_t set_to_zero(MatrixView<std::int64_t> counts, cudaStream_t stream) {
  if (counts.rows == 0) return cudaSuccess;
  const auto size = static_cast<std::size_t>(counts.rows);
  const std::size_t width = size * sizeof(std::int64_t);
  const std::size_t pitch =
      size > 1 ? static_cast<std::size_t>(counts.row_stride) * sizeof(std::int64_t) : width;
  return cudaMemset2DAsync(counts.data, pitch, 0, width, size, stream);
}

constexpr int mirror_tile = 32, mirror_threads = 256;

// Copies the upper triangle to the lower one: one read and one write of half the matrix, both by
// whole rows of 32.
template <class Count>
__global__ void __launch_bounds__(mirror_threads) mirror_tiles(MatrixView<Count> counts) {
  Count* const tile = shared<Count>();  // 33 to a row, so that columns lie in different banks
  const unsigned tile_col = column_of(blockIdx.x);
  const std::int64_t row = std::int64_t{blockIdx.x - triangle(tile_col)} * mirror_tile;
  const std::int64_t col = std::int64_t{tile_col} * mirror_tile;
  const int x = lane_id();
  constexpr int step = mirror_threads / warp_size;
  for (int y = warp_id(); y < mirror_tile; y += step)
    if (row + y < counts.rows && col + x < counts.rows)
      tile[y * (mirror_tile + 1) + x] = counts.row(row + y)[col + x];
  __syncthreads();
  for (int y = warp_id(); y < mirror_tile; y += step)
    if (col + y < counts.rows && row + x < col + y)
      counts.row(col + y)[row + x] = tile[x * (mirror_tile + 1) + y];
}

template <class Count>
inline cudaError_t mirror(MatrixView<Count> counts, cudaStream_t stream) {
  const std::int64_t tiles = ceil_div(counts.rows, std::int64_t{mirror_tile});
  if (tiles >= 1 << 16) return cudaErrorInvalidValue;
  return launch(mirror_tiles<Count>, dim3(triangle(static_cast<unsigned>(tiles))), mirror_threads,
                mirror_tile * (mirror_tile + 1) * sizeof(Count), stream, counts);
}

}  // namespace
}  // namespace ovcore::cuda
