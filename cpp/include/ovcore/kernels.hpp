// The C++ interface of ovcore: kernels that count.
//
// Every kernel reads and writes arrays that its caller owns, allocates nothing and starts no
// thread. It works on a range of the output, so a caller spreads one job over threads by handing
// each thread its own ranges; calls on disjoint ranges never write the same memory.
//
// Axes are model (M), sample (N), class (K).
#pragma once

#include <cstdint>

#include "ovcore/matrix_view.hpp"

namespace ovcore {

// Samples in one word of error bits, and words that a row of error bits is padded to (128 bytes).
inline constexpr std::int64_t samples_per_word = 64;
inline constexpr std::int64_t row_padding_words = 16;

// Packs the errors of one model: bit n % 64 of words[n / 64] is 1 where the arg max of logits row n
// differs from target[n]. On ties the lowest class wins; -0 and +0 are equal.
//
//   logits   (N, K), K >= 1
//   target   (N,)
//   samples  first is a multiple of 64; last is a multiple of 64 or N
//   words    the model's row; words of the range are overwritten, bits past N are written as 0
//   preds    (N,) predicted class of each sample in the range, or nullptr
//
// Returns how many rows of the range have no prediction (a NaN among the logits, or -inf
// throughout); such a row counts as wrong and its prediction is -1.
std::int64_t pack_errors(MatrixView<const float> logits, const std::int64_t* target, Range samples,
                         std::uint64_t* words, std::int32_t* preds);
std::int64_t pack_errors(MatrixView<const double> logits, const std::int64_t* target, Range samples,
                         std::uint64_t* words, std::int32_t* preds);
std::int64_t pack_errors(MatrixView<const float16> logits, const std::int64_t* target,
                         Range samples, std::uint64_t* words, std::int32_t* preds);
std::int64_t pack_errors(MatrixView<const bfloat16> logits, const std::int64_t* target,
                         Range samples, std::uint64_t* words, std::int32_t* preds);

// Counts joint errors: joint(i, j) = popcount(words row i AND words row j) for i in rows, j in
// cols.
//
//   words  (M, W) error bits, zero past the last sample; any W
//   joint  (M, M); only the block rows x cols is written
//
// A block of about 96 x 96 keeps its rows in the second-level cache.
void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint);

// Name of the instruction set in use ("baseline", "avx2", "avx512"), chosen once, when first asked.
// The environment variable OVCORE_ISA forces one; where this chip or build lacks it,
// std::runtime_error says so.
const char* instruction_set();

}  // namespace ovcore
