// Collects this instruction set's kernels.
#include "kernel_table.hpp"

#define OVCORE_TEXT_(x) #x
#define OVCORE_TEXT(x) OVCORE_TEXT_(x)

namespace ovcore::OVCORE_ISA {

template <class T>
std::int64_t pack_errors(MatrixView<const T> logits, const std::int64_t* target, Range samples,
                         std::uint64_t* words, std::int32_t* preds);
void pack_errors(const std::int64_t* preds, const std::int64_t* target, Range samples,
                 std::uint64_t* words);
void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint);
void joint_errors_between(MatrixView<const std::uint64_t> a, MatrixView<const std::uint64_t> b,
                          MatrixView<std::int64_t> joint);
std::int64_t screen_pairs(MatrixView<const std::int64_t> joint, std::int64_t first_row,
                          std::int64_t first_col, const PairScreen& screen, ScreenedPair* passed);
void pack_classes(const std::uint16_t* classes, std::int64_t n_planes, Range samples,
                  std::uint64_t* planes);
void joint_agreement(MatrixView<const std::uint64_t> planes, std::int64_t n_planes,
                     std::int64_t n_samples, Range rows, Range cols,
                     MatrixView<std::int64_t> agreement);
NllSums temperature_nll(const LogitsView& logits, const std::int64_t* target, double beta,
                        Range samples);
void confidences(const LogitsView& logits, double temperature, const std::int32_t* preds,
                 Range samples, float* confidence);
void candidate_scores(const ScoredModel& model, Combine combine, const CandidateLists& lists,
                      Range listed, std::int64_t column, float* caps, MatrixView<float> scores,
                      MatrixView<float> outside, MatrixView<double> mass);
template <class Score>
void pair_ensemble_hits(const Candidates<Score>& candidates, Range rows, Range cols, Range listed,
                        void* counts, PairHits& hits);
template <class Score>
void candidate_hits(const Candidates<Score>& candidates, const std::int64_t* members,
                    std::int64_t n_members, const double* running, const double* outside,
                    const std::uint8_t* right, Range listed, float* scratch, double* sums,
                    std::int64_t* hits);
void ensemble_predictions(const ScoredModel* models, const double* weights, Combine combine,
                          MatrixView<const std::int32_t> preds, Range samples, float* scratch,
                          double* sums, std::int32_t* ensemble);
void angle_histogram(MatrixView<const float> confidence, const AnglePair* pairs, Range range,
                     const double* slopes, std::int64_t n_bins, MatrixView<std::int64_t> histogram);
template <class Value>
void center_rows(const LogitsView& features, const Value* pilot, Range cols, MatrixView<Value> out,
                 Value* sums);

extern const KernelTable kernels = {
    OVCORE_TEXT(OVCORE_ISA),
    pack_errors<float>,
    pack_errors<double>,
    pack_errors<float16>,
    pack_errors<bfloat16>,
    pack_errors,
    joint_errors,
    joint_errors_between,
    screen_pairs,
    pack_classes,
    joint_agreement,
    temperature_nll,
    confidences,
    candidate_scores,
    pair_ensemble_hits<float>,
    pair_ensemble_hits<double>,
    candidate_hits<float>,
    candidate_hits<double>,
    ensemble_predictions,
    angle_histogram,
    center_rows<float>,
    center_rows<double>,
};

}  // namespace ovcore::OVCORE_ISA
