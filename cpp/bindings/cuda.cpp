// The module ovcore._cuda: arrays on NVIDIA GPUs and the kernels that read them there. It imports
// where there is no driver, too; then devices() says what is missing.
#include "cuda_ensembles.hpp"
#include "cuda_screens.hpp"
#include "device_job.hpp"
#include "joint_method.hpp"

namespace ovcore::bindings {
namespace {

using Arrays = std::vector<DeviceArray>;
using Counts = py::array_t<std::int64_t>;

std::vector<std::int64_t> pack_errors_binding(const py::sequence& models, const DeviceArray& target,
                                              const DeviceArray& words,
                                              const std::optional<DeviceArray>& preds,
                                              const py::object& /*workers*/,
                                              const py::object& /*progress*/) {
  DeviceJob job(words.place());
  const auto n_models = static_cast<std::int64_t>(models.size());
  const std::int64_t n_samples = target.size();
  const auto* of = device_vector<const std::int64_t>(job.mine(target), "int64", n_samples);
  const auto out = device_matrix<std::uint64_t>(words, "uint64");
  require(out.rows == n_models && out.cols * 64 >= n_samples, "words have an unexpected shape");
  std::vector<std::int64_t> without(n_models);
  if (n_models > 0 && py::isinstance<DeviceArray>(models[0])) {
    const auto* classes = send_classes(job, models.cast<Arrays>(), n_samples);
    job.run("pack_errors",
            [&] { return cuda::pack_errors(classes, n_models, of, n_samples, out, job.stream()); });
    job.wait();  // words may be read on another stream next
    return without;
  }
  const DeviceModels logits(models);
  require(logits.n_samples() == n_samples, "target has an unexpected length");
  MatrixView<std::int32_t> predicted;
  if (preds) {
    predicted = device_matrix<std::int32_t>(job.mine(*preds), "int32");
    require(predicted.rows == n_models && predicted.cols == n_samples,
            "preds have an unexpected shape");
  }
  auto* counts = job.scratch<std::int64_t>(n_models);
  const LogitsView* views = logits.send_views(job);
  job.run("pack_errors", [&] {
    return cuda::pack_errors(views, n_models, logits.row_bytes(), of, n_samples, out, predicted,
                             counts, job.stream());
  });
  job.fetch(counts, n_models, without.data());
  return without;
}

Counts joint_errors_binding(const DeviceArray& words, const py::object& /*workers*/,
                            const py::object& /*progress*/,
                            const std::optional<std::string>& method) {
  DeviceJob job(words.place());
  const auto rows = device_matrix<const std::uint64_t>(words, "uint64");
  const std::int64_t n = rows.rows;
  auto* joint = job.scratch<std::int64_t>(n * n);
  const cuda::JointMethod how = joint_method(job, rows, method);
  job.run("joint_errors",
          [&] { return cuda::joint_errors(rows, {joint, n, n, n}, how, job.stream()); });
  return job.counts(joint, {n, n});
}

Counts joint_agreement_binding(const Arrays& preds, std::int64_t lowest, std::int64_t highest,
                               const py::object& /*workers*/, const py::object& /*progress*/) {
  require(!preds.empty() && preds[0].ndim() == 1, "expected classes of at least one model");
  DeviceJob job(preds[0].place());
  const auto n = static_cast<std::int64_t>(preds.size());
  const std::int64_t n_samples = preds[0].size();
  const std::uint64_t span =
      static_cast<std::uint64_t>(highest) - static_cast<std::uint64_t>(lowest);
  require(lowest <= highest && span < 1 << 16, "classes span too many values");
  std::int64_t n_planes = 0;
  while (span >> n_planes > 0) ++n_planes;
  auto* agreement = job.scratch<std::int64_t>(n * n);
  void* planes = job.scratch(cuda::agreement_scratch(n, n_samples, n_planes));
  const auto* classes = send_classes(job, preds, n_samples);
  job.run("joint_agreement", [&] {
    return cuda::joint_agreement(classes, n, lowest, n_planes, n_samples, planes,
                                 {agreement, n, n, n}, job.stream());
  });
  return job.counts(agreement, {n, n});
}

std::pair<std::int64_t, std::int64_t> class_span_binding(const Arrays& preds) {
  require(!preds.empty() && preds[0].ndim() == 1, "expected classes of at least one model");
  DeviceJob job(preds[0].place());
  const std::int64_t n_samples = preds[0].size();
  auto* span = job.scratch<std::int64_t>(2);
  const auto* classes = send_classes(job, preds, n_samples);
  job.run("class_span", [&] {
    return cuda::class_span(classes, static_cast<std::int64_t>(preds.size()), n_samples, span,
                            job.stream());
  });
  std::int64_t found[2];
  job.fetch(span, 2, found);
  return {found[0], found[1]};
}

}  // namespace
}  // namespace ovcore::bindings

PYBIND11_MODULE(_cuda, module) {
  using namespace ovcore::bindings;
  module.doc() = "CUDA kernels of ovcore; see ovcore._reference for what each one means.";
  bind_device_arrays(module);
  module.def("pack_errors", &pack_errors_binding, py::arg("models"), py::arg("target"),
             py::arg("words"), py::arg("preds").none(true), py::arg("workers"), py::arg("progress"),
             "Fills words (M, W) with error bits; returns rows without a prediction, (M,).");
  module.def("joint_errors", &joint_errors_binding, py::arg("words"), py::arg("workers"),
             py::arg("progress"), py::arg("method") = py::none(),
             "Joint errors (M, M) of all pairs of rows of error bits.");
  module.def("joint_agreement", &joint_agreement_binding, py::arg("preds"), py::arg("lowest"),
             py::arg("highest"), py::arg("workers"), py::arg("progress"),
             "Samples (M, M) for which both models of a pair predict the same class.");
  module.def("class_span", &class_span_binding, py::arg("preds"),
             "Lowest and highest class of all models.");
  bind_cuda_screens(module);
  bind_cuda_ensembles(module);
  module.def(
      "measure", [](bool on) { Stopwatch::instance().turn(on); }, py::arg("on"),
      "Whether kernels are timed from now on.");
  module.def(
      "measured", [] { return Stopwatch::instance().read(); },
      "Name and milliseconds of each kernel timed since the last call.");
}
