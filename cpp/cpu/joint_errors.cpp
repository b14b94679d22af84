// popcount(a AND b) for all pairs of rows: a matrix product on bits.
//
// Words are taken in chunks, so that a block's rows stay in the second-level cache; every chunk's
// counts are added to the output. The two ways to count a chunk:
// joint_errors_popcount.hpp, where the chip counts bits in vectors or in words;
// joint_errors_shuffle.hpp, where looking counts up is faster.
#include "kernel_table.hpp"
#include "pair_block.hpp"

#if defined(__AVX2__) && !defined(__AVX512VPOPCNTDQ__)
#include "joint_errors_shuffle.hpp"
#else
#include "joint_errors_popcount.hpp"
#endif

namespace ovcore::OVCORE_ISA {

namespace {

void count(MatrixView<const std::uint64_t> of_rows, MatrixView<const std::uint64_t> of_cols,
           Range rows, Range cols, MatrixView<std::int64_t> joint) {
  const std::int64_t n_words = of_rows.cols;
  std::int64_t first = 0;
  do {  // once even for rows without words: their counts are 0
    const std::int64_t last = first + chunk_words;
    count_chunk(of_rows, of_cols, rows, cols, {first, last < n_words ? last : n_words}, joint);
    first = last;
  } while (first < n_words);
}

}  // namespace

void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint) {
  count(words, words, rows, cols, joint);
  mirror(rows, cols, joint);
}

// Rows are numbered from -R up, so that every pair lies right of the diagonal.
void joint_errors_between(MatrixView<const std::uint64_t> a, MatrixView<const std::uint64_t> b,
                          MatrixView<std::int64_t> joint) {
  const std::int64_t n = a.rows;
  a.data += n * a.row_stride;
  joint.data += n * joint.row_stride;
  count(a, b, {-n, 0}, {0, b.rows}, joint);
}

}  // namespace ovcore::OVCORE_ISA
