#include "ensembles.hpp"

#include <functional>
#include <limits>
#include <mutex>

#include "candidates.hpp"
#include "models.hpp"
#include "parallel.hpp"

namespace ovcore::bindings {
namespace {

using Counts = py::array_t<std::int64_t>;

Counts zeros(std::vector<py::ssize_t> shape) {
  Counts counts(std::move(shape));
  std::fill_n(counts.mutable_data(), counts.size(), 0);
  return counts;
}

py::array_t<double> temperature_nll_binding(const py::sequence& models, const Target& target,
                                            const py::array_t<double>& beta, int workers,
                                            const Progress& progress) {
  const std::vector<LogitsView> views = logits_views(models, target.size());
  const auto n_models = static_cast<std::int64_t>(views.size());
  const std::int64_t* of = vector<std::int64_t>(target, target.size());
  const double* betas = vector<double>(beta, n_models);
  instruction_set();
  const SampleTasks tasks(views, target.size(), 1, 8e9);
  std::vector<NllSums> parts(tasks.count());
  {
    py::gil_scoped_release others;
    for_each_task(tasks.count(), workers_worth_starting(workers, tasks.seconds), progress,
                  [&](std::int64_t task) {
                    const std::int64_t m = tasks.model(task);
                    parts[task] = temperature_nll(views[m], of, betas[m], tasks.samples(task));
                  });
  }
  py::array_t<double> result({n_models, std::int64_t{3}});
  for (std::int64_t m = 0; m < n_models; ++m) {
    NllSums sums{0, 0, 0};
    for (std::int64_t i = 0; i < tasks.tasks_per_model; ++i) {  // in one order, whoever made them
      const NllSums& part = parts[m * tasks.tasks_per_model + i];
      sums = {sums.nll + part.nll, sums.slope + part.slope, sums.curvature + part.curvature};
    }
    double* row = result.mutable_data(m, 0);
    row[0] = sums.nll, row[1] = sums.slope, row[2] = sums.curvature;
  }
  return result;
}

void confidences_binding(const py::sequence& models, const py::array_t<double>& temperature,
                         py::array_t<std::int32_t>& preds, py::array_t<float>& confidence,
                         int workers, const Progress& progress) {
  const auto n_models = static_cast<std::int64_t>(models.size());
  const MatrixView<std::int32_t> to = writable_matrix<std::int32_t>(preds, n_models);
  const MatrixView<float> also = writable_matrix<float>(confidence, n_models);
  require(also.cols == to.cols, "expected as many confidences as predictions");
  const std::vector<LogitsView> views = logits_views(models, to.cols);
  const double* temperatures = vector<double>(temperature, n_models);
  instruction_set();
  const SampleTasks tasks(views, to.cols, samples_per_word, 4e9);
  const std::vector<std::int64_t> target(to.cols);  // predictions are wanted, not errors
  py::gil_scoped_release others;
  for_each_task(tasks.count(), workers_worth_starting(workers, tasks.seconds), progress,
                [&](std::int64_t task) {
                  const std::int64_t m = tasks.model(task);
                  const Range samples = tasks.samples(task);
                  std::vector<std::uint64_t> words(to.cols / samples_per_word + 1);
                  with_matrix(views[m], [&](const auto& logits) {
                    pack_errors(logits, target.data(), samples, words.data(), to.row(m));
                  });
                  confidences(views[m], temperatures[m], to.row(m), samples, also.row(m));
                });
}

py::object candidate_scores_binding(const py::tuple& scored, const Preds& preds,
                                    const Target& target, bool all_samples, int workers,
                                    const Progress& progress) {
  const auto n_models = static_cast<std::int64_t>(preds.shape(0));
  const MatrixView<const std::int32_t> predicted = readable_matrix(preds, n_models);
  const std::int64_t n_samples = predicted.cols;
  const std::int64_t* of = vector<std::int64_t>(target, n_samples);
  const Models models(scored, n_models, n_samples);
  instruction_set();

  std::vector<std::int64_t> sizes(n_samples);
  constexpr std::int64_t step = 4096;
  const double listing_seconds = static_cast<double>(n_models * n_samples) / 3e8;
  const int listers = workers_worth_starting(workers, listing_seconds);
  {
    py::gil_scoped_release others;
    for_each_task((n_samples + step - 1) / step, listers, Progress{}, [&](std::int64_t task) {
      std::vector<std::int32_t> scratch(n_models + 1);
      const Range samples{task * step, std::min((task + 1) * step, n_samples)};
      count_candidates(predicted, of, samples, all_samples, scratch.data(), sizes.data());
    });
  }
  CandidateArrays to(sizes, n_models, models.n_classes());
  const CandidateLists lists = to.lists();
  const std::int64_t bytes = n_models * row_bytes(models.scored()[0].logits);
  const std::int64_t per_task = std::max<std::int64_t>(64, (1 << 22) / bytes);
  const double seconds = static_cast<double>(to.n_listed() * bytes) / 4e9;
  {
    py::gil_scoped_release others;
    for_each_task((to.n_listed() + per_task - 1) / per_task,
                  workers_worth_starting(workers, seconds), progress, [&](std::int64_t task) {
                    const Range listed{task * per_task,
                                       std::min((task + 1) * per_task, to.n_listed())};
                    std::vector<std::int32_t> scratch(2 * n_models + 2);
                    constexpr float infinity = std::numeric_limits<float>::infinity();
                    std::vector<float> caps(models.n_classes() + caps_padding, -infinity);
                    std::fill_n(caps.begin(), models.n_classes(), infinity);
                    to.clear(listed);
                    list_candidates(predicted, of, lists.samples, lists.offsets, listed,
                                    scratch.data(), to.classes(), to.target(), to.tops());
                    for (std::int64_t m = 0; m < n_models; ++m)
                      candidate_scores(models.scored()[m], models.combine(), lists, listed, m,
                                       caps.data(), to.scores(), to.outside(), to.mass());
                  });
  }
  return to.to_python();
}

// Buffers that tasks borrow: as many as there are tasks running at once.
template <class Buffer>
class Pool {
 public:
  explicit Pool(std::function<Buffer()> make) : make_(std::move(make)) {}
  Buffer take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return make_();
    Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void give_back(Buffer buffer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(buffer));
  }
  const std::vector<Buffer>& all() const { return free_; }

 private:
  std::function<Buffer()> make_;
  std::mutex mutex_;
  std::vector<Buffer> free_;
};

struct PairCounts {
  std::vector<std::int64_t> conversions, rescues;
  std::int64_t unsettled = 0, scanned = 0;
};

template <class Score>
std::pair<Counts, Counts> count_pair_hits(const Candidates<Score>& candidates,
                                          std::int64_t n_listed, int workers,
                                          const Progress& progress) {
  constexpr std::int64_t tile_rows = 32, tile_cols = 128, slice_bytes = 1 << 19;
  const std::int64_t n = candidates.n_models;
  const std::int64_t row = candidates.scores.row_stride * static_cast<std::int64_t>(sizeof(Score));
  const std::int64_t per_slice = std::clamp<std::int64_t>(
      slice_bytes * n_listed / (candidates.scores.rows * row + 1), 16, 1024);
  const double seconds = static_cast<double>(candidates.scores.rows) * static_cast<double>(n) *
                         static_cast<double>(n) / 3e10;
  Pool<PairCounts> pool([&] {
    return PairCounts{std::vector<std::int64_t>(n * n), std::vector<std::int64_t>(n * n)};
  });
  {
    py::gil_scoped_release others;
    for_each_task(
        (n_listed + per_slice - 1) / per_slice, workers_worth_starting(workers, seconds), progress,
        [&](std::int64_t slice) {
          const Range listed{slice * per_slice, std::min((slice + 1) * per_slice, n_listed)};
          std::vector<Score> counts(2 * tile_rows * (tile_cols + 32));
          PairCounts sums = pool.take();
          PairHits hits{{sums.conversions.data(), n, n, n}, {sums.rescues.data(), n, n, n}};
          for (std::int64_t i = 0; i < n; i += tile_rows)
            for (std::int64_t j = i / tile_cols * tile_cols; j < n; j += tile_cols)
              pair_ensemble_hits(candidates, {i, std::min(i + tile_rows, n)},
                                 {j, std::min(j + tile_cols, n)}, listed, counts.data(), hits);
          sums.unsettled += hits.unsettled;
          sums.scanned += hits.scanned;
          pool.give_back(std::move(sums));
        });
  }
  Counts result = zeros({2, n, n}), settled = zeros({2});
  for (const PairCounts& sums : pool.all()) {
    settled.mutable_at(0) += sums.unsettled;
    settled.mutable_at(1) += sums.scanned;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = i + 1; j < n; ++j) {
        result.mutable_at(0, i, j) += sums.conversions[i * n + j];
        result.mutable_at(1, i, j) += sums.rescues[i * n + j];
      }
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = i + 1; j < n; ++j)
      for (const int kind : {0, 1}) result.mutable_at(kind, j, i) = result.at(kind, i, j);
  return {result, settled};
}

std::pair<Counts, Counts> pair_ensemble_hits_binding(const std::optional<py::tuple>& scored,
                                                     std::int64_t n_models,
                                                     const py::object& candidates, int workers,
                                                     const Progress& progress) {
  const CandidateInputs inputs(scored, n_models, candidates);
  instruction_set();
  return inputs.with_candidates(
      [&](const auto& all) { return count_pair_hits(all, inputs.n_listed(), workers, progress); });
}

Counts candidate_hits_binding(const std::optional<py::tuple>& scored, std::int64_t n_models,
                              const py::object& candidates,
                              const py::array_t<std::int64_t>& members,
                              const py::array_t<double>& running,
                              const py::array_t<double>& outside, const py::array_t<bool>& right,
                              int workers) {
  const CandidateInputs inputs(scored, n_models, candidates);
  const std::int64_t* of = vector<std::int64_t>(members, members.size());
  for (std::int64_t i = 0; i < members.size(); ++i)
    require(of[i] >= 0 && of[i] < n_models, "a member is no model");
  const double* sums = vector<double>(running, inputs.n_scores());
  const double* bounds = vector<double>(outside, inputs.n_listed());
  const auto* is_right =
      reinterpret_cast<const std::uint8_t*>(vector<bool>(right, inputs.n_listed()));
  instruction_set();
  Counts hits = zeros({n_models, 2});
  std::int64_t* result = hits.mutable_data();
  constexpr std::int64_t per_task = 256;
  const double seconds =
      static_cast<double>(inputs.n_scores()) * static_cast<double>(n_models) / 1e9;
  std::mutex mutex;
  inputs.with_candidates([&](const auto& all) {
    py::gil_scoped_release others;
    for_each_task((inputs.n_listed() + per_task - 1) / per_task,
                  workers_worth_starting(workers, seconds), Progress{}, [&](std::int64_t task) {
                    const Range listed{task * per_task,
                                       std::min((task + 1) * per_task, inputs.n_listed())};
                    std::vector<float> floats(all.n_classes);
                    std::vector<double> doubles(all.n_classes);
                    const std::int64_t cols = all.scores.cols;
                    std::vector<std::int64_t> part(2 * cols);
                    candidate_hits(all, of, members.size(), sums, bounds, is_right, listed,
                                   floats.data(), doubles.data(), part.data());
                    const std::lock_guard<std::mutex> lock(mutex);
                    for (std::int64_t m = 0; m < n_models; ++m)
                      for (const int kind : {0, 1}) result[2 * m + kind] += part[kind * cols + m];
                  });
  });
  return hits;
}

py::array_t<std::int32_t> ensemble_predictions_binding(const py::tuple& scored,
                                                       const py::array_t<double>& weights,
                                                       const Preds& preds, int workers,
                                                       const Progress& progress) {
  const auto n_models = static_cast<std::int64_t>(preds.shape(0));
  const MatrixView<const std::int32_t> predicted = readable_matrix(preds, n_models);
  const std::int64_t n_samples = predicted.cols;
  const double* weight = vector<double>(weights, n_models);
  const Models models(scored, n_models, n_samples);
  instruction_set();
  py::array_t<std::int32_t> ensemble(n_samples);
  std::int32_t* to = ensemble.mutable_data();
  const std::int64_t bytes = n_models * row_bytes(models.scored()[0].logits);
  const std::int64_t per_task = (1 << 22) / bytes + 1;
  const double seconds = static_cast<double>(n_samples * bytes) / 2e9;
  py::gil_scoped_release others;
  for_each_task((n_samples + per_task - 1) / per_task, workers_worth_starting(workers, seconds),
                progress, [&](std::int64_t task) {
                  const Range samples{task * per_task, std::min((task + 1) * per_task, n_samples)};
                  std::vector<float> floats(models.n_classes());
                  std::vector<double> doubles(models.n_classes());
                  ensemble_predictions(models.scored().data(), weight, models.combine(), predicted,
                                       samples, floats.data(), doubles.data(), to);
                });
  return ensemble;
}

}  // namespace

void bind_ensembles(py::module_& module) {
  module.def("temperature_nll", &temperature_nll_binding, py::arg("models"),
             py::arg("target").noconvert(), py::arg("beta").noconvert(), py::arg("workers"),
             py::arg("progress"),
             "Sums over samples of each model's NLL at 1 / T = beta and of its two derivatives.");
  module.def("confidences", &confidences_binding, py::arg("models"),
             py::arg("temperature").noconvert(), py::arg("preds").noconvert(),
             py::arg("confidence").noconvert(), py::arg("workers"), py::arg("progress"),
             "Fills preds and confidence (M, N) with each model's predictions and their scores.");
  module.def("candidate_scores", &candidate_scores_binding, py::arg("scored"),
             py::arg("preds").noconvert(), py::arg("target").noconvert(), py::arg("all_samples"),
             py::arg("workers"), py::arg("progress"),
             "Candidates of the samples on which models differ, or of all.");
  module.def("pair_ensemble_hits", &pair_ensemble_hits_binding, py::arg("scored").none(true),
             py::arg("n_models"), py::arg("candidates"), py::arg("workers"), py::arg("progress"),
             "Conversions and rescues (2, M, M) of all pairs, and what was left to settle (2,).");
  module.def("candidate_hits", &candidate_hits_binding, py::arg("scored").none(true),
             py::arg("n_models"), py::arg("candidates"), py::arg("members").noconvert(),
             py::arg("running").noconvert(), py::arg("outside").noconvert(),
             py::arg("right").noconvert(), py::arg("workers"),
             "Listed samples (M, 2) that an ensemble gets right if each model joins it.");
  module.def("ensemble_predictions", &ensemble_predictions_binding, py::arg("scored"),
             py::arg("weights").noconvert(), py::arg("preds").noconvert(), py::arg("workers"),
             py::arg("progress"), "What a weighted ensemble predicts, (N,).");
}

}  // namespace ovcore::bindings
