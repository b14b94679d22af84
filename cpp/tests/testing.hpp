// What C++ tests share.
#pragma once

#include <cstdint>
#include <cstdio>
#include <stdexcept>

#include "ovcore/kernels.hpp"

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

// Reproducible bits: a linear congruential generator is random enough to catch a wrong index.
std::uint64_t next_bits(std::uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state ^ (state >> 29);
}

// Runs tests on the instruction set that OVCORE_ISA names.
template <class... Tests>
int run(const char* what, const Tests&... tests) {
  try {
    std::printf("%s on instruction set %s\n", what, ovcore::instruction_set());
  } catch (const std::runtime_error& refused) {
    std::printf("%s\n", refused.what());
    return 77;  // ctest counts it as skipped
  }
  (tests(), ...);
  return failures == 0 ? 0 : 1;
}

}  // namespace
