// The structures of DLPack 1.0 that arrays of different libraries are exchanged in, as its
// specification lays them out.
#pragma once

#include <cstdint>

namespace ovcore::bindings::dlpack {

enum DeviceKind : std::int32_t { cpu = 1, cuda = 2, cuda_managed = 13 };
enum TypeCode : std::uint8_t {
  integer = 0,
  unsigned_integer = 1,
  floating = 2,
  bfloat = 4,
  boolean = 6
};

struct Device {
  std::int32_t kind, index;
};
struct Type {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  Type type;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; none: contiguous
  std::uint64_t byte_offset;
};

// What capsules called "dltensor" hold.
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

// What capsules called "dltensor_versioned" hold.
struct ManagedVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  std::uint64_t flags;
  Tensor tensor;
};

}  // namespace ovcore::bindings::dlpack
