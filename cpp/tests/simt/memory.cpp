// Memory that finds out what is written where nothing is allocated, and copies. Other memory of the
// process passes for a device's too.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "host.hpp"

namespace {

// Memory: [guard | the caller's bytes | guard].

constexpr std::size_t guard_bytes = 256;  // also the alignment
constexpr int guard_value = 0xc3;
constexpr int fresh_value = 0xa5;
constexpr int freed_value = 0x5a;
constexpr std::size_t most_kept = std::size_t{16} << 20;

struct Allocation {
  std::size_t bytes;
  int device;
  cudaMemoryType type;
};

struct Heap {
  std::mutex mutex;
  std::map<std::uintptr_t, Allocation> allocations;
  std::map<int, std::size_t> used;
  // Freed memory is kept for a while, to find what writes to it.
  std::deque<std::pair<unsigned char*, std::size_t>> kept;
  std::size_t kept_bytes = 0;
};

Heap& heap() {
  static Heap* const all = new Heap;  // outlives what frees memory when the program ends
  return *all;
}

std::uintptr_t address(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

void demand_value(const unsigned char* at, std::size_t bytes, int value, const void* memory,
                  std::size_t size, const char* what) {
  for (std::size_t i = 0; i < bytes; ++i) {
    if (at[i] == value) continue;
    std::fprintf(stderr, "simt: %s: memory %p of %zu bytes, at offset %td\n", what, memory, size,
                 at + i - static_cast<const unsigned char*>(memory));
    std::abort();
  }
}

cudaError_t allocate(void** memory, std::size_t bytes, cudaMemoryType type) {
  if (memory == nullptr) return simt::report(cudaErrorInvalidValue);
  *memory = nullptr;
  int device = 0;
  if (const cudaError_t error = simt::use_device(&device)) return error;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(heap().mutex);
  std::size_t& used = heap().used[device];
  if (bytes > simt::memory_per_device - used) return simt::report(cudaErrorMemoryAllocation);
  const std::size_t padded = (bytes + guard_bytes - 1) / guard_bytes * guard_bytes;
  void* const block = std::aligned_alloc(guard_bytes, padded + 2 * guard_bytes);
  if (block == nullptr) return simt::report(cudaErrorMemoryAllocation);
  unsigned char* const begin = static_cast<unsigned char*>(block) + guard_bytes;
  std::memset(block, guard_value, guard_bytes);
  std::memset(begin, fresh_value, bytes);
  std::memset(begin + bytes, guard_value, guard_bytes);
  heap().allocations[address(begin)] = {bytes, device, type};
  used += bytes;
  *memory = begin;
  return cudaSuccess;
}

cudaError_t release(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  Heap& all = heap();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.allocations.find(address(memory));
  if (found == all.allocations.end()) return simt::report(cudaErrorInvalidValue);
  const Allocation freed = found->second;
  all.allocations.erase(found);
  all.used[freed.device] -= freed.bytes;
  unsigned char* const begin = static_cast<unsigned char*>(memory);
  demand_value(begin - guard_bytes, guard_bytes, guard_value, memory, freed.bytes,
               "written before the beginning of allocated memory");
  demand_value(begin + freed.bytes, guard_bytes, guard_value, memory, freed.bytes,
               "written past the end of allocated memory");
  std::memset(begin, freed_value, freed.bytes);
  all.kept.emplace_back(begin, freed.bytes);
  all.kept_bytes += freed.bytes;
  while (all.kept_bytes > most_kept) {
    const auto [oldest, bytes] = all.kept.front();
    all.kept.pop_front();
    all.kept_bytes -= bytes;
    demand_value(oldest, bytes, freed_value, oldest, bytes, "written after it was freed");
    std::free(oldest - guard_bytes);
  }
  return cudaSuccess;
}

// The allocation that the address lies in, and its begin; none: 0 and no bytes.
std::pair<std::uintptr_t, Allocation> find_allocation(const void* memory) {
  const std::lock_guard<std::mutex> lock(heap().mutex);
  auto after = heap().allocations.upper_bound(address(memory));
  if (after != heap().allocations.begin()) {
    --after;
    if (address(memory) - after->first < after->second.bytes) return *after;
  }
  return {0, {0, 0, cudaMemoryTypeUnregistered}};
}

// False if the bytes begin in allocated memory and end outside of it.
bool stays_inside(const void* memory, std::size_t bytes) {
  const auto [begin, allocation] = find_allocation(memory);
  return begin == 0 || bytes <= allocation.bytes - (address(memory) - begin);
}

std::size_t span_2d(std::size_t pitch, std::size_t width, std::size_t height) {
  return height == 0 || width == 0 ? 0 : pitch * (height - 1) + width;
}

cudaError_t copy_2d(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                    std::size_t width, std::size_t height, cudaMemcpyKind kind) {
  int device = 0;
  if (const cudaError_t error = simt::use_device(&device)) return error;
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault)
    return simt::report(cudaErrorInvalidMemcpyDirection);
  if (width == 0 || height == 0) return cudaSuccess;
  if (to == nullptr || from == nullptr || width > to_pitch || width > from_pitch ||
      !stays_inside(to, span_2d(to_pitch, width, height)) ||
      !stays_inside(from, span_2d(from_pitch, width, height)))
    return simt::report(cudaErrorInvalidValue);
  for (std::size_t row = 0; row < height; ++row)
    std::memmove(static_cast<char*>(to) + row * to_pitch,
                 static_cast<const char*>(from) + row * from_pitch, width);
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return allocate(memory, bytes, cudaMemoryTypeDevice);
}
cudaError_t cudaFree(void* memory) { return release(memory); }
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t) {
  return allocate(memory, bytes, cudaMemoryTypeDevice);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t) { return release(memory); }
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  return allocate(memory, bytes, cudaMemoryTypeHost);
}
cudaError_t cudaFreeHost(void* memory) { return release(memory); }

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  int device = 0;
  if (const cudaError_t error = simt::use_device(&device)) return error;
  const std::lock_guard<std::mutex> lock(heap().mutex);
  *total = simt::memory_per_device;
  *free = simt::memory_per_device - heap().used[device];
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const auto [begin, allocation] = find_allocation(memory);
  *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, const_cast<void*>(memory)};
  if (begin == 0) return cudaSuccess;
  attributes->type = allocation.type;
  attributes->device = allocation.device;
  attributes->devicePointer = const_cast<void*>(memory);
  if (allocation.type == cudaMemoryTypeDevice) attributes->hostPointer = nullptr;
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return copy_2d(to, bytes, from, bytes, bytes, 1, kind);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  return copy_2d(to, bytes, from, bytes, bytes, 1, kind);
}
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                         std::size_t width, std::size_t height, cudaMemcpyKind kind) {
  return copy_2d(to, to_pitch, from, from_pitch, width, height, kind);
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t) {
  return copy_2d(to, to_pitch, from, from_pitch, width, height, kind);
}

cudaError_t cudaMemset2DAsync(void* memory, std::size_t pitch, int value, std::size_t width,
                              std::size_t height, cudaStream_t) {
  int device = 0;
  if (const cudaError_t error = simt::use_device(&device)) return error;
  if (width == 0 || height == 0) return cudaSuccess;
  if (memory == nullptr || width > pitch || !stays_inside(memory, span_2d(pitch, width, height)))
    return simt::report(cudaErrorInvalidValue);
  for (std::size_t row = 0; row < height; ++row)
    std::memset(static_cast<char*>(memory) + row * pitch, value, width);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  return cudaMemset2DAsync(memory, bytes, value, bytes, 1, stream);
}
cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  return cudaMemset2DAsync(memory, bytes, value, bytes, 1, nullptr);
}
