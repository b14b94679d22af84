// Joint errors on single-bit tensor cores, a warp at a time: mma.sync m16n8k256, AND and popcount.
//
// A block of 8 warps counts 128 x 256 pairs, a warp 64 x 64: 256 samples are 8 loads of fragments
// (ldmatrix) and 32 multiplications. Limits of a multiprocessor of the H200, in cycles for the
// block's 256 samples: 420 for 256 multiplications, 256 + 96 for shared memory's reads and writes,
// some 400 for 12 KiB from the second-level cache at 30 bytes a cycle.
//
// Chips of compute capability 8.0 to 9.0 have the instruction; later ones would emulate it.
#include "joint_errors.cuh"

namespace ovcore::cuda {
namespace {

constexpr int chunks = 4;  // 512 samples of a row in a stage
constexpr int slots = 4;   // three stages on their way: 96 KiB, which also the smaller chips have
constexpr int warp_tile = 64, tiles_m = 4, tiles_n = 8;  // of 16 x 8 pairs
using Copies = StageCopies<chunks>;

// The fragments of 16 rows and 256 samples. Register r of lane l holds 32 samples of row l / 4, or
// with odd r of row l / 4 + 8, from sample 32 * (l % 4) of the first, or with r >= 2 the second
// 128.
//
//   chunk  the lane's: that of row lane % 16 and the first or, from lane 16 on, second 128 samples
__device__ inline void load_fragment(const char* chunk, unsigned (&fragment)[4]) {
#if defined(OVCORE_SIMT)
  struct Words {
    unsigned of[4];
  };
  const Words words = simt::warp_collective(chunk, [](const char* const* of_lanes, int lane) {
    Words all;
    for (int r = 0; r < 4; ++r)
      std::memcpy(&all.of[r], of_lanes[r * 8 + lane / 4] + lane % 4 * 4, sizeof(unsigned));
    return all;
  });
  for (int r = 0; r < 4; ++r) fragment[r] = words.of[r];
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(chunk))
               : "memory");
#endif
}

// counts += popcounts of 16 rows AND 8 columns, of 256 samples.
//
//   a       first 128 samples of rows 0 to 7 and 8 to 15, then the others
//   b0, b1  first and second 128 samples of the columns
__device__ inline void multiply(int (&counts)[4], const unsigned (&a)[4], unsigned b0,
                                unsigned b1) {
#if defined(OVCORE_SIMT)
  struct Operands {
    unsigned a[4], b[2];
  };
  struct Counts {
    int of[4];
  };
  const Operands mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const Counts more = simt::warp_collective(mine, [](const Operands* lanes, int lane) {
    Counts sums = {};
    for (int e = 0; e < 4; ++e)
      for (int quarter = 0; quarter < 4; ++quarter) {
        const Operands& of_row = lanes[lane / 4 * 4 + quarter];
        const Operands& of_col = lanes[(lane % 4 * 2 + e % 2) * 4 + quarter];
        for (int half = 0; half < 2; ++half)
          sums.of[e] += __popc(of_row.a[e / 2 + half * 2] & of_col.b[half]);
      }
    return sums;
  });
  for (int e = 0; e < 4; ++e) counts[e] += more.of[e];
#elif __CUDA_ARCH__ >= 800 && __CUDA_ARCH__ <= 900
  asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(counts[0]), "+r"(counts[1]), "+r"(counts[2]), "+r"(counts[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  __trap();  // never launched here
#endif
}

__global__ void __launch_bounds__(tensor_threads)
    count_mma(MatrixView<const std::uint64_t> words, MatrixView<std::int64_t> joint, Plan plan) {
  const Part part = part_of<tensor_square>(plan, blockIdx.x);
  if (part.row >= words.rows) return;  // the whole block
  char* const stages = shared<char>();
  const Copies copies(words, part);

  // Warps of a scheduler, w and w + 4, take different columns: where there are few, all four work.
  const int row = warp_id() % 2 * warp_tile, col = warp_id() / 2 * warp_tile;
  const std::int64_t first_row = part.row + row, first_col = part.col + col;
  const bool has_pairs =
      first_row < words.rows && first_col < words.rows && first_row < first_col + warp_tile;
  // Which chunk a lane loads: a row's 256 samples are two; matrices are in the order of operands.
  const int matrix = lane_id() / 8, in_matrix = lane_id() % 8;
  const int row_at = in_matrix + matrix % 2 * 8, row_half = matrix / 2;
  const int col_at = in_matrix + matrix / 2 * 8, col_half = matrix % 2;

  int counts[tiles_m][tiles_n][4] = {};
#pragma unroll 1
  for (int ahead = 0; ahead < slots - 1; ++ahead)
    copies.bring(part.first + ahead, stages + ahead * Copies::stage_bytes);
  int slot = 0;
  for (std::int64_t stage = part.first; stage < part.last; ++stage) {
    wait_copies<slots - 2>();
    __syncthreads();  // this stage is there for all, and all have read the one before
    copies.bring(stage + slots - 1, stages + (slot + slots - 1) % slots * Copies::stage_bytes);
    const char* const from = stages + slot * Copies::stage_bytes;
    slot = (slot + 1) % slots;
    if (!has_pairs) continue;
#pragma unroll
    for (int step = 0; step < chunks / 2; ++step) {
      const int row_chunk = row * chunks + swizzled<chunks>(row_at, step * 2 + row_half);
      const int col_chunk =
          (tensor_rows + col) * chunks + swizzled<chunks>(col_at, step * 2 + col_half);
      unsigned a[tiles_m][4], b[tiles_n / 2][4];
#pragma unroll
      for (int m = 0; m < tiles_m; ++m)
        load_fragment(from + (row_chunk + m * 16 * chunks) * chunk_bytes, a[m]);
#pragma unroll
      for (int n = 0; n < tiles_n / 2; ++n)
        load_fragment(from + (col_chunk + n * 16 * chunks) * chunk_bytes, b[n]);
#pragma unroll
      for (int m = 0; m < tiles_m; ++m)
#pragma unroll
        for (int n = 0; n < tiles_n; ++n)
          multiply(counts[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
    }
  }
  if (!has_pairs) return;
#pragma unroll
  for (int m = 0; m < tiles_m; ++m)
#pragma unroll
    for (int n = 0; n < tiles_n; ++n)
      add_fragment(joint, first_row + m * 16, first_col + n * 8, counts[m][n]);
}

}  // namespace

cudaError_t joint_errors_mma(MatrixView<const std::uint64_t> words, MatrixView<std::int64_t> joint,
                             cudaStream_t stream) {
  constexpr int shared_bytes = slots * Copies::stage_bytes;
  return count_on_tensor_cores<Copies>(count_mma, shared_bytes, words, joint, stream);
}

}  // namespace ovcore::cuda
