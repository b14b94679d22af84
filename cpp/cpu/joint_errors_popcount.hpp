// Counts of a tile of rows x columns stay in registers while the tile's words stream by, so that
// each load serves several pairs.
#pragma once

#include "bit_vectors.hpp"
#include "pair_block.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

#if defined(__AVX512VPOPCNTDQ__)
constexpr int tile_rows = 6, tile_cols = 4;  // 24 counts, 4 columns and a row: 29 of 32 registers
#else
constexpr int tile_rows = 2, tile_cols = 4;
#endif
constexpr std::int64_t chunk_words = 1024;  // 8 KiB a row

struct ChunkOfJointErrors {
  MatrixView<const std::uint64_t> of_rows, of_cols;
  Range chunk;
  MatrixView<std::int64_t> joint;

  template <int Rows, int Cols>
  void count(std::int64_t i, std::int64_t j) const {
    const std::uint64_t *a[Rows], *b[Cols];
    for (int r = 0; r < Rows; ++r) a[r] = of_rows.row(i + r);
    for (int c = 0; c < Cols; ++c) b[c] = of_cols.row(j + c);
    Vector sum[Rows][Cols];
    for (int r = 0; r < Rows; ++r)
      for (int c = 0; c < Cols; ++c) sum[r][c] = zero();

    std::int64_t w = chunk.first;
    for (; w + words_per_vector <= chunk.last; w += words_per_vector) {
      Vector col[Cols];
#pragma GCC unroll 8
      for (int c = 0; c < Cols; ++c) col[c] = load(b[c] + w);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const Vector row = load(a[r] + w);
#pragma GCC unroll 8
        for (int c = 0; c < Cols; ++c) sum[r][c] = add_popcount(sum[r][c], both(row, col[c]));
      }
    }

#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) write_sums(sum[r], chunk.first > 0, joint.row(i + r) + j);
    for (; w < chunk.last; ++w)
      for (int r = 0; r < Rows; ++r)
        for (int c = 0; c < Cols; ++c)
          joint.row(i + r)[j + c] += __builtin_popcountll(a[r][w] & b[c][w]);
  }
};

// Counts one chunk for the block's pairs i <= j, and for some entries below the diagonal. The
// first chunk sets them, others add.
void count_chunk(MatrixView<const std::uint64_t> of_rows, MatrixView<const std::uint64_t> of_cols,
                 Range rows, Range cols, Range chunk, MatrixView<std::int64_t> joint) {
  const ChunkOfJointErrors tile{of_rows, of_cols, chunk, joint};
  for_each_tile<tile_rows, tile_cols>(tile, rows, cols);
}

}  // namespace
}  // namespace ovcore::OVCORE_ISA
