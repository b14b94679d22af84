// Some rows of a matrix, gathered; memory is the limit.
#include "device.cuh"

namespace ovcore::cuda {
namespace {

constexpr unsigned threads = 256;

template <class Piece>
__global__ void take_pieces(const char* from, std::int64_t row_stride, std::int64_t row_pieces,
                            const std::int64_t* rows, std::int64_t n_pieces, Piece* to) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n_pieces) return;
  const std::int64_t row = i / row_pieces, piece = i % row_pieces;
  to[i] = reinterpret_cast<const Piece*>(from + rows[row] * row_stride)[piece];
}

template <class Piece>
cudaError_t take(const void* from, std::int64_t row_stride, std::int64_t row_bytes,
                 const std::int64_t* rows, std::int64_t n_rows, void* to, cudaStream_t stream) {
  const std::int64_t row_pieces = row_bytes / static_cast<std::int64_t>(sizeof(Piece));
  const std::int64_t n_blocks = ceil_div<std::int64_t>(n_rows * row_pieces, threads);
  if (n_blocks > most_blocks) return cudaErrorInvalidValue;
  return launch(take_pieces<Piece>, dim3(static_cast<unsigned>(n_blocks)), threads, 0, stream,
                static_cast<const char*>(from), row_stride, row_pieces, rows, n_rows * row_pieces,
                static_cast<Piece*>(to));
}

}  // namespace

cudaError_t take_rows(const void* from, std::int64_t row_stride, std::int64_t row_bytes,
                      const std::int64_t* rows, std::int64_t n_rows, void* to,
                      cudaStream_t stream) {
  const std::uintptr_t steps =
      reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to) |
      static_cast<std::uintptr_t>(row_stride) | static_cast<std::uintptr_t>(row_bytes);
  const auto of = [&](auto piece) {
    return take<decltype(piece)>(from, row_stride, row_bytes, rows, n_rows, to, stream);
  };
  if (steps % 16 == 0) return of(uint4{});
  if (steps % 4 == 0) return of(std::uint32_t{});
  if (steps % 2 == 0) return of(std::uint16_t{});
  return of(std::uint8_t{});
}

}  // namespace ovcore::cuda
