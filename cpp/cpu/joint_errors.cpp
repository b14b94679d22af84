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

void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint) {
  std::int64_t first = 0;
  do {  // once even for rows without words: their counts are 0
    const std::int64_t last = first + chunk_words;
    count_chunk(words, rows, cols, {first, last < words.cols ? last : words.cols}, joint);
    first = last;
  } while (first < words.cols);
  mirror(rows, cols, joint);
}

}  // namespace ovcore::OVCORE_ISA
