// The C++ interface by itself, without Python: what an embedding program calls.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "testing.hpp"

namespace {

constexpr std::int64_t untouched = -7;

// The block's pairs i <= j and their mirror image hold count(i, j); the rest is left alone.
template <class Count>
void expect_block(const std::vector<std::int64_t>& out, std::int64_t n_models, ovcore::Range rows,
                  ovcore::Range cols, const char* what, const Count& count) {
  for (std::int64_t i = 0; i < n_models; ++i)
    for (std::int64_t j = 0; j < n_models; ++j) {
      const std::int64_t a = i < j ? i : j, b = i < j ? j : i;
      const bool in_block = a >= rows.first && a < rows.last && b >= cols.first && b < cols.last;
      expect(out[i * n_models + j] == (in_block ? count(i, j) : untouched), what);
    }
}

void joint_errors_counts_a_block_and_its_mirror_image() {
  constexpr std::int64_t n_models = 23, n_words = 1100;
  std::uint64_t state = 1;
  std::vector<std::uint64_t> bits(n_models * n_words);
  for (auto& word : bits) word = next_bits(state);
  std::vector<std::int64_t> joint(n_models * n_models, untouched);
  const ovcore::Range rows{2, 13}, cols{5, 23};  // across the diagonal
  ovcore::joint_errors({bits.data(), n_models, n_words, n_words}, rows, cols,
                       {joint.data(), n_models, n_models, n_models});
  expect_block(joint, n_models, rows, cols, "joint_errors of a block", [&](auto i, auto j) {
    std::int64_t count = 0;
    for (std::int64_t w = 0; w < n_words; ++w)
      for (std::uint64_t both = bits[i * n_words + w] & bits[j * n_words + w]; both != 0;
           both &= both - 1)
        ++count;
    return count;
  });
}

void joint_agreement_counts_a_block_and_its_mirror_image() {
  constexpr std::int64_t n_models = 19, n_samples = 5 * 512 + 77, n_planes = 7, n_blocks = 6;
  constexpr std::int64_t n_words = n_blocks * n_planes * ovcore::plane_words;
  std::uint64_t state = 2;
  std::vector<std::uint16_t> classes(n_models * n_samples);
  for (auto& k : classes) k = static_cast<std::uint16_t>((next_bits(state) >> 40) % 101 % 5 * 20);
  std::vector<std::uint64_t> planes(n_models * n_words, ~std::uint64_t{0});
  for (std::int64_t m = 0; m < n_models; ++m) {
    const std::uint16_t* of = classes.data() + m * n_samples;
    std::uint64_t* to = planes.data() + m * n_words;
    ovcore::pack_classes(of, n_planes, {1024, n_samples}, to);
    ovcore::pack_classes(of, n_planes, {0, 1024}, to);
  }
  std::vector<std::int64_t> agreement(n_models * n_models, untouched);
  const ovcore::Range rows{0, 9}, cols{3, 19};
  ovcore::joint_agreement({planes.data(), n_models, n_words, n_words}, n_planes, n_samples, rows,
                          cols, {agreement.data(), n_models, n_models, n_models});
  expect_block(agreement, n_models, rows, cols, "joint_agreement of a block", [&](auto i, auto j) {
    std::int64_t count = 0;
    for (std::int64_t n = 0; n < n_samples; ++n)
      count += classes[i * n_samples + n] == classes[j * n_samples + n];
    return count;
  });
}

void pack_errors_of_predictions_writes_its_range_alone() {
  std::vector<std::int64_t> preds(100), target(100, 1);
  for (std::int64_t n = 0; n < 100; ++n) preds[n] = n % 3;
  std::vector<std::uint64_t> words(3, 0xabcdefu);
  ovcore::pack_errors(preds.data(), target.data(), {64, 100}, words.data());
  expect(words[0] == 0xabcdefu && words[2] == 0xabcdefu, "words out of the range are left alone");
  for (std::int64_t n = 64; n < 100; ++n)
    expect(((words[1] >> (n - 64)) & 1) == (n % 3 != 1), "pack_errors of predictions");
  expect(words[1] >> 36 == 0, "bits past the last sample are 0");
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

// Small numbers, which every element type has; out and sums are left alone but in the columns.
template <class Value, class T>
void expect_centered(ovcore::Element element, const T& of_integer) {
  constexpr std::int64_t n_rows = 7, n_columns = 75, stride = 80;
  const ovcore::Range cols{3, 70};
  const auto number = [](std::int64_t i, std::int64_t j) { return (i * i + 3 * j) % 101; };
  std::vector<decltype(of_integer(0))> features(n_rows * stride);
  std::vector<Value> pilot(n_columns), out(n_rows * stride, Value{-7}), sums(n_columns, Value{-7});
  for (std::int64_t j = 0; j < n_columns; ++j) {
    pilot[j] = static_cast<Value>(j % 5) / 4;
    for (std::int64_t i = 0; i < n_rows; ++i) features[i * stride + j] = of_integer(number(i, j));
  }
  ovcore::center_rows({features.data(), element, n_rows, n_columns, stride}, pilot.data(), cols,
                      {out.data(), n_rows, n_columns, stride}, sums.data());
  for (std::int64_t j = 0; j < stride; ++j) {
    const bool inside = j >= cols.first && j < cols.last;
    Value sum = 0;
    for (std::int64_t i = 0; i < n_rows; ++i) {
      const Value left = inside ? static_cast<Value>(number(i, j)) - pilot[j] : Value{-7};
      expect(out[i * stride + j] == left, "center_rows");
      sum += left;
    }
    if (j < n_columns) expect(sums[j] == (inside ? sum : Value{-7}), "sums of centered rows");
  }
}

void center_rows_writes_its_columns_alone() {
  const auto as_float = [](std::int64_t i) { return static_cast<float>(i); };
  const auto as_double = [](std::int64_t i) { return static_cast<double>(i); };
  const auto as_float16 = [](std::int64_t i) {
    int exponent = 0;
    const double fraction = std::frexp(static_cast<double>(i), &exponent);  // in [1/2, 1)
    const int bits = static_cast<int>((2 * fraction - 1) * 1024) + ((exponent + 14) << 10);
    return ovcore::float16{static_cast<std::uint16_t>(i == 0 ? 0 : bits)};
  };
  const auto as_bfloat16 = [](std::int64_t i) {
    const float value = static_cast<float>(i);
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return ovcore::bfloat16{static_cast<std::uint16_t>(bits >> 16)};
  };
  expect_centered<float>(ovcore::Element::float32, as_float);
  expect_centered<float>(ovcore::Element::float16, as_float16);
  expect_centered<float>(ovcore::Element::bfloat16, as_bfloat16);
  expect_centered<double>(ovcore::Element::float32, as_float);
  expect_centered<double>(ovcore::Element::float16, as_float16);
  expect_centered<double>(ovcore::Element::bfloat16, as_bfloat16);
  expect_centered<double>(ovcore::Element::float64, as_double);
}

}  // namespace

int main() {
  return run("kernels", joint_errors_counts_a_block_and_its_mirror_image,
             joint_agreement_counts_a_block_and_its_mirror_image,
             pack_errors_writes_its_range_alone, pack_errors_of_predictions_writes_its_range_alone,
             center_rows_writes_its_columns_alone);
}
