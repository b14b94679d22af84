// Joint errors on single-bit tensor cores, four warps at a time: wgmma m64n256k256, AND and
// popcount.
//
// A block of two warpgroups counts 128 x 256 pairs, each of them 64 x 256, and both operands stay
// in shared memory. Limits of a multiprocessor of the H200, in cycles for a stage of 1,024 samples:
// 1,024 for 8 multiplications, 640 + 384 for shared memory's reads and writes, some 1,600 for 48
// KiB from the second-level cache at 30 bytes a cycle.
//
// The instruction belongs to compute capability 9.0 alone: this file is compiled for sm_90a.
#include "joint_errors.cuh"

namespace ovcore::cuda {
namespace {

constexpr int chunks = 8;  // 1,024 samples of a row in a stage
constexpr int steps = 4;   // multiplications of 256 samples
constexpr int slots = 4;   // a stage that is read by the multiplication before, this one, two ahead
constexpr int group_rows = 64, group_counts = 128;  // of a warpgroup; of each of its threads
constexpr int alignment = 1024;                     // of swizzled operands
using Copies = StageCopies<chunks>;
static_assert(Copies::stage_bytes % alignment == 0);

// Where an operand lies, as wgmma is told: rows of 128 swizzled bytes, 1,024 to eight rows.
__device__ inline std::uint64_t describe(const char* operand) {
  constexpr std::uint64_t leading = 1, stride = 1024 >> 4, swizzled_by_128 = 1;
  return (shared_address(operand) & 0x3ffff) >> 4 | leading << 16 | stride << 32 |
         swizzled_by_128 << 62;
}

// Makes this thread's copies visible to tensor cores, which read past the registers' way.
__device__ inline void fence_copies() {
#if !defined(OVCORE_SIMT)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Begins a group of multiplications: what was done to registers before is done.
__device__ inline void begin_group() {
#if !defined(OVCORE_SIMT)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ inline void commit_group() {
#if defined(OVCORE_SIMT)
  simt::commit_multiplications();
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// All counts of a thread, as operands: they stay in the same registers.
#define OVCORE_4(i) "+r"(c[i]), "+r"(c[i + 1]), "+r"(c[i + 2]), "+r"(c[i + 3])
#define OVCORE_16(i) OVCORE_4(i), OVCORE_4(i + 4), OVCORE_4(i + 8), OVCORE_4(i + 12)
#define OVCORE_64(i) OVCORE_16(i), OVCORE_16(i + 16), OVCORE_16(i + 32), OVCORE_16(i + 48)
#define OVCORE_COUNTS OVCORE_64(0), OVCORE_64(64)

// Waits until all groups but the last one are done; until all are, after which counts may be read.
__device__ inline void wait_for_previous_group() {
#if defined(OVCORE_SIMT)
  simt::wait_multiplications(1);
#else
  asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
#endif
}
__device__ inline void wait_for_all_groups([[maybe_unused]] int (&c)[group_counts]) {
#if defined(OVCORE_SIMT)
  simt::wait_multiplications(0);
#else
  asm volatile("wgmma.wait_group.sync.aligned 0;" : OVCORE_COUNTS : : "memory");
#endif
}

#if defined(OVCORE_SIMT)
// 64 samples of a row of a described operand.
inline std::uint64_t read_described(std::uint64_t descriptor, int row, int word) {
  const std::uint64_t start = (descriptor & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
  std::uint64_t at = start + row / 8 * stride + row % 8 * 128 + word * 8;
  if (descriptor >> 62 == 1) at ^= (at >> 7 & 7) << 4;
  std::uint64_t samples;
  std::memcpy(&samples, shared<char>() + at, sizeof(samples));
  return samples;
}
#endif

// counts += popcounts of 64 rows AND 256 columns, of 256 samples. It runs by itself until the group
// is waited for: counts must not be touched. Registers 4 j to 4 j + 3 of a thread of warp w hold a
// fragment of rows 16 w and on, columns 8 j and on.
__device__ inline void multiply(int (&c)[group_counts], std::uint64_t rows, std::uint64_t cols) {
#if defined(OVCORE_SIMT)
  simt::multiply_async(c, group_counts, [rows, cols](int* counts) {
    const int lane = lane_id(), first_row = warp_id() % 4 * 16;
    for (int i = 0; i < group_counts; ++i)
      for (int word = 0; word < 4; ++word)
        counts[i] += __popcll(read_described(rows, first_row + lane / 4 + i % 4 / 2 * 8, word) &
                              read_described(cols, i / 4 * 8 + lane % 4 * 2 + i % 2, word));
  });
#else
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n256k256.s32.b1.b1.and.popc {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, "
      "%127"
      "}, %128, %129, 1;"
      : OVCORE_COUNTS
      : "l"(rows), "l"(cols));
#endif
}

__global__ void __launch_bounds__(tensor_threads, 1)
    count_wgmma(MatrixView<const std::uint64_t> words, MatrixView<std::int64_t> joint, Plan plan) {
  const Part part = part_of<tensor_square>(plan, blockIdx.x);
  if (part.row >= words.rows) return;  // the whole block
  char* stages = shared<char>();
  stages += (alignment - shared_address(stages) % alignment) % alignment;
  const Copies copies(words, part);
  const int group_row = warp_id() / 4 * group_rows;

  int counts[group_counts] = {};
#pragma unroll 1
  for (int ahead = 0; ahead < slots - 2; ++ahead)
    copies.bring(part.first + ahead, stages + ahead * Copies::stage_bytes);
  int slot = 0;
  for (std::int64_t stage = part.first; stage < part.last; ++stage) {
    wait_copies<slots - 3>();
    fence_copies();
    // From here on this stage is there for all. Both warpgroups have waited for the multiplications
    // of two stages ago, so their slot is free; those of the stage before still run.
    __syncthreads();
    const char* const from = stages + slot * Copies::stage_bytes;
    const std::uint64_t rows = describe(from + group_row * chunks * chunk_bytes);
    const std::uint64_t cols = describe(from + tensor_rows * chunks * chunk_bytes);
    begin_group();
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      constexpr std::uint64_t step_bytes = 32;
      multiply(counts, rows + step * (step_bytes >> 4), cols + step * (step_bytes >> 4));
    }
    commit_group();
    copies.bring(stage + slots - 2, stages + (slot + slots - 2) % slots * Copies::stage_bytes);
    wait_for_previous_group();
    slot = (slot + 1) % slots;
  }
  wait_for_all_groups(counts);
  const std::int64_t first_row = part.row + group_row + warp_id() % 4 * 16;
#pragma unroll
  for (int j = 0; j < tensor_cols / 8; ++j)
    add_fragment(joint, first_row, part.col + j * 8, counts + j * 4);
}

}  // namespace

cudaError_t joint_errors_wgmma(MatrixView<const std::uint64_t> words,
                               MatrixView<std::int64_t> joint, cudaStream_t stream) {
  constexpr int shared_bytes = slots * Copies::stage_bytes + alignment;
  return count_on_tensor_cores<Copies>(count_wgmma, shared_bytes, words, joint, stream);
}

}  // namespace ovcore::cuda
