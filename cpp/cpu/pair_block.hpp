// Blocks of a symmetric matrix over pairs of rows, and the tiles in them.
//
// A block lies on or right of the diagonal (rows.first <= cols.first, rows.last <= cols.last), so
// every entry in it below the diagonal is the mirror image of one in it above, and may be used as
// scratch until mirror() overwrites it.
#pragma once

#include "ovcore/matrix_view.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

// out(j, i) = out(i, j) for the block's pairs i < j, in squares of a cache line a side: rows lie
// far apart, and each line is touched once.
inline void mirror(Range rows, Range cols, MatrixView<std::int64_t> out) {
  constexpr std::int64_t side = 8;
  for (std::int64_t i0 = rows.first; i0 < rows.last; i0 += side)
    for (std::int64_t j0 = i0 > cols.first ? i0 : cols.first; j0 < cols.last; j0 += side)
      for (std::int64_t j = j0; j < j0 + side && j < cols.last; ++j) {
        const std::int64_t end = j < i0 + side ? j : i0 + side;
        for (std::int64_t i = i0; i < end && i < rows.last; ++i) out.row(j)[i] = out.row(i)[j];
      }
}

// Tile is a class with  template <int Rows, int Cols> void count(int64 i, int64 j) const,  which
// handles pairs (i..i + Rows, j..j + Cols). Tiles at the edges have fewer rows or columns.
template <int Rows, int Cols, class Tile>
void count_cols(const Tile& tile, std::int64_t i, std::int64_t j, std::int64_t n_cols) {
  if (n_cols >= Cols) return tile.template count<Rows, Cols>(i, j);
  if constexpr (Cols > 1) count_cols<Rows, Cols - 1>(tile, i, j, n_cols);
}
template <int Rows, int Cols, class Tile>
void count_rows(const Tile& tile, std::int64_t i, Range cols, std::int64_t n_rows) {
  if (n_rows >= Rows) {
    for (std::int64_t j = cols.first; j < cols.last; j += Cols)
      count_cols<Rows, Cols>(tile, i, j, cols.last - j);
  } else if constexpr (Rows > 1) {
    count_rows<Rows - 1, Cols>(tile, i, cols, n_rows);
  }
}

// Covers the block's pairs i <= j, and some below the diagonal, with tiles.
template <int Rows, int Cols, class Tile>
void for_each_tile(const Tile& tile, Range rows, Range cols) {
  for (std::int64_t i = rows.first; i < rows.last; i += Rows)
    count_rows<Rows, Cols>(tile, i, {i > cols.first ? i : cols.first, cols.last}, rows.last - i);
}

}  // namespace
}  // namespace ovcore::OVCORE_ISA
