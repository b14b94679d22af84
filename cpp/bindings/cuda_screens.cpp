// Bindings of what counts or looks through a part of all pairs on a GPU.
#include "cuda_screens.hpp"

#include <algorithm>

#include "arrays.hpp"
#include "device_job.hpp"
#include "joint_method.hpp"
#include "screen.hpp"

namespace ovcore::bindings {
namespace {

using Words = MatrixView<const std::uint64_t>;

// Models to a side of what is counted at once: with its rows and columns in one matrix, of which
// all pairs are counted, 512 MiB of counts.
constexpr std::int64_t most_side = 4096;

// Memory of a job that counts blocks one after the other.
class BlockCounter {
 public:
  BlockCounter(DeviceJob& job, Words words)
      : job_(job),
        words_(words),
        side_(std::min(most_side, words.rows)),
        width_(ceil_even(words.cols)),
        both_(job.scratch<std::uint64_t>(2 * side_ * width_)),
        joint_(job.scratch<std::int64_t>(4 * side_ * side_)) {}

  std::int64_t side() const { return side_; }

  // Joint errors of two ranges of at most `side` models, until the next call.
  MatrixView<const std::int64_t> count(Range rows, Range cols) {
    const bool is_square = rows.first == cols.first && rows.last == cols.last;
    const std::int64_t n_rows = rows.last - rows.first, n_cols = cols.last - cols.first;
    take(rows, 0);
    if (!is_square) take(cols, n_rows);
    const std::int64_t n = is_square ? n_rows : n_rows + n_cols;
    const Words both{both_, n, words_.cols, width_};
    const cuda::JointMethod how = joint_method(job_, both, std::nullopt);
    job_.run("joint_errors",
             [&] { return cuda::joint_errors(both, {joint_, n, n, n}, how, job_.stream()); });
    return {joint_ + (is_square ? 0 : n_rows), n_rows, n_cols, n};
  }

 private:
  static std::int64_t ceil_even(std::int64_t n) { return (n + 1) / 2 * 2; }  // of 16 bytes

  void take(Range models, std::int64_t to) const {
    constexpr auto size = sizeof(std::uint64_t);
    const auto rows = static_cast<std::size_t>(models.last - models.first);
    if (rows == 0 || words_.cols == 0) return;
    check(cudaMemcpy2DAsync(both_ + to * width_, static_cast<std::size_t>(width_) * size,
                            words_.row(models.first),
                            static_cast<std::size_t>(words_.row_stride) * size,
                            static_cast<std::size_t>(words_.cols) * size, rows,
                            cudaMemcpyDeviceToDevice, job_.stream()));
  }

  DeviceJob& job_;
  Words words_;
  std::int64_t side_, width_;
  std::uint64_t* both_;
  std::int64_t* joint_;
};

Range checked_range(const py::object& range, const Words& words) {
  const Range found = range_of(range);
  require(0 <= found.first && found.first <= found.last && found.last <= words.rows,
          "a range of models is not within the words");
  return found;
}

template <class Use>
void for_each_block(Range rows, Range cols, std::int64_t side, const Use& use) {
  if (side == 0) return;
  for (std::int64_t i = rows.first; i < rows.last; i += side)
    for (std::int64_t j = cols.first; j < cols.last; j += side)
      use(Range{i, std::min(i + side, rows.last)}, Range{j, std::min(j + side, cols.last)});
}

py::array_t<std::int64_t> joint_errors_between_binding(const DeviceArray& words,
                                                       const py::object& rows,
                                                       const py::object& cols,
                                                       const py::object& /*workers*/,
                                                       const py::object& /*progress*/) {
  DeviceJob job(words.place());
  const auto all = device_matrix<const std::uint64_t>(words, "uint64");
  const Range of_rows = checked_range(rows, all), of_cols = checked_range(cols, all);
  const std::int64_t width = of_cols.last - of_cols.first;
  py::array_t<std::int64_t> result({of_rows.last - of_rows.first, width});
  std::int64_t* const to = result.mutable_data();
  BlockCounter counter(job, all);
  for_each_block(of_rows, of_cols, counter.side(), [&](Range part, Range part_cols) {
    constexpr auto size = sizeof(std::int64_t);
    const MatrixView<const std::int64_t> joint = counter.count(part, part_cols);
    check(cudaMemcpy2DAsync(
        to + (part.first - of_rows.first) * width + (part_cols.first - of_cols.first),
        static_cast<std::size_t>(width) * size, joint.data,
        static_cast<std::size_t>(joint.row_stride) * size,
        static_cast<std::size_t>(joint.cols) * size, static_cast<std::size_t>(joint.rows),
        cudaMemcpyDeviceToHost, job.stream()));
    job.wait();
  });
  return result;
}

// The screen with its vectors on the job's device.
PairScreen send_screen(DeviceJob& job, const py::tuple& fields, std::int64_t n_models) {
  PairScreen screen = read_screen(fields, n_models);
  for (const double** values :
       {&screen.alpha, &screen.beta, &screen.gamma, &screen.x, &screen.y, &screen.last_x})
    *values = job.send(*values, n_models);
  for (const std::int64_t** values : {&screen.number, &screen.last})
    *values = job.send(*values, n_models);
  return screen;
}

py::tuple screen_pairs_binding(const DeviceArray& words, const py::object& rows,
                               const py::object& cols, const py::tuple& screen,
                               const py::object& /*workers*/, const py::object& /*progress*/) {
  DeviceJob job(words.place());
  const auto all = device_matrix<const std::uint64_t>(words, "uint64");
  const Range of_rows = checked_range(rows, all), of_cols = checked_range(cols, all);
  const PairScreen asked = send_screen(job, screen, all.rows);
  BlockCounter counter(job, all);
  auto* passed = job.scratch<ScreenedPair>(counter.side() * counter.side());
  auto* n_passed = job.scratch<unsigned long long>(1);
  std::vector<ScreenedPair> found;
  for_each_block(of_rows, of_cols, counter.side(), [&](Range part, Range part_cols) {
    if (part_cols.last - 1 <= part.first) return;  // no pair i < j
    const MatrixView<const std::int64_t> joint = counter.count(part, part_cols);
    job.run("screen_pairs", [&] {
      return cuda::screen_pairs(joint, part.first, part_cols.first, asked, passed, n_passed,
                                job.stream());
    });
    unsigned long long n = 0;
    job.fetch(n_passed, 1, &n);
    const std::size_t before = found.size();
    found.resize(before + n);
    if (n > 0) job.fetch(passed, static_cast<std::int64_t>(n), found.data() + before);
  });
  return columns_of(found);
}

}  // namespace

void bind_cuda_screens(pybind11::module_& module) {
  module.def("joint_errors_between", &joint_errors_between_binding, py::arg("words"),
             py::arg("rows"), py::arg("cols"), py::arg("workers"), py::arg("progress"),
             "Joint errors (R, C) of two ranges of models.");
  module.def("screen_pairs", &screen_pairs_binding, py::arg("words"), py::arg("rows"),
             py::arg("cols"), py::arg("screen"), py::arg("workers"), py::arg("progress"),
             "Pairs of two ranges of models that pass a screen: first, second, joint errors.");
}

}  // namespace ovcore::bindings
