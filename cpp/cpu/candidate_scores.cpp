// Scores of the classes that can win, and the best score outside them; confidences.
#include "scores.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

// Rows follow the list of samples, not memory. They are asked for before they are read, at two
// distances, as in pack_errors.cpp: some rows ahead for the second-level cache, fewer for the
// first.
template <class T>
struct Ahead {
  const T *far, *near;

  Ahead(const LogitsView& logits, const CandidateLists& lists, Range listed, std::int64_t s,
        std::int64_t rows_far) {
    const auto row_after = [&](std::int64_t rows) {
      const std::int64_t n = lists.samples[s + rows < listed.last ? s + rows : listed.last - 1];
      return static_cast<const T*>(logits.data) + n * logits.row_stride;
    };
    far = row_after(1 + rows_far);
    near = row_after(1);
  }
  void ask(std::int64_t k) const {
    if (k * static_cast<std::int64_t>(sizeof(T)) % 64 != 0) return;
    __builtin_prefetch(far + k, 0, 2);
    __builtin_prefetch(near + k, 0, 3);
  }
};

// Largest logit of a class whose cap is not -inf; -inf where there is none.
template <class T>
inline auto largest_under(const T* row, const Ahead<T>& ahead, std::int64_t n_classes,
                          const float* caps) {
  if constexpr (std::is_same_v<T, double>) {
    double most = -infinity;
    for (std::int64_t k = 0; k < n_classes; ++k) {
      ahead.ask(k);
      most = larger(most, smaller(row[k], static_cast<double>(caps[k])));
    }
    return most;
  } else {
    Floats most = Floats{} - infinity;
    for_each_piece<1, 1>(row, n_classes, [&](std::int64_t k, const T* from, auto) OVCORE_INLINE {
      ahead.ask(k);
      most = larger(most, smaller(load_floats(from), load<Floats>(caps + k)));
    });
    return largest_lane(most);
  }
}

}  // namespace

void confidences(const LogitsView& logits, double temperature, const std::int32_t* preds,
                 Range samples, float* confidence) {
  const float scale = scale_of(temperature);
  for (std::int64_t n = samples.first; n < samples.last; ++n) {
    if (preds[n] < 0) {
      confidence[n] = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    with_row(logits, n, [&](const auto* row) {
      const double mass = weigh(row, logits.cols, widen_one(row[preds[n]]), scale,
                                [](std::int64_t, Floats) OVCORE_INLINE {});
      confidence[n] = static_cast<float>(1 / mass);
    });
  }
}

void candidate_scores(const ScoredModel& model, Combine combine, const CandidateLists& lists,
                      Range listed, std::int64_t column, float* caps, MatrixView<float> scores,
                      MatrixView<float> outside, MatrixView<double> mass) {
  const Scorer scorer(model, combine);
  const std::int64_t n_classes = model.logits.cols;
  const std::int64_t rows_far = 3072 / n_classes;
  for (std::int64_t s = listed.first; s < listed.last; ++s) {
    const std::int64_t first = lists.offsets[s], last = lists.offsets[s + 1];
    for (std::int64_t u = first; u < last; ++u) caps[lists.classes[u]] = -infinity;
    with_row(model.logits, lists.samples[s], [&](const auto* row) {
      using T = std::remove_const_t<std::remove_reference_t<decltype(*row)>>;
      const Ahead<T> ahead(model.logits, lists, listed, s, rows_far);
      const auto peak = widen_one(row[lists.classes[first + lists.tops.row(s)[column]]]);
      double total = 1;
      if (scorer.is_logit) {
        const auto most = largest_under(row, ahead, n_classes, caps);
        outside.row(s)[column] = logit_score(most, peak, model.temperature);
      } else {
        Floats most = Floats{} - infinity;
        total = weigh(row, n_classes, peak, scorer.scale,
                      [&](std::int64_t k, Floats weights) OVCORE_INLINE {
                        ahead.ask(k);
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
