// Which pairs of a block of joint errors are worth a closer look; reading the counts is the limit.
//
// A thread keeps what its column's model asks for and goes down the rows. Few pairs pass: a warp
// takes room for all of its lanes' at once, in whatever order warps come.
#include "device.cuh"

namespace ovcore::cuda {
namespace {

constexpr unsigned threads = 256;
constexpr std::int64_t rows_of_block = 32;

// What a model asks of its partners, or what it is worth as one.
struct Asked {
  double alpha, beta, gamma, x, y, last_x;
  std::int64_t number, last;
};

__device__ inline Asked asked_by(const PairScreen& screen, std::int64_t model) {
  return {screen.alpha[model], screen.beta[model],   screen.gamma[model],  screen.x[model],
          screen.y[model],     screen.last_x[model], screen.number[model], screen.last[model]};
}

__device__ inline bool passes(double sign, double slack, const Asked& a, const Asked& b,
                              double joint) {
  const double score =
      __dsub_rn(__dsub_rn(__dmul_rn(sign, joint), __dmul_rn(a.beta, b.x)), __dmul_rn(a.gamma, b.y));
  if (!(score >= __dsub_rn(a.alpha, slack))) return false;
  const bool ties = score == a.alpha && (slack == 0 || b.x == a.last_x);
  return !(ties && b.number > a.last);
}

__global__ void __launch_bounds__(threads)
    screen_rows(MatrixView<const std::int64_t> joint, std::int64_t first_row,
                std::int64_t first_col, PairScreen screen, ScreenedPair* passed,
                unsigned long long* n_passed) {
  const std::int64_t col = std::int64_t{blockIdx.x} * threads + threadIdx.x;
  const std::int64_t first = std::int64_t{blockIdx.y} * rows_of_block;
  const std::int64_t last = min(first + rows_of_block, joint.rows);
  const bool has_col = col < joint.cols;
  const Asked of_col = asked_by(screen, first_col + min(col, joint.cols - 1));
  for (std::int64_t row = first; row < last; ++row) {
    const std::int64_t i = first_row + row, j = first_col + col;
    bool pass = false;
    std::int64_t count = 0;
    if (has_col && i < j) {
      const Asked of_row = asked_by(screen, i);
      count = joint.row(row)[col];
      const auto counted = static_cast<double>(count);
      pass = passes(screen.sign, screen.slack, of_row, of_col, counted) ||
             passes(screen.sign, screen.slack, of_col, of_row, counted);
    }
    const unsigned lanes = __ballot_sync(all_lanes, pass);
    if (lanes == 0) continue;
    unsigned long long room = 0;
    if (lane_id() == 0) room = atomicAdd(n_passed, static_cast<unsigned long long>(__popc(lanes)));
    room = __shfl_sync(all_lanes, room, 0);
    if (pass) passed[room + __popc(lanes & ((1u << lane_id()) - 1))] = {i, j, count};
  }
}

}  // namespace

cudaError_t screen_pairs(MatrixView<const std::int64_t> joint, std::int64_t first_row,
                         std::int64_t first_col, const PairScreen& screen, ScreenedPair* passed,
                         unsigned long long* n_passed, cudaStream_t stream) {
  OVCORE_RETURN_IF_ERROR(set_to_zero(n_passed, sizeof *n_passed, stream));
  const std::int64_t across = ceil_div(joint.cols, std::int64_t{threads});
  const std::int64_t down = ceil_div(joint.rows, rows_of_block);
  if (across > most_blocks || down > 65535) return cudaErrorInvalidValue;
  return launch(screen_rows, dim3(static_cast<unsigned>(across), static_cast<unsigned>(down)),
                threads, 0, stream, joint, first_row, first_col, screen, passed, n_passed);
}

}  // namespace ovcore::cuda
