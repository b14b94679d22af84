// How differently do the models of each pair err? Reads a file of numbers: how many models and
// samples there are, the classes of the samples, then what each model predicts of them.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <thread>
#include <vector>

#include "ovcore/kernels.hpp"

int main(int argc, char** argv) {
  std::ifstream file(argc == 2 ? argv[1] : "");
  std::int64_t n_models = 0, n_samples = 0;
  file >> n_models >> n_samples;
  std::vector<std::int64_t> target(n_samples), preds(n_models * n_samples);
  for (std::int64_t& label : target) file >> label;
  for (std::int64_t& pred : preds) file >> pred;
  if (!file) {
    std::cerr << "expected a file of numbers\n";
    return 1;
  }
  std::cerr << "instruction set " << ovcore::instruction_set() << '\n';  // before any thread asks

  // One bit a sample, 1 where the model is wrong.
  const std::int64_t n_words = (n_samples - 1) / ovcore::samples_per_word + 1;
  std::vector<std::uint64_t> words(n_models * n_words);
  for (std::int64_t m = 0; m < n_models; ++m)
    ovcore::pack_errors(&preds[m * n_samples], target.data(), {0, n_samples}, &words[m * n_words]);

  // Each thread pairs 64 models with themselves and all that follow, so that none shares a pair.
  std::vector<std::int64_t> joint(n_models * n_models);
  std::vector<std::thread> threads;
  for (std::int64_t m = 0; m < n_models; m += 64)
    threads.emplace_back([&, m] {
      ovcore::joint_errors({words.data(), n_models, n_words, n_words},
                           {m, std::min(m + 64, n_models)}, {m, n_models},
                           {joint.data(), n_models, n_models, n_models});
    });
  for (std::thread& thread : threads) thread.join();

  std::cout << "first second both_wrong inconsistency\n";
  for (std::int64_t i = 0; i < n_models; ++i)
    for (std::int64_t j = i + 1; j < n_models; ++j) {
      const std::int64_t both = joint[i * n_models + j];
      const std::int64_t one = joint[i * (n_models + 1)] + joint[j * (n_models + 1)] - 2 * both;
      std::cout << i << ' ' << j << ' ' << both << ' '
                << static_cast<double>(one) / static_cast<double>(n_samples) << '\n';
    }
}
