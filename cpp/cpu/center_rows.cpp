// Rows of features less a pilot mean, and the sums of columns of what is left, in one pass.
//
// Rows are read in their order, a few at a time: the pilot and the sums of a vector of columns are
// loaded and stored once for all of them, and are added to in the order of rows all the same.
#include <type_traits>

#include "float_vectors.hpp"
#include "kernel_table.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

constexpr int rows_together = 4;

template <class Value>
using Vector = std::conditional_t<std::is_same_v<Value, float>, Floats, Doubles>;
template <class Value>
constexpr int lanes = vector_bytes / sizeof(Value);
template <class Value>
constexpr int n_vectors = n_floats / lanes<Value>;  // of as many columns as a vector of floats has

template <class T>
inline void read(const T* from, Floats (&to)[1]) {
  to[0] = load_floats(from);
}
template <class T>
inline void read(const T* from, Doubles (&to)[2]) {
  const Halves wide = widen(load_floats(from));
  to[0] = wide.low;
  to[1] = wide.high;
}
inline void read(const float* from, Doubles (&to)[2]) {
  for (int i = 0; i < 2; ++i) to[i] = load_half(from, i);
}
inline void read(const double* from, Doubles (&to)[2]) {
  for (int i = 0; i < 2; ++i) to[i] = load<Doubles>(from + i * n_doubles);
}

// As many columns of `Rows` rows as a vector of floats has.
template <int Rows, class T, class Value>
[[gnu::always_inline]] inline void center_vectors(const T* from, std::int64_t from_stride,
                                                  const Value* pilot, Value* to,
                                                  std::int64_t to_stride, Value* sums) {
  constexpr int n = n_vectors<Value>, width = lanes<Value>;
  Vector<Value> mean[n], sum[n], left[Rows][n];
  each<n>([&](int i) OVCORE_INLINE {
    mean[i] = load<Vector<Value>>(pilot + i * width);
    sum[i] = load<Vector<Value>>(sums + i * width);
  });
  each<Rows>([&](int r) OVCORE_INLINE { read(from + r * from_stride, left[r]); });
  each<Rows>([&](int r) OVCORE_INLINE {
    each<n>([&](int i) OVCORE_INLINE {
      left[r][i] -= mean[i];
      sum[i] += left[r][i];
      store(to + r * to_stride + i * width, left[r][i]);
    });
  });
  each<n>([&](int i) OVCORE_INLINE { store(sums + i * width, sum[i]); });
}

template <int Rows, class T, class Value>
void center(const T* from, std::int64_t from_stride, const Value* pilot, Value* to,
            std::int64_t to_stride, Value* sums, std::int64_t n_columns) {
  std::int64_t j = 0;
  for (; j + n_floats <= n_columns; j += n_floats)
    center_vectors<Rows>(from + j, from_stride, pilot + j, to + j, to_stride, sums + j);
  for (; j < n_columns; ++j)
    for (std::int64_t r = 0; r < Rows; ++r) {
      const Value left = widen_one(from[r * from_stride + j]) - pilot[j];
      to[r * to_stride + j] = left;
      sums[j] += left;
    }
}

}  // namespace

template <class Value>
void center_rows(const LogitsView& features, const Value* pilot, Range cols, MatrixView<Value> out,
                 Value* sums) {
  const std::int64_t n_columns = cols.last - cols.first;
  const Value* mean = pilot + cols.first;
  Value* sum = sums + cols.first;
  for (std::int64_t j = 0; j < n_columns; ++j) sum[j] = 0;
  with_row(features, 0, [&](const auto* first) {
    if constexpr (sizeof(*first) <= sizeof(Value)) {
      const std::int64_t stride = features.row_stride, together = rows_together;
      std::int64_t row = 0;
      for (; row + together <= features.rows; row += together)
        center<rows_together>(first + cols.first + row * stride, stride, mean,
                              out.row(row) + cols.first, out.row_stride, sum, n_columns);
      for (; row < features.rows; ++row)
        center<1>(first + cols.first + row * stride, stride, mean, out.row(row) + cols.first,
                  out.row_stride, sum, n_columns);
    }
  });
}

template void center_rows(const LogitsView&, const float*, Range, MatrixView<float>, float*);
template void center_rows(const LogitsView&, const double*, Range, MatrixView<double>, double*);

}  // namespace ovcore::OVCORE_ISA
