// Bindings of the CUDA kernels that combine models: take, check, queue, fetch.
#include "cuda_ensembles.hpp"

#include "device_job.hpp"

namespace ovcore::bindings {
namespace {

using Counts = py::array_t<std::int64_t>;
using Doubles = py::array_t<double>;

const double* send_doubles(DeviceJob& job, const Doubles& values, std::int64_t count) {
  require(values.ndim() == 1 && values.shape(0) == count, "a vector has an unexpected length");
  require((values.flags() & py::array::c_style) != 0, "a vector must be contiguous");
  return job.send(values.data(), count);
}

const std::uint8_t* send_flags(DeviceJob& job, const py::array_t<bool>& flags, std::int64_t count) {
  require(flags.size() == count && (flags.flags() & py::array::c_style) != 0,
          "flags have an unexpected shape");
  return job.send(reinterpret_cast<const std::uint8_t*>(flags.data()), count);
}

Doubles temperature_nll_binding(const py::sequence& models, const DeviceArray& target,
                                const Doubles& beta, const py::object& /*workers*/,
                                const py::object& /*progress*/) {
  const DeviceModels logits(models);
  DeviceJob job(logits.place());
  const std::int64_t n = logits.count(), n_samples = logits.n_samples();
  const auto* of = device_vector<const std::int64_t>(job.mine(target), "int64", n_samples);
  auto* sums = job.scratch<NllSums>(n);
  const LogitsView* views = logits.send_views(job);
  const double* at = send_doubles(job, beta, n);
  void* partial = job.scratch(cuda::nll_scratch(n, n_samples));
  job.run("temperature_nll", [&] {
    return cuda::temperature_nll(views, n, of, at, n_samples, partial, sums, job.stream());
  });
  Doubles result({n, std::int64_t{3}});
  job.fetch(sums, n, reinterpret_cast<NllSums*>(result.mutable_data()));
  return result;
}

// What this and candidate_scores return is read by later calls on the same stream: nothing waits.
void confidences_binding(const py::sequence& models, const Doubles& temperature,
                         const DeviceArray& preds, const DeviceArray& confidence,
                         const py::object& /*workers*/, const py::object& /*progress*/) {
  const DeviceScored scored(py::make_tuple(models, temperature, "prob"));
  DeviceJob job(preds.place());
  const std::int64_t n = scored.models.count(), n_samples = scored.models.n_samples();
  const auto predicted = device_matrix<std::int32_t>(preds, "int32");
  const auto out = device_matrix<float>(job.mine(confidence), "float32");
  require(
      predicted.rows == n && predicted.cols == n_samples && out.rows == n && out.cols == n_samples,
      "outputs have an unexpected shape");
  // Predictions come with error bits, of any target.
  auto* target = job.scratch<std::int64_t>(n_samples);
  check(cudaMemsetAsync(target, 0, static_cast<std::size_t>(n_samples) * 8, job.stream()));
  const std::int64_t width = (n_samples + 63) / 64;
  const MatrixView<std::uint64_t> words{job.scratch<std::uint64_t>(n * width), n, width, width};
  const LogitsView* views = scored.models.send_views(job);
  const ScoredModel* table = scored.send(job);
  auto* without = job.scratch<std::int64_t>(n);
  job.run("pack_errors", [&] {
    return cuda::pack_errors(views, n, scored.models.row_bytes(), target, n_samples, words,
                             predicted, without, job.stream());
  });
  job.run("confidences", [&] {
    return cuda::confidences(table,
                             {predicted.data, predicted.rows, predicted.cols, predicted.row_stride},
                             out, job.stream());
  });
}

// Samples that have candidates, and where their lists begin.
struct Listed {
  std::vector<std::int64_t> samples, offsets{0};

  explicit Listed(const std::vector<std::int32_t>& sizes) {
    for (std::size_t n = 0; n < sizes.size(); ++n)
      if (sizes[n] > 0) {
        samples.push_back(static_cast<std::int64_t>(n));
        offsets.push_back(offsets.back() + sizes[n]);
      }
  }
};

// ovcore._candidates.Candidates in GPU memory.
class DeviceCandidates {
 public:
  // New ones, with the lists of these samples.
  DeviceCandidates(const DeviceJob& job, const Listed& listed, std::int64_t n_models,
                   std::int64_t n_classes)
      : n_classes_(n_classes) {
    const auto n = static_cast<std::int64_t>(listed.samples.size());
    const std::int64_t n_scores = listed.offsets.back();
    const std::int64_t cols = (n_models + model_padding - 1) / model_padding * model_padding;
    const auto sent = [&](const std::vector<std::int64_t>& values) {
      return DeviceArray::upload(job.place(),
                                 Counts(static_cast<py::ssize_t>(values.size()), values.data()));
    };
    const auto made = [&](std::vector<std::int64_t> shape, const char* dtype) {
      return DeviceArray::empty(job.place(), shape, dtype);
    };
    arrays_ = {sent(listed.samples),       sent(listed.offsets),
               made({n_scores}, "int32"),  made({n}, "int32"),
               made({n, cols}, "int32"),   made({n_scores, cols}, "float32"),
               made({n, cols}, "float32"), made({n, cols}, "float64")};
    read();
  }
  // Those made earlier.
  DeviceCandidates(const DeviceJob& job, const py::object& candidates)
      : n_classes_(candidates.attr("n_classes").cast<std::int64_t>()) {
    for (const char* name : names)
      arrays_.push_back(job.mine(candidates.attr(name).cast<DeviceArray>()));
    read();
  }

  std::int64_t n_listed() const { return arrays_[4].shape()[0]; }
  std::int64_t n_classes() const { return n_classes_; }
  CandidateLists lists() const { return lists_; }
  std::int32_t* classes() const { return static_cast<std::int32_t*>(arrays_[2].data()); }
  std::int32_t* positions() const { return static_cast<std::int32_t*>(arrays_[3].data()); }
  MatrixView<std::int32_t> tops() const { return device_matrix<std::int32_t>(arrays_[4], "int32"); }
  MatrixView<float> scores() const { return device_matrix<float>(arrays_[5], "float32"); }
  MatrixView<float> outside() const { return device_matrix<float>(arrays_[6], "float32"); }
  MatrixView<double> mass() const { return device_matrix<double>(arrays_[7], "float64"); }

  Candidates<float> with(const DeviceScored& scored, DeviceJob& job) const {
    require(scored.models.n_classes() == n_classes_, "candidates of other logits");
    require(scored.models.count() <= lists_.tops.cols, "candidates of fewer models");
    const auto readable = [](const MatrixView<float>& view) {
      return MatrixView<const float>{view.data, view.rows, view.cols, view.row_stride};
    };
    const MatrixView<double> masses = mass();
    return {lists_,
            readable(scores()),
            readable(outside()),
            {masses.data, masses.rows, masses.cols, masses.row_stride},
            scored.models.count(),
            n_classes_,
            scored.send(job),
            scored.combine};
  }

  py::object to_python() const {
    py::dict fields;
    for (std::size_t i = 0; i < arrays_.size(); ++i) fields[names[i]] = arrays_[i];
    fields["n_classes"] = n_classes_;
    return py::module_::import("ovcore._candidates").attr("Candidates")(**fields);
  }

 private:
  static constexpr const char* names[] = {"samples", "offsets", "classes", "target",
                                          "tops",    "scores",  "outside", "mass"};

  void read() {
    const auto tops_view = tops();
    const std::int64_t n = tops_view.rows, n_scores = arrays_[2].size();
    require(scores().rows == n_scores && outside().rows == n && mass().rows == n,
            "candidates of unexpected shape");
    require(scores().cols == tops_view.cols && outside().cols == tops_view.cols &&
                mass().cols == tops_view.cols,
            "candidates of unexpected shape");
    lists_ = {device_vector<const std::int64_t>(arrays_[0], "int64", n),
              device_vector<const std::int64_t>(arrays_[1], "int64", n + 1),
              device_vector<const std::int32_t>(arrays_[2], "int32", n_scores),
              device_vector<const std::int32_t>(arrays_[3], "int32", n),
              {tops_view.data, n, tops_view.cols, tops_view.row_stride}};
  }

  std::int64_t n_classes_;
  std::vector<DeviceArray> arrays_;
  CandidateLists lists_{};
};

MatrixView<const std::int32_t> readable_preds(const DeviceArray& preds, std::int64_t n_models,
                                              std::int64_t n_samples) {
  const auto found = device_matrix<const std::int32_t>(preds, "int32");
  require(found.rows == n_models && found.cols == n_samples, "expected (M, N) predictions");
  return found;
}

py::object candidate_scores_binding(const py::tuple& scored_tuple, const DeviceArray& preds,
                                    const DeviceArray& target, bool all_samples,
                                    const py::object& /*workers*/, const py::object& /*progress*/) {
  const DeviceScored scored(scored_tuple);
  DeviceJob job(preds.place());
  const std::int64_t n_models = scored.models.count(), n_samples = scored.models.n_samples();
  const std::int64_t n_classes = scored.models.n_classes();
  if (n_classes > cuda::most_classes)
    throw py::value_error("candidates of more than " + std::to_string(cuda::most_classes) +
                          " classes are not scored on GPUs: pass logits in host memory");
  const auto predicted = readable_preds(preds, n_models, n_samples);
  const auto* of = device_vector<const std::int64_t>(job.mine(target), "int64", n_samples);
  auto* sizes = job.scratch<std::int32_t>(n_samples);
  job.run("count_candidates",
          [&] { return cuda::count_candidates(predicted, of, all_samples, sizes, job.stream()); });
  std::vector<std::int32_t> found(n_samples);
  job.fetch(sizes, n_samples, found.data());
  const DeviceCandidates candidates(job, Listed(found), n_models, n_classes);
  job.run("list_candidates", [&] {
    return cuda::list_candidates(predicted, of, candidates.lists().samples,
                                 candidates.lists().offsets, candidates.n_listed(),
                                 candidates.classes(), candidates.positions(), candidates.tops(),
                                 job.stream());
  });
  const ScoredModel* table = scored.send(job);
  job.run("candidate_scores", [&] {
    return cuda::candidate_scores(table, n_models, n_classes, scored.combine, candidates.lists(),
                                  candidates.scores(), candidates.outside(), candidates.mass(),
                                  job.stream());
  });
  return candidates.to_python();
}

std::pair<Counts, Counts> pair_ensemble_hits_binding(const py::tuple& scored_tuple,
                                                     std::int64_t n_models,
                                                     const py::object& candidates,
                                                     const py::object& /*workers*/,
                                                     const py::object& /*progress*/) {
  const DeviceScored scored(scored_tuple);
  require(scored.models.count() == n_models, "unexpected number of models");
  DeviceJob job(scored.models.place());
  const DeviceCandidates all(job, candidates);
  auto* counts = job.scratch<std::int64_t>(2 * n_models * n_models);
  auto* settled = job.scratch<std::int64_t>(2);
  const Candidates<float> given = all.with(scored, job);
  job.run("pair_ensemble_hits", [&] {
    return cuda::pair_ensemble_hits(given, {counts, n_models, n_models, n_models},
                                    {counts + n_models * n_models, n_models, n_models, n_models},
                                    settled, job.stream());
  });
  return {job.counts(counts, {2, n_models, n_models}), job.counts(settled, {2})};
}

Counts candidate_hits_binding(const py::tuple& scored_tuple, std::int64_t n_models,
                              const py::object& candidates, const Counts& members,
                              const py::object& /*running*/, const py::object& /*outside*/,
                              const py::array_t<bool>& right, const py::object& /*workers*/) {
  const DeviceScored scored(scored_tuple);
  require(scored.models.count() == n_models, "unexpected number of models");
  DeviceJob job(scored.models.place());
  const DeviceCandidates all(job, candidates);
  std::vector<std::int64_t> of(members.size());
  for (std::size_t i = 0; i < of.size(); ++i) {
    of[i] = members.at(i);
    require(of[i] >= 0 && of[i] < n_models, "a member is no model");
  }
  auto* hits = job.scratch<std::int64_t>(2 * n_models);
  const Candidates<float> given = all.with(scored, job);
  const std::int64_t* joined = job.send(of);
  const std::uint8_t* kinds = send_flags(job, right, all.n_listed());
  job.run("candidate_hits", [&] {
    return cuda::candidate_hits(given, joined, static_cast<std::int64_t>(of.size()), kinds, hits,
                                job.stream());
  });
  return job.counts(hits, {n_models, 2});
}

py::array_t<std::int32_t> ensemble_predictions_binding(const py::tuple& scored_tuple,
                                                       const Doubles& weights,
                                                       const DeviceArray& preds,
                                                       const py::object& /*workers*/,
                                                       const py::object& /*progress*/) {
  const DeviceScored scored(scored_tuple);
  DeviceJob job(preds.place());
  const std::int64_t n_models = scored.models.count(), n_samples = scored.models.n_samples();
  auto* ensemble = job.scratch<std::int32_t>(n_samples);
  const ScoredModel* table = scored.send(job);
  const double* weight = send_doubles(job, weights, n_models);
  const auto predicted = readable_preds(preds, n_models, n_samples);
  void* scratch = job.scratch(cuda::ensemble_scratch(n_models, n_samples));
  job.run("ensemble_predictions", [&] {
    return cuda::ensemble_predictions(table, weight, scored.combine, scored.models.n_classes(),
                                      predicted, scratch, ensemble, job.stream());
  });
  py::array_t<std::int32_t> result(n_samples);
  job.fetch(ensemble, n_samples, result.mutable_data());
  return result;
}

Counts angle_histogram_binding(const DeviceArray& confidence, const py::array_t<bool>& right,
                               const Counts& pairs, const Doubles& slopes,
                               const py::array_t<bool>& keep, const py::object& /*workers*/,
                               const py::object& /*progress*/) {
  DeviceJob job(confidence.place());
  const auto from = device_matrix<const float>(confidence, "float32");
  require(pairs.ndim() == 2 && pairs.shape(1) == 2 && (pairs.flags() & py::array::c_style) != 0,
          "expected (P, 2) models");
  const std::int64_t n_pairs = pairs.shape(0), n_bins = slopes.size() + 1;
  for (std::int64_t i = 0; i < 2 * n_pairs; ++i)
    require(pairs.data()[i] >= 0 && pairs.data()[i] < from.rows, "a pair names no model");
  const std::uint8_t* flags = send_flags(job, right, from.rows * from.cols);
  auto* histogram = job.scratch<std::int64_t>(n_pairs * 4 * n_bins);
  const std::int64_t* of = job.send(pairs.data(), 2 * n_pairs);
  const double* edges = send_doubles(job, slopes, n_bins - 1);
  const std::uint8_t* kept = send_flags(job, keep, from.cols);
  job.run("angle_histogram", [&] {
    return cuda::angle_histogram(from, {flags, from.rows, from.cols, from.cols}, of, n_pairs, edges,
                                 n_bins, kept, histogram, job.stream());
  });
  return job.counts(histogram, {n_pairs, 4, n_bins});
}

}  // namespace

void bind_cuda_ensembles(py::module_& module) {
  module.def("temperature_nll", &temperature_nll_binding, py::arg("models"), py::arg("target"),
             py::arg("beta").noconvert(), py::arg("workers"), py::arg("progress"),
             "Sums over samples of each model's NLL at 1 / T = beta and of its two derivatives.");
  module.def("confidences", &confidences_binding, py::arg("models"),
             py::arg("temperature").noconvert(), py::arg("preds"), py::arg("confidence"),
             py::arg("workers"), py::arg("progress"),
             "Fills preds and confidence (M, N) with each model's predictions and their scores.");
  module.def("candidate_scores", &candidate_scores_binding, py::arg("scored"), py::arg("preds"),
             py::arg("target"), py::arg("all_samples"), py::arg("workers"), py::arg("progress"),
             "Candidates of the samples on which models differ, or of all.");
  module.def("pair_ensemble_hits", &pair_ensemble_hits_binding, py::arg("scored"),
             py::arg("n_models"), py::arg("candidates"), py::arg("workers"), py::arg("progress"),
             "Conversions and rescues (2, M, M) of all pairs, and what was left to settle (2,).");
  module.def("candidate_hits", &candidate_hits_binding, py::arg("scored"), py::arg("n_models"),
             py::arg("candidates"), py::arg("members").noconvert(), py::arg("running"),
             py::arg("outside"), py::arg("right").noconvert(), py::arg("workers"),
             "Listed samples (M, 2) that an ensemble gets right if each model joins it.");
  module.def("ensemble_predictions", &ensemble_predictions_binding, py::arg("scored"),
             py::arg("weights").noconvert(), py::arg("preds"), py::arg("workers"),
             py::arg("progress"), "What a weighted ensemble predicts, (N,).");
  module.def("angle_histogram", &angle_histogram_binding, py::arg("confidence"),
             py::arg("right").noconvert(), py::arg("pairs").noconvert(),
             py::arg("slopes").noconvert(), py::arg("keep").noconvert(), py::arg("workers"),
             py::arg("progress"), "Samples (P, 4, B) of each pair by outcome and angle.");
}

}  // namespace ovcore::bindings
