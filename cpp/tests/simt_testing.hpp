// What tests of simt/ share.
#pragma once

#include <cuda_runtime.h>

#include <cstdlib>
#include <string>

#include "testing.hpp"

namespace {

constexpr unsigned all_lanes = 0xffffffffu;

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, std::size_t bytes,
                   Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = bytes;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

template <class T>
T* shared() {
  return static_cast<T*>(simt::shared_memory());
}

void set_order(const char* order) { setenv("OVCORE_SIMT_ORDER", order, 1); }

// Calls test() with every order of turns, and sets the one that there was again.
template <class Test>
void in_all_orders(const Test& test) {
  const char* const named = std::getenv("OVCORE_SIMT_ORDER");
  const std::string before = named == nullptr ? "" : named;
  for (const char* order : {"ascending", "descending", "shuffled"}) {
    set_order(order);
    test();
  }
  set_order(before.c_str());
}

}  // namespace
