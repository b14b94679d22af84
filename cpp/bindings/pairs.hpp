// Spreads a count over all pairs of M rows: as blocks of the upper triangle, and where those are
// too few for the threads, as slices of the samples whose counts are added.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ovcore/matrix_view.hpp"
#include "parallel.hpp"

namespace ovcore::bindings {

inline constexpr double longest_task_seconds = 0.05;  // on the fastest chips

// How many words make one step that no slice may cut, and how many pairs of words a second.
struct PairCost {
  std::int64_t step_words;
  double words_per_second;
};

struct Block {
  Range rows, cols;

  // Twice the pairs i <= j; on the diagonal, half of the block.
  std::int64_t work() const {
    const std::int64_t entries = (rows.last - rows.first) * (cols.last - cols.first);
    return rows.first == cols.first ? entries : 2 * entries;
  }
};

// Calls count(words of a slice, rows, cols, out) for every block and slice; out is (M, M).
template <class Count>
py::array_t<std::int64_t> count_pairs(MatrixView<const std::uint64_t> words, PairCost cost,
                                      int workers, const Progress& progress, const Count& count) {
  const std::int64_t n = words.rows;
  py::array_t<std::int64_t> result({n, n});
  const MatrixView<std::int64_t> out{result.mutable_data(), n, n, n};
  const double pairs = static_cast<double>(n) * static_cast<double>(n + 1) / 2;
  const int threads = workers_worth_starting(
      workers, pairs * static_cast<double>(words.cols) / cost.words_per_second);

  // Large blocks use the rows they bring into cache longest; small ones keep more threads busy.
  const std::int64_t wanted = threads == 1 ? 1 : 4 * threads;
  const auto blocks_of = [&](std::int64_t size) {
    std::vector<Block> blocks;
    for (std::int64_t i = 0; i < n; i += size)
      for (std::int64_t j = i; j < n; j += size)
        blocks.push_back({{i, std::min(i + size, n)}, {j, std::min(j + size, n)}});
    // The small ones last, so that threads end together.
    std::stable_sort(blocks.begin(), blocks.end(),
                     [](const Block& a, const Block& b) { return a.work() > b.work(); });
    return blocks;
  };
  std::int64_t block_size = 192;
  std::vector<Block> blocks = blocks_of(block_size);
  if (static_cast<std::int64_t>(blocks.size()) < wanted) blocks = blocks_of(block_size = 64);

  // Slices for the threads where blocks are few, and so that Ctrl-C waits well under a second.
  const std::int64_t n_blocks = static_cast<std::int64_t>(blocks.size());
  const std::int64_t steps = words.cols / cost.step_words;
  const double block_seconds = static_cast<double>(block_size * block_size) *
                               static_cast<double>(words.cols) / cost.words_per_second;
  const std::int64_t wanted_slices =
      std::max(wanted / std::max<std::int64_t>(n_blocks, 1),
               static_cast<std::int64_t>(block_seconds / longest_task_seconds) + 1);
  constexpr std::int64_t fewest_steps = 64;
  const std::int64_t n_slices =
      std::max<std::int64_t>(1, std::min(wanted_slices, steps / fewest_steps));

  py::gil_scoped_release others;
  if (n_slices == 1) {
    for_each_task(n_blocks, threads, progress, [&](std::int64_t task) {
      count(words, blocks[task].rows, blocks[task].cols, out);
    });
    return result;
  }
  std::vector<std::vector<std::int64_t>> parts(n_slices);
  for (auto& part : parts) part.resize(n * n);
  for_each_task(n_blocks * n_slices, threads, progress, [&](std::int64_t task) {
    const std::int64_t slice = task / n_blocks;
    const Block& block = blocks[task % n_blocks];
    const std::int64_t first = slice * steps / n_slices * cost.step_words;
    const std::int64_t last =
        slice + 1 == n_slices ? words.cols : (slice + 1) * steps / n_slices * cost.step_words;
    count(MatrixView<const std::uint64_t>{words.data + first, n, last - first, words.row_stride},
          block.rows, block.cols, MatrixView<std::int64_t>{parts[slice].data(), n, n, n});
  });
  for (std::int64_t i = 0; i < n * n; ++i) {
    out.data[i] = 0;
    for (const auto& part : parts) out.data[i] += part[i];
  }
  return result;
}

}  // namespace ovcore::bindings
