// The C++ interface of ovcore: kernels that count.
//
// What holds for all of them, unless a kernel says otherwise:
//
// Ownership. The caller owns every array, outputs and scratch too, and has allocated them. A
// kernel allocates nothing, keeps no pointer when it returns, and takes at most 80 KiB of stack.
// What it writes must not overlap anything else that it is given; inputs may overlap each other.
// Scratch needs no first value and holds nothing of use afterwards.
//
// Threads. A kernel starts none and has no state but the choice of an instruction set. It works on
// a range of the job and writes nothing else, so the caller spreads a job over threads by handing
// out ranges that do not overlap, and scratch of its own to each thread. Where a kernel adds to
// its output, calls that add to the same entries must not run at the same time.
//
// Memory. A matrix has rows of contiguous elements; rows lie any number of elements apart, in
// inputs also none or a negative number. Pointers are aligned to their elements, and nothing more
// is required. Nothing is read past the end of a view or vector. Padding that a matrix is said to
// have is part of it: it is read, and may hold anything unless its content is told.
//
// Numbers. Counts are the same on every instruction set and for every division into ranges. They
// are int64; classes are int32, so K < 2^31. The floating-point environment is the default one:
// round to nearest, subnormal numbers kept (linking with -ffast-math may change that).
//
// Errors. Kernels check nothing and report nothing: sizes that do not fit, ranges that leave the
// matrix, and classes or indices that are out of range are undefined behaviour. Any float is
// defined input where no range is told: each kernel says what it makes of NaN and infinity. The
// one exception is thrown where the instruction set is chosen, so a program calls
// instruction_set() before it starts threads. Nothing here may be called before main().
//
// Axes are model (M), sample (N), class (K), dimension of features (D).
#pragma once

#include <cstdint>

#include "ovcore/matrix_view.hpp"

namespace ovcore {

// Samples in one word of error bits, and words that ovcore's own rows of error bits are padded to a
// multiple of (128 bytes). Kernels need no padding: a row is ceil(N / 64) words or more.
inline constexpr std::int64_t samples_per_word = 64;
inline constexpr std::int64_t row_padding_words = 16;

// Packs the errors of one model: bit n % 64 of words[n / 64] is 1 where the arg max of logits row n
// differs from target[n]. On ties the lowest class wins; -0 and +0 are equal.
//
//   logits   (N, K), K >= 1
//   target   (N,) any numbers but -1; one that is no class counts as missed
//   samples  first is a multiple of 64; last is a multiple of 64 or N
//   words    the model's row; words of the range are overwritten, bits past N are written as 0.
//            Words past ceil(N / 64) are the caller's to clear
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
// preds[n] differs from target[n]. Any numbers; ranges and words as above.
void pack_errors(const std::int64_t* preds, const std::int64_t* target, Range samples,
                 std::uint64_t* words);

// Counts joint errors: joint(i, j) = joint(j, i) = popcount(words row i AND words row j), for
// i in rows, j in cols, i <= j.
//
//   words       (M, W) error bits, zero past the last sample; any W, with 0 the counts are 0
//   rows, cols  a block on or right of the diagonal: rows.first <= cols.first and
//               rows.last <= cols.last
//   joint       (M, M); the block and its mirror image are written
//
// Blocks that share no pair i <= j may be counted at the same time. Of few pairs and many samples,
// count slices of the words, each into a matrix of its own, and add those up. Fastest where rows of
// words start at multiples of 64 bytes, and in blocks of about 192 x 192.
void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint);

// Counts joint errors of one set of models with another: joint(i, j) = popcount(a row i AND b row
// j), for all i and j. For parts of a matrix that is too large to be held.
//
//   a, b   (R, W) and (C, W) error bits, zero past the last sample; may be the same
//   joint  (R, C), written
//
// Fastest as joint_errors is.
void joint_errors_between(MatrixView<const std::uint64_t> a, MatrixView<const std::uint64_t> b,
                          MatrixView<std::int64_t> joint);

// Which pairs are worth a closer look. Of model a, partner b scores
//
//   sign * joint - beta[a] * x[b] - gamma[a] * y[b]
//
// in double, rounded after each operation, and passes where that is at least alpha[a] - slack. A
// score that equals alpha[a], with slack only where x[b] is last_x[a], is a tie with the last
// partner that a has kept: then b passes unless number[b] > last[a].
struct PairScreen {
  double sign, slack;                                   // 1 or -1; >= 0
  const double *alpha, *beta, *gamma, *x, *y, *last_x;  // (M,)
  const std::int64_t *number, *last;                    // (M,)
};
struct ScreenedPair {
  std::int64_t first, second, joint;
};

// Lists the pairs i < j of a block where one model lets the other pass, or both do.
//
//   joint                 (R, C) joint errors of models first_row + i and first_col + j
//   passed                room for R * C
//
// Returns how many were written.
std::int64_t screen_pairs(MatrixView<const std::int64_t> joint, std::int64_t first_row,
                          std::int64_t first_col, const PairScreen& screen, ScreenedPair* passed);

// Words of one bit plane that lie together: 512 samples.
inline constexpr std::int64_t plane_words = 8;

// Packs the classes of one model as bit planes: [block of 512 samples][plane][8 words], where bit
// n % 64 of word n / 64 % 8 is that bit of classes[n].
//
//   classes   (N,), below 2^n_planes; higher bits are lost
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
//   n_samples   N
//   rows, cols  as for joint_errors
//   agreement   (M, M); the block and its mirror image are written
//
// Blocks and speed as for joint_errors.
void joint_agreement(MatrixView<const std::uint64_t> planes, std::int64_t n_planes,
                     std::int64_t n_samples, Range rows, Range cols,
                     MatrixView<std::int64_t> agreement);

// Sums over samples of the negative log likelihood of softmax(beta z), in nats, and of its first
// and second derivative in beta.
struct NllSums {
  double nll, slope, curvature;
};

// Computes them for one model and a range of samples, in double precision (relative error 1e-12;
// the curvature, a difference, up to K times that).
// They are not finite where a sample has no finite likelihood: NaN or +inf among its logits, or
// -inf at its target.
//
//   logits  (N, K), K >= 1
//   target  (N,) in [0, K)
//   beta    1 / temperature, positive
//
// Sums of ranges add up; rounding depends on the ranges and on the instruction set.
NllSums temperature_nll(const LogitsView& logits, const std::int64_t* target, double beta,
                        Range samples);

// What an ensemble sums of a model: "prob" softmax(z / T), "logit" z / T less its maximum; "max"
// takes the largest of softmax(z / T) instead. Scores are float32, with one exponential for all
// backends: python/ovcore/_reference_scores.py defines them to the bit.
enum class Combine { prob, logit, max };

struct ScoredModel {
  LogitsView logits;
  double temperature;  // positive
};

// Score of each sample's predicted class, 1 / (sum of exp((z - max) / T)).
//
//   preds       (N,) what pack_errors predicts; -1 gives NaN
//   confidence  (N,), written in the range
void confidences(const LogitsView& logits, double temperature, const std::int32_t* preds,
                 Range samples, float* confidence);

// Lists the classes that can win a sample: its target and every model's prediction.
//
//   preds    (M, N) what pack_errors predicts, none of them -1; also below
//   target   (N,) in [0, K); also below
//   all      whether samples on which all models agree are listed, too
//   scratch  M + 1 integers
//   sizes    (N,), written in the range: how many classes, 0 for samples that are not listed
void count_candidates(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                      Range samples, bool all, std::int32_t* scratch, std::int64_t* sizes);

// Columns of models are padded to a multiple of this, so that vectors may be read past the last.
inline constexpr std::int64_t model_padding = 16;

// Those lists, of S samples. Matrices with a column for each model have P columns, M and padding.
struct CandidateLists {
  const std::int64_t* samples;          // (S,) ascending
  const std::int64_t* offsets;          // (S + 1,) into classes
  const std::int32_t* classes;          // (U,) ascending in each sample
  const std::int32_t* target;           // (S,) where the target is in its sample's list
  MatrixView<const std::int32_t> tops;  // (S, P) where each model's prediction is; then -1
};

// Writes the lists of a range of samples s: classes, target and the first M columns of tops.
//
//   samples    (S,) those of size > 0, ascending
//   offsets    (S + 1,) 0, then the sums of their sizes
//   scratch    2 M + 2 integers
//   positions  (S,) where each sample's target is: CandidateLists::target
void list_candidates(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                     const std::int64_t* samples, const std::int64_t* offsets, Range listed,
                     std::int32_t* scratch, std::int32_t* classes, std::int32_t* positions,
                     MatrixView<std::int32_t> tops);

// What a scratch row is longer than K, since rows are read in pieces.
inline constexpr std::int64_t caps_padding = 128;

// Scores one model on a range of the listed samples: one column of each output.
//
//   lists    as list_candidates wrote them, of this range at least
//   column   the model's
//   caps     scratch that does need its first value, K + caps_padding floats: +inf for each class,
//            then -inf; restored
//   scores   (U, P) of the listed classes
//   outside  (S, P) largest score of the other classes, -inf where there is none
//   mass     (S, P) what softmax divided by; 1 for logits
void candidate_scores(const ScoredModel& model, Combine combine, const CandidateLists& lists,
                      Range listed, std::int64_t column, float* caps, MatrixView<float> scores,
                      MatrixView<float> outside, MatrixView<double> mass);

// Everything about the listed samples. Scores were made of models' logits, as floats; or they were
// given, and then any class that is not listed scores 0.
template <class Score>
struct Candidates {
  CandidateLists lists;
  MatrixView<const Score> scores, outside;
  MatrixView<const double> mass;
  std::int64_t n_models, n_classes;
  const ScoredModel* models;  // (M,) what was scored, as it was; nullptr where scores were given
  Combine combine;
};

// What pairs' hits are counted in. Each thread has a PairHits of its own, and matrices of its own
// unless no other thread counts the same pairs.
struct PairHits {
  MatrixView<std::int64_t> conversions, rescues;  // (M, M)
  std::int64_t unsettled = 0;  // pairs and samples that took more than a look at the candidates
  std::int64_t scanned = 0;    // of those, the ones that took more than the listed classes
};

// Adds up samples in the range that the pair's ensemble gets right: conversions where exactly one
// of its models is right, rescues where neither is; for i in rows, j in cols, i < j. Where both
// predict the same class the ensemble does; else the largest sum of scores wins, formed in double;
// the lowest class wins a tie, and where every sum is -inf nothing does.
//
//   rows, cols  any block; of pairs i >= j in it nothing is written
//   counts      scratch, 2 * rows * (cols + 32) counters of the size of Score, aligned to it; no
//               count may pass 2^31 - 1 in one call
//
// Score is float or double. Fastest where rows of scores start at multiples of 64 bytes, in blocks
// whose counts and whose samples' scores fit the second-level cache.
template <class Score>
void pair_ensemble_hits(const Candidates<Score>& candidates, Range rows, Range cols, Range listed,
                        void* counts, PairHits& hits);

// Adds up listed samples that an ensemble gets right if model m joins.
//
//   members   (n_members,) of the ensemble, in the order they joined
//   running   (U,) sums of their scores in that order
//   outside   (S,) sums of their outside scores
//   right     (S,) 0 or 1: which of the two counts of a model a sample goes to
//   scratch   K floats; where scores were given, none
//   sums      scratch, K doubles; likewise
//   hits      (2, P) for the two kinds of samples, as wide as scores and contiguous; each thread's
//             own. Columns past M are added to, too, and mean nothing
//
// Score is float or double.
template <class Score>
void candidate_hits(const Candidates<Score>& candidates, const std::int64_t* members,
                    std::int64_t n_members, const double* running, const double* outside,
                    const std::uint8_t* right, Range listed, float* scratch, double* sums,
                    std::int64_t* hits);

// Predicts with an ensemble: the class of the largest weighted sum of scores (the largest weighted
// score for Combine::max), formed in double in the order of models; the lowest class wins a tie;
// what all models predict wins; -1 where every sum is -inf.
//
//   models    (M,), M >= 1
//   weights   (M,) positive
//   preds     (M, N) what pack_errors predicts; -1 only where all models have none
//   scratch   K floats
//   sums      scratch, K doubles
//   ensemble  (N,), written in the range
void ensemble_predictions(const ScoredModel* models, const double* weights, Combine combine,
                          MatrixView<const std::int32_t> preds, Range samples, float* scratch,
                          double* sums, std::int32_t* ensemble);

// Samples that a row of signed confidences is padded to a multiple of.
inline constexpr std::int64_t angle_lanes = 16;

struct AnglePair {
  std::int64_t first, second;  // models 1 and 2
  std::int64_t row;            // of the histogram
};

// Histograms of the angle theta = atan2(conf_1, conf_2) - pi/4 between the confidences of pairs of
// models, by outcome.
//
//   confidence  (M, S) positive and finite, with the sign of the outcome: negative where the model
//               is wrong; 0 where there is no sample. S is a multiple of angle_lanes
//   pairs       those of the range are counted; runs of the same second model share its work
//   n_bins      1 or more
//   slopes      (n_bins - 1,) >= 0, ascending: tan(edge + pi/4) of the edges between bins
//   histogram   one row a pair, 4 x n_bins: both right, only model 1, only model 2, both wrong;
//               rows of the range's pairs, which must differ, are overwritten
//
// The bin is the number of slopes s with conf_1 >= s * conf_2, decided in double: bins are closed
// on the left. Fastest in ranges of a few hundred pairs that have most of their models in common.
void angle_histogram(MatrixView<const float> confidence, const AnglePair* pairs, Range range,
                     const double* slopes, std::int64_t n_bins, MatrixView<std::int64_t> histogram);

// Removes a pilot mean from features while widening them, and sums the columns of what is left:
// out(i, j) = features(i, j) - pilot[j], rounded once, and sums[j] = 0 + out(0, j) + out(1, j) +
// ... in that order, in the element type of out. For columns j in cols.
//
//   features  (N, D), D >= 1; float64 only where out is
//   pilot     (D,)
//   out       (N, D), written in the columns
//   sums      (D,), written in the columns; without rows 0. NaN and infinity go where arithmetic
//             takes them
//
// Fastest where rows of out start at multiples of 64 bytes. There is no CUDA twin: libraries of
// arrays on GPUs do this with operations of their own.
void center_rows(const LogitsView& features, const float* pilot, Range cols, MatrixView<float> out,
                 float* sums);
void center_rows(const LogitsView& features, const double* pilot, Range cols,
                 MatrixView<double> out, double* sums);

// Name of the instruction set in use ("baseline", "avx2", "avx512"), chosen once, when this or a
// kernel is first called. The environment variable OVCORE_ISA forces one; where this chip or build
// lacks it, std::runtime_error says so, from that call and from later ones.
const char* instruction_set();

}  // namespace ovcore
