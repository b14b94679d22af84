// The classes that can win a sample: its target and every model's prediction. Few classes are
// listed for many models, so each prediction is looked up in the list so far.
#include "ovcore/kernels.hpp"

namespace ovcore {
namespace {

// Place of a class in the list, which it is added to where it is not there yet.
std::int64_t place_of(std::int32_t wanted, std::int32_t* list, std::int64_t& size) {
  std::int64_t i = 0;
  while (i < size && list[i] != wanted) ++i;
  if (i == size) list[size++] = wanted;
  return i;
}

}  // namespace

void count_candidates(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                      Range samples, bool all, std::int32_t* scratch, std::int64_t* sizes) {
  for (std::int64_t n = samples.first; n < samples.last; ++n) {
    std::int64_t size = 0;
    for (std::int64_t m = 0; m < preds.rows; ++m) place_of(preds.row(m)[n], scratch, size);
    const bool is_listed = all || size > 1;
    place_of(static_cast<std::int32_t>(target[n]), scratch, size);
    sizes[n] = is_listed ? size : 0;
  }
}

void list_candidates(MatrixView<const std::int32_t> preds, const std::int64_t* target,
                     const std::int64_t* samples, const std::int64_t* offsets, Range listed,
                     std::int32_t* scratch, std::int32_t* classes, std::int32_t* positions,
                     MatrixView<std::int32_t> tops) {
  std::int32_t* found = scratch;                   // in the order of models
  std::int32_t* ranks = scratch + preds.rows + 1;  // of those, in ascending order
  for (std::int64_t s = listed.first; s < listed.last; ++s) {
    const std::int64_t n = samples[s];
    std::int64_t size = 0;
    for (std::int64_t m = 0; m < preds.rows; ++m)
      tops.row(s)[m] = static_cast<std::int32_t>(place_of(preds.row(m)[n], found, size));
    const std::int64_t of_target = place_of(static_cast<std::int32_t>(target[n]), found, size);
    for (std::int64_t i = 0; i < size; ++i) {
      std::int32_t rank = 0;
      for (std::int64_t j = 0; j < size; ++j) rank += found[j] < found[i];
      ranks[i] = rank;
      classes[offsets[s] + rank] = found[i];
    }
    for (std::int64_t m = 0; m < preds.rows; ++m) tops.row(s)[m] = ranks[tops.row(s)[m]];
    positions[s] = ranks[of_target];
  }
}

}  // namespace ovcore
