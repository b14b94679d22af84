// What this machine can do, measured as the kernels use it: AND + POPCNT + ADD on bits, and reading
// memory. Prints JSON. Compiled for the chip it runs on; part of the benchmark, never shipped.
//
// usage: machine_limits THREADS MEGABYTES...
//
// Reading is measured on each of the amounts given: a chip with a large third-level cache reads
// what fits there faster, so that a kernel is to be set against reading as much as it reads.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__AVX512VPOPCNTDQ__)
#include <immintrin.h>
#endif

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Runs work(thread) on every thread, several times; the fastest, since a limit is what the machine
// does when nobody disturbs it.
template <class Work>
double seconds(int threads, int rounds, const Work& work) {
  double fastest = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const double start = now();
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (std::thread& other : others) other.join();
    fastest = std::min(fastest, now() - start);
  }
  return fastest;
}

// Bits of AND, POPCNT and ADD on 24 independent counts, from registers: three instructions a
// vector. Without VPOPCNTDQ: the same on 64-bit words. About 70 ms, so that starting the threads
// costs nothing.
double bits_of_and_popcount_add(std::uint64_t* sink) {
#if defined(__AVX512VPOPCNTDQ__)
  constexpr std::int64_t steps = std::int64_t{1} << 23;
  __m512i count[24], a = _mm512_set1_epi64(static_cast<long long>(*sink)), b = a;
  for (auto& c : count) c = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 24
    for (auto& c : count) {
      c = _mm512_add_epi64(c, _mm512_popcnt_epi64(_mm512_and_si512(a, b)));
      asm volatile("" : "+v"(a), "+v"(b));  // each AND is done anew
    }
  }
  for (const auto& c : count) *sink += static_cast<std::uint64_t>(_mm512_reduce_add_epi64(c));
  return 24.0 * 512.0 * static_cast<double>(steps);
#else
  constexpr std::int64_t steps = std::int64_t{1} << 25;
  std::uint64_t count[6] = {}, a = *sink, b = a;
  for (std::int64_t i = 0; i < steps; ++i)
    for (auto& c : count) {
      c += static_cast<std::uint64_t>(__builtin_popcountll(a & b));
      asm volatile("" : "+r"(a), "+r"(b));
    }
  for (const auto c : count) *sink += c;
  return 6.0 * 64.0 * static_cast<double>(steps);
#endif
}

// Reads everything, asking for memory so many bytes ahead, or leaving that to the chip.
template <int Ahead>
std::uint64_t read(const std::uint64_t* data, std::int64_t words) {
  std::uint64_t sums[32] = {};
  for (std::int64_t i = 0; i + 32 <= words; i += 32) {
    const std::uintptr_t far = reinterpret_cast<std::uintptr_t>(data + i) + Ahead;
    for (std::uintptr_t line = 0; Ahead > 0 && line < 32 * 8; line += 64)
      __builtin_prefetch(reinterpret_cast<const void*>(far + line));
    for (int lane = 0; lane < 32; ++lane) sums[lane] ^= data[i + lane];
  }
  std::uint64_t sum = 0;
  for (const auto s : sums) sum ^= s;
  return sum;
}

template <int Ahead>
double seconds_to_read(int threads, const std::uint64_t* memory, std::int64_t words,
                       std::vector<std::uint64_t>& sinks) {
  return seconds(threads, 9, [&](int t) {
    const std::int64_t part = words / threads;
    sinks[static_cast<std::size_t>(t) * 16] += read<Ahead>(memory + t * part, part);
  });
}

struct Free {
  void operator()(std::uint64_t* words) const { std::free(words); }
};
using Memory = std::unique_ptr<std::uint64_t[], Free>;

// Memory in huge pages where the system has them, as numpy's large arrays lie.
Memory memory_of(std::int64_t words) {
  constexpr std::size_t huge_page = std::size_t{1} << 21;
  const std::size_t bytes = (static_cast<std::size_t>(words) * 8 + huge_page - 1) & -huge_page;
  void* start = std::aligned_alloc(huge_page, bytes);
  if (start == nullptr) return nullptr;
#if defined(__linux__)
  madvise(start, bytes, MADV_HUGEPAGE);
#endif
  Memory memory(static_cast<std::uint64_t*>(start));
  std::fill_n(memory.get(), words, std::uint64_t{1});
  return memory;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  std::vector<std::uint64_t> sinks(static_cast<std::size_t>(threads) * 16, 3);
  double bits = 0;
  const double counting = seconds(threads, 7, [&](int t) {
    const double counted = bits_of_and_popcount_add(&sinks[static_cast<std::size_t>(t) * 16]);
    if (t == 0) bits = counted;
  });
  std::printf("{\"threads\": %d, \"and_popcount_add_tbit_per_s\": %.4f, \"read_gb_per_s\": {",
              threads, bits * threads / counting / 1e12);
  for (int i = 2; i < argc; ++i) {
    const std::int64_t words = std::atoll(argv[i]) * 1'000'000 / 8;
    const Memory memory = memory_of(words);
    if (!memory) return 2;
    const double reading = std::min({seconds_to_read<0>(threads, memory.get(), words, sinks),
                                     seconds_to_read<2048>(threads, memory.get(), words, sinks),
                                     seconds_to_read<8192>(threads, memory.get(), words, sinks)});
    std::printf("%s\"%s\": %.2f", i > 2 ? ", " : "", argv[i],
                static_cast<double>(words) * 8.0 / reading / 1e9);
  }
  std::printf("}}\n");
  return sinks[0] == 42 ? 1 : 0;
}
