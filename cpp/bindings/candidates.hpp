// ovcore._candidates.Candidates and Scored, from Python and to it.
#pragma once

#include <pybind11/stl.h>

#include <optional>

#include "models.hpp"

namespace ovcore::bindings {

inline MatrixView<const std::int32_t> readable_matrix(const Preds& preds, std::int64_t n_models) {
  require(preds.ndim() == 2 && preds.shape(0) == n_models, "expected (M, N) predictions");
  require(preds.shape(1) <= 1 || preds.strides(1) == 4, "the last axis must be contiguous");
  return {preds.data(), n_models, preds.shape(1), preds.strides(0) / 4};
}

// Models with their temperatures and what an ensemble sums of them.
class Models {
 public:
  Models(const py::tuple& scored, std::int64_t n_models, std::int64_t n_samples) {
    require(scored.size() == 3, "expected models, temperatures and what to combine");
    const std::vector<LogitsView> views = logits_views(scored[0].cast<py::sequence>(), n_samples);
    const auto temperatures = scored[1].cast<py::array_t<double>>();
    require(static_cast<std::int64_t>(views.size()) == n_models, "unexpected number of models");
    const double* temperature = vector<double>(temperatures, n_models);
    for (std::int64_t m = 0; m < n_models; ++m) scored_.push_back({views[m], temperature[m]});
    const auto name = scored[2].cast<std::string>();
    require(name == "prob" || name == "logit" || name == "max", "unexpected way to combine");
    combine_ = name == "logit" ? Combine::logit : name == "max" ? Combine::max : Combine::prob;
  }
  const std::vector<ScoredModel>& scored() const { return scored_; }
  Combine combine() const { return combine_; }
  std::int64_t n_classes() const { return scored_[0].logits.cols; }

 private:
  std::vector<ScoredModel> scored_;
  Combine combine_ = Combine::prob;
};

// An array of rows that start at multiples of 64 bytes, not yet written.
template <class T>
py::array_t<T> aligned_array(std::int64_t rows, std::int64_t cols) {
  constexpr std::align_val_t alignment{64};
  const std::size_t bytes =
      static_cast<std::size_t>(std::max<std::int64_t>(rows * cols, 1)) * sizeof(T);
  void* data = operator new(bytes, alignment);
#if defined(__linux__)
  madvise(data, bytes, MADV_HUGEPAGE);
#endif
  py::capsule owner(data, [](void* memory) { operator delete(memory, std::align_val_t{64}); });
  return py::array_t<T>({rows, cols}, static_cast<T*>(data), owner);
}

template <class T>
MatrixView<T> writable(py::array_t<T>& array) {
  return {array.mutable_data(), array.shape(0), array.shape(1), array.shape(1)};
}

// Candidates being made.
class CandidateArrays {
 public:
  CandidateArrays(const std::vector<std::int64_t>& sizes, std::int64_t n_models,
                  std::int64_t n_classes)
      : n_models_(n_models), n_classes_(n_classes) {
    std::int64_t n_listed = 0, n_scores = 0;
    for (const std::int64_t size : sizes) n_listed += size > 0, n_scores += size;
    samples_ = py::array_t<std::int64_t>(n_listed);
    offsets_ = py::array_t<std::int64_t>(n_listed + 1);
    classes_ = py::array_t<std::int32_t>(n_scores);
    target_ = py::array_t<std::int32_t>(n_listed);
    const std::int64_t cols = (n_models + model_padding - 1) / model_padding * model_padding;
    tops_ = aligned_array<std::int32_t>(n_listed, cols);
    scores_ = aligned_array<float>(n_scores, cols);
    outside_ = aligned_array<float>(n_listed, cols);
    mass_ = aligned_array<double>(n_listed, cols);
    std::int64_t *samples = samples_.mutable_data(), *offsets = offsets_.mutable_data();
    offsets[0] = 0;
    for (std::size_t n = 0; n < sizes.size(); ++n) {
      if (sizes[n] == 0) continue;
      *samples++ = static_cast<std::int64_t>(n);
      offsets[1] = offsets[0] + sizes[n];
      ++offsets;
    }
    lists_ = {samples_.data(),
              offsets_.data(),
              classes_.data(),
              target_.data(),
              {tops_.data(), n_listed, cols, cols}};
    views_ = {writable(tops_), writable(scores_), writable(outside_), writable(mass_)};
    classes_data_ = classes_.mutable_data();
    target_data_ = target_.mutable_data();
  }

  std::int64_t n_listed() const { return lists_.tops.rows; }
  CandidateLists lists() const { return lists_; }
  std::int32_t* classes() const { return classes_data_; }
  std::int32_t* target() const { return target_data_; }
  MatrixView<std::int32_t> tops() const { return views_.tops; }
  MatrixView<float> scores() const { return views_.scores; }
  MatrixView<float> outside() const { return views_.outside; }
  MatrixView<double> mass() const { return views_.mass; }

  // Fills the columns that belong to no model.
  void clear(Range listed) const {
    const auto fill = [&](const auto& view, Range rows, auto value) {
      for (std::int64_t i = rows.first; i < rows.last; ++i)
        std::fill(view.row(i) + n_models_, view.row(i) + view.cols, value);
    };
    fill(views_.tops, listed, -1);
    fill(views_.scores, {lists_.offsets[listed.first], lists_.offsets[listed.last]}, 0.0f);
    fill(views_.outside, listed, 0.0f);
    fill(views_.mass, listed, 1.0);
  }

  py::object to_python() const {
    return py::module_::import("ovcore._candidates")
        .attr("Candidates")(samples_, offsets_, classes_, target_, tops_, scores_, outside_, mass_,
                            n_classes_);
  }

 private:
  struct Views {
    MatrixView<std::int32_t> tops;
    MatrixView<float> scores, outside;
    MatrixView<double> mass;
  };
  std::int64_t n_models_, n_classes_;
  py::array_t<std::int64_t> samples_, offsets_;
  py::array_t<std::int32_t> classes_, target_, tops_;
  py::array_t<float> scores_, outside_;
  py::array_t<double> mass_;
  CandidateLists lists_{};
  Views views_{};
  std::int32_t *classes_data_ = nullptr, *target_data_ = nullptr;
};

// Candidates made earlier, checked as far as memory is concerned.
class CandidateInputs {
 public:
  CandidateInputs(const std::optional<py::tuple>& scored, std::int64_t n_models,
                  const py::object& candidates)
      : n_models_(n_models),
        n_classes_(candidates.attr("n_classes").cast<std::int64_t>()),
        samples_(candidates.attr("samples")),
        offsets_(candidates.attr("offsets")),
        classes_(candidates.attr("classes")),
        target_(candidates.attr("target")),
        tops_(candidates.attr("tops")),
        scores_(candidates.attr("scores")),
        outside_(candidates.attr("outside")),
        mass_(candidates.attr("mass")) {
    const std::int64_t n = samples_.size(), n_scores = classes_.size(), cols = tops_.shape(1);
    require(n_models >= 1 && cols >= n_models && cols % model_padding == 0, "unexpected padding");
    for (const py::array& array : {py::array(tops_), outside_, py::array(mass_)})
      require(array.ndim() == 2 && array.shape(0) == n && array.shape(1) == cols &&
                  is_contiguous(array),
              "candidates of unexpected shape");
    require(scores_.ndim() == 2 && scores_.shape(0) == n_scores && scores_.shape(1) == cols &&
                is_contiguous(scores_) && scores_.dtype().is(outside_.dtype()),
            "candidates of unexpected shape");
    const std::int64_t* offsets = vector<std::int64_t>(offsets_, n + 1);
    const std::int64_t* samples = vector<std::int64_t>(samples_, n);
    const std::int32_t* target = vector<std::int32_t>(target_, n);
    const std::int32_t* classes = vector<std::int32_t>(classes_, n_scores);
    require(offsets[0] == 0 && offsets[n] == n_scores, "lists of unexpected size");
    std::int64_t n_samples = -1;
    if (scored) {
      const auto list = (*scored)[0].cast<py::sequence>();
      n_samples = list.size() == 0 ? 0 : logits_view(list[0]).rows;
      models_.emplace(*scored, n_models, n_samples);
      require(models_->n_classes() == n_classes_, "candidates of other logits");
    }
    for (std::int64_t u = 0; u < n_scores; ++u)
      require(classes[u] >= 0 && classes[u] < n_classes_, "a class is out of range");
    for (std::int64_t s = 0; s < n; ++s) {
      const std::int64_t size = offsets[s + 1] - offsets[s];
      require(size > 0 && target[s] >= 0 && target[s] < size, "a list of unexpected size");
      require(samples[s] >= 0 && (!scored || samples[s] < n_samples), "a sample is out of range");
      const std::int32_t* tops = tops_.data(s, 0);
      for (std::int64_t m = 0; m < n_models; ++m)
        require(tops[m] >= 0 && tops[m] < size, "a prediction is not listed");
    }
    lists_ = {samples, offsets, classes, target, {tops_.data(), n, cols, cols}};
  }

  std::int64_t n_listed() const { return lists_.tops.rows; }
  std::int64_t n_scores() const { return classes_.size(); }

  template <class Use>
  auto with_candidates(const Use& use) const {
    if (scores_.itemsize() == 4) return use(candidates<float>());
    return use(candidates<double>());
  }

 private:
  static bool is_contiguous(const py::array& array) { return array.flags() & py::array::c_style; }

  template <class Score>
  Candidates<Score> candidates() const {
    const auto view = [&](const py::array& array) {
      return MatrixView<const Score>{static_cast<const Score*>(array.data()), array.shape(0),
                                     array.shape(1), array.shape(1)};
    };
    require(py::isinstance<py::array_t<Score>>(scores_), "unexpected type of scores");
    const std::int64_t n = n_listed(), cols = lists_.tops.cols;
    return {lists_,
            view(scores_),
            view(outside_),
            {mass_.data(), n, cols, cols},
            n_models_,
            n_classes_,
            models_ ? models_->scored().data() : nullptr,
            models_ ? models_->combine() : Combine::prob};
  }

  std::int64_t n_models_, n_classes_;
  py::array_t<std::int64_t> samples_, offsets_;
  py::array_t<std::int32_t> classes_, target_, tops_;
  py::array scores_, outside_;
  py::array_t<double> mass_;
  std::optional<Models> models_;
  CandidateLists lists_{};
};

}  // namespace ovcore::bindings
