// A view of a matrix that somebody else owns: what every kernel sees of its caller's arrays.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define OVCORE_ON_DEVICE __host__ __device__
#else
#define OVCORE_ON_DEVICE
#endif

namespace ovcore {

template <class T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;  // in elements; the last axis is always contiguous

  [[gnu::always_inline]] OVCORE_ON_DEVICE T* row(std::int64_t i) const {
    return data + i * row_stride;
  }
};

// Half-open range [first, last) of rows, columns or samples.
struct Range {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

// 16-bit floats travel as their bits; kernels widen or order them as they read.
struct float16 {
  std::uint16_t bits;
};
struct bfloat16 {
  std::uint16_t bits;
};

enum class Element { float32, float64, float16, bfloat16 };

// A model's logits (N, K), or features (N, D), of any element type.
struct LogitsView {
  const void* data = nullptr;
  Element element = Element::float32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;  // in elements; the last axis is always contiguous
};

}  // namespace ovcore
