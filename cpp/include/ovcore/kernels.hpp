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

// Packs the errors of one model from its predictions: bit n % 64 of words[n / 64] is 1 where
// preds[n] differs from target[n]. Ranges and words as above.
void pack_errors(const std::int64_t* preds, const std::int64_t* target, Range samples,
                 std::uint64_t* words);

// Counts joint errors: joint(i, j) = joint(j, i) = popcount(words row i AND words row j), for
// i in rows, j in cols, i <= j.
//
//   words       (M, W) error bits, zero past the last sample; any W
//   rows, cols  a block on or right of the diagonal: rows.first <= cols.first and
//               rows.last <= cols.last
//   joint       (M, M); the block and its mirror image are written
//
// Fastest where rows of words start at multiples of 64 bytes, and in blocks of about 192 x 192.
void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint);

// Words of one bit plane that lie together: 512 samples.
inline constexpr std::int64_t plane_words = 8;

// Packs the classes of one model as bit planes: [block of 512 samples][plane][8 words], where bit
// n % 64 of word n / 64 % 8 is that bit of classes[n].
//
//   classes   (N,), below 2^n_planes
//   n_planes  1 to 16
//   samples   first is a multiple of 512; last is a multiple of 512 or N
//   planes    the model's row, ceil(N / 512) * n_planes * 8 words; blocks of the range are
//             overwritten, bits past N are written as 0
void pack_classes(const std::uint16_t* classes, std::int64_t n_planes, Range samples,
                  std::uint64_t* planes);

// Counts joint agreement: agreement(i, j) = agreement(j, i) = samples for which models i and j have
// the same class, for i in rows, j in cols, i <= j.
//
//   planes      (M, W) classes as bit planes
//   rows, cols  as for joint_errors
//   agreement   (M, M); the block and its mirror image are written
void joint_agreement(MatrixView<const std::uint64_t> planes, std::int64_t n_planes,
                     std::int64_t n_samples, Range rows, Range cols,
                     MatrixView<std::int64_t> agreement);

// Name of the instruction set in use ("baseline", "avx2", "avx512"), chosen once, when first asked.
// The environment variable OVCORE_ISA forces one; where this chip or build lacks it,
// std::runtime_error says so.
const char* instruction_set();

}  // namespace ovcore
