// popcount(a AND b) for all pairs of rows: a matrix product on bits.
//
// Counts of a tile of rows x columns stay in registers while the tile's words stream by, so each
// load serves several pairs; chunks of words keep a tile's columns in the first-level cache and a
// block's rows in the second.
#include "kernel_table.hpp"
#include "popcount.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

#if defined(__AVX512VPOPCNTDQ__)
// 4 x 6 counts, 6 columns and a row: 31 of 32 registers.
constexpr int tile_rows = 4, tile_cols = 6;
#elif defined(__AVX2__)
// 2 x 2 counts leave registers for the look-up table and its temporaries.
constexpr int tile_rows = 2, tile_cols = 2;
#else
constexpr int tile_rows = 2, tile_cols = 4;
#endif
constexpr std::int64_t chunk_words = 1024;  // 8 KiB a row

// Adds the counts of one chunk to (or, at the first chunk, sets) Rows x Cols entries of joint.
template <int Rows, int Cols>
void count_tile(MatrixView<const std::uint64_t> words, std::int64_t i, std::int64_t j, Range chunk,
                MatrixView<std::int64_t> joint) {
  const std::uint64_t *a[Rows], *b[Cols];
  for (int r = 0; r < Rows; ++r) a[r] = words.row(i + r);
  for (int c = 0; c < Cols; ++c) b[c] = words.row(j + c);
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
      for (int c = 0; c < Cols; ++c) sum[r][c] = add_popcount_and(sum[r][c], row, col[c]);
    }
  }

  for (int r = 0; r < Rows; ++r)
    for (int c = 0; c < Cols; ++c) {
      std::int64_t count = horizontal_sum(sum[r][c]);
      for (std::int64_t rest = w; rest < chunk.last; ++rest)
        count += __builtin_popcountll(a[r][rest] & b[c][rest]);
      std::int64_t& out = joint.row(i + r)[j + c];
      out = chunk.first == 0 ? count : out + count;
    }
}

template <int Rows>
void count_rows(MatrixView<const std::uint64_t> words, std::int64_t i, Range cols, Range chunk,
                MatrixView<std::int64_t> joint) {
  std::int64_t j = cols.first;
  for (; j + tile_cols <= cols.last; j += tile_cols)
    count_tile<Rows, tile_cols>(words, i, j, chunk, joint);
  for (; j < cols.last; ++j) count_tile<Rows, 1>(words, i, j, chunk, joint);
}

}  // namespace

void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint) {
  std::int64_t first = 0;
  do {  // once even for rows without words: their counts are 0
    const std::int64_t end = first + chunk_words;
    const Range chunk{first, end < words.cols ? end : words.cols};
    std::int64_t i = rows.first;
    for (; i + tile_rows <= rows.last; i += tile_rows)
      count_rows<tile_rows>(words, i, cols, chunk, joint);
    for (; i < rows.last; ++i) count_rows<1>(words, i, cols, chunk, joint);
    first = end;
  } while (first < words.cols);
}

}  // namespace ovcore::OVCORE_ISA
