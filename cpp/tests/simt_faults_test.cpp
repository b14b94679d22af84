// What runs CUDA kernels on the CPU notices faults that a GPU would get away with by luck: it ends
// the program and says why, or leaves poison where nobody has waited.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "simt_testing.hpp"

namespace {

// ---- what ends the program ---------------------------------------------------------------------

enum class Fault {
  barrier_of_some,
  warp_without_barrier,
  left_collective,
  other_collective,
  mask,
  shared_overrun,
  shared_underrun,
  copy_alignment,
  copy_elsewhere,
  sums_in_use
};

__global__ void faulty_kernel(Fault fault) {
  const bool is_first = threadIdx.x == 0, in_first_warp = threadIdx.x < 32;
  char* const bytes = shared<char>();
  if (fault == Fault::barrier_of_some && is_first) __syncthreads();
  if (fault == Fault::warp_without_barrier && !in_first_warp) __syncthreads();
  if (fault == Fault::left_collective && !is_first) __syncwarp();
  if (fault == Fault::other_collective) {
    if (is_first)
      __syncwarp();
    else
      __ballot_sync(all_lanes, 1);
  }
  if (fault == Fault::mask) __shfl_sync(0xffffu, 1, 0);
  if (fault == Fault::shared_overrun) bytes[100] = 1;
  if (fault == Fault::shared_underrun) bytes[-1] = 1;
  int sum = 0;
  if (fault == Fault::copy_alignment) simt::copy_async(bytes + 4, &sum, 8, 0);
  if (fault == Fault::copy_elsewhere) simt::copy_async(&sum, &sum, 4, 4);
  if (fault == Fault::sums_in_use) {
    simt::multiply_async(&sum, 1, [](int*) {});
    simt::commit_multiplications();
    sum = 1;
    simt::wait_multiplications(0);
  }
}

// Whether run() aborts and says something with these words.
template <class Run>
bool aborts(const char* words, const Run& run) {
  int ends[2];
  if (pipe(ends) != 0) return false;
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    run();
    _exit(0);
  }
  close(ends[1]);
  std::string said;
  char part[256];
  for (ssize_t n; (n = read(ends[0], part, sizeof(part))) > 0;)
    said.append(part, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  const bool holds =
      WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && said.find(words) != std::string::npos;
  if (!holds) std::printf("said: %s\n", said.c_str());
  return holds;
}

void test_deaths() {
  const auto faulty = [](Fault fault) {
    return [fault] { launch(faulty_kernel, 2, 64, 100, fault); };
  };
  in_all_orders([&] {
    expect(aborts("thread 0 waits at __syncthreads", faulty(Fault::barrier_of_some)),
           "a barrier that one thread reaches");
    expect(aborts("threads 0 to 31 have returned", faulty(Fault::warp_without_barrier)),
           "a barrier that a warp does not reach");
    expect(aborts("threads 1 to 31 wait at __syncwarp", faulty(Fault::left_collective)),
           "a collective without a lane");
    expect(aborts("threads 1 to 31 wait at __ballot_sync", faulty(Fault::other_collective)),
           "two collectives at once");
    expect(aborts("a mask that does not name all", faulty(Fault::mask)), "a mask of some lanes");
    expect(aborts("past the end of shared memory", faulty(Fault::shared_overrun)), "an overrun");
    expect(aborts("before the beginning of shared", faulty(Fault::shared_underrun)), "underrun");
    expect(aborts("is not aligned", faulty(Fault::copy_alignment)), "a copy to such an address");
    expect(aborts("elsewhere than shared", faulty(Fault::copy_elsewhere)), "a copy elsewhere");
    expect(aborts("sums were written", faulty(Fault::sums_in_use)), "sums that are in use");
  });
  for (const int offset : {-1, 10})
    expect(aborts(offset < 0 ? "before the beginning of allocated memory"
                             : "past the end of allocated memory",
                  [offset] {
                    char* memory = nullptr;
                    cudaMalloc(&memory, 10);
                    memory[offset] = 1;
                    cudaFree(memory);
                  }),
           "a write outside of memory is found when it is freed");
  expect(aborts("written after it was freed",
                [] {
                  char *freed = nullptr, *large = nullptr;
                  cudaMalloc(&freed, 10);
                  cudaFree(freed);
                  freed[3] = 1;
                  cudaMalloc(&large, 17 << 20);
                  cudaFree(large);
                }),
         "a write to freed memory is found in the end");
}

// ---- what leaves poison ------------------------------------------------------------------------

constexpr int poison = static_cast<int>(0xa5a5a5a5u);
constexpr int n_slots = 3;
constexpr unsigned n_threads = 64;

bool has_poison(const std::vector<int>& values) {
  return std::find(values.begin(), values.end(), poison) != values.end();
}

// Every thread copies a number of each stage, some stages ahead, and reads its neighbour's.
__global__ void staged_kernel(const int* from, int n_stages, int ahead, int pending, int* out) {
  const auto bring = [&](int stage) {
    const unsigned of_stage = static_cast<unsigned>(stage) * n_threads + threadIdx.x;
    if (stage < n_stages)
      simt::copy_async(shared<int>() + of_stage % (n_slots * n_threads), from + of_stage, 4, 4);
    simt::commit_copies();
  };
  for (int stage = 0; stage < ahead; ++stage) bring(stage);
  for (int stage = 0; stage < n_stages; ++stage) {
    simt::wait_copies(pending);
    __syncthreads();
    bring(stage + ahead);
    const int* const slot = shared<int>() + stage % n_slots * static_cast<int>(n_threads);
    out[stage * static_cast<int>(n_threads) + static_cast<int>(threadIdx.x)] =
        slot[(threadIdx.x + 1) % n_threads];
  }
}

void test_stages() {
  constexpr int n_stages = 7;
  std::uint64_t state = 3;
  std::vector<int> from, expected;
  for (unsigned i = 0; i < n_stages * n_threads; ++i)
    from.push_back(static_cast<int>(next_bits(state) % 1000));
  for (unsigned i = 0; i < n_stages * n_threads; ++i)
    expected.push_back(from[i / n_threads * n_threads + (i + 1) % n_threads]);
  const auto read = [&](int ahead, int pending) {
    std::vector<int> out(from.size(), 0);
    launch(staged_kernel, 1, n_threads, n_slots * n_threads * sizeof(int), from.data(), n_stages,
           ahead, pending, out.data());
    return out;
  };
  in_all_orders([&] {
    expect(read(2, 1) == expected, "waiting for all groups but the last");
    expect(read(2, 0) == expected, "waiting for all groups");
    expect(has_poison(read(2, 2)), "one wait too few");
    expect(has_poison(read(3, 2)), "one stage too far ahead");
  });
}

__global__ void one_copy_kernel(const unsigned char* from, int bytes, bool commit,
                                unsigned char* out) {
  unsigned char* const to = shared<unsigned char>() + threadIdx.x * 16;
  simt::copy_async(to, from, 16, static_cast<std::size_t>(bytes));
  if (commit) simt::commit_copies();
  simt::wait_copies(0);
  for (int i = 0; i < 16; ++i) out[threadIdx.x * 16 + static_cast<unsigned>(i)] = to[i];
}

void test_copies() {
  alignas(16) const unsigned char from[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  std::vector<unsigned char> out(32 * 16);
  const auto copy = [&](int bytes, bool commit) {
    launch(one_copy_kernel, 2, 32, out.size(), from, bytes, commit, out.data());
    return std::vector<unsigned char>(out.end() - 16, out.end());
  };
  expect(
      copy(5, true) == std::vector<unsigned char>{1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      "what is not copied is 0");
  expect(copy(16, false) == std::vector<unsigned char>(16, 0xa5), "a group that nobody ended");
}

// Adds what lies in shared memory, twice, and tells the sum after as many waits.
__global__ void multiply_kernel(int pending, bool overwrite, int* out) {
  int* const operand = shared<int>() + threadIdx.x;
  *operand = 10;
  int sum = 1;
  for (int i = 0; i < 2; ++i) {
    simt::multiply_async(&sum, 1, [operand](int* to) { *to += *operand; });
    simt::commit_multiplications();
  }
  simt::wait_multiplications(1);
  if (overwrite) *operand = 20;
  simt::wait_multiplications(pending);
  out[threadIdx.x] = sum;
}

void test_multiplications() {
  const auto multiply = [](int pending, bool overwrite) {
    std::vector<int> out(32);
    launch(multiply_kernel, 1, 32, 32 * sizeof(int), pending, overwrite, out.data());
    return out;
  };
  in_all_orders([&] {
    expect(multiply(0, false) == std::vector<int>(32, 21), "sums that were waited for");
    expect(multiply(1, false) == std::vector<int>(32, poison), "sums that were read too early");
    expect(multiply(0, true) == std::vector<int>(32, 31), "an operand that changed too early");
  });
}

}  // namespace

int main() {
  test_deaths();
  test_stages();
  test_copies();
  test_multiplications();
  return failures == 0 ? 0 : 1;
}
