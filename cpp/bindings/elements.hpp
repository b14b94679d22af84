// Element types of arrays in GPU memory, as different libraries write them.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "dlpack.hpp"

namespace ovcore::bindings {

struct ElementType {
  const char* name;
  dlpack::TypeCode code;
  std::uint8_t bits;
  const char* typestr;  // of __cuda_array_interface__, which has no bfloat16
};
inline constexpr std::array<ElementType, 13> elements{{
    {"float32", dlpack::floating, 32, "<f4"},
    {"float64", dlpack::floating, 64, "<f8"},
    {"float16", dlpack::floating, 16, "<f2"},
    {"bfloat16", dlpack::bfloat, 16, nullptr},
    {"int64", dlpack::integer, 64, "<i8"},
    {"int32", dlpack::integer, 32, "<i4"},
    {"int16", dlpack::integer, 16, "<i2"},
    {"int8", dlpack::integer, 8, "|i1"},
    {"uint64", dlpack::unsigned_integer, 64, "<u8"},
    {"uint32", dlpack::unsigned_integer, 32, "<u4"},
    {"uint16", dlpack::unsigned_integer, 16, "<u2"},
    {"uint8", dlpack::unsigned_integer, 8, "|u1"},
    {"bool", dlpack::boolean, 8, "|b1"},
}};

inline const ElementType& element(const std::string& name) {
  for (const ElementType& known : elements)
    if (name == known.name) return known;
  throw pybind11::type_error("arrays of " + name + " are not supported on GPUs");
}

inline std::vector<std::int64_t> contiguous_strides(const std::vector<std::int64_t>& shape,
                                                    std::int64_t itemsize) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t step = itemsize;
  for (std::size_t axis = shape.size(); axis-- > 0; step *= shape[axis]) strides[axis] = step;
  return strides;
}

}  // namespace ovcore::bindings
