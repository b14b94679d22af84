// The kernels that combine models, each against another one or against the formula.
#include <cmath>
#include <limits>
#include <vector>

#include "testing.hpp"

namespace {

constexpr std::int64_t n_models = 21, n_samples = 90, n_classes = 37, columns = 32;

// Logits of one type for all models, and what is made of them.
struct Problem {
  std::vector<float> logits = std::vector<float>(n_models * n_samples * n_classes);
  std::vector<std::int64_t> target = std::vector<std::int64_t>(n_samples);
  std::vector<std::int32_t> preds = std::vector<std::int32_t>(n_models * n_samples);
  std::vector<ovcore::ScoredModel> models;
  ovcore::MatrixView<const std::int32_t> predicted{preds.data(), n_models, n_samples, n_samples};

  // Few distinct values make ties; flat ones leave much to settle.
  Problem(std::uint64_t state, int n_values) {
    for (float& z : logits)
      z = static_cast<float>(next_bits(state) % static_cast<std::uint64_t>(n_values)) * 0.1f;
    for (auto& t : target) t = static_cast<std::int64_t>(next_bits(state) % n_classes);
    for (std::int64_t m = 0; m < n_models; ++m) {
      const float* first = logits.data() + m * n_samples * n_classes;
      for (std::int64_t n = 0; n < n_samples; ++n) {
        const float* row = first + n * n_classes;
        std::int32_t best = 0;
        for (std::int32_t k = 1; k < n_classes; ++k)
          if (row[k] > row[best]) best = k;
        preds[m * n_samples + n] = best;
      }
      const double temperature = 0.5 + 0.1 * static_cast<double>(m);
      models.push_back(
          {{first, ovcore::Element::float32, n_samples, n_classes, n_classes}, temperature});
    }
  }

  // Samples that an ensemble of some models gets right, one flag each, by full scans.
  std::vector<bool> hits(const std::vector<std::int64_t>& members, ovcore::Combine combine) const {
    std::vector<ovcore::ScoredModel> some;
    std::vector<std::int32_t> theirs;
    for (const std::int64_t m : members) {
      some.push_back(models[m]);
      theirs.insert(theirs.end(), preds.begin() + m * n_samples,
                    preds.begin() + (m + 1) * n_samples);
    }
    const auto count = static_cast<std::int64_t>(members.size());
    const std::vector<double> weights(members.size(), 1.0);
    std::vector<float> floats(n_classes);
    std::vector<double> doubles(n_classes);
    std::vector<std::int32_t> ensemble(n_samples);
    ovcore::ensemble_predictions(some.data(), weights.data(), combine,
                                 {theirs.data(), count, n_samples, n_samples}, {0, n_samples},
                                 floats.data(), doubles.data(), ensemble.data());
    std::vector<bool> right(n_samples);
    for (std::int64_t n = 0; n < n_samples; ++n) right[n] = ensemble[n] == target[n];
    return right;
  }
};

// The candidates of all samples, in memory of their own.
struct Candidates {
  std::vector<std::int64_t> samples, offsets{0};
  std::vector<std::int32_t> classes, target, tops;
  std::vector<float> scores, outside;
  std::vector<double> mass;
  ovcore::Candidates<float> view;

  Candidates(const Problem& problem, ovcore::Combine combine) {
    std::vector<std::int64_t> sizes(n_samples);
    std::vector<std::int32_t> scratch(2 * n_models + 2);
    ovcore::count_candidates(problem.predicted, problem.target.data(), {0, n_samples}, true,
                             scratch.data(), sizes.data());
    for (std::int64_t n = 0; n < n_samples; ++n) {
      samples.push_back(n);
      offsets.push_back(offsets.back() + sizes[n]);
    }
    classes.resize(offsets.back());
    target.resize(n_samples);
    tops.assign(n_samples * columns, -1);
    scores.assign(offsets.back() * columns, 0);
    outside.assign(n_samples * columns, 0);
    mass.assign(n_samples * columns, 1);
    ovcore::list_candidates(problem.predicted, problem.target.data(), samples.data(),
                            offsets.data(), {0, n_samples}, scratch.data(), classes.data(),
                            target.data(), {tops.data(), n_samples, columns, columns});
    const ovcore::CandidateLists lists{samples.data(),
                                       offsets.data(),
                                       classes.data(),
                                       target.data(),
                                       {tops.data(), n_samples, columns, columns}};
    constexpr float infinity = std::numeric_limits<float>::infinity();
    std::vector<float> caps(n_classes + ovcore::caps_padding, -infinity);
    for (std::int64_t k = 0; k < n_classes; ++k) caps[k] = infinity;
    for (std::int64_t m = 0; m < n_models; ++m)
      ovcore::candidate_scores(problem.models[m], combine, lists, {0, n_samples}, m, caps.data(),
                               {scores.data(), offsets.back(), columns, columns},
                               {outside.data(), n_samples, columns, columns},
                               {mass.data(), n_samples, columns, columns});
    view = {lists,
            {scores.data(), offsets.back(), columns, columns},
            {outside.data(), n_samples, columns, columns},
            {mass.data(), n_samples, columns, columns},
            n_models,
            n_classes,
            problem.models.data(),
            combine};
  }
};

template <class Check>
void for_each_problem(const Check& check) {
  for (const auto combine : {ovcore::Combine::prob, ovcore::Combine::logit})
    for (const int n_values : {2, 8, 1000}) {
      const Problem problem(static_cast<std::uint64_t>(n_values), n_values);
      check(problem, Candidates(problem, combine), combine);
    }
}

void pair_ensemble_hits_are_those_of_a_full_scan() {
  for_each_problem([](const Problem& problem, const Candidates& candidates, auto combine) {
    std::vector<std::int64_t> conversions(n_models * n_models), rescues(n_models * n_models);
    ovcore::PairHits hits{{conversions.data(), n_models, n_models, n_models},
                          {rescues.data(), n_models, n_models, n_models}};
    std::vector<float> counts(2 * n_models * (n_models + 32));
    for (const ovcore::Range listed : {ovcore::Range{0, 31}, ovcore::Range{31, n_samples}})
      for (const ovcore::Range rows : {ovcore::Range{0, 7}, ovcore::Range{7, n_models}})
        for (const ovcore::Range cols : {ovcore::Range{0, 9}, ovcore::Range{9, n_models}})
          ovcore::pair_ensemble_hits(candidates.view, rows, cols, listed, counts.data(), hits);
    for (std::int64_t i = 0; i < n_models; ++i)
      for (std::int64_t j = i + 1; j < n_models; ++j) {
        const std::vector<bool> right = problem.hits({i, j}, combine);
        std::int64_t one = 0, none = 0;
        for (std::int64_t n = 0; n < n_samples; ++n) {
          const bool by_i = problem.preds[i * n_samples + n] == problem.target[n];
          const bool by_j = problem.preds[j * n_samples + n] == problem.target[n];
          one += right[n] && by_i != by_j;
          none += right[n] && !by_i && !by_j;
        }
        expect(conversions[i * n_models + j] == one, "conversions of a pair");
        expect(rescues[i * n_models + j] == none, "rescues of a pair");
      }
  });
}

void candidate_hits_are_those_of_a_full_scan() {
  for_each_problem([](const Problem& problem, const Candidates& candidates, auto combine) {
    const std::vector<std::int64_t> members{4, 19, 0};
    std::vector<double> running(candidates.classes.size()), outside(n_samples);
    for (const std::int64_t m : members) {
      for (std::size_t u = 0; u < running.size(); ++u)
        running[u] += static_cast<double>(candidates.scores[u * columns + m]);
      for (std::int64_t s = 0; s < n_samples; ++s)
        outside[s] += static_cast<double>(candidates.outside[s * columns + m]);
    }
    std::vector<std::uint8_t> right(n_samples);
    for (std::int64_t n = 0; n < n_samples; n += 3) right[n] = 1;
    std::vector<float> floats(n_classes);
    std::vector<double> doubles(n_classes);
    std::vector<std::int64_t> hits(2 * columns);
    ovcore::candidate_hits(candidates.view, members.data(), 3, running.data(), outside.data(),
                           right.data(), {0, n_samples}, floats.data(), doubles.data(),
                           hits.data());
    for (std::int64_t m = 0; m < n_models; ++m) {
      const std::vector<bool> joined = problem.hits({4, 19, 0, m}, combine);
      std::int64_t expected[2] = {0, 0};
      for (std::int64_t n = 0; n < n_samples; ++n) expected[right[n]] += joined[n];
      expect(hits[m] == expected[0] && hits[columns + m] == expected[1], "hits if one joins");
    }
  });
}

void temperature_nll_is_its_formula() {
  const Problem problem(3, 1000);
  for (const double beta : {0.01, 1.0, 30.0}) {
    const ovcore::LogitsView& logits = problem.models[0].logits;
    double nll = 0, slope = 0, curvature = 0;
    for (std::int64_t n = 0; n < n_samples; ++n) {
      const float* row = problem.logits.data() + n * n_classes;
      const double peak = row[problem.preds[n]];
      double sums[3] = {0, 0, 0};
      for (std::int64_t k = 0; k < n_classes; ++k) {
        const double z = row[k] - peak, weight = std::exp(beta * z);
        sums[0] += weight, sums[1] += weight * z, sums[2] += weight * z * z;
      }
      const double mean = sums[1] / sums[0], of_target = row[problem.target[n]] - peak;
      nll += std::log(sums[0]) - beta * of_target;
      slope += mean - of_target;
      curvature += sums[2] / sums[0] - mean * mean;
    }
    const ovcore::NllSums sums =
        ovcore::temperature_nll(logits, problem.target.data(), beta, {0, n_samples});
    const auto near = [](double a, double b) { return std::fabs(a - b) <= 1e-10 * std::fabs(b); };
    expect(near(sums.nll, nll), "temperature_nll");
    expect(near(sums.slope, slope), "slope of temperature_nll");
    expect(near(sums.curvature, curvature), "curvature of temperature_nll");
  }
}

void confidences_are_probabilities_of_predictions() {
  const Problem problem(5, 1000);
  std::vector<float> confidence(n_samples);
  ovcore::confidences(problem.models[0].logits, 2.0, problem.preds.data(), {0, n_samples},
                      confidence.data());
  for (std::int64_t n = 0; n < n_samples; ++n) {
    const float* row = problem.logits.data() + n * n_classes;
    double sum = 0;
    for (std::int64_t k = 0; k < n_classes; ++k)
      sum += std::exp((row[k] - row[problem.preds[n]]) / 2.0);
    expect(std::fabs(static_cast<double>(confidence[n]) * sum - 1) < 1e-5, "confidence");
  }
}

}  // namespace

int main() {
  return run("ensembles", pair_ensemble_hits_are_those_of_a_full_scan,
             candidate_hits_are_those_of_a_full_scan, temperature_nll_is_its_formula,
             confidences_are_probabilities_of_predictions);
}
