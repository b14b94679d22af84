// What ensembles sum: see python/ovcore/_reference_scores.py, which these steps follow to the bit.
// Float steps are rounded one by one: the __f*_rn functions are never fused.
#pragma once

#include <type_traits>

#include "device.cuh"

namespace ovcore::cuda {
namespace {

// 2^y for y <= 0; 0 from -124 on.
__device__ inline float power_of_two(float y) {
  const float shifted = __fadd_rn(y, 12582912.0f);  // a whole number
  const float f = __fsub_rn(y, __fsub_rn(shifted, 12582912.0f));
  float q = __fadd_rn(__fmul_rn(f, 0.00015353320432157173f), 0.0013398926044037507f);
  q = __fadd_rn(__fmul_rn(q, f), 0.009618437854461696f);
  q = __fadd_rn(__fmul_rn(q, f), 0.05550332347906885f);
  q = __fadd_rn(__fmul_rn(q, f), 0.240226479069414f);
  q = __fadd_rn(__fmul_rn(q, f), 0.6931472029069689f);
  q = __fadd_rn(__fmul_rn(q, f), 1.0f);
  const float power = __uint_as_float(__float_as_uint(q) + (__float_as_uint(shifted) << 23));
  return y > -124.0f ? power : 0.0f;
}

// 1 / (T ln 2): what distances are multiplied by.
__device__ inline float scale_of(double temperature) {
  constexpr double tiny = std::numeric_limits<float>::min();
  constexpr double huge = std::numeric_limits<float>::max();
  const double scale = 1 / 0.69314718055994531 / temperature;
  return static_cast<float>(scale < tiny ? tiny : scale > huge ? huge : scale);
}

__device__ inline float subtract(float a, float b) { return __fsub_rn(a, b); }
__device__ inline double subtract(double a, double b) { return __dsub_rn(a, b); }

// z - peak; 0 at the peak also where that is +inf.
template <class Z>
__device__ inline Z distance(Z z, Z peak) {
  return z == peak ? Z{} : subtract(z, peak);
}

// exp((z - peak) / T)
template <class Z>
__device__ inline float weight_of(Z z, Z peak, float scale) {
  return power_of_two(__fmul_rn(static_cast<float>(distance(z, peak)), scale));
}
__device__ inline float over_mass(float weight, double mass) {
  return static_cast<float>(__ddiv_rn(static_cast<double>(weight), mass));
}
template <class Z>
__device__ inline float logit_score(Z z, Z peak, double temperature) {
  return static_cast<float>(__ddiv_rn(static_cast<double>(distance(z, peak)), temperature));
}

// What turns the logits of one row into scores.
template <class Z>
struct RowScores {
  Z peak;
  double temperature, mass;
  float scale;
  bool is_logit;

  __device__ RowScores(Z of_top, double t, double of_all, Combine combine)
      : peak(of_top),
        temperature(t),
        mass(of_all),
        scale(scale_of(t)),
        is_logit(combine == Combine::logit) {}
  __device__ float score(Z z) const {
    if (is_logit) return logit_score(z, peak, temperature);
    return over_mass(weight_of(z, peak, scale), mass);
  }
};

// Threads that sum a row's weights together: class k is added to the sum of thread k % 16, in
// ascending order, and the sums are folded by halves.
inline constexpr int mass_lanes = 16;

__device__ inline int mass_lane() { return static_cast<int>(threadIdx.x) % mass_lanes; }

// -inf as an element of a row.
template <class T>
__device__ inline T lowest_element() {
  if constexpr (sizeof(T) == 2)
    return {static_cast<std::uint16_t>(std::is_same_v<T, float16> ? 0xfc00 : 0xff80)};
  else
    return -std::numeric_limits<T>::infinity();
}

// Reads a thread's share of a row, and calls piece(step, logits) with the logits of classes
// 16 (step + i) + mass_lane(), ascending, and -inf past the last class: an array of `many`, whose
// loads are in flight together, or of 1 where less than half of that is left.
template <int many, class T, class Piece>
__device__ inline void for_each_piece(const T* row, std::int64_t n_classes, const Piece& piece) {
  const int last = static_cast<int>(n_classes), lane = mass_lane();
  const auto take = [&](int first, auto count) {
    constexpr int n = decltype(count)::value;
    const T* from = row + first + lane;
    T read[n];
    if (first + n * mass_lanes <= last) {
#pragma unroll
      for (int i = 0; i < n; ++i) read[i] = from[i * mass_lanes];
    } else {
#pragma unroll
      for (int i = 0; i < n; ++i)
        read[i] = first + i * mass_lanes + lane < last ? from[i * mass_lanes] : lowest_element<T>();
    }
    decltype(widen(T{})) logits[n];
#pragma unroll
    for (int i = 0; i < n; ++i) logits[i] = widen(read[i]);
    piece(first / mass_lanes, logits);
  };
  constexpr int classes = many * mass_lanes;
  int first = 0;
#pragma unroll 1
  for (; 2 * (last - first) > classes; first += classes)
    take(first, std::integral_constant<int, many>());
#pragma unroll 1
  for (; first < last; first += mass_lanes) take(first, std::integral_constant<int, 1>());
}

// A thread's sum of the weights of a row; fold_mass() makes it the row's. Calls
// piece(step, weights) as for_each_piece does; past the last class they are 0.
template <class T, class Z, class Piece>
__device__ inline double weigh(const T* row, std::int64_t n_classes, Z peak, float scale,
                               const Piece& piece) {
  double sum = 0;
  const auto take = [&](int step, const auto& weights) {
    for (const float weight : weights) sum = __dadd_rn(sum, static_cast<double>(weight));
    piece(step, weights);
  };
  if (peak == std::numeric_limits<Z>::infinity()) {  // nothing is near it
    for_each_piece<1>(row, n_classes, [&](int step, const auto& z) {
      const float weights[1] = {z[0] == peak ? 1.0f : 0.0f};
      take(step, weights);
    });
  } else {
    for_each_piece<8>(row, n_classes, [&](int step, const auto& z) {
      constexpr int n = sizeof z / sizeof *z;
      float weights[n];
#pragma unroll
      for (int i = 0; i < n; ++i)
        weights[i] = power_of_two(__fmul_rn(static_cast<float>(subtract(z[i], peak)), scale));
      take(step, weights);
    });
  }
  return sum;
}

// Folds the sums of 16 neighbouring lanes; all of them get the result. Warps enter as a whole.
__device__ inline double fold_mass(double sum) {
  for (int width = mass_lanes / 2; width > 0; width /= 2)
    sum = __dadd_rn(sum, __shfl_xor_sync(all_lanes, sum, width));
  return sum;
}

}  // namespace
}  // namespace ovcore::cuda
