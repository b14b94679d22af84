// Samples for which two models predict the same class, for all pairs.
//
// Class numbers lie as bit planes, [word of 32 samples][plane][model]: two models differ where any
// plane does, so 32 samples take one logical instruction a plane and one count, whatever the
// classes are. A multiprocessor does 64 of the former a cycle and 16 of the latter, so the planes
// are the limit from four on. A block of 128 threads counts 64 x 128 pairs, a thread 8 x 8: per
// plane 8 loads of 8 bytes from shared memory serve 64 instructions. Several blocks run on a
// multiprocessor, and while one counts bits, which is slow, others do planes.
#include "async_copy.cuh"
#include "pair_tiles.cuh"

namespace ovcore::cuda {
namespace {

constexpr int word_samples = 32;
constexpr std::int64_t model_group = 4;  // models are padded to 16 bytes of words

// One plane for no planes, too: all classes are the lowest, and agree.
std::int64_t stored_planes(std::int64_t n_planes) { return std::max(n_planes, std::int64_t{1}); }
std::int64_t stored_models(std::int64_t n_models) {
  return ceil_div(n_models, model_group) * model_group;
}

// ---- lowest and highest class -----------------------------------------------------------------

constexpr int span_threads = 256, span_reads = 4;

__global__ void start_span(std::int64_t* span) {
  if (threadIdx.x > 0) return;
  span[0] = std::numeric_limits<std::int64_t>::max();
  span[1] = std::numeric_limits<std::int64_t>::min();
}

__global__ void __launch_bounds__(span_threads)
    find_span(const IntegersView* classes, std::int64_t n_models, std::int64_t n_samples,
              std::int64_t* span) {
  constexpr std::int64_t block_samples = span_threads * span_reads;
  std::int64_t low = std::numeric_limits<std::int64_t>::max();
  std::int64_t high = std::numeric_limits<std::int64_t>::min();
  for (std::int64_t m = blockIdx.y; m < n_models; m += gridDim.y) {
    const IntegersView of_model = classes[m];
    const std::int64_t any = read_integer(of_model, 0);
    for (std::int64_t n = blockIdx.x * block_samples; n < n_samples;
         n += gridDim.x * block_samples) {
      std::int64_t values[span_reads];
      read_integers(of_model, n + threadIdx.x, span_threads, n_samples, any, values);
#pragma unroll
      for (int k = 0; k < span_reads; ++k) {
        low = min(low, values[k]);
        high = max(high, values[k]);
      }
    }
  }
  for (int width = warp_size / 2; width > 0; width /= 2) {
    low = min(low, __shfl_xor_sync(all_lanes, low, width));
    high = max(high, __shfl_xor_sync(all_lanes, high, width));
  }
  if (lane_id() > 0 || low > high) return;
  atomicMin(reinterpret_cast<long long*>(span), static_cast<long long>(low));
  atomicMax(reinterpret_cast<long long*>(span + 1), static_cast<long long>(high));
}

// ---- bit planes -------------------------------------------------------------------------------

constexpr int pack_threads = 256, pack_words = 4, pack_models = 32, most_planes = 16;

// A block packs 128 samples of 32 models. A warp's vote is one word of one model and plane; words
// pass through shared memory, from where those of 32 models are written together. Samples past the
// last are in all models of the lowest class.
__global__ void __launch_bounds__(pack_threads)
    pack_classes(const IntegersView* classes, std::int64_t n_models, std::int64_t lowest,
                 int n_planes, std::int64_t n_samples, std::int64_t padded_models,
                 std::int64_t n_words, unsigned* planes) {
  constexpr int warps = pack_threads / warp_size;
  unsigned* const votes = shared<unsigned>();  // [word][plane][model], 33 to a row
  constexpr int row = pack_models + 1;
  const std::int64_t first_word = std::int64_t{blockIdx.x} * pack_words;
  const std::int64_t first_model = std::int64_t{blockIdx.y} * pack_models;
  for (int m = warp_id(); m < pack_models; m += warps) {
    std::int64_t values[pack_words] = {lowest, lowest, lowest, lowest};
    if (first_model + m < n_models)
      read_integers(classes[first_model + m], first_word * word_samples + lane_id(), word_samples,
                    n_samples, lowest, values);
#pragma unroll
    for (int w = 0; w < pack_words; ++w) {
      const auto value = static_cast<unsigned>(static_cast<std::uint64_t>(values[w]) -
                                               static_cast<std::uint64_t>(lowest));
      unsigned mine = 0;  // of plane `lane`
      for (int p = 0; p < n_planes; ++p) {
        const unsigned vote = __ballot_sync(all_lanes, value >> p & 1);
        if (lane_id() == p) mine = vote;
      }
      if (lane_id() < n_planes) votes[(w * n_planes + lane_id()) * row + m] = mine;
    }
  }
  __syncthreads();
  const std::int64_t model = first_model + lane_id();
  for (int r = warp_id(); r < pack_words * n_planes; r += warps)
    if (model < padded_models && first_word + r / n_planes < n_words)
      planes[(first_word * n_planes + r) * padded_models + model] = votes[r * row + lane_id()];
}

// ---- pairs ------------------------------------------------------------------------------------

constexpr int square = 128, tile_rows = 64, tile_cols = 128;
constexpr int threads = 128, threads_x = 16, threads_y = 8;
constexpr int at_once = 2;  // neighbours that one load serves
constexpr int loads_y = tile_rows / (threads_y * at_once),
              loads_x = tile_cols / (threads_x * at_once);
constexpr int pairs_y = loads_y * at_once, pairs_x = loads_x * at_once;
constexpr int stage_rows = tile_rows + tile_cols;  // words of one plane
constexpr int slots = 2, slot_planes = 32;         // 48 KiB, which needs no permission
constexpr int blocks_at_once = 3;

struct Planes {
  const unsigned* data;
  std::int64_t n_samples, padded_models, n_words;
  int n_planes, stage_words;  // as many words in a stage as 32 planes hold
};

// Copies the planes of a stage of the tile's models.
__device__ inline void bring(const Planes& planes, const Part& part, std::int64_t stage,
                             unsigned* slot) {
  if (stage < part.last) {
    const std::int64_t first = stage * planes.stage_words;
    const int n = static_cast<int>(min(std::int64_t{planes.stage_words}, planes.n_words - first)) *
                  planes.n_planes;
    const unsigned* const from = planes.data + first * planes.n_planes * planes.padded_models;
    const auto copy = [&](int at_plane, int at_model, std::int64_t model, int step) {
      const bool inside = model < planes.padded_models;
      const unsigned* copied = from + at_plane * planes.padded_models + model;
#pragma unroll 1
      for (int p = at_plane; p < n; p += step, copied += step * planes.padded_models)
        copy_async<16>(slot + p * stage_rows + at_model, copied, inside ? 16 : 0);
    };
    constexpr int of_rows = tile_rows / model_group, of_cols = tile_cols / model_group;
    const int thread = static_cast<int>(threadIdx.x);
    const int row = thread % of_rows * int{model_group}, col = thread % of_cols * int{model_group};
    copy(thread / of_rows, row, part.row + row, threads / of_rows);
    copy(thread / of_cols, tile_rows + col, part.col + col, threads / of_cols);
  }
  commit_copies();
}

__global__ void __launch_bounds__(threads, blocks_at_once)
    count_agreement(Planes planes, MatrixView<std::int64_t> agreement, Plan plan) {
  const Part part = part_of<square>(plan, blockIdx.x);
  if (part.row >= agreement.rows) return;  // the whole block
  unsigned* const stages = shared<unsigned>();
  const int x = static_cast<int>(threadIdx.x) % threads_x * at_once;
  const int y = static_cast<int>(threadIdx.x) / threads_x * at_once;

  int differing[pairs_y][pairs_x] = {};
#pragma unroll 1
  for (int ahead = 0; ahead < slots - 1; ++ahead)
    bring(planes, part, part.first + ahead, stages + ahead * (slot_planes * stage_rows));
  int slot = 0;
  for (std::int64_t stage = part.first; stage < part.last; ++stage) {
    wait_copies<slots - 2>();
    __syncthreads();  // this stage is there for all, and all have read the one before
    bring(planes, part, stage + slots - 1,
          stages + (slot + slots - 1) % slots * (slot_planes * stage_rows));
    const unsigned* from = stages + slot * (slot_planes * stage_rows);
    slot = (slot + 1) % slots;
    const std::int64_t words =
        min(std::int64_t{planes.stage_words}, planes.n_words - stage * planes.stage_words);
    for (int word = 0; word < static_cast<int>(words); ++word) {
      unsigned differ[pairs_y][pairs_x];
      const auto add_plane = [&](bool is_first) {
        uint2 a[loads_y], b[loads_x];
#pragma unroll
        for (int r = 0; r < loads_y; ++r)
          a[r] = *reinterpret_cast<const uint2*>(from + y + r * (threads_y * at_once));
#pragma unroll
        for (int c = 0; c < loads_x; ++c)
          b[c] = *reinterpret_cast<const uint2*>(from + tile_rows + x + c * (threads_x * at_once));
#pragma unroll
        for (int r = 0; r < pairs_y; ++r)
#pragma unroll
          for (int c = 0; c < pairs_x; ++c) {
            const unsigned of_row = r % at_once ? a[r / at_once].y : a[r / at_once].x;
            const unsigned of_col = c % at_once ? b[c / at_once].y : b[c / at_once].x;
            differ[r][c] = (is_first ? 0 : differ[r][c]) | (of_row ^ of_col);
          }
        from += stage_rows;
      };
      add_plane(true);
#pragma unroll 1
      for (int p = 1; p < planes.n_planes; ++p) add_plane(false);
#pragma unroll
      for (int r = 0; r < pairs_y; ++r)
#pragma unroll
        for (int c = 0; c < pairs_x; ++c) differing[r][c] += __popc(differ[r][c]);
    }
  }
  const std::int64_t stage_samples = std::int64_t{planes.stage_words} * word_samples;
  const std::int64_t samples =
      min(part.last * stage_samples, planes.n_samples) - part.first * stage_samples;
#pragma unroll
  for (int r = 0; r < pairs_y; ++r)
#pragma unroll
    for (int c = 0; c < pairs_x; ++c)
      add_pair(agreement, part.row + y + r / at_once * (threads_y * at_once) + r % at_once,
               part.col + x + c / at_once * (threads_x * at_once) + c % at_once,
               samples - differing[r][c]);
}

}  // namespace

// Without samples or models the span is empty: its lowest is the largest int64, its highest the
// smallest.
cudaError_t class_span(const IntegersView* classes, std::int64_t n_models, std::int64_t n_samples,
                       std::int64_t* span, cudaStream_t stream) {
  OVCORE_RETURN_IF_ERROR(launch(start_span, dim3(1), warp_size, 0, stream, span));
  // A thousand blocks fill the chip; each warp ends with two updates of places that all share.
  const std::int64_t chunks = ceil_div(n_samples, std::int64_t{span_threads * span_reads});
  const std::int64_t blocks_x = std::min(chunks, std::int64_t{64});
  const std::int64_t blocks_y = std::min(n_models, 1024 / std::max(blocks_x, std::int64_t{1}));
  return launch(find_span, dim3(static_cast<unsigned>(blocks_x), static_cast<unsigned>(blocks_y)),
                span_threads, 0, stream, classes, n_models, n_samples, span);
}

std::size_t agreement_scratch(std::int64_t n_models, std::int64_t n_samples,
                              std::int64_t n_planes) {
  return static_cast<std::size_t>(ceil_div(n_samples, std::int64_t{word_samples}) *
                                  stored_planes(n_planes) * stored_models(n_models)) *
         sizeof(unsigned);
}

cudaError_t joint_agreement(const IntegersView* classes, std::int64_t n_models, std::int64_t lowest,
                            std::int64_t n_planes, std::int64_t n_samples, void* planes,
                            MatrixView<std::int64_t> agreement, cudaStream_t stream) {
  if (n_planes < 0 || n_planes > most_planes) return cudaErrorInvalidValue;
  if (n_models == 0) return cudaSuccess;
  OVCORE_RETURN_IF_ERROR(set_to_zero(agreement, stream));
  if (n_samples == 0) return cudaSuccess;

  const int stored = static_cast<int>(stored_planes(n_planes));
  const Planes packed = {static_cast<const unsigned*>(planes),
                         n_samples,
                         stored_models(n_models),
                         ceil_div(n_samples, std::int64_t{word_samples}),
                         stored,
                         slot_planes / stored};
  const dim3 pack_blocks(static_cast<unsigned>(ceil_div(packed.n_words, std::int64_t{pack_words})),
                         static_cast<unsigned>(ceil_div(n_models, std::int64_t{pack_models})));
  OVCORE_RETURN_IF_ERROR(launch(pack_classes, pack_blocks, pack_threads,
                                pack_words * stored * (pack_models + 1) * sizeof(unsigned), stream,
                                classes, n_models, lowest, stored, n_samples, packed.padded_models,
                                packed.n_words, static_cast<unsigned*>(planes)));

  Plan plan;
  const std::int64_t stage_words = packed.stage_words;
  OVCORE_RETURN_IF_ERROR(make_plan<square>(n_models, ceil_div(packed.n_words, stage_words),
                                           stage_words * word_samples, blocks_at_once, &plan));
  OVCORE_RETURN_IF_ERROR(launch(count_agreement, blocks_of(plan), threads,
                                slots * slot_planes * stage_rows * sizeof(unsigned), stream, packed,
                                agreement, plan));
  return mirror(agreement, stream);
}

}  // namespace ovcore::cuda
