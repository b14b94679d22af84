// What devices and memory share.
#pragma once

#include <cstddef>

#include "cuda_runtime_api.h"

namespace simt {

inline constexpr std::size_t memory_per_device = std::size_t{4} << 30;

// Keeps an error for cudaGetLastError, and returns it.
cudaError_t report(cudaError_t error);

// The calling thread's device; an error if there is no such device.
cudaError_t use_device(int* device);

}  // namespace simt
