// Counting by looking up, for chips with a byte shuffle and no popcount of vectors.
//
// For four samples of one row, popcount(a AND b) is a table of 16 bytes indexed by the same four
// samples b of a column. A shuffle looks 32 columns up at once and an addition sums them: two
// instructions for 128 pairs of bits, where counting the bits of a vector takes eight for 256. The
// columns of a block are laid out for it first: one byte a model, 32 models a vector.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "ovcore/matrix_view.hpp"

namespace ovcore::OVCORE_ISA {

inline constexpr std::int64_t chunk_words = 62;  // even; 16 sums of bytes

namespace {

constexpr std::int64_t vector_models = 32, panel_vectors = 2;
constexpr std::int64_t panel_models = vector_models * panel_vectors;
constexpr std::int64_t bytes_per_sum = 31;  // of 2 x 4 samples: counts up to 248 fit a byte
constexpr int tile_rows = 6;  // 6 x 2 sums, 2 columns, a table and a product: 16 registers

// table[half][byte][b] = popcount(b AND the byte's lower (upper) four bits).
struct Tables {
  alignas(64) std::uint8_t count[2][256][16];
  constexpr Tables() : count() {
    for (int half = 0; half < 2; ++half)
      for (int byte = 0; byte < 256; ++byte)
        for (int b = 0; b < 16; ++b) {
          const int both = (byte >> (4 * half)) & b;
          count[half][byte][b] = static_cast<std::uint8_t>((both & 1) + (both >> 1 & 1) +
                                                           (both >> 2 & 1) + (both >> 3));
        }
  }
};
constexpr Tables tables;

// Four samples of 64 columns at a place: byte m of panel[4-sample step] belongs to column m.
struct Panel {
  alignas(64) std::uint8_t nibbles[chunk_words * 16][panel_models];
};

// Bytes of 16 rows of two words, transposed in registers: row k of the result is byte k of all.
void transpose_16x16(__m128i (&x)[16]) {
  __m128i y[16];
#pragma GCC unroll 4
  for (int step = 0; step < 4; ++step) {  // each interleaves rows i and i + 8
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      y[2 * i] = _mm_unpacklo_epi8(x[i], x[i + 8]);
      y[2 * i + 1] = _mm_unpackhi_epi8(x[i], x[i + 8]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) x[i] = y[i];
  }
}

void lay_out(MatrixView<const std::uint64_t> words, Range cols, Range chunk, Panel& panel) {
  const __m128i low = _mm_set1_epi8(0x0f);
  for (std::int64_t first = 0; first < panel_models; first += 16)
    for (std::int64_t w = chunk.first; w < chunk.last; w += 2) {
      __m128i x[16];
#pragma GCC unroll 16
      for (std::int64_t m = 0; m < 16; ++m) {
        const std::int64_t col = cols.first + first + m;
        const auto* pair =
            reinterpret_cast<const __m128i*>(words.row(col < cols.last ? col : 0) + w);
        if (col >= cols.last)
          x[m] = _mm_setzero_si128();
        else
          x[m] = w + 1 < chunk.last ? _mm_loadu_si128(pair) : _mm_loadl_epi64(pair);
      }
      transpose_16x16(x);
      std::uint8_t (*to)[panel_models] = panel.nibbles + (w - chunk.first) * 16;
#pragma GCC unroll 16
      for (int byte = 0; byte < 16; ++byte) {
        const __m128i upper = _mm_and_si128(_mm_srli_epi16(x[byte], 4), low);
        _mm_store_si128(reinterpret_cast<__m128i*>(to[2 * byte] + first),
                        _mm_and_si128(x[byte], low));
        _mm_store_si128(reinterpret_cast<__m128i*>(to[2 * byte + 1] + first), upper);
      }
    }
}

// Sums, of Rows rows and Vectors x 32 columns, the pairs of bits in a few bytes; at most 255 each.
// Not inlined, so that the sums have all registers to themselves.
template <int Rows, int Vectors>
[[gnu::noinline]] void sum_bytes(const std::uint8_t* const (&bytes)[Rows], std::int64_t n_bytes,
                                 const std::uint8_t* nibbles,
                                 std::uint16_t (*counts)[panel_models]) {
  __m256i sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sum[r][v] = _mm256_setzero_si256();
  for (std::int64_t byte = 0; byte < n_bytes; ++byte)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m256i col[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v)
        col[v] = _mm256_load_si256(reinterpret_cast<const __m256i*>(nibbles + v * vector_models));
      nibbles += panel_models;
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const __m256i table = _mm256_broadcastsi128_si256(
            _mm_load_si128(reinterpret_cast<const __m128i*>(tables.count[half][bytes[r][byte]])));
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) {
          sum[r][v] = _mm256_add_epi8(sum[r][v], _mm256_shuffle_epi8(table, col[v]));
          asm("" : "+x"(sum[r][v]));  // reordered additions would need more registers than exist
        }
      }
    }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      auto* to = reinterpret_cast<__m256i*>(counts[r] + v * vector_models);
      const __m256i low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(sum[r][v]));
      const __m256i high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(sum[r][v], 1));
      _mm256_store_si256(to, _mm256_add_epi16(_mm256_load_si256(to), low));
      _mm256_store_si256(to + 1, _mm256_add_epi16(_mm256_load_si256(to + 1), high));
    }
}

// Counts one chunk for Rows rows and the columns of a panel from one of its vectors on.
template <int Rows, int Vectors>
void count_tile(MatrixView<const std::uint64_t> words, std::int64_t i, Range cols, Range chunk,
                const std::uint8_t* nibbles, MatrixView<std::int64_t> joint) {
  alignas(64) std::uint16_t counts[Rows][panel_models] = {};
  const std::int64_t n_bytes = 8 * (chunk.last - chunk.first);
  for (std::int64_t first = 0; first < n_bytes; first += bytes_per_sum) {
    const std::int64_t left = n_bytes - first;
    const std::uint8_t* bytes[Rows];
    for (int r = 0; r < Rows; ++r)
      bytes[r] = reinterpret_cast<const std::uint8_t*>(words.row(i + r) + chunk.first) + first;
    sum_bytes<Rows, Vectors>(bytes, left < bytes_per_sum ? left : bytes_per_sum,
                             nibbles + 2 * first * panel_models, counts);
  }
  for (int r = 0; r < Rows; ++r)
    for (std::int64_t m = 0; m < cols.last - cols.first; ++m) {
      std::int64_t& out = joint.row(i + r)[cols.first + m];
      out = chunk.first == 0 ? counts[r][m] : out + counts[r][m];
    }
}

template <int Vectors, int Rows = tile_rows>
void count_rows(std::int64_t n_rows, MatrixView<const std::uint64_t> words, std::int64_t i,
                Range cols, Range chunk, const std::uint8_t* nibbles,
                MatrixView<std::int64_t> joint) {
  if (n_rows >= Rows) return count_tile<Rows, Vectors>(words, i, cols, chunk, nibbles, joint);
  if constexpr (Rows > 1)
    count_rows<Vectors, Rows - 1>(n_rows, words, i, cols, chunk, nibbles, joint);
}

// Counts one chunk for the block's pairs i <= j, and for some entries below the diagonal. The
// first chunk sets them, others add.
void count_chunk(MatrixView<const std::uint64_t> of_rows, MatrixView<const std::uint64_t> of_cols,
                 Range rows, Range cols, Range chunk, MatrixView<std::int64_t> joint) {
  Panel panel;
  const std::uint8_t* nibbles = panel.nibbles[0];
  for (std::int64_t j = cols.first; j < cols.last; j += panel_models) {
    const Range part{j, cols.last - j < panel_models ? cols.last : j + panel_models};
    lay_out(of_cols, part, chunk, panel);
    const std::int64_t last = part.last < rows.last ? part.last : rows.last;
    for (std::int64_t i = rows.first; i < last; i += tile_rows) {
      const std::int64_t second = j + vector_models;
      if (part.last <= second)
        count_rows<1>(last - i, of_rows, i, part, chunk, nibbles, joint);
      else if (i < second)
        count_rows<2>(last - i, of_rows, i, part, chunk, nibbles, joint);
      else  // the first vector's columns lie left of the diagonal
        count_rows<1>(last - i, of_rows, i, {second, part.last}, chunk, nibbles + vector_models,
                      joint);
    }
  }
}

}  // namespace
}  // namespace ovcore::OVCORE_ISA
