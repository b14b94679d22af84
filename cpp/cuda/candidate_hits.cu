// Hits of an ensemble with each model that may join it.
//
// As for pairs: sums over the listed classes, formed in double as defined, decide between those;
// no other class can pass the members' and the model's summed outside scores. Where that does not
// settle a sample, all its classes are summed over the members, once for 32 models.
//
// A warp takes one sample at a time: its lanes are the classes while members are summed, and the
// models that may join when sums are compared, at about 17 instructions a class and 32 models. All
// scores are read once, and those of members again: a selection of T steps sums T^2 / 2 members, in
// place of sums that would be kept between calls.
#include "settle.cuh"

namespace ovcore::cuda {
namespace {

constexpr int n_warps = 8;
constexpr std::int64_t block_models = 2048;
constexpr std::int64_t most_kept = 128;  // sums over members that a warp keeps

struct Block {
  double sums[n_warps][most_kept];
  int counts[2][block_models];
};

struct Members {
  const std::int64_t* models;
  std::int64_t count;

  // Of something that each model has, in the order they joined.
  __device__ double sum(const float* of_model) const {
    double total = 0;
#pragma unroll 8
    for (std::int64_t i = 0; i < count; ++i)
      total = __dadd_rn(total, double{__ldg(of_model + models[i])});
    return total;
  }

  // What all members predict, or -1.
  __device__ int common(const std::int32_t* tops) const {
    if (count == 0) return -1;
    const int first = tops[models[0]];
    bool same = true;
    for (std::int64_t i = lane_id(); i < count; i += warp_size)
      same = same && tops[models[i]] == first;
    return __all_sync(all_lanes, same) ? first : -1;
  }
};

// Which of up to 32 models, m and those that follow, get a sample right that takes all classes. A
// lane brings the target's sum for one model; the models in question are a bit each.
__device__ inline unsigned settle(const Candidates<float>& all, const Members& members,
                                  std::int64_t s, std::int64_t m, double goal, unsigned open) {
  constexpr int at_once = 4;
  const std::int32_t target = all.lists.classes[all.lists.offsets[s] + all.lists.target[s]];
  for (std::int64_t from = 0; from < all.n_classes && open != 0; from += at_once * warp_size) {
    const std::int64_t first = from + lane_id();
    double totals[at_once] = {};
    for (std::int64_t i = 0; i < members.count; ++i) {
      float scores[at_once];
      ScoredRow(all, s, members.models[i]).scores(first, scores);
#pragma unroll
      for (int j = 0; j < at_once; ++j) totals[j] = __dadd_rn(totals[j], double{scores[j]});
    }
    for (unsigned left = open; left != 0; left &= left - 1) {
      const int lane = __ffs(static_cast<int>(left)) - 1;
      const double of_target = __shfl_sync(all_lanes, goal, lane);
      const double most{all.outside.row(s)[m + lane]};
      bool near = false;  // listed classes have been compared
#pragma unroll
      for (int j = 0; j < at_once; ++j) near = near || __dadd_rn(totals[j], most) >= of_target;
      bool beaten = false;
      if (__any_sync(all_lanes, near)) {
        float scores[at_once];
        ScoredRow(all, s, m + lane).scores(first, scores);
#pragma unroll
        for (int j = 0; j < at_once; ++j) {
          const std::int64_t k = first + j * warp_size;
          const double rival = __dadd_rn(totals[j], double{scores[j]});
          beaten = beaten || (k < all.n_classes && beats(rival, k, of_target, target));
        }
      }
      if (__any_sync(all_lanes, beaten)) open &= ~(1u << lane);
    }
  }
  return open;
}

__global__ void __launch_bounds__(n_warps* warp_size, 2)
    count_candidate_hits(Candidates<float> all, Members members, const std::uint8_t* right,
                         std::int64_t* hits) {
  Block& block = *shared<Block>();
  double* sums = block.sums[warp_id()];
  const std::int64_t first_model = blockIdx.y * block_models;
  const std::int64_t last_model = min(first_model + block_models, all.n_models);
  for (std::int64_t m = threadIdx.x; m < block_models; m += n_warps * warp_size)
    block.counts[0][m] = block.counts[1][m] = 0;
  __syncthreads();

  const std::int64_t n_listed = all.lists.tops.rows;
  for (std::int64_t s = std::int64_t{blockIdx.x} * n_warps + warp_id(); s < n_listed;
       s += std::int64_t{gridDim.x} * n_warps) {
    const std::int64_t first = all.lists.offsets[s];
    const int target = all.lists.target[s];
    const float *outside = all.outside.row(s), *of_target = all.scores.row(first + target);
    // Sums over members: of the outside scores, of the target's, and of all listed classes'.
    const std::int64_t n_sums = all.lists.offsets[s + 1] - first + 2;
    const auto summed = [&](std::int64_t i) {
      return i == 0 ? outside : i == 1 ? of_target : all.scores.row(first + i - 2);
    };
    const int common = members.common(all.lists.tops.row(s));
    int* counts = block.counts[right[s] != 0 ? 1 : 0];

    for (std::int64_t m = first_model; m < last_model; m += warp_size) {
      const std::int64_t mine = min(m + lane_id(), last_model - 1);
      double goal = 0, elsewhere = 0;
      bool beaten = false;
      for (std::int64_t from = 0; from < n_sums; from += most_kept) {
        const int n_kept = static_cast<int>(min(n_sums - from, most_kept));
        if (m == first_model || n_sums > most_kept) {  // not there from the models before
          __syncwarp();
          for (int i = lane_id(); i < n_kept; i += warp_size)
            sums[i] = members.sum(summed(from + i));
          __syncwarp();
        }
        int i = 0;
        if (from == 0) {
          elsewhere = __dadd_rn(sums[0], double{outside[mine]});
          goal = __dadd_rn(sums[1], double{of_target[mine]});
          i = 2;
        }
        const float* score = all.scores.row(first + from + i - 2) + mine;
#pragma unroll 4
        for (; i < n_kept; ++i, score += all.scores.row_stride) {
          const int u = static_cast<int>(from) + i - 2;
          const double rival = __dadd_rn(sums[i], double{__ldg(score)});
          beaten |= (u < target ? rival >= goal : rival > goal) & (u != target);
        }
      }
      const int predicted = all.lists.tops.row(s)[mine];
      const bool agrees = members.count == 0 || predicted == common;
      const bool won = !agrees && !beaten && goal > elsewhere;
      const bool is_open = !agrees && !beaten && !won && goal > -infinity;
      const unsigned open = __ballot_sync(all_lanes, is_open && m + lane_id() < last_model);
      const unsigned settled = open == 0 ? 0 : settle(all, members, s, m, goal, open);
      const bool hit = agrees ? predicted == target : won || (settled >> lane_id() & 1) != 0;
      if (hit && m + lane_id() < last_model) atomicAdd(&counts[mine - first_model], 1);
    }
  }

  __syncthreads();
  for (std::int64_t m = threadIdx.x; m < last_model - first_model; m += n_warps * warp_size)
    for (int kind = 0; kind < 2; ++kind)
      if (block.counts[kind][m] != 0)
        add(&hits[2 * (first_model + m) + kind], block.counts[kind][m]);
}

}  // namespace

cudaError_t candidate_hits(const Candidates<float>& candidates, const std::int64_t* members,
                           std::int64_t n_members, const std::uint8_t* right, std::int64_t* hits,
                           cudaStream_t stream) {
  const std::size_t bytes = static_cast<std::size_t>(candidates.n_models) * 2 * sizeof *hits;
  OVCORE_RETURN_IF_ERROR(set_to_zero(hits, bytes, stream));
  constexpr std::int64_t enough_blocks = 528;  // fill a chip once
  const std::int64_t n_blocks =
      min(ceil_div(candidates.lists.tops.rows, std::int64_t{n_warps}), enough_blocks);
  const std::int64_t n_groups = ceil_div(candidates.n_models, block_models);
  return launch(count_candidate_hits,
                dim3(static_cast<unsigned>(n_blocks), static_cast<unsigned>(n_groups)),
                n_warps * warp_size, sizeof(Block), stream, candidates, Members{members, n_members},
                right, hits);
}

}  // namespace ovcore::cuda
