// What an ensemble predicts: sums over all classes, for samples on which its models differ.
#include "scores.hpp"

namespace ovcore::OVCORE_ISA {

void ensemble_predictions(const ScoredModel* models, const double* weights, Combine combine,
                          MatrixView<const std::int32_t> preds, Range samples, float* scratch,
                          double* sums, std::int32_t* ensemble) {
  const std::int64_t n_classes = models[0].logits.cols;
  for (std::int64_t n = samples.first; n < samples.last; ++n) {
    std::int64_t m = 1;
    while (m < preds.rows && preds.row(m)[n] == preds.row(0)[n]) ++m;
    ensemble[n] = preds.row(0)[n];
    if (m == preds.rows) continue;
    for (std::int64_t k = 0; k < n_classes; ++k) sums[k] = combine == Combine::max ? -1 : 0;
    for (m = 0; m < preds.rows; ++m) {
      const Scorer scorer(models[m], combine);
      with_row(models[m].logits, n, [&](const auto* row) {
        const auto peak = widen_one(row[preds.row(m)[n]]);
        if (combine == Combine::max)
          scorer.template add<true>(row, peak, weights[m], scratch, sums);
        else
          scorer.template add<false>(row, peak, weights[m], scratch, sums);
      });
    }
    double most = -infinity;
    ensemble[n] = -1;
    for (std::int64_t k = 0; k < n_classes; ++k)
      if (sums[k] > most) {
        most = sums[k];
        ensemble[n] = static_cast<std::int32_t>(k);
      }
  }
}

}  // namespace ovcore::OVCORE_ISA
