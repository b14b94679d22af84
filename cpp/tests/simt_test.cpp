// What runs CUDA kernels on the CPU does what a GPU does.
#include <cmath>
#include <thread>
#include <vector>

#include "simt_testing.hpp"

namespace {

// ---- what threads do together ------------------------------------------------------------------

__global__ void sum_kernel(const int* values, int n, unsigned long long* sum) {
  unsigned long long mine = 0;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < static_cast<unsigned>(n);
       i += gridDim.x * blockDim.x)
    mine += static_cast<unsigned long long>(values[i]);
  for (int width = 16; width > 0; width /= 2) mine += __shfl_down_sync(all_lanes, mine, width);
  auto* const of_warps = shared<unsigned long long>();
  const unsigned warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) of_warps[warp] = mine;
  __syncthreads();
  if (warp != 0) return;
  mine = threadIdx.x < blockDim.x / 32 ? of_warps[threadIdx.x] : 0;
  for (int bits = 16; bits > 0; bits /= 2) mine += __shfl_xor_sync(all_lanes, mine, bits);
  if (threadIdx.x == 0) atomicAdd(sum, mine);
}

void test_sum() {
  std::uint64_t state = 1;
  std::vector<int> values(10007);
  unsigned long long expected = 0;
  for (int& value : values) {
    value = static_cast<int>(next_bits(state) % 1000);
    expected += static_cast<unsigned long long>(value);
  }
  in_all_orders([&] {
    for (unsigned threads : {32u, 96u, 256u, 1024u}) {
      unsigned long long sum = 0;
      launch(sum_kernel, 7, threads, 32 * sizeof(sum), values.data(),
             static_cast<int>(values.size()), &sum);
      expect(sum == expected, "sum of blocks");
    }
  });
}

// What every lane gets from its own number and its mask.
struct Lane {
  int from, up, down, bits;
  double in_group;
  unsigned ballot, matches;
  int any, all, sum, lowest;
  unsigned highest;
};

__global__ void warp_kernel(Lane* lanes) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  Lane mine;
  mine.from = __shfl_sync(all_lanes, lane, 35);
  mine.up = __shfl_up_sync(all_lanes, lane, 3, 8);
  mine.down = __shfl_down_sync(all_lanes, lane, 3, 8);
  mine.bits = __shfl_xor_sync(all_lanes, lane, 5);
  mine.in_group = __shfl_sync(all_lanes, lane + 0.5, 1, 4);
  mine.ballot = __ballot_sync(all_lanes, lane % 3 == 0);
  mine.matches = __match_any_sync(all_lanes, lane / 4);
  mine.any = __any_sync(all_lanes, lane == 7);
  mine.all = __all_sync(all_lanes, lane != 7);
  mine.sum = __reduce_add_sync(all_lanes, lane - 20);
  mine.lowest = __reduce_min_sync(all_lanes, lane - 20);
  mine.highest = __reduce_max_sync(all_lanes, static_cast<unsigned>(lane - 20));
  lanes[threadIdx.x] = mine;
}

void test_warps() {
  in_all_orders([] {
    std::vector<Lane> lanes(96);
    launch(warp_kernel, 1, 96, 0, lanes.data());
    bool shuffled = true, voted = true, reduced = true;
    for (int t = 0; t < 96; ++t) {
      const int lane = t % 32;
      const Lane& got = lanes[static_cast<std::size_t>(t)];
      shuffled &= got.from == 3 && got.bits == (lane ^ 5) && got.in_group == lane / 4 * 4 + 1.5;
      shuffled &= got.up == (lane % 8 < 3 ? lane : lane - 3);
      shuffled &= got.down == (lane % 8 > 4 ? lane : lane + 3);
      voted &= got.ballot == 0x49249249u && got.any == 1 && got.all == 0;
      voted &= got.matches == 0xfu << lane / 4 * 4;
      reduced &= got.sum == 16 * 31 - 20 * 32 && got.lowest == -20 && got.highest == all_lanes;
    }
    expect(shuffled, "shuffles");
    expect(voted, "votes");
    expect(reduced, "reductions");
  });
}

struct Large {
  int values[128];
};

__global__ void collective_kernel(int* out) {
  Large mine = {};
  mine.values[127] = static_cast<int>(threadIdx.x);
  int sum = 0;
  for (int round = 0; round < 3; ++round) {  // nothing between: memory is not filled too early
    sum += simt::warpgroup_collective(
        mine, [](const Large* all, int rank) { return all[127 - rank].values[127]; });
    sum += simt::warp_collective<Large, int>(
        mine, [](const Large* all, int lane) { return all[31 - lane].values[127]; });
    mine.values[127] += 1000;
  }
  out[threadIdx.x] = sum;
}

void test_collectives() {
  in_all_orders([] {
    std::vector<int> out(384);
    launch(collective_kernel, 1, 384, 0, out.data());
    bool holds = true;
    for (int t = 0; t < 384; ++t) {
      const int of_group = t / 128 * 128 + 127 - t % 128, of_warp = t / 32 * 32 + 31 - t % 32;
      holds &= out[static_cast<std::size_t>(t)] == 3 * (of_group + of_warp) + 2 * (1000 + 2000);
    }
    expect(holds, "collectives of warps and warpgroups");
  });
}

__global__ void neighbour_kernel(bool wait, int* out) {
  int* const values = shared<int>();
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (wait) __syncthreads();
  out[threadIdx.x] = values[(threadIdx.x + 1) % blockDim.x];
}

void test_orders() {
  std::vector<std::vector<int>> without, with;
  in_all_orders([&] {
    for (auto* outs : {&without, &with}) {
      outs->emplace_back(64);
      launch(neighbour_kernel, 1, 64, 64 * sizeof(int), outs == &with, outs->back().data());
    }
  });
  expect(with[0] == with[1] && with[0] == with[2], "orders agree where there is a barrier");
  expect(without[0] != without[1] && without[0] != without[2] && without[1] != without[2],
         "orders differ where a barrier is missing");
}

__global__ void grid_kernel(int* visits, int* sizes) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  atomicAdd(visits + block * blockDim.x + threadIdx.x, 1);
  atomicMax(sizes, static_cast<int>(threadIdx.x));
  atomicMin(sizes + 1, -static_cast<int>(blockIdx.x));
  atomicMax(sizes + 2, static_cast<int>(blockIdx.y));
  atomicMax(sizes + 3, static_cast<int>(blockIdx.z));
}

void test_grid() {
  in_all_orders([] {
    std::vector<int> visits(5 * 3 * 2 * 64, 0), sizes(4, 0);
    launch(grid_kernel, dim3(5, 3, 2), 64, 0, visits.data(), sizes.data());
    expect(visits == std::vector<int>(visits.size(), 1), "every thread runs once");
    expect(sizes == std::vector<int>{63, -4, 2, 1}, "indices");
  });
}

__global__ void first_byte_kernel(unsigned char* bytes) {
  if (threadIdx.x == 0) bytes[blockIdx.x] = *shared<unsigned char>();
  __syncthreads();
  *shared<unsigned char>() = 1;
}

void test_poison() {
  std::vector<unsigned char> bytes(3);
  launch(first_byte_kernel, 3, 64, 1, bytes.data());
  expect(bytes == std::vector<unsigned char>(3, 0xa5), "shared memory of every block is poisoned");
  unsigned char* memory = nullptr;
  expect(cudaMalloc(&memory, 100) == cudaSuccess, "cudaMalloc");
  expect(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0, "alignment");
  expect(memory[0] == 0xa5 && memory[99] == 0xa5, "fresh memory is poisoned");
  cudaFree(memory);
  expect(memory[0] == 0x5a && memory[99] == 0x5a, "freed memory is poisoned");
}

// ---- arithmetic --------------------------------------------------------------------------------

void test_halves() {
  bool holds = true;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;
    double expected = exponent == 0 ? std::ldexp(fraction, -24)
                                    : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
    if (exponent == 31) expected = fraction == 0 ? HUGE_VAL : NAN;
    if (bits & 0x8000) expected = -expected;
    const float got = simt::float_of_half(static_cast<std::uint16_t>(bits));
    holds &= std::isnan(expected) ? std::isnan(got)
                                  : got == expected && std::signbit(got) == ((bits & 0x8000) != 0);
  }
  expect(holds, "all half-precision numbers");
}

void test_arithmetic() {
  volatile float a = 1 + 0x1p-12f;
  expect(__fsub_rn(__fmul_rn(a, a), 1 + 0x1p-11f) == 0, "products are rounded by themselves");
  expect(__fmaf_rn(a, a, -1 - 0x1p-11f) == 0x1p-24f, "fused ones are not");
  expect(__clz(0) == 32 && __clz(1) == 31 && __clzll(0) == 64 && __ffs(0) == 0 && __ffs(8) == 4,
         "positions of bits");
  expect(__popc(0xff) == 8 && __popcll(~0ull) == 64 && __brev(1) == 0x80000000u, "bits");
  expect(__funnelshift_l(0x80000000u, 1, 1) == 3 && __funnelshift_r(1, 3, 1) == 0x80000000u,
         "shifts of two words");
  expect(min(-1, 1) == -1 && max(-1, 1u) == 0xffffffffu && min(NAN, 1.0f) == 1, "min and max");
  unsigned long long word = 6;
  expect(atomicCAS(&word, 6ull, 7ull) == 6 && atomicCAS(&word, 6ull, 8ull) == 7 && word == 7 &&
             atomicOr(&word, 8ull) == 7 && atomicExch(&word, 1ull) == 15 && word == 1,
         "atomics");
  static_assert(alignof(uint4) == 16 && alignof(ulonglong2) == 16 && alignof(float2) == 8);
}

// ---- the host's side ---------------------------------------------------------------------------

__global__ void nothing_kernel() {}

void test_refusals() {
  const auto refused = [](dim3 blocks, dim3 threads, std::size_t bytes, cudaError_t why) {
    return launch(nothing_kernel, blocks, threads, bytes) == why && cudaGetLastError() == why &&
           cudaGetLastError() == cudaSuccess;
  };
  std::printf("two refusals of blocks follow\n");
  expect(refused(1, 0, 0, cudaErrorInvalidConfiguration), "no threads");
  expect(refused(1, 1056, 0, cudaErrorInvalidConfiguration), "too many threads");
  expect(refused(1, 33, 0, cudaErrorInvalidConfiguration), "parts of warps");
  expect(refused(1, dim3(32, 2), 0, cudaErrorInvalidConfiguration), "blocks with a second axis");
  expect(refused(0, 32, 0, cudaErrorInvalidConfiguration), "no blocks");
  expect(refused(dim3(1, 65536), 32, 0, cudaErrorInvalidConfiguration), "too large a grid");
  expect(refused(1, 32, 49153, cudaErrorInvalidValue), "shared memory nobody asked for");
  constexpr auto most_shared = cudaFuncAttributeMaxDynamicSharedMemorySize;
  expect(cudaFuncSetAttribute(nothing_kernel, most_shared, 232449) == cudaErrorInvalidValue,
         "more shared memory than there is");
  expect(cudaGetLastError() == cudaErrorInvalidValue, "last error");
  expect(cudaFuncSetAttribute(nothing_kernel, most_shared, 232448) == cudaSuccess &&
             launch(nothing_kernel, 1, 32, 232448) == cudaSuccess,
         "all of the shared memory");
  cudaSetDevice(1);
  expect(refused(1, 32, 49153, cudaErrorInvalidValue), "another device");
  cudaSetDevice(0);
}

void test_devices() {
  int value = 0;
  expect(cudaGetDeviceCount(&value) == cudaSuccess && value == 2, "two devices");
  expect(cudaSetDevice(2) == cudaErrorInvalidDevice, "no third one");
  cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor, 1);
  expect(value == 8, "capability 8.0");
  setenv("OVCORE_SIMT_CAPABILITY", "121", 1);
  cudaDeviceProp properties;
  expect(cudaGetDeviceProperties(&properties, 0) == cudaSuccess, "properties");
  expect(properties.major == 12 && properties.minor == 1, "capability 12.1");
  unsetenv("OVCORE_SIMT_CAPABILITY");
  setenv("OVCORE_SIMT_DEVICES", "0", 1);
  void* memory = nullptr;
  expect(cudaGetDeviceCount(&value) == cudaErrorNoDevice && value == 0, "no devices");
  expect(cudaMalloc(&memory, 1) == cudaErrorNoDevice, "and no memory");
  expect(launch(nothing_kernel, 1, 32, 0) == cudaErrorNoDevice, "and no kernels");
  unsetenv("OVCORE_SIMT_DEVICES");
  cudaGetLastError();
  expect(std::string(cudaGetErrorName(cudaErrorNoDevice)) == "cudaErrorNoDevice", "names");
}

void test_streams() {
  cudaStream_t stream = nullptr;
  cudaEvent_t events[2] = {};
  expect(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess, "a stream");
  for (cudaEvent_t& event : events) {
    cudaEventCreate(&event);
    cudaEventRecord(event, stream);
  }
  float milliseconds = -1;
  expect(cudaEventElapsedTime(&milliseconds, events[0], events[1]) == 0 && milliseconds >= 0,
         "time between events");
  cudaLaunchConfig_t config = {};
  config.blockDim = 32;
  config.stream = stream;
  expect(cudaLaunchKernelEx(&config, nothing_kernel) == cudaSuccess, "a launch on a stream");
  cudaSetDevice(1);
  expect(cudaLaunchKernelEx(&config, nothing_kernel) == cudaErrorInvalidResourceHandle,
         "a launch on another device's stream");
  cudaSetDevice(0);
  cudaGetLastError();
  for (cudaEvent_t event : events) cudaEventDestroy(event);
  expect(cudaStreamDestroy(stream) == 0 && cudaStreamDestroy(cudaStreamLegacy) != 0, "destroy");
}

void test_memory() {
  cudaSetDevice(1);
  char* memory = nullptr;
  expect(cudaMallocAsync(&memory, 12, cudaStreamPerThread) == cudaSuccess, "cudaMallocAsync");
  cudaSetDevice(0);
  cudaPointerAttributes attributes;
  cudaPointerGetAttributes(&attributes, memory + 11);
  expect(attributes.type == cudaMemoryTypeDevice && attributes.device == 1, "a device's memory");
  cudaPointerGetAttributes(&attributes, memory + 12);
  expect(attributes.type == cudaMemoryTypeUnregistered, "the host's memory");
  cudaMemsetAsync(memory, '.', 12);
  cudaMemset2DAsync(memory, 4, '-', 1, 3);
  expect(cudaMemcpy2DAsync(memory + 1, 4, "abcdef", 3, 2, 2, cudaMemcpyHostToDevice) == 0, "copy");
  char text[13] = {};
  cudaMemcpyAsync(text, memory, 12, cudaMemcpyDeviceToHost);
  expect(std::string(text) == "-ab.-de.-...", "copies of rows");
  expect(cudaMemcpy(text, memory + 1, 12, cudaMemcpyDefault) == cudaErrorInvalidValue, "too long");
  expect(cudaMallocAsync(&memory, std::size_t{1} << 40, nullptr) == cudaErrorMemoryAllocation,
         "more memory than there is");
  expect(cudaFree(text) == cudaErrorInvalidValue, "memory that nobody allocated");
  cudaGetLastError();
}

void test_threads() {
  std::vector<std::thread> threads;
  bool holds[4] = {};
  for (bool& mine : holds)
    threads.emplace_back([&mine] {
      mine = true;
      for (int i = 0; i < 20; ++i) {
        std::vector<int> out(256);
        launch(neighbour_kernel, 2, 256, 256 * sizeof(int), true, out.data());
        for (int t = 0; t < 256; ++t) mine &= out[static_cast<std::size_t>(t)] == (t + 1) % 256;
      }
    });
  for (std::thread& thread : threads) thread.join();
  expect(holds[0] && holds[1] && holds[2] && holds[3], "launches by several threads");
}

}  // namespace

int main() {
  unsetenv("OVCORE_SIMT_CAPABILITY");
  unsetenv("OVCORE_SIMT_DEVICES");
  test_sum();
  test_warps();
  test_collectives();
  test_orders();
  test_grid();
  test_poison();
  test_halves();
  test_arithmetic();
  test_refusals();
  test_devices();
  test_streams();
  test_memory();
  test_threads();
  return failures == 0 ? 0 : 1;
}
