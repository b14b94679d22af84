// The larger and the smaller of two: not std::max, whose copies the linker would share between
// instruction sets.
#pragma once

namespace ovcore::OVCORE_ISA {
namespace {

template <class T>
inline T larger(T a, T b) {
  return a > b ? a : b;
}
template <class T>
inline T smaller(T a, T b) {
  return a < b ? a : b;
}

}  // namespace
}  // namespace ovcore::OVCORE_ISA
