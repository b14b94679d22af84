// CUDA kernels that count hits and angles, each against its CPU twin: counts must be the same.
#include <cuda_runtime.h>

#include <algorithm>
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

constexpr std::int64_t untouched = -77;

void run_on_device(cudaError_t launched, const char* what) {
  expect(launched == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess, what);
}

std::int64_t below(std::uint64_t& state, std::int64_t n) {
  return static_cast<std::int64_t>((next_bits(state) >> 20) % static_cast<std::uint64_t>(n));
}

// What rows of logits look like.
struct Flavour {
  int n_values;      // few make ties
  double step;       // between values
  double favour;     // added to the target's logit in most rows
  bool infinite;     // whether some are +inf and -inf
  int n_elements;    // how many element types models have in turn
  bool one_flat_in;  // whether some rows are flat
};

// Zero below half precision's normal numbers; towards zero.
std::uint16_t half_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  if (std::isinf(value)) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (rest < 0x38800000) return static_cast<std::uint16_t>(sign);
  return static_cast<std::uint16_t>(sign | ((rest >> 13) - (112u << 10)));
}

// One model's logits, of any type, in rows that start at odd places.
struct Logits {
  Element element;
  std::int64_t n_classes, stride;
  std::vector<unsigned char> bytes;

  Logits(Element of, std::int64_t n_samples, std::int64_t k)
      : element(of), n_classes(k), stride(k + 3), bytes((n_samples * stride + 1) * size()) {}
  std::size_t size() const {
    return element == Element::float32 ? 4 : element == Element::float64 ? 8 : 2;
  }
  unsigned char* at(std::int64_t n, std::int64_t k) {
    return bytes.data() + static_cast<std::size_t>(1 + n * stride + k) * size();
  }
  // Returns the value as it has been rounded.
  double put(std::int64_t n, std::int64_t k, double value) {
    const auto narrow = static_cast<float>(value);
    if (element == Element::float64) {
      std::memcpy(at(n, k), &value, 8);
      return value;
    }
    if (element == Element::float32) {
      std::memcpy(at(n, k), &narrow, 4);
      return static_cast<double>(narrow);
    }
    std::uint32_t bits;
    std::memcpy(&bits, &narrow, 4);
    const auto brain = static_cast<std::uint16_t>(bits >> 16);
    const std::uint16_t half = half_bits(narrow);
    std::memcpy(at(n, k), element == Element::float16 ? &half : &brain, 2);
    if (element == Element::float16) return static_cast<double>(simt::float_of_half(half));
    bits &= 0xffff0000;
    float rounded;
    std::memcpy(&rounded, &bits, 4);
    return static_cast<double>(rounded);
  }
  ovcore::LogitsView view(std::int64_t n_samples) {
    return {at(0, 0), element, n_samples, n_classes, stride};
  }
};

struct Problem {
  std::int64_t n_models, n_samples, n_classes;
  std::vector<Logits> logits;
  std::vector<std::int64_t> target;
  std::vector<std::int32_t> preds;
  std::vector<ovcore::ScoredModel> models;

  Problem(std::int64_t m_, std::int64_t n_, std::int64_t k_, const Flavour& flavour,
          std::uint64_t state)
      : n_models(m_), n_samples(n_), n_classes(k_) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    constexpr Element elements[] = {Element::float32, Element::float16, Element::float64,
                                    Element::bfloat16};
    constexpr double temperatures[] = {1.0, 0.7, 2.5, 0.01, 100.0};
    for (std::int64_t n = 0; n < n_samples; ++n) target.push_back(below(state, n_classes));
    preds.resize(static_cast<std::size_t>(n_models * n_samples));
    for (std::int64_t m = 0; m < n_models; ++m) {
      logits.emplace_back(elements[m % flavour.n_elements], n_samples, n_classes);
      for (std::int64_t n = 0; n < n_samples; ++n) {
        const bool favoured = below(state, 4) != 0, flat = flavour.one_flat_in && n % 5 == 0;
        double most = -infinity;
        for (std::int64_t k = 0; k < n_classes; ++k) {
          double z = static_cast<double>(below(state, flavour.n_values)) * flavour.step;
          if (flat) z *= 0.01;
          if (favoured && k == target[n]) z += flavour.favour;
          if (flavour.infinite && k > 0 && below(state, 3) == 0) z = -infinity;
          if (flavour.infinite && below(state, 40 * n_classes) < 2) z = infinity;
          z = logits.back().put(n, k, z);
          if (z > most || k == 0) {
            most = z;
            preds[m * n_samples + n] = static_cast<std::int32_t>(k);
          }
        }
      }
    }
    for (std::int64_t m = 0; m < n_models; ++m)
      models.push_back({logits[m].view(n_samples), temperatures[(m + m / 5) % 5]});
  }
  MatrixView<const std::int32_t> predicted() const {
    return {preds.data(), n_models, n_samples, n_samples};
  }
};

// Candidates of all samples, or of those on which models differ.
struct Candidates {
  std::int64_t columns;
  std::vector<std::int64_t> samples, offsets{0};
  std::vector<std::int32_t> classes, target, tops;
  std::vector<float> scores, outside;
  std::vector<double> mass;
  ovcore::Candidates<float> view;

  Candidates(const Problem& problem, Combine combine, bool all)
      : columns((problem.n_models + 15) / 16 * 16) {
    const std::int64_t n_models = problem.n_models, n_samples = problem.n_samples;
    std::vector<std::int64_t> sizes(n_samples);
    std::vector<std::int32_t> scratch(2 * n_models + 2);
    ovcore::count_candidates(problem.predicted(), problem.target.data(), {0, n_samples}, all,
                             scratch.data(), sizes.data());
    for (std::int64_t n = 0; n < n_samples; ++n) {
      if (sizes[n] == 0) continue;
      samples.push_back(n);
      offsets.push_back(offsets.back() + sizes[n]);
    }
    const auto n_listed = static_cast<std::int64_t>(samples.size()), n_scores = offsets.back();
    classes.resize(n_scores);
    target.resize(n_listed);
    tops.assign(n_listed * columns, -1);
    scores.assign(n_scores * columns, 0);
    outside.assign(n_listed * columns, 0);
    mass.assign(n_listed * columns, 1);
    const MatrixView<std::int32_t> to_tops{tops.data(), n_listed, columns, columns};
    const MatrixView<float> to_scores{scores.data(), n_scores, columns, columns};
    const MatrixView<float> to_outside{outside.data(), n_listed, columns, columns};
    const MatrixView<double> to_mass{mass.data(), n_listed, columns, columns};
    ovcore::list_candidates(problem.predicted(), problem.target.data(), samples.data(),
                            offsets.data(), {0, n_listed}, scratch.data(), classes.data(),
                            target.data(), to_tops);
    const ovcore::CandidateLists lists{samples.data(),
                                       offsets.data(),
                                       classes.data(),
                                       target.data(),
                                       {tops.data(), n_listed, columns, columns}};
    constexpr float infinity = std::numeric_limits<float>::infinity();
    std::vector<float> caps(problem.n_classes + ovcore::caps_padding, -infinity);
    std::fill_n(caps.begin(), problem.n_classes, infinity);
    for (std::int64_t m = 0; m < n_models; ++m)
      ovcore::candidate_scores(problem.models[m], combine, lists, {0, n_listed}, m, caps.data(),
                               to_scores, to_outside, to_mass);
    view = {lists,
            {scores.data(), n_scores, columns, columns},
            {outside.data(), n_listed, columns, columns},
            {mass.data(), n_listed, columns, columns},
            n_models,
            problem.n_classes,
            problem.models.data(),
            combine};
  }
  std::int64_t n_listed() const { return static_cast<std::int64_t>(samples.size()); }
};

struct Totals {
  std::int64_t pair_hits = 0, settled = 0, scanned = 0, hits = 0;
} totals;

void compare_pairs(const Candidates& candidates) {
  const std::int64_t n = candidates.view.n_models, stride = n + 2;
  std::vector<std::int64_t> conversions(n * n), rescues(n * n);
  ovcore::PairHits expected{{conversions.data(), n, n, n}, {rescues.data(), n, n, n}};
  std::vector<float> scratch(2 * n * (n + 32));
  ovcore::pair_ensemble_hits(candidates.view, {0, n}, {0, n}, {0, candidates.n_listed()},
                             scratch.data(), expected);
  std::vector<std::int64_t> got[2];
  for (auto& counts : got) counts.assign(n * stride, untouched);
  std::int64_t settled[3] = {untouched, untouched, untouched};
  run_on_device(ovcore::cuda::pair_ensemble_hits(candidates.view, {got[0].data(), n, n, stride},
                                                 {got[1].data(), n, n, stride}, settled, nullptr),
                "pair_ensemble_hits runs");
  bool same = true, kept = settled[2] == untouched;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int64_t at = std::min(i, j) * n + std::max(i, j);
      same = same && got[0][i * stride + j] == (i == j ? 0 : conversions[at]);
      same = same && got[1][i * stride + j] == (i == j ? 0 : rescues[at]);
      totals.pair_hits += conversions[at] + rescues[at];
    }
    for (const auto& counts : got)
      kept = kept && counts[i * stride + n] == untouched && counts[i * stride + n + 1] == untouched;
  }
  expect(same, "conversions and rescues are those of the CPU");
  expect(kept, "nothing is written beside the counts");
  expect(settled[0] == expected.unsettled, "as many pairs and samples are looked at one by one");
  expect(settled[1] == expected.scanned, "as many take all classes");
  totals.settled += expected.unsettled;
  totals.scanned += expected.scanned;
}

void compare_candidates(const Candidates& candidates, const std::vector<std::int64_t>& members,
                        std::uint64_t state) {
  const auto n_members = static_cast<std::int64_t>(members.size());
  const std::int64_t n_models = candidates.view.n_models, n_classes = candidates.view.n_classes;
  std::vector<double> running(candidates.classes.size()), outside(candidates.samples.size());
  for (const std::int64_t m : members) {
    for (std::size_t u = 0; u < running.size(); ++u)
      running[u] += static_cast<double>(candidates.scores[u * candidates.columns + m]);
    for (std::size_t s = 0; s < outside.size(); ++s)
      outside[s] += static_cast<double>(candidates.outside[s * candidates.columns + m]);
  }
  std::vector<std::uint8_t> right(candidates.samples.size());
  for (auto& flag : right) flag = below(state, 3) == 0;
  std::vector<float> floats(n_classes);
  std::vector<double> doubles(n_classes);
  std::vector<std::int64_t> expected(2 * candidates.columns);
  ovcore::candidate_hits(candidates.view, members.data(), n_members, running.data(), outside.data(),
                         right.data(), {0, candidates.n_listed()}, floats.data(), doubles.data(),
                         expected.data());
  std::vector<std::int64_t> got(2 * n_models + 1, untouched);
  run_on_device(ovcore::cuda::candidate_hits(candidates.view, members.data(), n_members,
                                             right.data(), got.data(), nullptr),
                "candidate_hits runs");
  bool same = got.back() == untouched;
  for (std::int64_t m = 0; m < n_models; ++m)
    for (const int kind : {0, 1}) {
      same = same && got[2 * m + kind] == expected[kind * candidates.columns + m];
      totals.hits += expected[kind * candidates.columns + m];
    }
  expect(same, "hits of candidates are those of the CPU");
}

std::vector<std::vector<std::int64_t>> some_members(std::int64_t n_models) {
  std::vector<std::vector<std::int64_t>> all{{}, {n_models - 1}, {0, n_models - 1, n_models / 2}};
  all.push_back({n_models / 3, n_models / 3, 0, n_models / 3});
  all.emplace_back();
  for (std::int64_t i = 0; i < 40; ++i) all.back().push_back(i * 7 % n_models);
  return all;
}

constexpr Flavour flavours[] = {
    {2, 1.0, 1.0, false, 4, false},     {8, 0.25, 1.0, true, 4, false},
    {3, 0.125, 0.125, false, 1, false}, {1000, 0.01, 8.0, false, 4, true},
    {1000, 0.001, 0.5, true, 4, true},
};

void hits_are_those_of_the_cpu() {
  std::uint64_t state = 1;
  for (const std::int64_t n_models : {1, 2, 3, 17, 33, 70})
    for (const std::int64_t n_classes : {2, 5, 65, 300})
      for (const Flavour& flavour : flavours)
        for (const Combine combine : {Combine::prob, Combine::logit}) {
          const std::int64_t n_samples = n_models == 70 ? 40 : n_models == 3 ? 150 : 70;
          const Problem problem(n_models, n_samples, n_classes, flavour, next_bits(state));
          const Candidates candidates(problem, combine, below(state, 2) == 0);
          compare_pairs(candidates);
          const auto members = some_members(n_models);
          compare_candidates(candidates, members[below(state, 5)], state);
          compare_candidates(candidates, members[below(state, 5)], state);
        }
}

void sizes_that_few_have() {
  {
    const Problem problem(3, 0, 5, flavours[0], 5);  // no samples at all
    const Candidates none(problem, Combine::prob, true);
    compare_pairs(none);
    compare_candidates(none, {0, 1}, 1);
  }
  {
    const Problem problem(1, 20, 5, flavours[0], 6);  // one model never differs: none is listed
    const Candidates none(problem, Combine::prob, false);
    compare_pairs(none);
    compare_candidates(none, {}, 1);
  }
  {
    const Problem problem(2, 5000, 3, flavours[1], 7);  // more samples than the grid has warps
    const Candidates candidates(problem, Combine::prob, true);
    compare_pairs(candidates);
    compare_candidates(candidates, {1}, 2);
  }
  {
    const Problem problem(230, 9, 300, {1000, 0.01, 4, false, 4, false}, 8);
    const Problem flat(230, 9, 300, {1000, 0.01, 2, false, 4, true}, 8);
    for (const Problem* of : {&problem, &flat}) {  // lists longer than what is kept of them
      const Candidates candidates(*of, Combine::prob, true);
      compare_pairs(candidates);
      compare_candidates(candidates, {0, 229, 30, 30}, 3);
      compare_candidates(candidates, {7}, 3);
      compare_candidates(candidates, {}, 3);
    }
  }
  {
    const Problem problem(2100, 4, 5, flavours[1], 9);  // more models than a block counts
    compare_candidates(Candidates(problem, Combine::logit, true), {2099, 0, 2070}, 4);
  }
  {
    const Problem problem(2, 800000, 2, {1000, 0.01, 0, false, 1, false}, 11);
    compare_pairs(Candidates(problem, Combine::prob, false));  // more than a warp tallies at once
  }
  {
    const Problem problem(2, 20, 1, flavours[0], 10);  // one class
    const Candidates candidates(problem, Combine::prob, true);
    compare_pairs(candidates);
    compare_candidates(candidates, {0}, 5);
  }
}

// Confidences and slopes of few values, so that many samples lie on an edge between bins.
void compare_angles(std::int64_t n_models, std::int64_t n_samples, std::int64_t n_bins,
                    std::uint64_t state) {
  const std::int64_t stride = n_samples + 1;
  std::vector<float> confidence(n_models * stride + 1);
  std::vector<std::uint8_t> right(n_models * (stride + 1)), keep(n_samples);
  for (auto& c : confidence)
    c = below(state, 2) == 0 ? static_cast<float>(1 + below(state, 16)) / 16.0f
                             : static_cast<float>(1 + below(state, 1 << 20)) * 1e-6f;
  for (auto& r : right) r = below(state, 3) != 0;
  for (auto& k : keep) k = below(state, 4) != 0;
  std::vector<double> slopes;
  for (std::int64_t i = 0; i + 1 < n_bins; ++i)
    slopes.push_back(n_bins > 100
                         ? std::tan(1.5707 * static_cast<double>(i) / static_cast<double>(n_bins))
                         : static_cast<double>(i / 2) * 0.125);
  if (n_bins == 20) slopes.back() = 1e16;
  std::vector<std::int64_t> pairs;
  for (std::int64_t i = 0; i < n_models; ++i)
    for (std::int64_t j = 0; j < n_models; ++j)
      if (n_models < 5 || below(state, 12) == 0) pairs.insert(pairs.end(), {i, j});
  const auto n_pairs = static_cast<std::int64_t>(pairs.size()) / 2;

  std::vector<std::int64_t> kept;
  for (std::int64_t n = 0; n < n_samples; ++n)
    if (keep[n] != 0) kept.push_back(n);
  const std::int64_t padded = (static_cast<std::int64_t>(kept.size()) + 15) / 16 * 16;
  std::vector<float> gathered(n_models * padded);
  for (std::int64_t m = 0; m < n_models; ++m)
    for (std::size_t i = 0; i < kept.size(); ++i) {
      const float c = confidence[1 + m * stride + kept[i]];
      gathered[m * padded + static_cast<std::int64_t>(i)] =
          right[1 + m * (stride + 1) + kept[i]] != 0 ? c : -c;
    }
  std::vector<ovcore::AnglePair> ordered;
  for (std::int64_t p = 0; p < n_pairs; ++p) ordered.push_back({pairs[2 * p], pairs[2 * p + 1], p});
  std::vector<std::int64_t> expected(n_pairs * 4 * n_bins);
  ovcore::angle_histogram({gathered.data(), n_models, padded, padded}, ordered.data(), {0, n_pairs},
                          slopes.data(), n_bins,
                          {expected.data(), n_pairs, 4 * n_bins, 4 * n_bins});

  std::vector<std::int64_t> got(expected.size() + 1, untouched);
  expected.push_back(untouched);
  run_on_device(ovcore::cuda::angle_histogram({confidence.data() + 1, n_models, n_samples, stride},
                                              {right.data() + 1, n_models, n_samples, stride + 1},
                                              pairs.data(), n_pairs, slopes.data(), n_bins,
                                              keep.data(), got.data(), nullptr),
                "angle_histogram runs");
  expect(got == expected, "angles are those of the CPU");
}

void angles_are_those_of_the_cpu() {
  std::uint64_t state = 3;
  for (const std::int64_t n_bins : {1, 2, 20, 64, 65, 3072, 3073, 4000})
    for (const std::int64_t n_samples : {0, 1, 63, 64, 127, 1000, 9000})
      compare_angles(n_samples == 64 ? 17 : 2, n_samples, n_bins, next_bits(state));
  compare_angles(1, 70000, 20, 4);
  compare_angles(0, 10, 20, 5);
}

}  // namespace

int main() {
  const int result = run("hits on a device", hits_are_those_of_the_cpu, sizes_that_few_have,
                         angles_are_those_of_the_cpu);
  std::printf("%lld hits of pairs, %lld settled, %lld by all classes; %lld hits of candidates\n",
              static_cast<long long>(totals.pair_hits), static_cast<long long>(totals.settled),
              static_cast<long long>(totals.scanned), static_cast<long long>(totals.hits));
  return result;
}
