// CUDA kernels that count over pairs of models, against plain loops.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "../cuda/pair_tiles.cuh"
#include "testing.hpp"

namespace {

using ovcore::MatrixView;
using ovcore::cuda::IntegersView;
using ovcore::cuda::JointMethod;

constexpr std::int64_t untouched = -7;
constexpr std::int64_t lowest_int64 = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t highest_int64 = std::numeric_limits<std::int64_t>::max();

// Memory of the device, which says when a kernel writes beyond it.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t size) {
    void* memory = nullptr;
    expect(cudaMalloc(&memory, std::max(size, std::size_t{1}) * sizeof(T)) == cudaSuccess,
           "memory");
    data_.reset(static_cast<T*>(memory));
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    std::copy(values.begin(), values.end(), get());
  }
  T* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* memory) const { cudaFree(memory); }
  };
  std::unique_ptr<T, Free> data_;
};

// A counted matrix in rows that are longer than it is wide.
class Counts {
 public:
  explicit Counts(std::int64_t n_models)
      : size_(n_models), stride_(n_models + 3), counts_(static_cast<std::size_t>(size_ * stride_)) {
    std::fill_n(counts_.get(), size_ * stride_, untouched);
  }
  MatrixView<std::int64_t> view() const { return {counts_.get(), size_, size_, stride_}; }

  // count(i, j) for i <= j, and its mirror image; nothing past the rows' ends.
  template <class Count>
  void expect_counts(const Count& count, const std::string& what) const {
    bool holds = true;
    for (std::int64_t i = 0; i < size_; ++i) {
      for (std::int64_t j = i; j < size_; ++j) {
        const std::int64_t expected = count(i, j);
        holds = holds && view().row(i)[j] == expected && view().row(j)[i] == expected;
      }
      for (std::int64_t j = size_; j < stride_; ++j) holds = holds && view().row(i)[j] == untouched;
    }
    expect(holds, what.c_str());
  }

 private:
  std::int64_t size_, stride_;
  DeviceArray<std::int64_t> counts_;
};

void on_device_of(const char* capability) { setenv("OVCORE_SIMT_CAPABILITY", capability, 1); }

// ---- tiles --------------------------------------------------------------------------------------

void tiles_cover_the_upper_triangle_once() {
  using namespace ovcore::cuda;
  for (unsigned column = 1; column < 1u << 16; ++column)
    if (column_of(triangle(column)) != column || column_of(triangle(column) - 1) != column - 1) {
      expect(false, "column of a tile");
      break;
    }
  const auto covers = [](unsigned squares) {
    const Plan plan = {squares, squares * (squares + 1), 2, 7, 4};
    std::vector<char> seen(std::size_t{2} * squares * squares, 0);
    for (unsigned block = 0; block < plan.tiles * 2; ++block) {
      const Part part = part_of<64>(plan, block);
      const std::int64_t row = part.row / 32, col = part.col / 64;
      if (part.row % 32 != 0 || part.col % 64 != 0 || row / 2 > col || col >= squares) return false;
      const bool is_second = block >= plan.tiles;
      if (part.first != (is_second ? 4 : 0) || part.last != (is_second ? 7 : 4)) return false;
      ++seen[static_cast<std::size_t>(row * squares + col)];
    }
    for (std::int64_t row = 0; row < 2 * squares; ++row)
      for (std::int64_t col = 0; col < squares; ++col)
        if (seen[static_cast<std::size_t>(row * squares + col)] != (row / 2 <= col ? 2 : 0))
          return false;
    return true;
  };
  for (unsigned squares = 1; squares < 25; ++squares)
    expect(covers(squares), "every tile of the upper triangle is counted once");
  expect(covers(1003), "every one of a million tiles is counted once");
}

// ---- joint errors -------------------------------------------------------------------------------

void expect_joint_errors(std::int64_t n_models, std::int64_t n_words, std::int64_t row_stride,
                         std::int64_t first, JointMethod method) {
  // What lies around the words is set: it must not be counted.
  std::vector<std::uint64_t> memory(static_cast<std::size_t>(first + n_models * row_stride),
                                    ~std::uint64_t{0});
  std::uint64_t state = static_cast<std::uint64_t>(n_models * 1000 + n_words);
  for (std::int64_t m = 0; m < n_models; ++m)
    for (std::int64_t w = 0; w < n_words; ++w)
      memory[static_cast<std::size_t>(first + m * row_stride + w)] =
          m % 5 == 3 ? ~std::uint64_t{0} : next_bits(state);
  const DeviceArray<std::uint64_t> on_device(memory);
  const MatrixView<const std::uint64_t> words = {on_device.get() + first, n_models, n_words,
                                                 row_stride};
  const Counts joint(n_models);
  const std::string what = "joint_errors of " + std::to_string(n_models) + " models, " +
                           std::to_string(n_words) + " words, rows of " +
                           std::to_string(row_stride) + ", method " +
                           std::to_string(static_cast<int>(method));
  expect(joint_errors(words, joint.view(), method, nullptr) == cudaSuccess, what.c_str());
  joint.expect_counts(
      [&](std::int64_t i, std::int64_t j) {
        std::int64_t count = 0;
        for (std::int64_t w = 0; w < n_words; ++w)
          count += __builtin_popcountll(words.row(i)[w] & words.row(j)[w]);
        return count;
      },
      what);
}

void joint_errors_are_those_of_plain_loops() {
  on_device_of("90");
  for (const JointMethod method : {JointMethod::popcount, JointMethod::mma, JointMethod::wgmma}) {
    for (const std::int64_t n_models : {0, 1, 2, 3, 25, 63, 64, 65, 82, 127, 129, 257})
      for (const std::int64_t n_words : {0, 1, 2, 16, 17})
        expect_joint_errors(n_models, n_words, (n_words + 3) / 2 * 2, 2, method);
    for (const std::int64_t n_words : {3, 7, 8, 9, 15, 31, 64, 65, 129, 782})
      expect_joint_errors(5, n_words, (n_words + 1) / 2 * 2, 0, method);
    expect_joint_errors(1100, 3, 4, 0, method);
    expect_joint_errors(1, 9, 9, 0, method);  // of one row, only the first word is aligned
    expect_joint_errors(130, 200, 208, 0, method);
  }
  for (const std::int64_t n_models : {1, 3, 129})
    for (const std::int64_t n_words : {1, 8, 33})
      expect_joint_errors(n_models, n_words, n_words, 1, JointMethod::popcount);
}

void joint_methods_are_those_of_the_device() {
  constexpr std::int64_t n_models = 130, n_words = 2;
  const DeviceArray<std::uint64_t> memory(std::vector<std::uint64_t>(n_models * n_words + 1, 1));
  const MatrixView<const std::uint64_t> many = {memory.get(), n_models, n_words, n_words};
  const MatrixView<const std::uint64_t> few = {memory.get(), 128, n_words, n_words};
  const MatrixView<const std::uint64_t> odd_start = {memory.get() + 1, n_models, n_words, n_words};
  const MatrixView<const std::uint64_t> odd_stride = {memory.get(), 80, n_words, 3};
  const auto choice = [](MatrixView<const std::uint64_t> words) {
    JointMethod method = JointMethod::popcount;
    expect(choose_joint_method(words, &method) == cudaSuccess, "choose_joint_method");
    return method;
  };
  const Counts joint(n_models);
  const auto counted = [&](MatrixView<const std::uint64_t> words, JointMethod method) {
    return joint_errors(words, joint.view(), method, nullptr);
  };

  on_device_of("90");
  expect(choice(many) == JointMethod::wgmma, "9.0: wgmma");
  expect(choice(few) == JointMethod::mma, "9.0, up to 128 models: mma");
  expect(choice(odd_start) == JointMethod::popcount, "words that are not aligned: popcount");
  expect(choice(odd_stride) == JointMethod::popcount, "rows that are not aligned: popcount");
  expect(counted(odd_start, JointMethod::mma) == cudaErrorInvalidValue, "mma is for aligned words");
  for (const char* capability : {"80", "86", "89"}) {
    on_device_of(capability);
    expect(choice(many) == JointMethod::mma, "8.x: mma");
    expect(counted(many, JointMethod::wgmma) == cudaErrorNotSupported, "8.x: no wgmma");
  }
  for (const char* capability : {"75", "100", "120"}) {
    on_device_of(capability);
    expect(choice(many) == JointMethod::popcount, "elsewhere: popcount");
    for (const JointMethod method : {JointMethod::mma, JointMethod::wgmma})
      expect(counted(many, method) == cudaErrorNotSupported, "elsewhere: no tensor cores");
    expect(counted(many, JointMethod::popcount) == cudaSuccess, "popcount runs everywhere");
  }
  on_device_of("90");
}

// ---- classes ------------------------------------------------------------------------------------

// Vectors of classes of all kinds of integers, forwards and backwards, with gaps.
class Classes {
 public:
  Classes(std::int64_t n_models, std::int64_t n_samples, std::int64_t lowest,
          std::int64_t n_classes)
      : values_(static_cast<std::size_t>(n_models)) {
    std::uint64_t state = static_cast<std::uint64_t>(n_models * 77 + n_samples + n_classes);
    std::vector<IntegersView> views;
    for (std::int64_t m = 0; m < n_models; ++m) {
      auto& values = values_[static_cast<std::size_t>(m)];
      for (std::int64_t n = 0; n < n_samples; ++n) {
        const auto random = static_cast<std::int64_t>(next_bits(state) >> 20);
        // Models agree on every third sample; there and in the others the extremes are taken.
        values.push_back(lowest + (n % 3 == 0   ? n * 7 % n_classes
                                   : n % 5 == 1 ? random % 2 * (n_classes - 1)
                                                : random % n_classes));
      }
      views.push_back(store(values, m));
    }
    views_ = std::make_unique<DeviceArray<IntegersView>>(views);
  }
  const IntegersView* views() const { return views_->get(); }
  const std::vector<std::int64_t>& of(std::int64_t m) const {
    return values_[static_cast<std::size_t>(m)];
  }

 private:
  IntegersView store(const std::vector<std::int64_t>& values, std::int64_t m) {
    bool is_signed = m % 2 == 0;
    std::int32_t itemsize = 1 << m % 4;
    for (const std::int64_t value : values)  // widened to hold them
      while (itemsize < 8 && (value < (is_signed ? -(std::int64_t{1} << (8 * itemsize - 1)) : 0) ||
                              value >= std::int64_t{1} << (8 * itemsize - (is_signed ? 1 : 0))))
        itemsize *= 2;
    const std::int64_t size = static_cast<std::int64_t>(values.size());
    const std::int64_t stride = itemsize * (m % 3 + 1);
    bytes_.emplace_back(static_cast<std::size_t>(size * stride));
    unsigned char* const bytes = bytes_.back().get();
    const bool is_backwards = m % 5 == 4 && size > 0;
    const IntegersView view = {bytes + (is_backwards ? (size - 1) * stride : 0),
                               is_backwards ? -stride : stride, itemsize, is_signed};
    for (std::int64_t n = 0; n < size; ++n)  // little endian: the low bytes come first
      std::memcpy(bytes + (is_backwards ? size - 1 - n : n) * stride,
                  &values[static_cast<std::size_t>(n)], static_cast<std::size_t>(itemsize));
    return view;
  }

  std::vector<std::vector<std::int64_t>> values_;
  std::vector<DeviceArray<unsigned char>> bytes_;
  std::unique_ptr<DeviceArray<IntegersView>> views_;
};

void expect_agreement(std::int64_t n_models, std::int64_t n_samples, std::int64_t lowest,
                      std::int64_t n_planes) {
  const Classes classes(n_models, n_samples, lowest, std::int64_t{1} << n_planes);
  const std::string what = std::to_string(n_models) + " models, " + std::to_string(n_samples) +
                           " samples, " + std::to_string(n_planes) + " planes from " +
                           std::to_string(lowest);

  const DeviceArray<std::int64_t> span(2);
  expect(class_span(classes.views(), n_models, n_samples, span.get(), nullptr) == cudaSuccess,
         ("class_span of " + what).c_str());
  std::int64_t low = highest_int64, high = lowest_int64;
  for (std::int64_t m = 0; m < n_models; ++m)
    for (const std::int64_t value : classes.of(m)) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
  expect(span.get()[0] == low && span.get()[1] == high, ("class_span of " + what).c_str());

  const DeviceArray<unsigned char> planes(
      ovcore::cuda::agreement_scratch(n_models, n_samples, n_planes));
  const Counts agreement(n_models);
  expect(joint_agreement(classes.views(), n_models, lowest, n_planes, n_samples, planes.get(),
                         agreement.view(), nullptr) == cudaSuccess,
         ("joint_agreement of " + what).c_str());
  agreement.expect_counts(
      [&](std::int64_t i, std::int64_t j) {
        std::int64_t count = 0;
        for (std::size_t n = 0; n < classes.of(i).size(); ++n)
          count += classes.of(i)[n] == classes.of(j)[n];
        return count;
      },
      "joint_agreement of " + what);
}

void agreement_is_that_of_plain_loops() {
  for (const std::int64_t n_models : {0, 1, 2, 3, 4, 5, 25, 63, 64, 65, 82, 129})
    for (const std::int64_t n_samples : {0, 1, 63, 64, 65, 127, 1000})
      expect_agreement(n_models, n_samples, 0, 4);
  for (std::int64_t n_planes = 0; n_planes <= 16; ++n_planes)
    for (const std::int64_t lowest : {std::int64_t{0}, std::int64_t{-3}, lowest_int64})
      expect_agreement(6, 1300, lowest, n_planes);
  expect_agreement(5, 1000, highest_int64 - 1023, 10);
  expect_agreement(3, 20000, 100, 10);
  expect_agreement(600, 70, 0, 10);
}

void agreement_refuses_too_many_planes() {
  const DeviceArray<IntegersView> classes(1);
  const Counts agreement(1);
  for (const std::int64_t n_planes : {-1, 17})
    expect(ovcore::cuda::joint_agreement(classes.get(), 1, 0, n_planes, 1, nullptr,
                                         agreement.view(), nullptr) == cudaErrorInvalidValue,
           "0 to 16 planes");
}

}  // namespace

int main() {
  tiles_cover_the_upper_triangle_once();
  joint_errors_are_those_of_plain_loops();
  joint_methods_are_those_of_the_device();
  agreement_is_that_of_plain_loops();
  agreement_refuses_too_many_planes();
  return failures == 0 ? 0 : 1;
}
