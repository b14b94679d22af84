// Samples for which two models predict the same class, for all pairs.
//
// Class numbers lie as bit planes: two differ where any plane does, so a vector of samples takes
// one instruction a plane and one count, whatever the classes are.
#include "bit_vectors.hpp"
#include "kernel_table.hpp"
#include "pair_block.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

#if defined(__AVX512VPOPCNTDQ__)
constexpr int tile_rows = 6, tile_cols = 4;  // 24 differences, 4 columns and a row
#elif defined(__AVX2__)
constexpr int tile_rows = 3, tile_cols = 4;
#else
constexpr int tile_rows = 2, tile_cols = 4;
#endif
// Blocks of 512 samples counted at a time, so that some 200 rows of them stay in the second-level
// cache: 2.5 KiB a row of ten planes.
constexpr std::int64_t chunk_blocks = 4;

static_assert(plane_words % words_per_vector == 0);

struct ChunkOfDisagreement {
  MatrixView<const std::uint64_t> planes;
  std::int64_t block_words;
  Range chunk;  // of words
  MatrixView<std::int64_t> disagreement;

  // Counts the chunk's samples of different classes; the first chunk sets the entries, others add.
  template <int Rows, int Cols>
  void count(std::int64_t i, std::int64_t j) const {
    const std::uint64_t *a[Rows], *b[Cols];
    for (int r = 0; r < Rows; ++r) a[r] = planes.row(i + r);
    for (int c = 0; c < Cols; ++c) b[c] = planes.row(j + c);
    // Sums stay in memory: the registers hold the differences.
    alignas(64) std::uint64_t sums[Rows][Cols][words_per_vector] = {};

    for (std::int64_t block = chunk.first; block < chunk.last; block += block_words)
      for (std::int64_t part = 0; part < plane_words; part += words_per_vector) {
        Vector differ[Rows][Cols];
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
          for (int c = 0; c < Cols; ++c) differ[r][c] = zero();
        const std::int64_t last = block + block_words;
        for (std::int64_t w = block + part; w < last; w += plane_words) {
          Vector col[Cols];
#pragma GCC unroll 8
          for (int c = 0; c < Cols; ++c) col[c] = load(b[c] + w);
#pragma GCC unroll 8
          for (int r = 0; r < Rows; ++r) {
            const Vector row = load(a[r] + w);
#pragma GCC unroll 8
            for (int c = 0; c < Cols; ++c) differ[r][c] = or_differ(differ[r][c], row, col[c]);
          }
        }
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
          for (int c = 0; c < Cols; ++c)
            store(sums[r][c], add_popcount(load(sums[r][c]), differ[r][c]));
      }

    for (int r = 0; r < Rows; ++r) {
      Vector of_row[Cols];
      for (int c = 0; c < Cols; ++c) of_row[c] = load(sums[r][c]);
      write_sums(of_row, chunk.first > 0, disagreement.row(i + r) + j);
    }
  }
};

}  // namespace

void pack_classes(const std::uint16_t* classes, std::int64_t n_planes, Range samples,
                  std::uint64_t* planes) {
  constexpr std::int64_t block_samples = plane_words * samples_per_word;
  std::uint64_t* block = planes + samples.first / block_samples * n_planes * plane_words;
  for (std::int64_t n = samples.first; n < samples.last; block += n_planes * plane_words)
    for (std::int64_t word = 0; word < plane_words; ++word, n += samples_per_word) {
      const std::int64_t left = samples.last - n;
      if (left >= samples_per_word) {
        planes_of(classes + n, n_planes, block + word);
        continue;
      }
      std::uint16_t part[samples_per_word] = {};
      for (std::int64_t s = 0; s < left; ++s) part[s] = classes[n + s];
      planes_of(part, n_planes, block + word);
    }
}

void joint_agreement(MatrixView<const std::uint64_t> planes, std::int64_t n_planes,
                     std::int64_t n_samples, Range rows, Range cols,
                     MatrixView<std::int64_t> agreement) {
  const std::int64_t block_words = n_planes * plane_words;
  const std::int64_t chunk_words = chunk_blocks * block_words;
  std::int64_t first = 0;
  do {  // once even without samples: no two models agree then
    const std::int64_t last = first + chunk_words < planes.cols ? first + chunk_words : planes.cols;
    const ChunkOfDisagreement chunk{planes, block_words, {first, last}, agreement};
    for_each_tile<tile_rows, tile_cols>(chunk, rows, cols);
    first = last;
  } while (first < planes.cols);
  for (std::int64_t i = rows.first; i < rows.last; ++i)
    for (std::int64_t j = cols.first; j < cols.last; ++j)
      agreement.row(i)[j] = n_samples - agreement.row(i)[j];
  mirror(rows, cols, agreement);
}

}  // namespace ovcore::OVCORE_ISA
