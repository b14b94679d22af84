// ovcore._native: the CPU kernels. Each binding takes, checks, releases the GIL and calls.
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <vector>

#include "angles.hpp"
#include "arrays.hpp"
#include "ensembles.hpp"
#include "features.hpp"
#include "models.hpp"
#include "ovcore/kernels.hpp"
#include "pairs.hpp"
#include "parallel.hpp"
#include "screens.hpp"

namespace ovcore::bindings {
namespace {

using Words = py::array_t<std::uint64_t>;

constexpr std::int64_t bytes_per_second = 10'000'000'000, bytes_per_task = 1 << 21;

// Packs some samples of one model, and returns how many of them have no prediction.
using PackTask = std::function<std::int64_t(Range)>;

PackTask pack_logits(const LogitsView& logits, const std::int64_t* target, std::uint64_t* words,
                     std::int32_t* preds) {
  return with_matrix(logits, [=](const auto& view) -> PackTask {
    return [=](Range samples) { return pack_errors(view, target, samples, words, preds); };
  });
}

PackTask pack_preds(const py::array& preds, const std::int64_t* target, std::uint64_t* words) {
  const Integers classes(preds);
  return [=](Range samples) -> std::int64_t {
    for (std::int64_t n = samples.first; n < samples.last; n += Integers::most) {
      const Range part{n, std::min(n + Integers::most, samples.last)};
      std::int64_t values[Integers::most];
      classes.read(part, 0, values);
      pack_errors(values, target + n, {0, part.last - n}, words + n / samples_per_word);
    }
    return 0;
  };
}

std::vector<std::int64_t> pack_errors_binding(const py::sequence& models, const Target& target,
                                              Words& words, std::optional<Preds>& preds,
                                              int workers, const Progress& progress) {
  const std::int64_t n_models = static_cast<std::int64_t>(models.size());
  const std::int64_t n_samples = target.size();
  const std::int64_t n_words = (n_samples + samples_per_word - 1) / samples_per_word;
  const std::int64_t* of = vector<std::int64_t>(target, n_samples);
  const MatrixView<std::uint64_t> to = writable_matrix<std::uint64_t>(words, n_models);
  require(to.cols >= n_words, "too few words for the samples");
  MatrixView<std::int32_t> also;
  if (preds) {
    also = writable_matrix<std::int32_t>(*preds, n_models);
    require(also.cols == n_samples, "expected a prediction for each sample");
  }
  instruction_set();  // refuses an impossible OVCORE_ISA here, not in a thread

  std::vector<PackTask> packs;
  std::int64_t widest = 1;
  for (std::int64_t m = 0; m < n_models; ++m) {
    std::fill(to.row(m) + n_words, to.row(m) + to.cols, std::uint64_t{0});
    const py::object model = models[static_cast<std::size_t>(m)];
    if (py::isinstance<py::tuple>(model)) {
      const LogitsView logits = logits_view(model);
      require(logits.rows == n_samples, "a model has an unexpected number of samples");
      packs.push_back(pack_logits(logits, of, to.row(m), preds ? also.row(m) : nullptr));
      widest = std::max(widest, row_bytes(logits));
    } else {
      const py::array classes = model.cast<py::array>();
      require(classes.ndim() == 1 && classes.shape(0) == n_samples, "expected (N,) predictions");
      packs.push_back(pack_preds(classes, of, to.row(m)));
      widest = std::max<std::int64_t>(widest, classes.itemsize());
    }
  }

  const std::int64_t words_per_task = bytes_per_task / (widest * samples_per_word) + 1;
  const std::int64_t samples_per_task = words_per_task * samples_per_word;
  const std::int64_t tasks_per_model = (n_samples + samples_per_task - 1) / samples_per_task;
  const double seconds = static_cast<double>(n_models) * static_cast<double>(n_samples) *
                         static_cast<double>(widest) / bytes_per_second;
  std::vector<std::atomic<std::int64_t>> without_prediction(n_models);
  {
    py::gil_scoped_release others;
    for_each_task(n_models * tasks_per_model, workers_worth_starting(workers, seconds), progress,
                  [&](std::int64_t task) {
                    const std::int64_t m = task / tasks_per_model;
                    const std::int64_t first = task % tasks_per_model * samples_per_task;
                    const Range samples{first, std::min(first + samples_per_task, n_samples)};
                    without_prediction[m] += packs[m](samples);
                  });
  }
  return {without_prediction.begin(), without_prediction.end()};
}

py::array_t<std::int64_t> joint_errors_binding(const Words& words, int workers,
                                               const Progress& progress) {
  instruction_set();
  const PairCost cost{row_padding_words, 20e9};
  return count_pairs(
      matrix<std::uint64_t>(words), cost, workers, progress,
      [](auto part, Range rows, Range cols, auto joint) { joint_errors(part, rows, cols, joint); });
}

py::array_t<std::int64_t> joint_agreement_binding(const py::sequence& preds, std::int64_t lowest,
                                                  std::int64_t highest, int workers,
                                                  const Progress& progress) {
  require(highest >= lowest && highest - lowest < 1 << 16, "classes span more than 65,536");
  instruction_set();
  std::int64_t n_planes = 1;
  while ((highest - lowest) >> n_planes != 0) ++n_planes;
  std::vector<Integers> models;
  for (const py::handle model : preds) models.emplace_back(model.cast<py::array>());
  const auto n_models = static_cast<std::int64_t>(models.size());
  const std::int64_t n_samples = models.empty() ? 0 : models[0].size();
  for (const Integers& model : models)
    require(model.size() == n_samples, "models differ in their number of samples");

  constexpr std::int64_t block_samples = plane_words * samples_per_word;
  const std::int64_t block_words = n_planes * plane_words;
  const std::int64_t n_words = (n_samples + block_samples - 1) / block_samples * block_words;
  AlignedWords planes(n_models, n_words);
  const PairCost cost{block_words, 40e9};
  const double seconds = static_cast<double>(n_models * n_samples) / 1e9;
  {
    py::gil_scoped_release others;
    for_each_task(n_models, workers_worth_starting(workers, seconds), Progress{},
                  [&](std::int64_t m) {
                    for (std::int64_t n = 0; n < n_samples; n += Integers::most) {
                      const Range part{n, std::min(n + Integers::most, n_samples)};
                      std::uint16_t classes[Integers::most];
                      models[m].read(part, lowest, classes);
                      pack_classes(classes, n_planes, {0, part.last - n},
                                   planes.row(m) + n / block_samples * block_words);
                    }
                  });
  }
  const MatrixView<const std::uint64_t> all = planes.view();
  return count_pairs(all, cost, workers, progress,
                     [&](auto part, Range rows, Range cols, auto agreement) {
                       const std::int64_t before = (part.data - all.data) / block_words;
                       const std::int64_t held = part.cols / block_words * block_samples;
                       const std::int64_t left = n_samples - before * block_samples;
                       joint_agreement(part, n_planes, std::min(held, left), rows, cols, agreement);
                     });
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "CPU kernels of ovcore; see cpp/include/ovcore/kernels.hpp for their contracts.";
  module.def("instruction_set", &instruction_set, "Instruction set of the kernels in use.");
  module.def("pack_errors", &pack_errors_binding, py::arg("models"), py::arg("target").noconvert(),
             py::arg("words").noconvert(), py::arg("preds").noconvert(), py::arg("workers"),
             py::arg("progress"),
             "Errors of M models: fills words (M, W) and, of logits, preds (M, N); returns each "
             "model's rows without a prediction.");
  module.def("joint_errors", &joint_errors_binding, py::arg("words").noconvert(),
             py::arg("workers"), py::arg("progress"), "Joint errors (M, M) of error bits (M, W).");
  module.def("joint_errors_between", &joint_errors_between_binding, py::arg("words").noconvert(),
             py::arg("rows"), py::arg("cols"), py::arg("workers"), py::arg("progress"),
             "Joint errors (R, C) of two ranges of models.");
  module.def("screen_pairs", &screen_pairs_binding, py::arg("words").noconvert(), py::arg("rows"),
             py::arg("cols"), py::arg("screen"), py::arg("workers"), py::arg("progress"),
             "Pairs of two ranges of models that pass a screen: first, second, joint errors.");
  module.def("joint_agreement", &joint_agreement_binding, py::arg("preds"), py::arg("lowest"),
             py::arg("highest"), py::arg("workers"), py::arg("progress"),
             "Samples for which each two of M models predict the same class, of M arrays (N,).");
  bind_ensembles(module);
  module.def("angle_histogram", &angle_histogram_binding, py::arg("confidence").noconvert(),
             py::arg("right").noconvert(), py::arg("pairs").noconvert(),
             py::arg("slopes").noconvert(), py::arg("keep").noconvert(), py::arg("workers"),
             py::arg("progress"),
             "Histograms (P, 4, B) of the angle between two models' confidences, by outcome.");
  module.def("center_rows", &center_rows_binding, py::arg("parts"), py::arg("pilots"),
             py::arg("out"), py::arg("sums"), py::arg("workers"),
             "Features (N, D) of P models less their pilots (D,): fills out (N, D) and sums (D,).");
}

}  // namespace ovcore::bindings
