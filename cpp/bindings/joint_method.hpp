// How joint errors are counted on a GPU, shown to count right there before it is relied on.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "device_job.hpp"

namespace ovcore::bindings {

// Whether a method agrees with plain counting on the job's device, of bits that are reproducible:
// instructions of tensor cores are described in prose and differ from chip to chip, and a wrong
// count would not be noticed. Enough words for several stages a block, the last of them incomplete.
// Takes some milliseconds.
inline bool counts_right(DeviceJob& job, cuda::JointMethod method) {
  constexpr std::int64_t n_models = 300, n_words = 2401, stride = n_words + 1;
  std::vector<std::uint64_t> bits(n_models * stride);
  std::uint64_t state = 20220425;
  for (std::uint64_t& word : bits) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    word = state ^ state >> 29;
  }
  const MatrixView<const std::uint64_t> words{job.send(bits), n_models, n_words, stride};
  std::vector<std::int64_t> found[2];
  for (const cuda::JointMethod how : {cuda::JointMethod::popcount, method}) {
    auto* joint = job.scratch<std::int64_t>(n_models * n_models);
    check(cuda::joint_errors(words, {joint, n_models, n_models, n_models}, how, job.stream()));
    std::vector<std::int64_t>& counts = found[how == method];
    counts.resize(n_models * n_models);
    job.fetch(joint, n_models * n_models, counts.data());
  }
  std::int64_t first_pair = 0;  // counted here, lest both are wrong in the same way
  for (std::int64_t w = 0; w < n_words; ++w)
    first_pair += __builtin_popcountll(bits[w] & bits[stride + w]);
  return found[0] == found[1] && found[0][1] == first_pair;
}

// The method that was named, or else the fastest one for these words that counts right.
inline cuda::JointMethod joint_method(DeviceJob& job, MatrixView<const std::uint64_t> words,
                                      const std::optional<std::string>& name) {
  constexpr const char* names[] = {"popcount", "mma", "wgmma"};
  if (name) {
    const auto* known = std::find(std::begin(names), std::end(names), *name);
    require(known != std::end(names), "method must be popcount, mma or wgmma");
    return static_cast<cuda::JointMethod>(known - names);
  }
  cuda::JointMethod method{};
  check(cuda::choose_joint_method(words, &method));
  if (method == cuda::JointMethod::popcount) return method;
  static std::map<std::pair<int, cuda::JointMethod>, bool> shown;  // used with the GIL held
  const std::pair<int, cuda::JointMethod> here{job.device(), method};
  if (shown.count(here) == 0) {
    const bool is_right = counts_right(job, method);
    shown[here] = is_right;
    if (!is_right &&
        PyErr_WarnEx(PyExc_RuntimeWarning,
                     ("joint errors by " + std::string(names[static_cast<int>(method)]) +
                      " are wrong on this GPU: counting without tensor cores; please report it")
                         .c_str(),
                     1) != 0)
      throw py::error_already_set();
  }
  return shown[here] ? method : cuda::JointMethod::popcount;
}

}  // namespace ovcore::bindings
