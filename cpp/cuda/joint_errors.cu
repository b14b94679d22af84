// popcount(a AND b) for all pairs of rows: a matrix product on bits.
//
// Here it is counted by ordinary instructions. A multiprocessor counts the bits of 16 words of 32 a
// cycle but takes 64 logical ones, so words are added two at a time, bit by bit, and carries alone
// are counted: 64 samples of a pair cost two ANDs, two logical instructions for sum and carry, one
// count and one addition. A block of 256 threads counts 64 x 128 pairs, a thread 4 x 8.
// joint_errors_mma.cu and joint_errors_wgmma.cu count on tensor cores.
#include "joint_errors.cuh"

namespace ovcore::cuda {
namespace {

constexpr int square = 128, tile_rows = 64, tile_cols = 128;
constexpr int threads = 256;
constexpr int threads_x = 16, threads_y = 16;
constexpr int pairs_y = tile_rows / threads_y, pairs_x = tile_cols / threads_x;
constexpr int stage_words = 8;
constexpr int stride = stage_words + 1;  // odd: 16 rows' words lie in different banks
constexpr int stage_rows = tile_rows + tile_cols;
constexpr int slots = 2;

// Any logic of three words, by its table: bit 4 a + 2 b + c of it is the result. One instruction,
// where the compiler would reassociate it with others to more.
template <unsigned Table>
__device__ inline unsigned logic(unsigned a, unsigned b, unsigned c) {
  unsigned result = 0;
#if defined(OVCORE_SIMT)
  for (unsigned row = 0; row < 8; ++row)
    if (Table >> row & 1) result |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
#else
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(result) : "r"(a), "r"(b), "r"(c), "n"(Table));
#endif
  return result;
}
constexpr unsigned sum = 0x96, carry = 0xe8;

// Copies a stage's words, 8 bytes at a time: rows have no better alignment. What lies past the last
// row or word is 0.
__device__ void bring(const MatrixView<const std::uint64_t>& words, const Part& part,
                      std::int64_t stage, std::uint64_t* slot) {
  if (stage < part.last) {
    constexpr int step = threads / stage_words;
    const int in_row = static_cast<int>(threadIdx.x) % stage_words;
    const std::int64_t word = stage * stage_words + in_row;
#pragma unroll
    for (int i = 0; i < stage_rows / step; ++i) {
      const int r = static_cast<int>(threadIdx.x) / stage_words + i * step;
      const std::int64_t row = r < tile_rows ? part.row + r : part.col + r - tile_rows;
      copy_async<8>(slot + r * stride + in_row, words.row(row) + word,
                    row < words.rows && word < words.cols ? 8 : 0);
    }
  }
  commit_copies();
}

__global__ void __launch_bounds__(threads, 2)
    count_words(MatrixView<const std::uint64_t> words, MatrixView<std::int64_t> joint, Plan plan) {
  const Part part = part_of<square>(plan, blockIdx.x);
  if (part.row >= words.rows) return;  // the whole block
  std::uint64_t* const stages = shared<std::uint64_t>();
  const int x = static_cast<int>(threadIdx.x) % threads_x;
  const int y = static_cast<int>(threadIdx.x) / threads_x;

  int carries[pairs_y][pairs_x] = {};  // of two samples each
  unsigned odd[pairs_y][pairs_x] = {};
  bring(words, part, part.first, stages);
  for (std::int64_t stage = part.first; stage < part.last; ++stage) {
    wait_copies<0>();
    __syncthreads();  // this stage is there for all, and all have read the one before
    const std::int64_t turn = (stage - part.first) % slots;
    bring(words, part, stage + 1, stages + (1 - turn) * (stage_rows * stride));
    const std::uint64_t* const rows = stages + turn * (stage_rows * stride) + y * stride;
    const std::uint64_t* const cols =
        stages + turn * (stage_rows * stride) + (tile_rows + x) * stride;
#pragma unroll 1
    for (int w = 0; w < stage_words; ++w) {
      std::uint64_t a[pairs_y], b[pairs_x];
#pragma unroll
      for (int r = 0; r < pairs_y; ++r) a[r] = rows[r * (threads_y * stride) + w];
#pragma unroll
      for (int c = 0; c < pairs_x; ++c) b[c] = cols[c * (threads_x * stride) + w];
#pragma unroll
      for (int r = 0; r < pairs_y; ++r)
#pragma unroll
        for (int c = 0; c < pairs_x; ++c) {
          const std::uint64_t both = a[r] & b[c];
          const auto low = static_cast<unsigned>(both), high = static_cast<unsigned>(both >> 32);
          carries[r][c] += __popc(logic<carry>(odd[r][c], low, high));
          odd[r][c] = logic<sum>(odd[r][c], low, high);
        }
    }
  }
#pragma unroll
  for (int r = 0; r < pairs_y; ++r)
#pragma unroll
    for (int c = 0; c < pairs_x; ++c)
      add_pair(joint, part.row + y + r * threads_y, part.col + x + c * threads_x,
               std::int64_t{carries[r][c]} * 2 + __popc(odd[r][c]));
}

cudaError_t joint_errors_popcount(MatrixView<const std::uint64_t> words,
                                  MatrixView<std::int64_t> joint, cudaStream_t stream) {
  Plan plan;
  OVCORE_RETURN_IF_ERROR(make_plan<square>(words.rows,
                                           ceil_div(words.cols, std::int64_t{stage_words}),
                                           stage_words * samples_per_word, 2, &plan));
  return launch(count_words, blocks_of(plan), threads,
                slots * stage_rows * stride * sizeof(std::uint64_t), stream, words, joint, plan);
}

#if defined(OVCORE_HAVE_WGMMA)
constexpr bool have_wgmma = true;
#else
constexpr bool have_wgmma = false;
#endif

// Whether the build and the current device have the method.
cudaError_t find_support(JointMethod method, bool* supported) {
  int device, major, minor;
  OVCORE_RETURN_IF_ERROR(cudaGetDevice(&device));
  OVCORE_RETURN_IF_ERROR(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  OVCORE_RETURN_IF_ERROR(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  const int capability = major * 10 + minor;
  *supported = method == JointMethod::popcount ||
               (method == JointMethod::mma && capability >= 80 && capability <= 90) ||
               (method == JointMethod::wgmma && capability == 90 && have_wgmma);
  return cudaSuccess;
}

bool is_aligned(const MatrixView<const std::uint64_t>& words) {
  return reinterpret_cast<std::uintptr_t>(words.data) % chunk_bytes == 0 &&
         (words.rows <= 1 || words.row_stride % chunk_words == 0);
}

}  // namespace

// Tensor cores win at any size, by the arithmetic of their tiles: 128 x 256 take less time than
// popcount's 64 x 128. Up to 128 models, wgmma counts a tile of which half has no pairs, which mma
// leaves out.
cudaError_t choose_joint_method(MatrixView<const std::uint64_t> words, JointMethod* method) {
  *method = JointMethod::popcount;
  if (!is_aligned(words)) return cudaSuccess;
  bool has_mma, has_wgmma;
  OVCORE_RETURN_IF_ERROR(find_support(JointMethod::mma, &has_mma));
  OVCORE_RETURN_IF_ERROR(find_support(JointMethod::wgmma, &has_wgmma));
  if (has_mma) *method = JointMethod::mma;
  if (has_wgmma && words.rows > tensor_rows) *method = JointMethod::wgmma;
  return cudaSuccess;
}

cudaError_t joint_errors(MatrixView<const std::uint64_t> words, MatrixView<std::int64_t> joint,
                         JointMethod method, cudaStream_t stream) {
  bool supported;
  OVCORE_RETURN_IF_ERROR(find_support(method, &supported));
  if (!supported) return cudaErrorNotSupported;
  if (method != JointMethod::popcount && !is_aligned(words)) return cudaErrorInvalidValue;
  if (words.rows == 0) return cudaSuccess;
#if defined(OVCORE_SIMT)
  if (method != JointMethod::popcount && simt::is_faulty("tensor cores")) words.cols /= 2;
#endif
  OVCORE_RETURN_IF_ERROR(set_to_zero(joint, stream));
  if (words.cols == 0) return cudaSuccess;
  switch (method) {
    case JointMethod::popcount:
      OVCORE_RETURN_IF_ERROR(joint_errors_popcount(words, joint, stream));
      break;
    case JointMethod::mma:
      OVCORE_RETURN_IF_ERROR(joint_errors_mma(words, joint, stream));
      break;
    case JointMethod::wgmma:
#if defined(OVCORE_HAVE_WGMMA)
      OVCORE_RETURN_IF_ERROR(joint_errors_wgmma(words, joint, stream));
#endif
      break;
  }
  return mirror(joint, stream);
}

}  // namespace ovcore::cuda
