// The CUDA twins of the kernels in ovcore/kernels.hpp, which says what each one counts.
//
// A launcher queues the work of a whole job on a stream and returns the first error; nothing has
// run yet when it returns. Pointers, also those inside of views, are device memory, except that
// views themselves are passed by value. Outputs are overwritten. Launchers allocate nothing:
// scratch is the caller's, starts at a multiple of 16 bytes, and its size is told by a function
// beside the launcher. Results do not depend on the order in which threads run: two runs give the
// same bits. Sizes that no grid holds give cudaErrorInvalidValue: M * W words past 2^30, M past
// 2^20.
//
// Axes are model (M), sample (N), class (K).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "ovcore/kernels.hpp"

namespace ovcore::cuda {

// A vector of integers of any kind and stride.
struct IntegersView {
  const void* data = nullptr;
  std::int64_t stride = 0;  // in bytes
  std::int32_t itemsize = 8;
  bool is_signed = true;  // an unsigned element past 2^63 is taken as negative
};

// Error bits of M models from their logits.
//
//   models     (M,) logits (N, K), of any element types and numbers of classes
//   row_bytes  about what a row takes: short rows are read by fewer threads
//   target     (N,)
//   words      (M, W), W * 64 >= N; all of it is written
//   preds      (M, N) predicted classes, or no data
//   without    (M,) how many samples of each model have no prediction
cudaError_t pack_errors(const LogitsView* models, std::int64_t n_models, std::int64_t row_bytes,
                        const std::int64_t* target, std::int64_t n_samples,
                        MatrixView<std::uint64_t> words, MatrixView<std::int32_t> preds,
                        std::int64_t* without, cudaStream_t stream);

// Error bits of M models from their predictions, (M,) vectors of N classes.
cudaError_t pack_errors(const IntegersView* preds, std::int64_t n_models,
                        const std::int64_t* target, std::int64_t n_samples,
                        MatrixView<std::uint64_t> words, cudaStream_t stream);

// How joint errors are counted. `popcount` runs everywhere; `mma` on single-bit tensor cores
// (compute capability 8.0 to 9.0), `wgmma` on those of 9.0 as a warpgroup drives them. Both need
// rows that start at multiples of 16 bytes.
enum class JointMethod { popcount, mma, wgmma };

// The fastest method for these words on the current device.
cudaError_t choose_joint_method(MatrixView<const std::uint64_t> words, JointMethod* method);

// joint(i, j) = popcount(words row i AND words row j).
//
//   words  (M, W) error bits, zero past the last sample; any W
//   joint  (M, M)
cudaError_t joint_errors(MatrixView<const std::uint64_t> words, MatrixView<std::int64_t> joint,
                         JointMethod method, cudaStream_t stream);

// Lists the pairs i < j of a block of joint errors that pass, in any order; n_passed (1,) how many.
//
//   joint                 (R, C) joint errors of models first_row + i and first_col + j
//   screen                its vectors are device memory
//   passed                room for R * C
cudaError_t screen_pairs(MatrixView<const std::int64_t> joint, std::int64_t first_row,
                         std::int64_t first_col, const PairScreen& screen, ScreenedPair* passed,
                         unsigned long long* n_passed, cudaStream_t stream);

// Lowest and highest of all models' classes: span (2,). Of no class: the highest and lowest int64.
cudaError_t class_span(const IntegersView* classes, std::int64_t n_models, std::int64_t n_samples,
                       std::int64_t* span, cudaStream_t stream);

// agreement(i, j) = samples for which models i and j have the same class.
//
//   classes    (M,) vectors of N classes, each in [lowest, lowest + 2^n_planes)
//   n_planes   0 to 16
//   planes     scratch, agreement_scratch(...) bytes: the classes as bit planes
//   agreement  (M, M)
std::size_t agreement_scratch(std::int64_t n_models, std::int64_t n_samples, std::int64_t n_planes);
cudaError_t joint_agreement(const IntegersView* classes, std::int64_t n_models, std::int64_t lowest,
                            std::int64_t n_planes, std::int64_t n_samples, void* planes,
                            MatrixView<std::int64_t> agreement, cudaStream_t stream);

// Sums over samples of the NLL of softmax(beta z) and of its derivatives, for every model.
//
//   models   (M,) logits (N, K)
//   beta     (M,) in [1e-90, 1e90]
//   partial  scratch, nll_scratch(...) bytes
//   sums     (M,)
std::size_t nll_scratch(std::int64_t n_models, std::int64_t n_samples);
cudaError_t temperature_nll(const LogitsView* models, std::int64_t n_models,
                            const std::int64_t* target, const double* beta, std::int64_t n_samples,
                            void* partial, NllSums* sums, cudaStream_t stream);

// Scores of M models' predicted classes, NaN where the prediction is -1.
//
//   models      (M,) logits (N, K) and temperatures
//   preds       (M, N)
//   confidence  (M, N)
cudaError_t confidences(const ScoredModel* models, MatrixView<const std::int32_t> preds,
                        MatrixView<float> confidence, cudaStream_t stream);

// Lists of the classes that can win a sample, in two steps: how many there are, then, when the
// caller has summed that up and picked the samples with any, which.
//
//   preds    (M, N), none of them -1; M >= 1, also below
//   sizes    (N,)
//   samples, offsets, classes, positions, tops   as in CandidateLists
cudaError_t count_candidates(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                             bool all, std::int32_t* sizes, cudaStream_t stream);
cudaError_t list_candidates(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                            const std::int64_t* samples, const std::int64_t* offsets,
                            std::int64_t n_listed, std::int32_t* classes, std::int32_t* positions,
                            MatrixView<std::int32_t> tops, cudaStream_t stream);

// The most classes that logits may have where candidates are scored: a bit of each is kept in
// shared memory.
inline constexpr std::int64_t most_classes = 393216;

// Scores of M models on listed samples. Columns past M become 0 (scores, outside) and 1 (mass).
cudaError_t candidate_scores(const ScoredModel* models, std::int64_t n_models,
                             std::int64_t n_classes, Combine combine, const CandidateLists& lists,
                             MatrixView<float> scores, MatrixView<float> outside,
                             MatrixView<double> mass, cudaStream_t stream);

// Listed samples that pairs of models get right together: conversions and rescues (M, M), both
// triangles and a diagonal of 0.
//
//   settled  (2,) pairs and samples that took more than a look at the candidates, and of those the
//            ones that took more than the listed classes
cudaError_t pair_ensemble_hits(const Candidates<float>& candidates,
                               MatrixView<std::int64_t> conversions,
                               MatrixView<std::int64_t> rescues, std::int64_t* settled,
                               cudaStream_t stream);

// Listed samples that an ensemble gets right if model m joins: hits (M, 2) for samples whose
// `right` is 0 and 1. The members' scores are summed on the way.
//
//   members  (n_members,)
//   right    (S,)
cudaError_t candidate_hits(const Candidates<float>& candidates, const std::int64_t* members,
                           std::int64_t n_members, const std::uint8_t* right, std::int64_t* hits,
                           cudaStream_t stream);

// What a weighted ensemble of M models predicts.
//
//   models    (M,)
//   weights   (M,) positive
//   preds     (M, N) what the models predict
//   scratch   ensemble_scratch(...) bytes
//   ensemble  (N,)
std::size_t ensemble_scratch(std::int64_t n_models, std::int64_t n_samples);
cudaError_t ensemble_predictions(const ScoredModel* models, const double* weights, Combine combine,
                                 std::int64_t n_classes, MatrixView<const std::int32_t> preds,
                                 void* scratch, std::int32_t* ensemble, cudaStream_t stream);

// Histograms (P, 4, n_bins) of the angle between confidences of pairs, by outcome.
//
//   confidence  (M, N) positive and finite
//   right       (M, N) 0 or 1
//   pairs       (P, 2) models 1 and 2
//   slopes      (n_bins - 1,) ascending
//   keep        (N,) 0 or 1: samples that are counted
cudaError_t angle_histogram(MatrixView<const float> confidence,
                            MatrixView<const std::uint8_t> right, const std::int64_t* pairs,
                            std::int64_t n_pairs, const double* slopes, std::int64_t n_bins,
                            const std::uint8_t* keep, std::int64_t* histogram, cudaStream_t stream);

// to[i] = from[rows[i]], of rows of so many bytes.
cudaError_t take_rows(const void* from, std::int64_t row_stride, std::int64_t row_bytes,
                      const std::int64_t* rows, std::int64_t n_rows, void* to, cudaStream_t stream);

}  // namespace ovcore::cuda
