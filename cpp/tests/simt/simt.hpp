// Runs CUDA kernels on the CPU, to test them where there is no GPU.
//
// A launch runs its blocks one after the other, and every thread of a block as a fiber. A fiber
// runs until it waits at a barrier or a collective, or returns; then another one of its warp has
// its turn, and when all 32 have had theirs, the warp as a whole goes on or waits for others. The
// order of turns is that of the environment variable OVCORE_SIMT_ORDER, read at each launch:
// ascending, descending or shuffled, so that results change where a barrier is missing. If it is
// not set it is shuffled, in the same way at each launch.
//
// Stricter than a GPU: blocks are one-dimensional and of whole warps; all lanes of a warp take part
// in its collectives, all threads of a block in its barriers, and all of them from the same line.
// What breaks this is printed, and the program ends. Only waiting passes the turn on: a thread that
// spins until another one has written something spins forever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda_runtime_api.h"

// Of the thread that runs.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace simt {

inline constexpr int lanes_per_warp = 32;
inline constexpr int threads_per_warpgroup = 128;
inline constexpr std::size_t most_deposited = 512;  // bytes of a lane
inline constexpr int most_threads = 1024;           // of a block
inline constexpr std::size_t shared_default_limit = 49152;
inline constexpr std::size_t shared_limit = 232448;  // if a kernel asks for it

// Who waits for each other.
enum class Scope { warp, warpgroup, block, returned };

// Where a thread waits.
struct Site {
  const char* what;
  const char* file;
  int line;
};

// Returns when all threads of the scope wait at the same site.
void wait(Scope scope, Site site);

// Memory that the threads of a warp or a warpgroup share for their next collective. There are two
// that take turns: who gets to fill one again has seen everybody leave it.
void* deposits(Scope scope);

// The block's dynamic shared memory.
void* shared_memory();

// Whether a part of the chip is to fail, for tests of what watches over it: OVCORE_SIMT_FAULT.
bool is_faulty(const char* part);

// Prints what a thread did wrong and ends the program.
[[noreturn]] void fail(const char* what, Site site);

// Checks the launch as a GPU would, and runs it: thread(arguments) is one thread's work.
cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   void (*thread)(const void*), const void* arguments);
void run_grid(const cudaLaunchConfig_t& config, void (*thread)(const void*), const void* arguments);

template <class T, class Result, class Combine>
using CollectiveResult = std::conditional_t<std::is_void_v<Result>,
                                            std::invoke_result_t<Combine, const T*, int>, Result>;

template <Scope scope, int threads, class Result, class T, class Combine>
Result collective(const T& mine, const Combine& combine, Site site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= most_deposited);
  const int rank = static_cast<int>(threadIdx.x) % threads;
  T* const all = static_cast<T*>(deposits(scope));
  std::memcpy(static_cast<void*>(all + rank), &mine, sizeof(T));
  wait(scope, site);
  return combine(static_cast<const T*>(all), rank);
}

// combine(what all 32 lanes of the warp deposited, lane), called by every lane.
template <class T, class Result = void, class Combine>
CollectiveResult<T, Result, Combine> warp_collective(const T& mine, const Combine& combine,
                                                     const char* what = "warp_collective",
                                                     const char* file = __builtin_FILE(),
                                                     int line = __builtin_LINE()) {
  return collective<Scope::warp, lanes_per_warp, CollectiveResult<T, Result, Combine>>(
      mine, combine, {what, file, line});
}

// The same of 4 warps: the first one's number is a multiple of 4. Ranks are 0 to 127.
template <class T, class Result = void, class Combine>
CollectiveResult<T, Result, Combine> warpgroup_collective(const T& mine, const Combine& combine,
                                                          const char* what = "warpgroup_collective",
                                                          const char* file = __builtin_FILE(),
                                                          int line = __builtin_LINE()) {
  return collective<Scope::warpgroup, threads_per_warpgroup, CollectiveResult<T, Result, Combine>>(
      mine, combine, {what, file, line});
}

inline float float_of_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t rest = half & 0x7fffu;
  float value;
  if (rest < 0x400) {  // zero and subnormals: multiples of 2^-24
    value = static_cast<float>(rest) * 0x1p-24f;
    return sign ? -value : value;
  }
  const std::uint32_t exponent = rest < 0x7c00 ? (127u - 15u) << 23 : (255u - 31u) << 23;
  const std::uint32_t bits = sign | ((rest << 13) + exponent);
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace simt
