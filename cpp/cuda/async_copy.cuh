// Copies from global into shared memory that registers do not see. A thread queues some, ends a
// group, and waits for groups in that order. It waits for its own copies alone: a barrier makes
// them those of the block.
#pragma once

#include "device.cuh"

namespace ovcore::cuda {
namespace {

__device__ inline unsigned shared_address(const void* at) {
#if defined(OVCORE_SIMT)
  return static_cast<unsigned>(static_cast<const char*>(at) - shared<char>());
#else
  return static_cast<unsigned>(__cvta_generic_to_shared(at));
#endif
}

// Copies so many of 4, 8 or 16 bytes, and sets the others to 0. Both addresses are multiples of
// Size.
template <int Size>
__device__ inline void copy_async(void* to, const void* from, int bytes = Size) {
  static_assert(Size == 4 || Size == 8 || Size == 16);
#if defined(OVCORE_SIMT)
  simt::copy_async(to, from, Size, static_cast<std::size_t>(bytes));
#else
  if constexpr (Size == 16) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 :
                 : "r"(shared_address(to)), "l"(from), "n"(Size), "r"(bytes)
                 : "memory");
  }
#endif
}

__device__ inline void commit_copies() {
#if defined(OVCORE_SIMT)
  simt::commit_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all groups but the last `Pending`.
template <int Pending>
__device__ inline void wait_copies() {
#if defined(OVCORE_SIMT)
  simt::wait_copies(Pending);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

}  // namespace
}  // namespace ovcore::cuda
