// Hits of all pair ensembles, by bounding instead of scanning.
//
// A pair is settled on a sample by three sums: of the target's scores, the largest of the other
// listed classes', and that of both best scores outside the list, which no other class can pass.
// Float sums are compared as floats: rounding is monotone, so that where one rounded sum is larger
// the exact one is too. Equal sums settle nothing; those pairs are looked at one by one, each by a
// whole warp.
//
// A warp counts 32 x 32 pairs, of which each lane keeps 4 x 8 in registers, and takes one sample at
// a time. A class costs each pair an addition and a maximum, and the warp 256 bytes, which pass
// through shared memory: 3 loads of 16 bytes there serve a lane's 32 pairs. A sample costs each
// pair about ten instructions more, and nothing where all models of the tile agree.
#include <algorithm>

#include "async_copy.cuh"
#include "pair_tiles.cuh"
#include "settle.cuh"

namespace ovcore::cuda {
namespace {

constexpr int n_warps = 8;
constexpr int tile = 32;  // rows and columns of pairs
constexpr int rows_each = 4, cols_each = 8, pairs_each = rows_each * cols_each;
constexpr int col_lanes = tile / cols_each;
static_assert(pairs_each * warp_size == tile * tile, "each pair has one lane");
static_assert(pairs_each == 32, "a bit each");
constexpr int most_staged = 12;  // classes read at once

// Where a lane's pairs are in the tile: from 0 to 31, row by row.
__device__ inline int row_of(int lane, int pair) {
  return lane / col_lanes * rows_each + pair / cols_each;
}
__device__ inline int col_of(int lane, int pair) {
  return lane % col_lanes * cols_each + pair % cols_each;
}

template <class Use>  // use(row, column, the pair's bit)
__device__ inline void for_each_pair(const Use& use) {
#pragma unroll
  for (int i = 0; i < rows_each; ++i)
#pragma unroll
    for (int j = 0; j < cols_each; ++j) use(i, j, 1u << (i * cols_each + j));
}

// Counts of 32 pairs: bit i of plane p is bit p of the count of pair i.
struct Tally {
  static constexpr int n_planes = 5, most = (1 << n_planes) - 1;
  unsigned planes[n_planes] = {};

  __device__ void add(unsigned ones) {
#pragma unroll
    for (unsigned& plane : planes) {
      const unsigned carry = plane & ones;
      plane ^= ones;
      ones = carry;
    }
  }
  __device__ int of(int pair) const {
    int count = 0;
#pragma unroll
    for (int p = 0; p < n_planes; ++p) count += static_cast<int>(planes[p] >> pair & 1) << p;
    return count;
  }
};

// Something of a tile's models: of those that are its rows, then of those that are its columns.
template <class T>
struct alignas(16) Sides {
  T row[tile], col[tile];
};

// A lane's share.
template <class T>
struct Share {
  T row[rows_each], col[cols_each];

  __device__ explicit Share(const Sides<T>& all) {
    const int first_row = row_of(lane_id(), 0), first_col = col_of(lane_id(), 0);
#pragma unroll
    for (int i = 0; i < rows_each; ++i) row[i] = all.row[first_row + i];
#pragma unroll
    for (int j = 0; j < cols_each; ++j) col[j] = all.col[first_col + j];
  }
};

// What a warp reads of a sample.
struct Staged {
  Sides<std::int32_t> tops;
  Sides<float> outside, of_target, rivals[most_staged];
};

struct Block {
  int counts[2][pairs_each][warp_size];  // conversions and rescues of each lane's pairs
  Staged staged[n_warps];
};

// How often a warp took more than a look at the candidates, and more than the listed classes.
struct Settled {
  int pairs = 0, scanned = 0;
};

// Whether the pair's ensemble gets a listed sample right, to the letter of the definition. All
// lanes ask for the same pair.
__device__ inline bool settle_pair(const Candidates<float>& all, std::int64_t s, std::int64_t a,
                                   std::int64_t b, Settled& settled) {
  ++settled.pairs;
  const std::int64_t first = all.lists.offsets[s], size = all.lists.offsets[s + 1] - first;
  const std::int64_t target = all.lists.target[s];
  const auto sum = [&](std::int64_t u) {
    const float* row = all.scores.row(first + u);
    return __dadd_rn(double{row[a]}, double{row[b]});
  };
  const double of_target = sum(target);
  if (of_target == -infinity) return false;
  for (std::int64_t from = 0; from < size; from += warp_size) {
    const std::int64_t u = from + lane_id();
    if (__any_sync(all_lanes, u < size && beats(sum(u), u, of_target, target))) return false;
  }
  const double out_a{all.outside.row(s)[a]}, out_b{all.outside.row(s)[b]};
  if (of_target > __dadd_rn(out_a, out_b)) return true;

  ++settled.scanned;
  const std::int32_t target_class = all.lists.classes[first + target];
  // Only a class whose score for one model reaches what the other's outside score leaves open; of
  // the model that has fewer of those.
  const bool by_b = out_b < out_a;
  const ScoredRow looked_at(all, s, by_b ? b : a), other(all, s, by_b ? a : b);
  const double lowest = looked_at.threshold(left_open(of_target, by_b ? out_a : out_b));
  constexpr int at_once = 8;
  for (std::int64_t from = 0; from < all.n_classes; from += at_once * warp_size) {
    unsigned near = looked_at.at_least<at_once>(lowest, from + lane_id());
    bool beaten = false;
    for (; near != 0 && !beaten; near &= near - 1) {
      const std::int64_t k = from + lane_id() + (__ffs(static_cast<int>(near)) - 1) * warp_size;
      const double rival = __dadd_rn(double{looked_at.score(k)}, double{other.score(k)});
      beaten = beats(rival, k, of_target, target_class);
    }
    if (__any_sync(all_lanes, beaten)) return false;
  }
  return true;
}

__global__ void __launch_bounds__(n_warps* warp_size, 2)
    count_pair_hits(Candidates<float> all, unsigned n_tiles, std::int64_t per_slice,
                    MatrixView<std::int64_t> conversions, MatrixView<std::int64_t> rescues,
                    std::int64_t* settled) {
  Block& block = *shared<Block>();
  Staged& staged = block.staged[warp_id()];
  for (int pair = warp_id(); pair < pairs_each; pair += n_warps)
    block.counts[0][pair][lane_id()] = block.counts[1][pair][lane_id()] = 0;
  __syncthreads();

  // Blocks that run together share samples.
  const unsigned index = blockIdx.x % n_tiles, slice = blockIdx.x / n_tiles;
  const int tile_col = static_cast<int>(column_of(index));
  const int tile_row = static_cast<int>(index - triangle(static_cast<unsigned>(tile_col)));
  const int first_row = tile_row * tile, first_col = tile_col * tile;
  const int n_models = static_cast<int>(all.n_models);
  const auto is_counted = [&](int pair) {
    const int a = first_row + row_of(lane_id(), pair), b = first_col + col_of(lane_id(), pair);
    return a < b && b < n_models;
  };
  unsigned counted = 0;
  for (int pair = 0; pair < pairs_each; ++pair) counted |= is_counted(pair) ? 1u << pair : 0u;
  // What a lane reads for all; past the last model, that one again.
  const int my_row = min(first_row + lane_id(), n_models - 1);
  const int my_col = min(first_col + lane_id(), n_models - 1);
  const auto stage = [&](Sides<float>& to, const float* row) {
    copy_async<sizeof(float)>(&to.row[lane_id()], row + my_row);
    copy_async<sizeof(float)>(&to.col[lane_id()], row + my_col);
  };

  Tally tallies[2];  // conversions, rescues
  int tallied = 0;   // samples
  const auto hand_in = [&] {
    for (int pair = 0; pair < pairs_each; ++pair) {
      atomicAdd(&block.counts[0][pair][lane_id()], tallies[0].of(pair));
      atomicAdd(&block.counts[1][pair][lane_id()], tallies[1].of(pair));
    }
    tallies[0] = tallies[1] = {};
    tallied = 0;
  };
  Settled more;
  const std::int64_t last = min((slice + 1) * per_slice, all.lists.tops.rows);
  for (std::int64_t s = slice * per_slice + warp_id(); s < last; s += n_warps) {
    const std::int64_t first = all.lists.offsets[s];
    const int n_rivals = static_cast<int>(all.lists.offsets[s + 1] - first) - 1;
    const int target = all.lists.target[s];
    const int row_top = __ldg(all.lists.tops.row(s) + my_row);
    const int col_top = __ldg(all.lists.tops.row(s) + my_col);
    const int some_top = __shfl_sync(all_lanes, row_top, 0);
    if (__all_sync(all_lanes, row_top == some_top && col_top == some_top)) continue;

    staged.tops.row[lane_id()] = row_top;
    staged.tops.col[lane_id()] = col_top;
    stage(staged.outside, all.outside.row(s));
    stage(staged.of_target, all.scores.row(first + target));
    float rivals[rows_each][cols_each];
    for_each_pair([&](int i, int j, unsigned) { rivals[i][j] = -infinity; });
    const float* listed = all.scores.row(first);
    for (int from = 0; from < n_rivals; from += most_staged) {  // at least once, as tops differ
      const int n_staged = min(n_rivals - from, most_staged);
      for (int u = 0; u < n_staged; ++u, listed += all.scores.row_stride) {
        if (from + u == target) listed += all.scores.row_stride;
        stage(staged.rivals[u], listed);
      }
      commit_copies();
      wait_copies<0>();
      __syncwarp();
#pragma unroll 2
      for (int u = 0; u < n_staged; ++u) {
        const Share<float> scores(staged.rivals[u]);
        for_each_pair([&](int i, int j, unsigned) {
          rivals[i][j] = max(rivals[i][j], __fadd_rn(scores.row[i], scores.col[j]));
        });
      }
      __syncwarp();
    }

    const Share<std::int32_t> tops(staged.tops);
    const Share<float> outside(staged.outside), of_target(staged.of_target);
    unsigned hits = 0, open = 0, one_is_right = 0;
    constexpr unsigned whole_row = (1u << cols_each) - 1, whole_col = ~0u / whole_row;
#pragma unroll
    for (int i = 0; i < rows_each; ++i)
      one_is_right |= tops.row[i] == target ? whole_row << (i * cols_each) : 0u;
#pragma unroll
    for (int j = 0; j < cols_each; ++j) one_is_right |= tops.col[j] == target ? whole_col << j : 0u;
    for_each_pair([&](int i, int j, unsigned bit) {
      const float goal = __fadd_rn(of_target.row[i], of_target.col[j]);
      const float most = max(rivals[i][j], __fadd_rn(outside.row[i], outside.col[j]));
      const bool differ = tops.row[i] != tops.col[j];
      if (differ & (goal > most)) hits |= bit;
      if (differ & (goal >= rivals[i][j])) open |= bit;
    });
    open &= counted & ~hits;
    while (const unsigned lanes = __ballot_sync(all_lanes, open != 0)) {
      const int lane = __ffs(static_cast<int>(lanes)) - 1;
      const int pair = __ffs(__shfl_sync(all_lanes, static_cast<int>(open), lane)) - 1;
      const bool hit =
          settle_pair(all, s, first_row + row_of(lane, pair), first_col + col_of(lane, pair), more);
      if (lane_id() != lane) continue;
      open &= open - 1;
      if (hit) hits |= 1u << pair;
    }
    tallies[0].add(hits & one_is_right);
    tallies[1].add(hits & ~one_is_right);
    if (++tallied == Tally::most) hand_in();
    __syncwarp();  // the next sample takes this one's place
  }
  hand_in();
  if (lane_id() == 0 && more.pairs != 0) {
    add(&settled[0], more.pairs);
    add(&settled[1], more.scanned);
  }
  __syncthreads();
  for (int pair = warp_id(); pair < pairs_each; pair += n_warps) {
    if (!is_counted(pair)) continue;
    const int a = first_row + row_of(lane_id(), pair), b = first_col + col_of(lane_id(), pair);
    for (int kind = 0; kind < 2; ++kind) {
      const int count = block.counts[kind][pair][lane_id()];
      const MatrixView<std::int64_t>& to = kind == 0 ? conversions : rescues;
      if (count == 0) continue;
      add(&to.row(a)[b], count);
      add(&to.row(b)[a], count);
    }
  }
}

}  // namespace

cudaError_t pair_ensemble_hits(const Candidates<float>& candidates,
                               MatrixView<std::int64_t> conversions,
                               MatrixView<std::int64_t> rescues, std::int64_t* settled,
                               cudaStream_t stream) {
  OVCORE_RETURN_IF_ERROR(set_to_zero(conversions, stream));
  OVCORE_RETURN_IF_ERROR(set_to_zero(rescues, stream));
  OVCORE_RETURN_IF_ERROR(set_to_zero(settled, 2 * sizeof *settled, stream));
  const std::int64_t n_listed = candidates.lists.tops.rows;
  const std::int64_t to_a_side = ceil_div(candidates.n_models, std::int64_t{tile});
  if (to_a_side >= 1 << 15) return cudaErrorInvalidValue;
  const unsigned n_tiles = triangle(static_cast<unsigned>(to_a_side));
  if (n_listed == 0 || n_tiles == 0) return cudaSuccess;
  constexpr std::int64_t enough_blocks = 1056;  // some rounds of two on each multiprocessor
  constexpr std::int64_t least = 8 * n_warps, most = 1 << 30;  // counts of a block are int32
  const std::int64_t per_slice =
      std::clamp(ceil_div(n_listed * n_tiles, enough_blocks), least, most);
  const std::int64_t n_blocks = n_tiles * ceil_div(n_listed, per_slice);
  return launch(count_pair_hits, dim3(static_cast<unsigned>(n_blocks)), n_warps * warp_size,
                sizeof(Block), stream, candidates, n_tiles, per_slice, conversions, rescues,
                settled);
}

}  // namespace ovcore::cuda
