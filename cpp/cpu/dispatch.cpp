// Chooses the kernels for this chip, once, and forwards the public names to them.
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernel_table.hpp"

namespace ovcore {
namespace {

struct Choice {
  const KernelTable* kernels;
  bool runs_here;
};

// Best first. AVX-512 here means with VPOPCNTDQ: without it AVX2 counts bits as fast.
#ifdef OVCORE_HAVE_X86
const Choice choices[] = {
    {&avx512::kernels, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512dq") &&
                           __builtin_cpu_supports("avx512vl") &&
                           __builtin_cpu_supports("avx512vpopcntdq")},
    {&avx2::kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                         __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")},
    {&baseline::kernels, true},
};
#else
const Choice choices[] = {{&baseline::kernels, true}};
#endif

const KernelTable& choose() {
  const char* forced = std::getenv("OVCORE_ISA");
  std::string available;
  for (const Choice& choice : choices) {
    if (!choice.runs_here) continue;
    if (forced == nullptr || *forced == '\0' || std::string(forced) == choice.kernels->name)
      return *choice.kernels;
    available += std::string(available.empty() ? "" : ", ") + choice.kernels->name;
  }
  throw std::runtime_error(std::string("OVCORE_ISA=") + forced +
                           " cannot run here; expected one of: " + available);
}

const KernelTable& kernels() {
  static const KernelTable& chosen = choose();
  return chosen;
}

}  // namespace

const char* instruction_set() { return kernels().name; }

std::int64_t pack_errors(MatrixView<const float> logits, const std::int64_t* target, Range samples,
                         std::uint64_t* words, std::int32_t* preds) {
  return kernels().pack_errors_f32(logits, target, samples, words, preds);
}
std::int64_t pack_errors(MatrixView<const double> logits, const std::int64_t* target, Range samples,
                         std::uint64_t* words, std::int32_t* preds) {
  return kernels().pack_errors_f64(logits, target, samples, words, preds);
}
std::int64_t pack_errors(MatrixView<const float16> logits, const std::int64_t* target,
                         Range samples, std::uint64_t* words, std::int32_t* preds) {
  return kernels().pack_errors_f16(logits, target, samples, words, preds);
}
std::int64_t pack_errors(MatrixView<const bfloat16> logits, const std::int64_t* target,
                         Range samples, std::uint64_t* words, std::int32_t* preds) {
  return kernels().pack_errors_bf16(logits, target, samples, words, preds);
}

void pack_errors(const std::int64_t* preds, const std::int64_t* target, Range samples,
                 std::uint64_t* words) {
  kernels().pack_preds(preds, target, samples, words);
}

void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint) {
  kernels().joint_errors(words, rows, cols, joint);
}

void joint_errors_between(MatrixView<const std::uint64_t> a, MatrixView<const std::uint64_t> b,
                          MatrixView<std::int64_t> joint) {
  kernels().joint_errors_between(a, b, joint);
}

std::int64_t screen_pairs(MatrixView<const std::int64_t> joint, std::int64_t first_row,
                          std::int64_t first_col, const PairScreen& screen, ScreenedPair* passed) {
  return kernels().screen_pairs(joint, first_row, first_col, screen, passed);
}

void pack_classes(const std::uint16_t* classes, std::int64_t n_planes, Range samples,
                  std::uint64_t* planes) {
  kernels().pack_classes(classes, n_planes, samples, planes);
}

void joint_agreement(MatrixView<const std::uint64_t> planes, std::int64_t n_planes,
                     std::int64_t n_samples, Range rows, Range cols,
                     MatrixView<std::int64_t> agreement) {
  kernels().joint_agreement(planes, n_planes, n_samples, rows, cols, agreement);
}

NllSums temperature_nll(const LogitsView& logits, const std::int64_t* target, double beta,
                        Range samples) {
  return kernels().temperature_nll(logits, target, beta, samples);
}

void confidences(const LogitsView& logits, double temperature, const std::int32_t* preds,
                 Range samples, float* confidence) {
  kernels().confidences(logits, temperature, preds, samples, confidence);
}

void candidate_scores(const ScoredModel& model, Combine combine, const CandidateLists& lists,
                      Range listed, std::int64_t column, float* caps, MatrixView<float> scores,
                      MatrixView<float> outside, MatrixView<double> mass) {
  kernels().candidate_scores(model, combine, lists, listed, column, caps, scores, outside, mass);
}

template <>
void pair_ensemble_hits(const Candidates<float>& candidates, Range rows, Range cols, Range listed,
                        void* counts, PairHits& hits) {
  kernels().pair_ensemble_hits_f32(candidates, rows, cols, listed, counts, hits);
}
template <>
void pair_ensemble_hits(const Candidates<double>& candidates, Range rows, Range cols, Range listed,
                        void* counts, PairHits& hits) {
  kernels().pair_ensemble_hits_f64(candidates, rows, cols, listed, counts, hits);
}

template <>
void candidate_hits(const Candidates<float>& candidates, const std::int64_t* members,
                    std::int64_t n_members, const double* running, const double* outside,
                    const std::uint8_t* right, Range listed, float* scratch, double* sums,
                    std::int64_t* hits) {
  kernels().candidate_hits_f32(candidates, members, n_members, running, outside, right, listed,
                               scratch, sums, hits);
}
template <>
void candidate_hits(const Candidates<double>& candidates, const std::int64_t* members,
                    std::int64_t n_members, const double* running, const double* outside,
                    const std::uint8_t* right, Range listed, float* scratch, double* sums,
                    std::int64_t* hits) {
  kernels().candidate_hits_f64(candidates, members, n_members, running, outside, right, listed,
                               scratch, sums, hits);
}

void ensemble_predictions(const ScoredModel* models, const double* weights, Combine combine,
                          MatrixView<const std::int32_t> preds, Range samples, float* scratch,
                          double* sums, std::int32_t* ensemble) {
  kernels().ensemble_predictions(models, weights, combine, preds, samples, scratch, sums, ensemble);
}

void angle_histogram(MatrixView<const float> confidence, const AnglePair* pairs, Range range,
                     const double* slopes, std::int64_t n_bins,
                     MatrixView<std::int64_t> histogram) {
  kernels().angle_histogram(confidence, pairs, range, slopes, n_bins, histogram);
}

void center_rows(const LogitsView& features, const float* pilot, Range cols, MatrixView<float> out,
                 float* sums) {
  kernels().center_rows_f32(features, pilot, cols, out, sums);
}
void center_rows(const LogitsView& features, const double* pilot, Range cols,
                 MatrixView<double> out, double* sums) {
  kernels().center_rows_f64(features, pilot, cols, out, sums);
}

}  // namespace ovcore
