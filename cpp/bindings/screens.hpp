// Bindings that count the joint errors of a part of all pairs, or keep those that pass a screen.
#pragma once

#include <algorithm>
#include <mutex>
#include <vector>

#include "arrays.hpp"
#include "ovcore/kernels.hpp"
#include "parallel.hpp"
#include "screen.hpp"

namespace ovcore::bindings {

// Blocks of a rectangle of pairs, for one thread each.
class PairRectangle {
 public:
  static constexpr double words_per_second = 20e9;

  PairRectangle(MatrixView<const std::uint64_t> words, Range rows, Range cols)
      : words_(words), rows_(rows), cols_(cols) {
    require(0 <= rows.first && rows.first <= rows.last && rows.last <= words.rows &&
                0 <= cols.first && cols.first <= cols.last && cols.last <= words.rows,
            "a range of models is not within the words");
    // No longer than Ctrl-C should wait, and no larger than a core's cache.
    constexpr double most_pairs = 0.05 * words_per_second;
    while (side_ > 16 && static_cast<double>(side_ * side_ * words.cols) > most_pairs) side_ /= 2;
    n_cols_ = (cols.last - cols.first + side_ - 1) / side_;
  }

  std::int64_t side() const { return side_; }
  std::int64_t count() const { return (rows_.last - rows_.first + side_ - 1) / side_ * n_cols_; }
  double seconds() const {
    return static_cast<double>((rows_.last - rows_.first) * (cols_.last - cols_.first)) *
           static_cast<double>(words_.cols) / words_per_second;
  }
  Range rows(std::int64_t task) const { return part(rows_, task / n_cols_); }
  Range cols(std::int64_t task) const { return part(cols_, task % n_cols_); }
  MatrixView<const std::uint64_t> words(Range models) const {
    return {words_.row(models.first), models.last - models.first, words_.cols, words_.row_stride};
  }

 private:
  Range part(Range all, std::int64_t i) const {
    return {all.first + i * side_, std::min(all.first + (i + 1) * side_, all.last)};
  }

  MatrixView<const std::uint64_t> words_;
  Range rows_, cols_;
  std::int64_t side_ = 192, n_cols_;
};

inline py::array_t<std::int64_t> joint_errors_between_binding(
    const py::array_t<std::uint64_t>& words, const py::object& rows, const py::object& cols,
    int workers, const Progress& progress) {
  instruction_set();
  const Range of_rows = range_of(rows), of_cols = range_of(cols);
  const PairRectangle blocks(matrix<std::uint64_t>(words), of_rows, of_cols);
  const std::int64_t width = of_cols.last - of_cols.first;
  py::array_t<std::int64_t> result({of_rows.last - of_rows.first, width});
  std::int64_t* const out = result.mutable_data();
  {
    py::gil_scoped_release others;
    for_each_task(blocks.count(), workers_worth_starting(workers, blocks.seconds()), progress,
                  [&](std::int64_t task) {
                    const Range part = blocks.rows(task), part_cols = blocks.cols(task);
                    std::int64_t* const to = out + (part.first - of_rows.first) * width +
                                             (part_cols.first - of_cols.first);
                    joint_errors_between(
                        blocks.words(part), blocks.words(part_cols),
                        {to, part.last - part.first, part_cols.last - part_cols.first, width});
                  });
  }
  return result;
}

inline py::tuple screen_pairs_binding(const py::array_t<std::uint64_t>& words,
                                      const py::object& rows, const py::object& cols,
                                      const py::tuple& screen, int workers,
                                      const Progress& progress) {
  instruction_set();
  const PairRectangle blocks(matrix<std::uint64_t>(words), range_of(rows), range_of(cols));
  const PairScreen asked = read_screen(screen, words.shape(0));
  std::vector<ScreenedPair> found;
  std::mutex one_at_a_time;
  {
    py::gil_scoped_release others;
    for_each_task(blocks.count(), workers_worth_starting(workers, blocks.seconds()), progress,
                  [&](std::int64_t task) {
                    const Range part = blocks.rows(task), part_cols = blocks.cols(task);
                    if (part_cols.last - 1 <= part.first) return;  // no pair i < j
                    struct Scratch {
                      std::vector<std::int64_t> joint;
                      std::vector<ScreenedPair> passed;
                    };
                    thread_local Scratch scratch;
                    const auto size = static_cast<std::size_t>(blocks.side() * blocks.side());
                    scratch.joint.resize(size), scratch.passed.resize(size);
                    const MatrixView<std::int64_t> joint{
                        scratch.joint.data(), part.last - part.first,
                        part_cols.last - part_cols.first, blocks.side()};
                    joint_errors_between(blocks.words(part), blocks.words(part_cols), joint);
                    const std::int64_t n =
                        screen_pairs({joint.data, joint.rows, joint.cols, joint.row_stride},
                                     part.first, part_cols.first, asked, scratch.passed.data());
                    const std::lock_guard<std::mutex> mine(one_at_a_time);
                    found.insert(found.end(), scratch.passed.begin(), scratch.passed.begin() + n);
                  });
  }
  return columns_of(found);
}

}  // namespace ovcore::bindings
