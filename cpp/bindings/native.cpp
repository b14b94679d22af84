// ovcore._native: the CPU kernels. Each binding takes, checks, releases the GIL and calls.
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>

#include "arrays.hpp"
#include "ovcore/kernels.hpp"
#include "parallel.hpp"

namespace ovcore::bindings {
namespace {

using Words = py::array_t<std::uint64_t>;
using Target = py::array_t<std::int64_t>;
using Preds = py::array_t<std::int32_t>;

template <class T>
std::int64_t pack_errors_of(MatrixView<const T> logits, const std::int64_t* target,
                            std::uint64_t* words, std::int32_t* preds, int workers) {
  constexpr std::int64_t bytes_per_second = 10'000'000'000, bytes_per_task = 1 << 21;
  const std::int64_t row_bytes = std::max<std::int64_t>(logits.cols * sizeof(T), 1);
  const std::int64_t words_per_task =
      std::max<std::int64_t>(bytes_per_task / (row_bytes * samples_per_word), 1);
  const std::int64_t samples_per_task = words_per_task * samples_per_word;
  const double seconds = static_cast<double>(logits.rows * row_bytes) / bytes_per_second;
  std::atomic<std::int64_t> without_prediction{0};

  py::gil_scoped_release others;
  for_each_task((logits.rows + samples_per_task - 1) / samples_per_task,
                workers_worth_starting(workers, seconds), [&](std::int64_t task) {
                  const std::int64_t first = task * samples_per_task;
                  const Range samples{first, std::min(first + samples_per_task, logits.rows)};
                  without_prediction += pack_errors(logits, target, samples, words, preds);
                });
  return without_prediction;
}

std::int64_t pack_errors_binding(const py::array& logits, const std::string& dtype,
                                 const Target& target, Words& words, std::optional<Preds>& preds,
                                 int workers) {
  require(logits.ndim() == 2 && logits.shape(1) >= 1, "expected (N, K) logits with K >= 1");
  const std::int64_t n_samples = logits.shape(0);
  const std::int64_t n_words = (n_samples + samples_per_word - 1) / samples_per_word;
  require(words.ndim() == 1 && words.shape(0) >= n_words, "too few words for the samples");
  const std::int64_t* of = vector<std::int64_t>(target, n_samples);
  std::uint64_t* to = writable_vector<std::uint64_t>(words, words.shape(0));
  std::fill(to + n_words, to + words.shape(0), std::uint64_t{0});
  std::int32_t* also = preds ? writable_vector<std::int32_t>(*preds, n_samples) : nullptr;

  instruction_set();  // refuses an impossible OVCORE_ISA here, not in a thread
  if (dtype == "float32") return pack_errors_of(matrix<float>(logits), of, to, also, workers);
  if (dtype == "float64") return pack_errors_of(matrix<double>(logits), of, to, also, workers);
  if (dtype == "float16") return pack_errors_of(matrix<float16>(logits), of, to, also, workers);
  if (dtype == "bfloat16") return pack_errors_of(matrix<bfloat16>(logits), of, to, also, workers);
  throw std::invalid_argument("unexpected element type " + dtype);
}

py::array_t<std::int64_t> joint_errors_binding(const Words& words, int workers) {
  const MatrixView<const std::uint64_t> bits = matrix<std::uint64_t>(words);
  const std::int64_t n_models = bits.rows;
  instruction_set();  // refuses an impossible OVCORE_ISA here, not in a thread
  py::array_t<std::int64_t> out({n_models, n_models});
  const MatrixView<std::int64_t> joint{out.mutable_data(), n_models, n_models, n_models};

  // Blocks of the upper triangle; smaller ones for few models, so that every thread has work.
  constexpr std::int64_t largest_block = 96, words_per_second = 10'000'000'000;
  const std::int64_t block = n_models >= 4 * largest_block ? largest_block : largest_block / 4;
  const std::int64_t n_blocks = (n_models + block - 1) / block;
  const double seconds = static_cast<double>(n_models) * static_cast<double>(n_models) *
                         static_cast<double>(bits.cols) / 2 / words_per_second;

  {
    py::gil_scoped_release others;
    for_each_task(n_blocks * n_blocks, workers_worth_starting(workers, seconds),
                  [&](std::int64_t task) {
                    const std::int64_t first_row = task / n_blocks * block;
                    const std::int64_t first_col = task % n_blocks * block;
                    if (first_col < first_row) return;
                    const Range rows{first_row, std::min(first_row + block, n_models)};
                    const Range cols{first_col, std::min(first_col + block, n_models)};
                    joint_errors(bits, rows, cols, joint);
                    if (first_row == first_col) return;
                    for (std::int64_t j = cols.first; j < cols.last; ++j)
                      for (std::int64_t i = rows.first; i < rows.last; ++i)
                        joint.row(j)[i] = joint.row(i)[j];
                  });
  }
  return out;
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "CPU kernels of ovcore; see cpp/include/ovcore/kernels.hpp for their contracts.";
  module.def("instruction_set", &instruction_set, "Instruction set of the kernels in use.");
  module.def(
      "pack_errors", &pack_errors_binding, py::arg("logits").noconvert(), py::arg("dtype"),
      py::arg("target").noconvert(), py::arg("words").noconvert(), py::arg("preds").noconvert(),
      py::arg("workers"),
      "Errors of one model: fills words (W,) and preds (N,), returns rows without prediction.");
  module.def("joint_errors", &joint_errors_binding, py::arg("words").noconvert(),
             py::arg("workers"), "Joint errors (M, M) of error bits (M, W).");
}

}  // namespace ovcore::bindings
