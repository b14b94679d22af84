// Scores of the classes that can win, and the best score outside them; confidences.
#include "scores.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

template <class V>
inline float largest_lane(V v) {
  float most = v[0];
  for (int i = 1; i < n_floats; ++i) most = larger<float>(most, v[i]);
  return most;
}

// Rows follow the list of samples, not memory: the next one is asked for while this one is read.
template <class T>
inline void ask_for(const T* next, std::int64_t k) {
  if (k * static_cast<std::int64_t>(sizeof(T)) % 64 == 0) __builtin_prefetch(next + k, 0, 2);
}

// Largest logit of a class whose cap is not -inf; -inf where there is none.
template <class T>
inline auto largest_under(const T* row, const T* next, std::int64_t n_classes, const float* caps) {
  if constexpr (std::is_same_v<T, double>) {
    double most = -infinity;
    for (std::int64_t k = 0; k < n_classes; ++k) {
      ask_for(next, k);
      most = larger(most, smaller(row[k], static_cast<double>(caps[k])));
    }
    return most;
  } else {
    Floats most = Floats{} - infinity;
    for_each_piece<n_floats>(row, n_classes, [&](std::int64_t k, int, const T* from) {
      ask_for(next, k);
      most = larger(most, smaller(load_floats(from), load<Floats>(caps + k)));
    });
    return largest_lane(most);
  }
}

}  // namespace

void confidences(const LogitsView& logits, double temperature, const std::int32_t* preds,
                 Range samples, float* confidence) {
  const float beta = beta_of(temperature);
  for (std::int64_t n = samples.first; n < samples.last; ++n) {
    if (preds[n] < 0) {
      confidence[n] = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    with_row(logits, n, [&](const auto* row) {
      const double mass = weigh(row, logits.cols, widen_one(row[preds[n]]), beta,
                                [](std::int64_t, Floats) {});
      confidence[n] = static_cast<float>(1 / mass);
    });
  }
}

void candidate_scores(const ScoredModel& model, Combine combine, const CandidateLists& lists,
                      Range listed, std::int64_t column, float* caps, MatrixView<float> scores,
                      MatrixView<float> outside, MatrixView<double> mass) {
  const Scorer scorer(model, combine);
  const std::int64_t n_classes = model.logits.cols;
  for (std::int64_t s = listed.first; s < listed.last; ++s) {
    const std::int64_t first = lists.offsets[s], last = lists.offsets[s + 1];
    const std::int64_t after = lists.samples[s + 1 < listed.last ? s + 1 : s];
    for (std::int64_t u = first; u < last; ++u) caps[lists.classes[u]] = -infinity;
    with_row(model.logits, lists.samples[s], [&](const auto* row) {
      const auto* next = row + (after - lists.samples[s]) * model.logits.row_stride;
      const auto peak = widen_one(row[lists.classes[first + lists.tops.row(s)[column]]]);
      double total = 1;
      if (scorer.is_logit) {
        const auto most = largest_under(row, next, n_classes, caps);
        outside.row(s)[column] = logit_score(most, peak, model.temperature);
      } else {
        Floats most = Floats{} - infinity;
        total = weigh(row, n_classes, peak, scorer.beta, [&](std::int64_t k, Floats weights) {
          ask_for(next, k);
          most = larger(most, smaller(weights, load<Floats>(caps + k)));
        });
        outside.row(s)[column] =
            static_cast<float>(static_cast<double>(largest_lane(most)) / total);
      }
      mass.row(s)[column] = total;
      float* to = scores.row(first) + column;
      scorer.scores(row, lists.classes + first, last - first, peak, total, to, scores.row_stride);
    });
    for (std::int64_t u = first; u < last; ++u) caps[lists.classes[u]] = infinity;
  }
}

}  // namespace ovcore::OVCORE_ISA
