// Python array -> MatrixView. Shapes and values were checked in Python, by name; what is checked
// here guards memory: element type, contiguity, sizes, and that outputs can be written.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "ovcore/matrix_view.hpp"

namespace ovcore::bindings {

namespace py = pybind11;

inline void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

// A matrix whose rows are contiguous. T is what the kernel calls an element of that size.
template <class T>
MatrixView<const T> matrix(const py::array& array) {
  require(array.ndim() == 2, "expected a matrix");
  require(array.itemsize() == sizeof(T), "unexpected element size");
  require(array.dtype().kind() == 'f' || array.dtype().kind() == 'u', "unexpected element type");
  require(array.dtype().byteorder() == '=', "unexpected byte order");
  require(reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) == 0, "unaligned data");
  constexpr auto size = static_cast<py::ssize_t>(sizeof(T));
  require(array.size() == 0 || array.shape(1) == 1 || array.strides(1) == size,
          "the last axis must be contiguous");
  require(array.strides(0) % size == 0, "rows must be whole elements apart");
  return {static_cast<const T*>(array.data()), array.shape(0), array.shape(1),
          array.strides(0) / size};
}

template <class T>
const T* vector(const py::array_t<T>& array, std::int64_t length) {
  require(array.ndim() == 1 && array.shape(0) == length, "a vector has an unexpected length");
  require(length <= 1 || array.strides(0) == static_cast<py::ssize_t>(sizeof(T)),
          "a vector must be contiguous");
  require(reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) == 0, "unaligned data");
  return array.data();
}

template <class T>
T* writable_vector(py::array_t<T>& array, std::int64_t length) {
  vector<T>(array, length);
  return array.mutable_data();  // raises where the array is read-only
}

}  // namespace ovcore::bindings
