// Python array -> MatrixView. Shapes and values were checked in Python, by name; what is checked
// here guards memory: element type, contiguity, sizes, and that outputs can be written.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "ovcore/matrix_view.hpp"
#include "require.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ovcore::bindings {

namespace py = pybind11;

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

// The array itself; one of another element type is refused, where a cast would convert a copy.
template <class T>
py::array_t<T> typed(const py::handle& array) {
  require(py::isinstance<py::array_t<T>>(array), "unexpected element type");
  return py::reinterpret_borrow<py::array_t<T>>(array);
}

template <class T>
T* writable_vector(py::array_t<T>& array, std::int64_t length) {
  vector<T>(array, length);
  return array.mutable_data();  // raises where it is read-only
}

template <class T>
MatrixView<T> writable_matrix(py::array_t<T>& array, std::int64_t rows) {
  require(array.ndim() == 2 && array.shape(0) == rows, "a matrix has an unexpected shape");
  require(array.size() == 0 || array.shape(1) == 1 ||
              array.strides(1) == static_cast<py::ssize_t>(sizeof(T)),
          "the last axis must be contiguous");
  require(array.strides(0) % static_cast<py::ssize_t>(sizeof(T)) == 0,
          "rows must be whole elements apart");
  require(reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) == 0, "unaligned data");
  return {array.mutable_data(), array.shape(0), array.shape(1),  // raises where it is read-only
          array.strides(0) / static_cast<py::ssize_t>(sizeof(T))};
}

// A vector of integers of any size and stride, read as int64 a few thousand at a time.
class Integers {
 public:
  static constexpr std::int64_t most = 4096;  // a multiple of 512

  explicit Integers(const py::array& array)
      : data_(static_cast<const char*>(array.data())),
        size_(array.ndim() == 1 ? array.shape(0) : -1),
        stride_(array.ndim() == 1 ? array.strides(0) : 0),
        itemsize_(array.itemsize()),
        is_signed_(array.dtype().kind() == 'i') {
    require(array.ndim() == 1, "expected a vector of integers");
    require(is_signed_ || array.dtype().kind() == 'u', "expected a vector of integers");
    require(array.dtype().byteorder() == '=' || itemsize_ == 1, "unexpected byte order");
  }

  std::int64_t size() const { return size_; }

  // values[i - range.first] = element i - lowest; an unsigned element past 2^63 is taken as
  // negative.
  template <class Out>
  void read(Range range, std::int64_t lowest, Out* values) const {
    switch (is_signed_ ? -itemsize_ : itemsize_) {
      case 1:
        return read_as<std::uint8_t>(range, lowest, values);
      case 2:
        return read_as<std::uint16_t>(range, lowest, values);
      case 4:
        return read_as<std::uint32_t>(range, lowest, values);
      case -1:
        return read_as<std::int8_t>(range, lowest, values);
      case -2:
        return read_as<std::int16_t>(range, lowest, values);
      case -4:
        return read_as<std::int32_t>(range, lowest, values);
      default:
        return read_as<std::int64_t>(range, lowest, values);
    }
  }

 private:
  template <class T, class Out>
  void read_as(Range range, std::int64_t lowest, Out* values) const {
    const char* from = data_ + range.first * stride_;
    const auto convert = [&](std::int64_t i, std::int64_t stride) {
      T value;
      std::memcpy(&value, from + i * stride, sizeof value);
      values[i] = static_cast<Out>(static_cast<Out>(value) - static_cast<Out>(lowest));
    };
    const std::int64_t count = range.last - range.first;
    constexpr auto size = static_cast<std::int64_t>(sizeof(T));
    if (stride_ == size)  // known to the compiler, so that it takes many at once
      for (std::int64_t i = 0; i < count; ++i) convert(i, size);
    else
      for (std::int64_t i = 0; i < count; ++i) convert(i, stride_);
  }

  const char* data_;
  std::int64_t size_, stride_, itemsize_;
  bool is_signed_;
};

// A matrix of words, not yet written, aligned to 64 bytes. On Linux in huge pages, if it is large:
// rows that lie kilobytes apart would else cost a page look-up each; if it is small, clearing huge
// pages would cost more.
class AlignedWords {
 public:
  AlignedWords(std::int64_t rows, std::int64_t cols) : rows_(rows), cols_(cols) {
    const std::size_t bytes = static_cast<std::size_t>(rows * cols) * sizeof(std::uint64_t);
    const std::size_t alignment = bytes < large ? 64 : huge_page;
    words_.reset(static_cast<std::uint64_t*>(operator new(bytes, std::align_val_t{alignment})));
    words_.get_deleter().alignment = std::align_val_t{alignment};
#if defined(__linux__)
    if (bytes >= large) madvise(words_.get(), bytes, MADV_HUGEPAGE);
#endif
  }
  std::uint64_t* row(std::int64_t i) { return words_.get() + i * cols_; }
  MatrixView<const std::uint64_t> view() const { return {words_.get(), rows_, cols_, cols_}; }

 private:
  static constexpr std::size_t huge_page = 2 << 20, large = 32 << 20;
  struct Delete {
    std::align_val_t alignment;
    void operator()(std::uint64_t* words) const { operator delete(words, alignment); }
  };
  std::unique_ptr<std::uint64_t, Delete> words_;
  std::int64_t rows_, cols_;
};

}  // namespace ovcore::bindings
