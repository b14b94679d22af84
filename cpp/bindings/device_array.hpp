// Arrays in a GPU's memory: views of other libraries' arrays, and memory that those allocate for
// us.
#pragma once

#include <cuda_runtime_api.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ovcore/matrix_view.hpp"
#include "require.hpp"

namespace ovcore::bindings {

namespace py = pybind11;

// Raises where a call of CUDA's failed.
void check(cudaError_t error);

inline cudaStream_t as_stream(std::intptr_t handle) {
  return reinterpret_cast<cudaStream_t>(handle);
}

// Waits for what is queued on a stream; other threads of Python go on.
void wait_for(cudaStream_t stream);

// Makes what was queued on one stream come before what will be queued on another.
void order(cudaStream_t before, cudaStream_t after);

// Makes a device the current one while it lives.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0, device_ = 0;
};

// Where arrays lie and who allocates there: ovcore._arrays.Place, read once.
struct Place {
  explicit Place(const py::object& place);

  py::object self;
  int device;
  cudaStream_t stream;
};

// Memory of a place, until it is forgotten.
struct Buffer {
  void* data = nullptr;
  py::object owner;
};
Buffer allocate(const Place& place, std::size_t bytes);

class DeviceArray {
 public:
  DeviceArray(py::object place, std::string dtype, std::vector<std::int64_t> shape,
              std::vector<std::int64_t> strides, void* data, py::object owner);

  // A new one, not yet written.
  static DeviceArray empty(const py::object& place, const std::vector<std::int64_t>& shape,
                           const std::string& dtype);
  // The same bytes as an array in host memory.
  static DeviceArray upload(const py::object& place, const py::array& values);
  // What a capsule of DLPack's holds; the capsule is used up.
  static DeviceArray from_dlpack(const py::object& place, const py::capsule& capsule);

  const py::object& place() const { return place_; }
  const std::string& dtype() const { return dtype_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  const std::vector<std::int64_t>& strides() const { return strides_; }  // in bytes
  std::int64_t ndim() const { return static_cast<std::int64_t>(shape_.size()); }
  std::int64_t size() const;
  std::int64_t itemsize() const;
  void* data() const { return data_; }
  bool is_contiguous() const;
  bool rows_are_contiguous() const;  // all axes but the first

  py::array numpy() const;  // a copy, in host memory; bfloat16 as its bits
  DeviceArray item(const py::object& key) const;
  DeviceArray take(const py::array_t<std::int64_t>& rows) const;

  py::capsule to_dlpack(const py::object& stream, const py::object& max_version) const;
  py::dict interface() const;  // __cuda_array_interface__

 private:
  py::object place_, owner_;
  std::string dtype_;
  std::vector<std::int64_t> shape_, strides_;
  void* data_;
};

// Matrices and vectors as kernels take them.
template <class T>
MatrixView<T> device_matrix(const DeviceArray& array, const char* dtype) {
  require(array.ndim() == 2 && array.dtype() == dtype, "a matrix has an unexpected element type");
  constexpr auto size = static_cast<std::int64_t>(sizeof(T));
  require(array.rows_are_contiguous(), "the last axis must be contiguous");
  require(array.strides()[0] % size == 0, "rows must be whole elements apart");
  return {static_cast<T*>(array.data()), array.shape()[0], array.shape()[1],
          array.strides()[0] / size};
}

template <class T>
T* device_vector(const DeviceArray& array, const char* dtype, std::int64_t length) {
  require(array.dtype() == dtype && array.is_contiguous() && array.size() == length,
          "a vector has an unexpected length or element type");
  return static_cast<T*>(array.data());
}

void bind_device_arrays(py::module_& module);

}  // namespace ovcore::bindings
