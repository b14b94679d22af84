// How differently do the models of each pair err? Reads a text file: how many models and samples,
// the classes of the samples, then what each model predicts.
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
  if (!file) return std::cerr << "usage: error_inconsistency FILE of numbers\n", 2;

  // One bit a sample, 1 where the model is wrong.
  const std::int64_t n_words = (n_samples + ovcore::samples_per_word - 1) / ovcore::samples_per_word;
  std::vector<std::uint64_t> words(n_models * n_words);
  for (std::int64_t m = 0; m < n_models; ++m)
    ovcore::pack_errors(&preds[m * n_samples], target.data(), {0, n_samples}, &words[m * n_words]);

  // A thread counts the pairs of some models with all that follow: no two share a pair.
  constexpr std::int64_t models_per_thread = 64;
  std::cout << "counting with " << ovcore::instruction_set() << '\n';  // chosen before threads start
  std::vector<std::int64_t> joint(n_models * n_models);
  std::vector<std::thread> threads;
  for (std::int64_t m = 0; m < n_models; m += models_per_thread)
    threads.emplace_back([&, rows = ovcore::Range{m, std::min(m + models_per_thread, n_models)}] {
      ovcore::joint_errors({words.data(), n_models, n_words, n_words}, rows, {m, n_models}, ...);
    });
}
