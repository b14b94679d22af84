// The binding of center_rows: spreads columns of several models' features over threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "models.hpp"
#include "ovcore/kernels.hpp"
#include "parallel.hpp"

namespace ovcore::bindings {

// Centers some columns of one model's features.
using CenterTask = std::function<void(Range)>;

template <class Value>
CenterTask center_part(const LogitsView& features, const py::object& pilot, const py::object& out,
                       const py::object& sums) {
  auto rows = typed<Value>(out), totals = typed<Value>(sums);
  const Value* mean = vector<Value>(typed<Value>(pilot), features.cols);
  const MatrixView<Value> to = writable_matrix<Value>(rows, features.rows);
  require(to.cols == features.cols, "a matrix has an unexpected shape");
  Value* sum = writable_vector<Value>(totals, features.cols);
  return [=](Range cols) { center_rows(features, mean, cols, to, sum); };
}

inline void center_rows_binding(const py::sequence& parts, const py::sequence& pilots,
                                const py::sequence& out, const py::sequence& sums, int workers) {
  const std::size_t n_parts = parts.size();
  require(pilots.size() == n_parts && out.size() == n_parts && sums.size() == n_parts,
          "expected a pilot, an output and sums for each part");
  instruction_set();

  std::vector<CenterTask> centers;
  std::vector<std::int64_t> widths;
  double bytes = 0;
  for (std::size_t p = 0; p < n_parts; ++p) {
    const LogitsView features = logits_view(parts[p]);
    const py::object pilot = pilots[p], to = out[p], totals = sums[p];
    const bool in_double = py::isinstance<py::array_t<double>>(to);
    require(in_double || features.element != Element::float64, "float64 is not narrowed");
    centers.push_back(in_double ? center_part<double>(features, pilot, to, totals)
                                : center_part<float>(features, pilot, to, totals));
    widths.push_back(features.cols);
    const std::int64_t written = features.cols * (in_double ? 8 : 4);
    bytes +=
        static_cast<double>(features.rows) * static_cast<double>(row_bytes(features) + written);
  }

  constexpr double bytes_per_second = 25e9;
  const int threads = workers_worth_starting(workers, bytes / bytes_per_second);
  std::int64_t columns = 0;
  for (const std::int64_t width : widths) columns += width;
  constexpr std::int64_t fewest = 64;  // 256 bytes or more, whole cache lines where rows are
  const std::int64_t most = ((columns - 1) / (threads * fewest) + 1) * fewest;
  std::vector<std::pair<std::size_t, Range>> tasks;
  for (std::size_t p = 0; p < n_parts; ++p)
    for (std::int64_t j = 0; j < widths[p]; j += most)
      tasks.push_back({p, {j, std::min(j + most, widths[p])}});
  py::gil_scoped_release others;
  for_each_task(static_cast<std::int64_t>(tasks.size()), threads, Progress{},
                [&](std::int64_t i) { centers[tasks[i].first](tasks[i].second); });
}

}  // namespace ovcore::bindings
