// Devices, launches, streams and events. All work is done when a call returns, so streams only have
// to exist.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "host.hpp"
#include "simt.hpp"

struct CUstream_st {
  int device;
};

struct CUevent_st {
  bool recorded;
  std::chrono::steady_clock::time_point at;
};

namespace {

using simt::report;

// Errors and devices.

struct NamedError {
  cudaError_t error;
  const char* name;
  const char* text;
};

#define OVCORE_SIMT_ERROR(error, text) {error, #error, text}
constexpr NamedError errors[] = {
    OVCORE_SIMT_ERROR(cudaSuccess, "no error"),
    OVCORE_SIMT_ERROR(cudaErrorInvalidValue, "invalid argument"),
    OVCORE_SIMT_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    OVCORE_SIMT_ERROR(cudaErrorInitializationError, "initialization error"),
    OVCORE_SIMT_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    OVCORE_SIMT_ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    OVCORE_SIMT_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    OVCORE_SIMT_ERROR(cudaErrorInsufficientDriver,
                      "CUDA driver version is insufficient for CUDA runtime version"),
    OVCORE_SIMT_ERROR(cudaErrorDevicesUnavailable,
                      "CUDA-capable device(s) is/are busy or unavailable"),
    OVCORE_SIMT_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    OVCORE_SIMT_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    OVCORE_SIMT_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    OVCORE_SIMT_ERROR(cudaErrorNoKernelImageForDevice,
                      "no kernel image is available for execution on the device"),
    OVCORE_SIMT_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    OVCORE_SIMT_ERROR(cudaErrorNotReady, "device not ready"),
    OVCORE_SIMT_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    OVCORE_SIMT_ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    OVCORE_SIMT_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    OVCORE_SIMT_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    OVCORE_SIMT_ERROR(cudaErrorNotSupported, "operation not supported"),
    OVCORE_SIMT_ERROR(cudaErrorUnknown, "unknown error"),
};
#undef OVCORE_SIMT_ERROR

NamedError named(cudaError_t error) {
  for (const NamedError& known : errors)
    if (known.error == error) return known;
  return {error, "unrecognized error code", "unrecognized error code"};
}

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

int environment(const char* name, int otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : std::atoi(value);
}
int device_count() { return environment("OVCORE_SIMT_DEVICES", 2); }
int capability() { return environment("OVCORE_SIMT_CAPABILITY", 80); }

cudaError_t check_device(int device) {
  if (device_count() <= 0) return cudaErrorNoDevice;
  return device >= 0 && device < device_count() ? cudaSuccess : cudaErrorInvalidDevice;
}

constexpr int multiprocessors = 4;
constexpr int cache_bytes = 4 << 20;
constexpr int threads_per_multiprocessor = 2048;
constexpr unsigned most_grid_x = 0x7fffffffu;
constexpr unsigned most_grid_yz = 65535;

// What kernels asked for, on every device by itself.
std::mutex limits_mutex;
std::map<std::pair<int, const void*>, std::size_t> shared_limits;

std::size_t shared_limit_of(const void* kernel) {
  const std::lock_guard<std::mutex> lock(limits_mutex);
  const auto found = shared_limits.find({current_device, kernel});
  return found == shared_limits.end() ? simt::shared_default_limit : found->second;
}

bool is_made(cudaStream_t stream) {
  return stream != nullptr && stream != cudaStreamLegacy && stream != cudaStreamPerThread;
}

cudaError_t check_launch(const cudaLaunchConfig_t& config, const void* kernel) {
  if (const cudaError_t error = check_device(current_device)) return error;
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > most_grid_x || grid.y > most_grid_yz ||
      grid.z > most_grid_yz || block.x == 0 || block.x > simt::most_threads)
    return cudaErrorInvalidConfiguration;
  if (block.y != 1 || block.z != 1 || block.x % simt::lanes_per_warp != 0) {
    std::fprintf(stderr, "simt: a block is one-dimensional and of whole warps\n");
    return cudaErrorInvalidConfiguration;
  }
  if (config.numAttrs != 0) {
    std::fprintf(stderr, "simt: no launch attributes\n");
    return cudaErrorNotSupported;
  }
  if (config.dynamicSmemBytes > shared_limit_of(kernel)) return cudaErrorInvalidValue;
  if (is_made(config.stream) && config.stream->device != current_device)
    return cudaErrorInvalidResourceHandle;
  return cudaSuccess;
}

}  // namespace

namespace simt {

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t use_device(int* device) {
  *device = current_device;
  return report(check_device(current_device));
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   void (*thread)(const void*), const void* arguments) {
  if (const cudaError_t error = check_launch(config, kernel)) return report(error);
  run_grid(config, thread, arguments);
  return cudaSuccess;
}

bool is_faulty(const char* part) {
  const char* const fault = std::getenv("OVCORE_SIMT_FAULT");
  return fault != nullptr && std::strcmp(fault, part) == 0;
}

}  // namespace simt

const char* cudaGetErrorName(cudaError_t error) { return named(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return named(error).text; }

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = device_count() > 0 ? 13000 : 0;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count() > 0 ? device_count() : 0;
  return report(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  if (const cudaError_t error = check_device(current_device)) return report(error);
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (const cudaError_t error = check_device(device)) return report(error);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (const cudaError_t error = check_device(device)) return report(error);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
      return *value = simt::most_threads, cudaSuccess;
    case cudaDevAttrMaxBlockDimZ:
      return *value = 64, cudaSuccess;
    case cudaDevAttrMaxGridDimX:
      return *value = static_cast<int>(most_grid_x), cudaSuccess;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      return *value = static_cast<int>(most_grid_yz), cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return *value = static_cast<int>(simt::shared_default_limit), cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = static_cast<int>(simt::shared_limit), cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return *value = static_cast<int>(simt::shared_limit) + 1024, cudaSuccess;
    case cudaDevAttrWarpSize:
      return *value = simt::lanes_per_warp, cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      return *value = multiprocessors, cudaSuccess;
    case cudaDevAttrL2CacheSize:
      return *value = cache_bytes, cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return *value = threads_per_multiprocessor, cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      return *value = capability() / 10, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = capability() % 10, cudaSuccess;
    case cudaDevAttrMemoryPoolsSupported:
      return *value = 1, cudaSuccess;
  }
  return report(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (const cudaError_t error = check_device(device)) return report(error);
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "CPU that runs CUDA kernels");
  properties->totalGlobalMem = simt::memory_per_device;
  properties->sharedMemPerBlock = simt::shared_default_limit;
  properties->sharedMemPerBlockOptin = simt::shared_limit;
  properties->warpSize = simt::lanes_per_warp;
  properties->maxThreadsPerBlock = simt::most_threads;
  properties->major = capability() / 10;
  properties->minor = capability() % 10;
  properties->multiProcessorCount = multiprocessors;
  properties->l2CacheSize = cache_bytes;
  properties->maxThreadsPerMultiProcessor = threads_per_multiprocessor;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return report(check_device(current_device)); }

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  if (const cudaError_t error = check_device(current_device)) return report(error);
  *stream = new CUstream_st{current_device};
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return cudaStreamCreate(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (!is_made(stream)) return report(cudaErrorInvalidResourceHandle);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return report(check_device(current_device)); }
cudaError_t cudaStreamQuery(cudaStream_t) { return report(check_device(current_device)); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned) {
  return report(event == nullptr ? cudaErrorInvalidResourceHandle : cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t error = check_device(current_device)) return report(error);
  *event = new CUevent_st{};
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  if (event == nullptr) return report(cudaErrorInvalidResourceHandle);
  *event = {true, std::chrono::steady_clock::now()};
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return report(event == nullptr ? cudaErrorInvalidResourceHandle : cudaSuccess);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return cudaEventQuery(event); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (start == nullptr || end == nullptr || !start->recorded || !end->recorded)
    return report(cudaErrorInvalidResourceHandle);
  *milliseconds = std::chrono::duration<float, std::milli>(end->at - start->at).count();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (const cudaError_t error = check_device(current_device)) return report(error);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || value > static_cast<int>(simt::shared_limit))
    return report(cudaErrorInvalidValue);
  const std::lock_guard<std::mutex> lock(limits_mutex);
  shared_limits[{current_device, kernel}] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
