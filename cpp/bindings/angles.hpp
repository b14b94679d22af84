// The binding of angle_histogram: gathers the samples that count, once for all pairs, and orders
// pairs by the model whose thresholds they share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include "arrays.hpp"
#include "ovcore/kernels.hpp"
#include "pairs.hpp"
#include "parallel.hpp"

namespace ovcore::bindings {

using Flags = py::array_t<bool>;
using ModelPairs = py::array_t<std::int64_t>;

// Confidences of the listed samples, negative where the model is wrong, and 0 in the padding.
inline void gather_signed(const float* confidence, const bool* right,
                          const std::vector<std::int64_t>& samples, std::int64_t padded,
                          float* to) {
  const std::int64_t n_samples = static_cast<std::int64_t>(samples.size());
  for (std::int64_t i = 0; i < n_samples; ++i) {
    const float value = confidence[samples[i]];
    to[i] = right[samples[i]] ? value : -value;
  }
  std::fill(to + n_samples, to + padded, 0.0f);
}

inline std::vector<AnglePair> ordered_pairs(const ModelPairs& pairs, std::int64_t n_models) {
  require(pairs.ndim() == 2 && pairs.shape(1) == 2, "expected (P, 2) models");
  std::vector<AnglePair> ordered;
  for (std::int64_t row = 0; row < pairs.shape(0); ++row) {
    const AnglePair pair{pairs.at(row, 0), pairs.at(row, 1), row};
    require(std::min(pair.first, pair.second) >= 0 && std::max(pair.first, pair.second) < n_models,
            "a pair names a model that is not there");
    ordered.push_back(pair);
  }
  std::sort(ordered.begin(), ordered.end(), [](const AnglePair& a, const AnglePair& b) {
    return std::tie(a.second, a.first, a.row) < std::tie(b.second, b.first, b.row);
  });
  return ordered;
}

inline py::array_t<std::int64_t> angle_histogram_binding(
    const py::array_t<float>& confidence, const Flags& right, const ModelPairs& pairs,
    const py::array_t<double>& slopes, const Flags& keep, int workers, const Progress& progress) {
  const MatrixView<const float> from = matrix<float>(confidence);
  const std::int64_t n_models = from.rows, n_samples = from.cols;
  require(right.ndim() == 2 && right.shape(0) == n_models && right.shape(1) == n_samples,
          "expected a flag for each confidence");
  require(right.size() == 0 || n_samples == 1 || right.strides(1) == 1,
          "the last axis must be contiguous");
  const bool* kept_flags = vector<bool>(keep, n_samples);
  const std::int64_t n_bins = slopes.size() + 1;
  const double* of = vector<double>(slopes, n_bins - 1);
  const std::vector<AnglePair> ordered = ordered_pairs(pairs, n_models);
  const std::int64_t n_pairs = static_cast<std::int64_t>(ordered.size());
  py::array_t<std::int64_t> result({n_pairs, std::int64_t{4}, n_bins});
  const MatrixView<std::int64_t> out{result.mutable_data(), n_pairs, 4 * n_bins, 4 * n_bins};
  instruction_set();

  std::vector<std::int64_t> kept;
  for (std::int64_t n = 0; n < n_samples; ++n)
    if (kept_flags[n]) kept.push_back(n);
  const std::int64_t n_kept = static_cast<std::int64_t>(kept.size());
  const std::int64_t padded = (n_kept + angle_lanes - 1) / angle_lanes * angle_lanes;
  AlignedWords words(n_models, padded / 2);  // two floats each
  float* gathered = reinterpret_cast<float*>(words.row(0));
  const bool* flags = right.data();
  const std::int64_t flag_stride = right.strides(0);

  constexpr double comparisons_per_second = 10e9;
  const double pair_seconds = static_cast<double>(padded * n_bins) / comparisons_per_second;
  const int threads = workers_worth_starting(workers, pair_seconds * static_cast<double>(n_pairs));
  // Many pairs find each other's models in cache; few keep all threads busy and let Ctrl-C in.
  const std::int64_t most = std::clamp<std::int64_t>(n_pairs / (4 * threads), 16, 512);
  const std::int64_t in_time =
      static_cast<std::int64_t>(longest_task_seconds / (pair_seconds + 1e-9)) + 1;
  const std::int64_t pairs_per_task = std::min(most, in_time);
  {
    py::gil_scoped_release others;
    for_each_task(n_models, threads, Progress{}, [&](std::int64_t m) {
      gather_signed(from.row(m), flags + m * flag_stride, kept, padded, gathered + m * padded);
    });
    for_each_task((n_pairs + pairs_per_task - 1) / pairs_per_task, threads, progress,
                  [&](std::int64_t task) {
                    const std::int64_t first = task * pairs_per_task;
                    const Range range{first, std::min(first + pairs_per_task, n_pairs)};
                    angle_histogram({gathered, n_models, padded, padded}, ordered.data(), range, of,
                                    n_bins, out);
                  });
  }
  return result;
}

}  // namespace ovcore::bindings
