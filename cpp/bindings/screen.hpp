// What looks for pairs takes from Python, and what it gives back, wherever it runs.
#pragma once

#include <vector>

#include "arrays.hpp"
#include "ovcore/kernels.hpp"

namespace ovcore::bindings {

inline Range range_of(const py::object& range) {
  return {range.attr("start").cast<std::int64_t>(), range.attr("stop").cast<std::int64_t>()};
}

// The fields of ovcore._screens.Screen, in order.
inline PairScreen read_screen(const py::tuple& screen, std::int64_t n_models) {
  require(screen.size() == 10, "a screen has ten fields");
  const auto doubles = [&](std::size_t field) {
    return vector<double>(typed<double>(screen[field]), n_models);
  };
  const auto integers = [&](std::size_t field) {
    return vector<std::int64_t>(typed<std::int64_t>(screen[field]), n_models);
  };
  PairScreen found{};
  found.sign = screen[0].cast<double>();
  found.alpha = doubles(1), found.beta = doubles(2), found.gamma = doubles(3);
  found.x = doubles(4), found.y = doubles(5);
  found.slack = screen[6].cast<double>();
  found.number = integers(7), found.last = integers(8);
  found.last_x = doubles(9);
  return found;
}

// The columns of a list of pairs, as three arrays.
inline py::tuple columns_of(const std::vector<ScreenedPair>& pairs) {
  py::array_t<std::int64_t> columns[3];
  std::int64_t* to[3];
  for (int c = 0; c < 3; ++c) {
    columns[c] = py::array_t<std::int64_t>(static_cast<py::ssize_t>(pairs.size()));
    to[c] = columns[c].mutable_data();
  }
  for (std::size_t p = 0; p < pairs.size(); ++p)
    to[0][p] = pairs[p].first, to[1][p] = pairs[p].second, to[2][p] = pairs[p].joint;
  return py::make_tuple(columns[0], columns[1], columns[2]);
}

}  // namespace ovcore::bindings
