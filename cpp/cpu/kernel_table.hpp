// One table of kernels per instruction set. Every .cpp beside this file but dispatch.cpp is
// compiled once per set, with OVCORE_ISA naming the set and its namespace. Those units use no
// inline function from outside their namespace unless it is always_inline: the linker keeps one
// copy of an inline function, and an AVX-512 copy must not become the one that a baseline chip
// runs.
#pragma once

#include "ovcore/kernels.hpp"

namespace ovcore {

template <class T>
using PackErrors = std::int64_t (*)(MatrixView<const T>, const std::int64_t*, Range, std::uint64_t*,
                                    std::int32_t*);
using JointErrors = void (*)(MatrixView<const std::uint64_t>, Range, Range,
                             MatrixView<std::int64_t>);

using JointErrorsBetween = void (*)(MatrixView<const std::uint64_t>,
                                    MatrixView<const std::uint64_t>, MatrixView<std::int64_t>);
using PackPreds = void (*)(const std::int64_t*, const std::int64_t*, Range, std::uint64_t*);
using PackClasses = void (*)(const std::uint16_t*, std::int64_t, Range, std::uint64_t*);
using JointAgreement = void (*)(MatrixView<const std::uint64_t>, std::int64_t, std::int64_t, Range,
                                Range, MatrixView<std::int64_t>);
template <class Score>
using PairEnsembleHits = void (*)(const Candidates<Score>&, Range, Range, Range, void*, PairHits&);
template <class Score>
using CandidateHits = void (*)(const Candidates<Score>&, const std::int64_t*, std::int64_t,
                               const double*, const double*, const std::uint8_t*, Range, float*,
                               double*, std::int64_t*);
template <class Value>
using CenterRows = void (*)(const LogitsView&, const Value*, Range, MatrixView<Value>, Value*);

struct KernelTable {
  const char* name;
  PackErrors<float> pack_errors_f32;
  PackErrors<double> pack_errors_f64;
  PackErrors<float16> pack_errors_f16;
  PackErrors<bfloat16> pack_errors_bf16;
  PackPreds pack_preds;
  JointErrors joint_errors;
  JointErrorsBetween joint_errors_between;
  decltype(&ovcore::screen_pairs) screen_pairs;
  PackClasses pack_classes;
  JointAgreement joint_agreement;
  decltype(&ovcore::temperature_nll) temperature_nll;
  decltype(&ovcore::confidences) confidences;
  decltype(&ovcore::candidate_scores) candidate_scores;
  PairEnsembleHits<float> pair_ensemble_hits_f32;
  PairEnsembleHits<double> pair_ensemble_hits_f64;
  CandidateHits<float> candidate_hits_f32;
  CandidateHits<double> candidate_hits_f64;
  decltype(&ovcore::ensemble_predictions) ensemble_predictions;
  decltype(&ovcore::angle_histogram) angle_histogram;
  CenterRows<float> center_rows_f32;
  CenterRows<double> center_rows_f64;
};

namespace baseline {
extern const KernelTable kernels;
}
#ifdef OVCORE_HAVE_X86
namespace avx2 {
extern const KernelTable kernels;
}
namespace avx512 {
extern const KernelTable kernels;
}
#endif

}  // namespace ovcore
