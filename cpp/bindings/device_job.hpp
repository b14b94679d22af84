// One call of a kernel on a GPU: its device and stream, memory for as long as it runs, and what it
// is told of models.
#pragma once

#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "device_array.hpp"
#include "ovcore/cuda.hpp"
#include "stopwatch.hpp"

namespace ovcore::bindings {

class DeviceJob {
 public:
  explicit DeviceJob(const py::object& place) : place_(place), on_(place_.device) {}

  const py::object& place() const { return place_.self; }
  int device() const { return place_.device; }
  cudaStream_t stream() const { return place_.stream; }

  // The array, if it is on this job's device.
  const DeviceArray& mine(const DeviceArray& array) const {
    require(Place(array.place()).device == place_.device, "arrays are on different devices");
    return array;
  }

  // Queues a kernel.
  template <class Queue>
  void run(const char* name, const Queue& queue) const {
    Stopwatch::instance().time(name, stream(), queue);
  }

  void* scratch(std::size_t bytes) {
    buffers_.push_back(allocate(place_, bytes));
    return buffers_.back().data;
  }
  template <class T>
  T* scratch(std::int64_t count) {
    return static_cast<T*>(scratch(static_cast<std::size_t>(count) * sizeof(T)));
  }
  // A copy on the device. It is waited for: the values need not live longer.
  template <class T>
  const T* send(const T* values, std::int64_t count) {
    T* copy = scratch<T>(count);
    check(cudaMemcpyAsync(copy, values, static_cast<std::size_t>(count) * sizeof(T),
                          cudaMemcpyHostToDevice, stream()));
    wait();
    return copy;
  }
  template <class T>
  const T* send(const std::vector<T>& values) {
    return send(values.data(), static_cast<std::int64_t>(values.size()));
  }
  // Waits for what is queued; other threads of Python go on.
  void wait() const { wait_for(stream()); }
  // Waits for what is queued and copies values to the host.
  template <class T>
  void fetch(const T* values, std::int64_t count, T* to) const {
    check(cudaMemcpyAsync(to, values, static_cast<std::size_t>(count) * sizeof(T),
                          cudaMemcpyDeviceToHost, stream()));
    wait();
  }
  // Result of that as an array.
  py::array_t<std::int64_t> counts(const std::int64_t* values,
                                   std::vector<std::int64_t> shape) const {
    py::array_t<std::int64_t> result(std::move(shape));
    fetch(values, result.size(), result.mutable_data());
    return result;
  }

 private:
  Place place_;
  OnDevice on_;
  std::vector<Buffer> buffers_;
};

// Logits (N, K) of some models: a sequence of ovcore._arrays.Typed.
class DeviceModels {
 public:
  explicit DeviceModels(const py::sequence& models) {
    require(models.size() >= 1, "expected at least one model");
    for (const auto& typed : models) {
      arrays_.push_back(typed.attr("values").cast<DeviceArray>());
      require(arrays_.back().ndim() == 2, "expected logits (N, K)");
    }
  }
  py::object place() const { return arrays_[0].place(); }
  std::int64_t count() const { return static_cast<std::int64_t>(arrays_.size()); }
  std::int64_t n_samples() const { return arrays_[0].shape()[0]; }
  std::int64_t n_classes() const { return arrays_[0].shape()[1]; }
  std::int64_t row_bytes() const { return n_classes() * arrays_[0].itemsize(); }

  std::vector<LogitsView> views(const DeviceJob& job) const {
    std::vector<LogitsView> found;
    for (const DeviceArray& array : arrays_) {
      job.mine(array);
      require(array.shape()[0] == n_samples() && array.shape()[1] >= 1,
              "expected logits of as many samples for each model");
      require(array.rows_are_contiguous() && array.strides()[0] % array.itemsize() == 0,
              "logits must be contiguous along classes");
      found.push_back({array.data(), element_of(array.dtype()), array.shape()[0], array.shape()[1],
                       array.strides()[0] / array.itemsize()});
    }
    return found;
  }
  const LogitsView* send_views(DeviceJob& job) const { return job.send(views(job)); }

 private:
  static Element element_of(const std::string& dtype) {
    if (dtype == "float32") return Element::float32;
    if (dtype == "float64") return Element::float64;
    if (dtype == "float16") return Element::float16;
    require(dtype == "bfloat16", "unexpected element type");
    return Element::bfloat16;
  }
  std::vector<DeviceArray> arrays_;
};

// Classes (N,) of some models.
inline const cuda::IntegersView* send_classes(DeviceJob& job,
                                              const std::vector<DeviceArray>& models,
                                              std::int64_t n_samples) {
  std::vector<cuda::IntegersView> views;
  for (const DeviceArray& array : models) {
    job.mine(array);
    require(array.ndim() == 1 && array.shape()[0] == n_samples, "expected a class for each sample");
    const bool is_signed = array.dtype().compare(0, 3, "int") == 0;
    require(is_signed || array.dtype().compare(0, 4, "uint") == 0, "expected integers");
    views.push_back(
        {array.data(), array.strides()[0], static_cast<std::int32_t>(array.itemsize()), is_signed});
  }
  return job.send(views);
}

// Models with their temperatures and what an ensemble sums of them: ovcore._candidates.Scored.
struct DeviceScored {
  explicit DeviceScored(const py::tuple& scored)
      : models(scored[0].cast<py::sequence>()),
        temperatures(scored[1].cast<py::array_t<double>>()) {
    const auto name = scored[2].cast<std::string>();
    require(name == "prob" || name == "logit" || name == "max", "unexpected way to combine");
    combine = name == "logit" ? Combine::logit : name == "max" ? Combine::max : Combine::prob;
    require(temperatures.ndim() == 1 && temperatures.shape(0) == models.count(),
            "expected a temperature for each model");
  }
  const ScoredModel* send(DeviceJob& job) const {
    std::vector<ScoredModel> table;
    for (const LogitsView& view : models.views(job)) {
      require(view.cols == models.n_classes(), "expected as many classes for each model");
      table.push_back({view, temperatures.at(table.size())});
    }
    return job.send(table);
  }

  DeviceModels models;
  py::array_t<double> temperatures;
  Combine combine = Combine::prob;
};

}  // namespace ovcore::bindings
