// The C++ interface by itself, without Python: what an embedding program calls.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "ovcore/kernels.hpp"

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

// Reproducible bits: a linear congruential generator is random enough to catch a wrong index.
std::uint64_t next_bits(std::uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state ^ (state >> 29);
}

void joint_errors_counts_a_block_and_leaves_the_rest_alone() {
  constexpr std::int64_t n_models = 23, n_words = 1100, untouched = -7;
  std::uint64_t state = 1;
  std::vector<std::uint64_t> bits(n_models * n_words);
  for (auto& word : bits) word = next_bits(state);
  std::vector<std::int64_t> joint(n_models * n_models, untouched);
  const ovcore::Range rows{2, 13}, cols{5, 23};
  ovcore::joint_errors({bits.data(), n_models, n_words, n_words}, rows, cols,
                       {joint.data(), n_models, n_models, n_models});
  for (std::int64_t i = 0; i < n_models; ++i)
    for (std::int64_t j = 0; j < n_models; ++j) {
      std::int64_t expected = untouched;
      if (i >= rows.first && i < rows.last && j >= cols.first && j < cols.last) {
        expected = 0;
        for (std::int64_t w = 0; w < n_words; ++w)
          for (std::uint64_t both = bits[i * n_words + w] & bits[j * n_words + w]; both != 0;
               both &= both - 1)
            ++expected;
      }
      expect(joint[i * n_models + j] == expected, "joint_errors of a block");
    }
}

void pack_errors_writes_its_range_alone() {
  constexpr std::int64_t n_samples = 200, n_classes = 3;
  std::vector<float> logits(n_samples * n_classes, 0.0f);
  std::vector<std::int64_t> target(n_samples);
  for (std::int64_t n = 0; n < n_samples; ++n) {
    logits[n * n_classes + n % n_classes] = 1.0f;
    target[n] = 1;
  }
  std::vector<std::uint64_t> words(4, 0xabcdefu);
  std::vector<std::int32_t> preds(n_samples, 9);
  const std::int64_t without =
      ovcore::pack_errors(ovcore::MatrixView<const float>{logits.data(), n_samples, n_classes, 3},
                          target.data(), {64, n_samples}, words.data(), preds.data());
  expect(without == 0, "every row has a prediction");
  expect(words[0] == 0xabcdefu && preds[63] == 9, "samples before the range are left alone");
  for (std::int64_t n = 64; n < n_samples; ++n) {
    const bool wrong = (words[n / 64] >> (n % 64)) & 1;
    expect(wrong == (n % n_classes != 1), "pack_errors");
    expect(preds[n] == n % n_classes, "predictions");
  }
  expect(words[3] >> (n_samples - 192) == 0, "bits past the last sample are 0");
}

}  // namespace

int main() {
  std::printf("instruction set %s\n", ovcore::instruction_set());
  joint_errors_counts_a_block_and_leaves_the_rest_alone();
  pack_errors_writes_its_range_alone();
  return failures == 0 ? 0 : 1;
}
