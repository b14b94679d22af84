// What all CUDA kernels share: threads and warps, launches, shared memory, reading rows of logits.
//
// The same source is compiled by nvcc, and by the host's compiler against cpp/tests/simt, which
// runs every thread of a block as a fiber. So that both can: shared memory comes from shared<T>()
// alone, kernels are launched by launch(), and warp collectives name all 32 lanes.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <limits>

#include "ovcore/cuda.hpp"

namespace ovcore::cuda {
namespace {

inline constexpr int warp_size = 32;
inline constexpr unsigned all_lanes = 0xffffffffu;
inline constexpr float infinity = std::numeric_limits<float>::infinity();

__device__ inline int lane_id() { return static_cast<int>(threadIdx.x) % warp_size; }
__device__ inline int warp_id() { return static_cast<int>(threadIdx.x) / warp_size; }

// The block's dynamic shared memory, of as many bytes as it was launched with.
template <class T>
__device__ inline T* shared() {
#if defined(OVCORE_SIMT)
  return static_cast<T*>(simt::shared_memory());
#else
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes);
#endif
}

// Queues a kernel and says what was wrong with the launch. No blocks: nothing is queued.
template <class... Parameters, class... Arguments>
inline cudaError_t launch(void (*kernel)(Parameters...), dim3 blocks, unsigned threads,
                          std::size_t shared_bytes, cudaStream_t stream, Arguments... arguments) {
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return cudaSuccess;
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// Returns from the launcher with the first error.
#define OVCORE_RETURN_IF_ERROR(call)                                             \
  do {                                                                           \
    if (const cudaError_t error_ = (call); error_ != cudaSuccess) return error_; \
  } while (false)

// Where there are no bytes, memory may be null.
inline cudaError_t set_to_zero(void* memory, std::size_t bytes, cudaStream_t stream) {
  return bytes == 0 ? cudaSuccess : cudaMemsetAsync(memory, 0, bytes, stream);
}

template <class T>
inline constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

inline constexpr unsigned most_blocks = 1u << 30;  // of grid.x; y and z hold 65,535

__device__ inline float widen(float value) { return value; }
__device__ inline double widen(double value) { return value; }
__device__ inline float widen(bfloat16 value) {
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}
__device__ inline float widen(float16 value) {
#if defined(OVCORE_SIMT)
  return simt::float_of_half(value.bits);
#else
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#endif
}

// Tells the compiler that a pointer read from memory is to global memory, which loads faster.
template <class T>
__device__ inline const T* global(const void* data) {
#if !defined(OVCORE_SIMT)
  __builtin_assume(__isGlobal(data));
#endif
  return static_cast<const T*>(data);
}

// Calls use(row of float, double, float16 or bfloat16).
template <class Use>
__device__ inline auto with_row(const LogitsView& logits, std::int64_t n, const Use& use) {
  const std::int64_t at = n * logits.row_stride;
  switch (logits.element) {
    case Element::float32:
      return use(global<float>(logits.data) + at);
    case Element::float64:
      return use(global<double>(logits.data) + at);
    case Element::float16:
      return use(global<float16>(logits.data) + at);
    default:
      return use(global<bfloat16>(logits.data) + at);
  }
}

// Reads elements `first`, first + step, ..., at once; past the end they are `fill`. Views are
// passed by value: they are read once.
template <class T, int Count>
__device__ inline void read_typed(const IntegersView view, std::int64_t first, std::int64_t step,
                                  std::int64_t size, std::int64_t fill, std::int64_t (&to)[Count]) {
  const char* const data = static_cast<const char*>(view.data);
#pragma unroll
  for (int k = 0; k < Count; ++k) {
    const std::int64_t i = first + k * step;
    to[k] = i < size
                ? static_cast<std::int64_t>(*reinterpret_cast<const T*>(data + i * view.stride))
                : fill;
  }
}
template <int Count>
__device__ inline void read_integers(const IntegersView view, std::int64_t first, std::int64_t step,
                                     std::int64_t size, std::int64_t fill,
                                     std::int64_t (&to)[Count]) {
  switch (view.is_signed ? -view.itemsize : view.itemsize) {
    case 1:
      return read_typed<std::uint8_t>(view, first, step, size, fill, to);
    case 2:
      return read_typed<std::uint16_t>(view, first, step, size, fill, to);
    case 4:
      return read_typed<std::uint32_t>(view, first, step, size, fill, to);
    case -1:
      return read_typed<std::int8_t>(view, first, step, size, fill, to);
    case -2:
      return read_typed<std::int16_t>(view, first, step, size, fill, to);
    case -4:
      return read_typed<std::int32_t>(view, first, step, size, fill, to);
    default:
      return read_typed<std::int64_t>(view, first, step, size, fill, to);
  }
}
// One element.
__device__ inline std::int64_t read_integer(const IntegersView& view, std::int64_t i) {
  std::int64_t value[1];
  read_integers(view, i, 1, i + 1, 0, value);
  return value[0];
}

// Adds to a count that many blocks share. Integers: the order does not matter.
__device__ inline void add(std::int64_t* count, std::int64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(count), static_cast<unsigned long long>(value));
}

}  // namespace
}  // namespace ovcore::cuda
