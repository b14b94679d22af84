// The CUDA kernels that score, run by the SIMT shim, against the CPU's: bit for bit, but for sums
// of the negative log likelihood.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "ovcore/cuda.hpp"
#include "testing.hpp"

namespace {

using ovcore::Combine;
using ovcore::Element;
using ovcore::MatrixView;

constexpr double infinity = std::numeric_limits<double>::infinity();

std::uint16_t half_of(double value) {  // rounded towards zero; exact for what matters here
  if (value != value) return 0x7e00;
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::fabs(value);
  if (size > 65504) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (size < 0x1p-14) return static_cast<std::uint16_t>(sign | static_cast<int>(size * 0x1p24));
  const int exponent = std::ilogb(size);
  const int rest = static_cast<int>((std::ldexp(size, -exponent) - 1) * 1024);
  return static_cast<std::uint16_t>(sign | (exponent + 15) << 10 | rest);
}
std::uint16_t brain_of(double value) {
  const auto single = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &single, sizeof bits);
  return static_cast<std::uint16_t>(value != value ? 0x7fc0 : bits >> 16);
}
double value_of_half(std::uint16_t bits) {
  const double sign = bits & 0x8000 ? -1 : 1;
  const int exponent = bits >> 10 & 31, rest = bits & 1023;
  if (exponent == 31) return rest == 0 ? sign * infinity : std::nan("");
  if (exponent == 0) return sign * rest * 0x1p-24;
  return sign * std::ldexp(1 + rest / 1024.0, exponent - 15);
}

// Logits of one model of some element type, in rows that start anywhere.
struct Logits {
  std::vector<unsigned char> bytes;
  ovcore::LogitsView view;

  Logits(Element element, std::int64_t n_samples, std::int64_t n_classes, std::int64_t gap) {
    const std::size_t size = element == Element::float64 ? 8 : element == Element::float32 ? 4 : 2;
    const std::int64_t stride = n_classes + gap;
    bytes.resize(static_cast<std::size_t>(n_samples * stride + 3) * size);
    std::memset(bytes.data(), 0xff, bytes.size());  // NaN between rows
    view = {bytes.data() + size, element, n_samples, n_classes, stride};
  }
  void set(std::int64_t n, std::int64_t k, double value) {
    const std::int64_t at = 1 + n * view.row_stride + k;
    if (view.element == Element::float64) {
      std::memcpy(bytes.data() + at * 8, &value, 8);
    } else if (view.element == Element::float32) {
      const auto single = static_cast<float>(value);
      std::memcpy(bytes.data() + at * 4, &single, 4);
    } else {
      const std::uint16_t bits =
          view.element == Element::float16 ? half_of(value) : brain_of(value);
      std::memcpy(bytes.data() + at * 2, &bits, 2);
    }
  }
  double get(std::int64_t n, std::int64_t k) const {
    const std::int64_t at = 1 + n * view.row_stride + k;
    if (view.element == Element::float64) {
      double value;
      std::memcpy(&value, bytes.data() + at * 8, 8);
      return value;
    }
    if (view.element == Element::float32) {
      float value;
      std::memcpy(&value, bytes.data() + at * 4, 4);
      return static_cast<double>(value);
    }
    std::uint16_t bits;
    std::memcpy(&bits, bytes.data() + at * 2, 2);
    if (view.element == Element::float16) return value_of_half(bits);
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return static_cast<double>(value);
  }
};

enum class Kind { plain, ties, flat, infinite, wide, agree };

double logit(Kind kind, std::uint64_t& state, std::int64_t k, bool is_nll) {
  const double uniform = static_cast<double>(next_bits(state) >> 11) * 0x1p-53;
  switch (kind) {
    case Kind::ties:
      return static_cast<double>(next_bits(state) % 3) - 1;
    case Kind::flat:
      return uniform * 0x1p-20;
    case Kind::infinite:
      if (uniform < 0.2) return -infinity;
      return uniform < 0.25 && !is_nll ? infinity : uniform < 0.5 ? -0.0 : 10 * uniform;
    case Kind::wide:
      return (uniform - 0.5) * std::pow(10.0, static_cast<double>(next_bits(state) % 40));
    case Kind::agree:
      return k == 0 ? 20 : uniform;
    default:
      return (uniform - 0.5) * 30;
  }
}

struct Problem {
  std::int64_t n_models, n_samples, n_classes;
  std::vector<Logits> logits;
  std::vector<ovcore::ScoredModel> models;
  std::vector<std::int64_t> target;
  std::vector<std::int32_t> preds;
  MatrixView<const std::int32_t> predicted;

  Problem(std::int64_t m_models, std::int64_t of_samples, std::int64_t of_classes, Kind kind,
          std::uint64_t state, bool is_nll = false)
      : n_models(m_models), n_samples(of_samples), n_classes(of_classes) {
    constexpr Element elements[] = {Element::float32, Element::float16, Element::bfloat16,
                                    Element::float64};
    constexpr double temperatures[] = {1, 1e-3, 0.7, 1e3, 2.5};
    const auto first = static_cast<std::int64_t>(next_bits(state) % 4);
    for (std::int64_t m = 0; m < n_models; ++m) {
      logits.emplace_back(elements[(first + m) % 4], n_samples, n_classes, 1 + m % 3);
      for (std::int64_t n = 0; n < n_samples; ++n) {
        std::int64_t best = 0;
        for (std::int64_t k = 0; k < n_classes; ++k) {
          logits[m].set(n, k, logit(kind, state, k, is_nll));
          if (logits[m].get(n, k) > logits[m].get(n, best)) best = k;
        }
        if (logits[m].get(n, best) == -infinity) logits[m].set(n, best, 0);
        preds.push_back(static_cast<std::int32_t>(best));
      }
    }
    for (std::int64_t n = 0; n < n_samples; ++n)
      target.push_back(is_nll && n_models != 0
                           ? preds[n]
                           : static_cast<std::int64_t>(next_bits(state)) & 0x7fffffff);
    for (std::int64_t& t : target) t %= n_classes;
    for (std::int64_t m = 0; m < n_models; ++m)
      models.push_back({logits[m].view, temperatures[next_bits(state) % 5]});
    predicted = {preds.data(), n_models, n_samples, n_samples};
  }
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

void check_confidences(const Problem& p) {
  std::vector<std::int32_t> preds = p.preds;
  for (std::size_t i = 0; i < preds.size(); i += 7) preds[i] = -1;
  std::vector<float> expected(preds.size()), result(preds.size(), 7.0f);
  for (std::int64_t m = 0; m < p.n_models; ++m)
    ovcore::confidences(p.models[m].logits, p.models[m].temperature, preds.data() + m * p.n_samples,
                        {0, p.n_samples}, expected.data() + m * p.n_samples);
  const auto error = ovcore::cuda::confidences(
      p.models.data(), {preds.data(), p.n_models, p.n_samples, p.n_samples},
      {result.data(), p.n_models, p.n_samples, p.n_samples}, nullptr);
  expect(error == cudaSuccess && same_bits(result, expected), "confidences");
}

// Lists of the candidates by both, and their scores.
void check_candidates(const Problem& p, bool all) {
  std::vector<std::int32_t> scratch(static_cast<std::size_t>(2 * p.n_models + 2));
  std::vector<std::int64_t> sizes(p.n_samples);
  std::vector<std::int32_t> counted(p.n_samples, -7);
  ovcore::count_candidates(p.predicted, p.target.data(), {0, p.n_samples}, all, scratch.data(),
                           sizes.data());
  auto error =
      ovcore::cuda::count_candidates(p.predicted, p.target.data(), all, counted.data(), nullptr);
  expect(error == cudaSuccess, "count_candidates runs");
  std::vector<std::int64_t> samples, offsets{0};
  for (std::int64_t n = 0; n < p.n_samples; ++n) {
    expect(counted[n] == sizes[n], "count_candidates");
    if (sizes[n] == 0) continue;
    samples.push_back(n);
    offsets.push_back(offsets.back() + sizes[n]);
  }
  const auto n_listed = static_cast<std::int64_t>(samples.size());
  const std::int64_t n_columns =
      (p.n_models + ovcore::model_padding - 1) / ovcore::model_padding * ovcore::model_padding;
  const auto cells = static_cast<std::size_t>(n_listed * n_columns);
  std::vector<std::int32_t> classes[2], positions[2], tops[2];
  for (int which = 0; which < 2; ++which) {
    classes[which].assign(offsets.back(), -7);
    positions[which].assign(n_listed, -7);
    tops[which].assign(cells, which == 0 ? -1 : 7);
  }
  ovcore::list_candidates(p.predicted, p.target.data(), samples.data(), offsets.data(),
                          {0, n_listed}, scratch.data(), classes[0].data(), positions[0].data(),
                          {tops[0].data(), n_listed, n_columns, n_columns});
  error = ovcore::cuda::list_candidates(
      p.predicted, p.target.data(), samples.data(), offsets.data(), n_listed, classes[1].data(),
      positions[1].data(), {tops[1].data(), n_listed, n_columns, n_columns}, nullptr);
  expect(error == cudaSuccess, "list_candidates runs");
  expect(same_bits(classes[0], classes[1]), "listed classes");
  expect(same_bits(positions[0], positions[1]), "positions of targets");
  expect(same_bits(tops[0], tops[1]), "tops");

  const ovcore::CandidateLists lists{samples.data(),
                                     offsets.data(),
                                     classes[0].data(),
                                     positions[0].data(),
                                     {tops[0].data(), n_listed, n_columns, n_columns}};
  for (const Combine combine : {Combine::prob, Combine::logit, Combine::max}) {
    std::vector<float> scores[2], outside[2];
    std::vector<double> mass[2];
    MatrixView<float> score_views[2], outside_views[2];
    MatrixView<double> mass_views[2];
    for (int which = 0; which < 2; ++which) {
      scores[which].assign(static_cast<std::size_t>(offsets.back() * n_columns), which * 7.0f);
      outside[which].assign(cells, which * 7.0f);
      mass[which].assign(cells, which * 6.0 + 1);
      score_views[which] = {scores[which].data(), offsets.back(), n_columns, n_columns};
      outside_views[which] = {outside[which].data(), n_listed, n_columns, n_columns};
      mass_views[which] = {mass[which].data(), n_listed, n_columns, n_columns};
    }
    std::vector<float> caps(static_cast<std::size_t>(p.n_classes + ovcore::caps_padding),
                            -std::numeric_limits<float>::infinity());
    for (std::int64_t k = 0; k < p.n_classes; ++k) caps[k] = std::numeric_limits<float>::infinity();
    for (std::int64_t m = 0; m < p.n_models; ++m)
      ovcore::candidate_scores(p.models[m], combine, lists, {0, n_listed}, m, caps.data(),
                               score_views[0], outside_views[0], mass_views[0]);
    error =
        ovcore::cuda::candidate_scores(p.models.data(), p.n_models, p.n_classes, combine, lists,
                                       score_views[1], outside_views[1], mass_views[1], nullptr);
    expect(error == cudaSuccess, "candidate_scores runs");
    expect(same_bits(scores[0], scores[1]), "scores");
    expect(same_bits(outside[0], outside[1]), "outside");
    expect(same_bits(mass[0], mass[1]), "mass");
  }
}

void check_ensemble(const Problem& p, std::uint64_t state) {
  constexpr double choices[] = {1, 0.5, 0.37, 2.9};
  std::vector<double> weights;
  for (std::int64_t m = 0; m < p.n_models; ++m) weights.push_back(choices[next_bits(state) % 4]);
  std::vector<float> floats(p.n_classes);
  std::vector<double> doubles(p.n_classes);
  for (const Combine combine : {Combine::prob, Combine::logit, Combine::max}) {
    std::vector<std::int32_t> expected(p.n_samples), result(p.n_samples, -7);
    ovcore::ensemble_predictions(p.models.data(), weights.data(), combine, p.predicted,
                                 {0, p.n_samples}, floats.data(), doubles.data(), expected.data());
    std::vector<unsigned char> scratch(ovcore::cuda::ensemble_scratch(p.n_models, p.n_samples));
    const auto error =
        ovcore::cuda::ensemble_predictions(p.models.data(), weights.data(), combine, p.n_classes,
                                           p.predicted, scratch.data(), result.data(), nullptr);
    expect(error == cudaSuccess && same_bits(result, expected), "ensemble_predictions");
  }
}

// `by` is what a value's error is relative to.
bool is_near(double a, double b, double by) {
  if (!std::isfinite(a) || !std::isfinite(b)) return !std::isfinite(a) && !std::isfinite(b);
  if (b == 0) return a == 0;
  return std::fabs(a - b) <= by;
}

double worst_nll = 0, worst_slope = 0, worst_curvature = 0;

void check_nll(const Problem& p, double factor) {
  std::vector<ovcore::LogitsView> views;
  std::vector<double> beta;
  for (std::int64_t m = 0; m < p.n_models; ++m) {
    views.push_back(p.models[m].logits);
    beta.push_back(factor / p.models[m].temperature);
  }
  std::vector<ovcore::NllSums> sums(p.n_models);
  std::vector<unsigned char> scratch(ovcore::cuda::nll_scratch(p.n_models, p.n_samples));
  const auto error =
      ovcore::cuda::temperature_nll(views.data(), p.n_models, p.target.data(), beta.data(),
                                    p.n_samples, scratch.data(), sums.data(), nullptr);
  expect(error == cudaSuccess, "temperature_nll runs");
  for (std::int64_t m = 0; m < p.n_models; ++m) {
    const ovcore::NllSums expected =
        ovcore::temperature_nll(views[m], p.target.data(), beta[m], {0, p.n_samples});
    const double spread =
        std::sqrt(std::fabs(expected.curvature) * static_cast<double>(p.n_samples));
    const auto note = [](double& worst, double a, double b, double by) {
      if (std::isfinite(a) && std::isfinite(b) && by > 0)
        worst = std::fmax(worst, std::fabs(a - b) / by);
    };
    // A sum of differences is as good as what it is made of.
    const double of_nll = std::fabs(expected.nll) + static_cast<double>(p.n_samples) * 1e-3;
    const double of_slope = std::fabs(expected.slope) + spread;
    note(worst_nll, sums[m].nll, expected.nll, of_nll);
    if (expected.slope != 0) note(worst_slope, sums[m].slope, expected.slope, of_slope);
    if (expected.curvature != 0)
      note(worst_curvature, sums[m].curvature, expected.curvature, std::fabs(expected.curvature));
    expect(is_near(sums[m].nll, expected.nll, 2e-12 * of_nll), "temperature_nll");
    expect(is_near(sums[m].slope, expected.slope, 1e-11 * of_slope), "slope of temperature_nll");
    expect(is_near(sums[m].curvature, expected.curvature, 1e-9 * std::fabs(expected.curvature)),
           "curvature of temperature_nll");
  }
}

constexpr Kind kinds[] = {Kind::plain,    Kind::ties, Kind::flat,
                          Kind::infinite, Kind::wide, Kind::agree};

// Problems of awkward sizes: check(models, samples, classes, kind, seed).
template <class Check>
void for_each_size(const Check& check) {
  std::uint64_t seed = 1;
  for (const std::int64_t k : {1, 2, 15, 16, 17, 63, 64, 65, 130, 520, 1000})
    for (const Kind kind : kinds) check(4, k < 500 ? 33 : 5, k, kind, ++seed);
  for (const std::int64_t n : {0, 1, 2, 63, 64, 65, 127, 1000})
    for (const Kind kind : {Kind::plain, Kind::ties}) check(3, n, 9, kind, ++seed);
  for (const std::int64_t m : {1, 2, 3, 8, 16, 17, 25, 40, 129, 200})
    for (const Kind kind : {Kind::plain, Kind::ties, Kind::agree}) check(m, 11, 12, kind, ++seed);
  check(2, 2, 2100, Kind::plain, ++seed);
  check(300, 3, 250, Kind::plain, ++seed);
}

void scores_are_those_of_the_cpu() {
  for_each_size([](auto m, auto n, auto k, Kind kind, std::uint64_t seed) {
    const Problem p(m, n, k, kind, seed);
    const int before = failures;
    check_confidences(p);
    check_candidates(p, false);
    check_candidates(p, true);
    check_ensemble(p, seed);
    if (failures != before)
      std::printf("  M %d, N %d, K %d, kind %d\n", static_cast<int>(m), static_cast<int>(n),
                  static_cast<int>(k), static_cast<int>(kind));
  });
}

void sums_are_those_of_the_cpu() {
  for_each_size([](auto m, auto n, auto k, Kind kind, std::uint64_t seed) {
    if (kind == Kind::wide || m > 40) return;
    const Problem p(m, n, k, kind, seed, true);
    const int before = failures;
    for (const double factor : {1.0, 0.05, 20.0}) check_nll(p, factor);
    if (failures != before)
      std::printf("  nll: M %d, N %d, K %d, kind %d\n", static_cast<int>(m), static_cast<int>(n),
                  static_cast<int>(k), static_cast<int>(kind));
  });
  std::printf("largest relative differences: %.1e %.1e %.1e\n", worst_nll, worst_slope,
              worst_curvature);
}

void sums_are_not_finite_for_bad_rows() {
  for (const double bad : {std::nan(""), infinity, -infinity})
    for (const bool at_target : {false, true}) {
      if (bad == -infinity && !at_target) continue;
      Problem p(4, 70, 40, Kind::plain, 5);
      for (Logits& logits : p.logits)
        logits.set(67, at_target ? p.target[67] : (p.target[67] + 39) % 40, bad);
      check_nll(p, 1);
    }
  Problem nothing(4, 1, 3, Kind::plain, 6);
  for (Logits& logits : nothing.logits)
    for (std::int64_t k = 0; k < 3; ++k) logits.set(0, k, -infinity);
  check_nll(nothing, 1);
}

}  // namespace

int main() {
  return run("scores on the SIMT shim", scores_are_those_of_the_cpu, sums_are_those_of_the_cpu,
             sums_are_not_finite_for_bad_rows);
}
