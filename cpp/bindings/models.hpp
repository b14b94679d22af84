// Models as Python passes them: a sequence of (array (N, K), name of its element type).
#pragma once

#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "ovcore/kernels.hpp"

namespace ovcore::bindings {

using Target = py::array_t<std::int64_t>;
using Preds = py::array_t<std::int32_t>;

template <class T>
LogitsView logits_view(const py::array& values, Element element) {
  const MatrixView<const T> view = matrix<T>(values);
  return {view.data, element, view.rows, view.cols, view.row_stride};
}

inline LogitsView logits_view(const py::handle& model) {
  const auto [values, dtype] = model.cast<std::pair<py::array, std::string>>();
  require(values.ndim() == 2 && values.shape(1) >= 1, "expected a matrix with one column or more");
  if (dtype == "float32") return logits_view<float>(values, Element::float32);
  if (dtype == "float64") return logits_view<double>(values, Element::float64);
  if (dtype == "float16") return logits_view<float16>(values, Element::float16);
  if (dtype == "bfloat16") return logits_view<bfloat16>(values, Element::bfloat16);
  throw std::invalid_argument("unexpected element type " + dtype);
}

// Calls use(typed view of the logits).
template <class Use>
auto with_matrix(const LogitsView& logits, const Use& use) {
  const auto as = [&](auto* data) {
    using T = std::remove_pointer_t<decltype(data)>;
    return MatrixView<T>{data, logits.rows, logits.cols, logits.row_stride};
  };
  switch (logits.element) {
    case Element::float64:
      return use(as(static_cast<const double*>(logits.data)));
    case Element::float16:
      return use(as(static_cast<const float16*>(logits.data)));
    case Element::bfloat16:
      return use(as(static_cast<const bfloat16*>(logits.data)));
    default:
      return use(as(static_cast<const float*>(logits.data)));
  }
}

inline std::int64_t row_bytes(const LogitsView& logits) {
  const std::int64_t element = logits.element == Element::float64   ? 8
                               : logits.element == Element::float32 ? 4
                                                                    : 2;
  return element * logits.cols;
}

inline std::vector<LogitsView> logits_views(const py::sequence& models, std::int64_t n_samples) {
  std::vector<LogitsView> views;
  for (const py::handle model : models) {
    views.push_back(logits_view(model));
    require(views.back().rows == n_samples, "a model has an unexpected number of samples");
    require(views.back().cols == views.front().cols, "models differ in their number of classes");
  }
  return views;
}

// Spreads samples of every model over tasks of about a megabyte, so that what is read twice is
// still in cache the second time.
struct SampleTasks {
  std::int64_t n_models, n_samples, samples_per_task, tasks_per_model;
  double seconds;  // a rough estimate of all of them

  SampleTasks(const std::vector<LogitsView>& models, std::int64_t samples, std::int64_t multiple,
              double bytes_per_second)
      : n_models(static_cast<std::int64_t>(models.size())), n_samples(samples) {
    std::int64_t widest = 1;
    for (const LogitsView& model : models) widest = std::max(widest, row_bytes(model));
    samples_per_task = ((1 << 20) / (widest * multiple) + 1) * multiple;
    tasks_per_model = (n_samples + samples_per_task - 1) / samples_per_task;
    seconds = static_cast<double>(n_models) * static_cast<double>(n_samples) *
              static_cast<double>(widest) / bytes_per_second;
  }
  std::int64_t count() const { return n_models * tasks_per_model; }
  std::int64_t model(std::int64_t task) const { return task / tasks_per_model; }
  Range samples(std::int64_t task) const {
    const std::int64_t first = task % tasks_per_model * samples_per_task;
    return {first, std::min(first + samples_per_task, n_samples)};
  }
};

}  // namespace ovcore::bindings
