// What this machine can do, measured as the kernels use it: AND + POPCNT + ADD on bits, and reading
// memory. Prints JSON. Compiled for the chip it runs on; part of the benchmark, never shipped.
//
// usage: machine_limits THREADS
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__AVX512VPOPCNTDQ__)
#include <immintrin.h>
#endif

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Runs work(thread) on every thread, several times; the median of the wall times.
template <class Work>
double seconds(int threads, const Work& work) {
  std::vector<double> times;
  for (int round = 0; round < 7; ++round) {
    const double start = now();
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (std::thread& other : others) other.join();
    times.push_back(now() - start);
  }
  for (std::size_t i = 0; i < times.size(); ++i)
    for (std::size_t j = i + 1; j < times.size(); ++j)
      if (times[j] < times[i]) std::swap(times[i], times[j]);
  return times[times.size() / 2];
}

// Bits per second of AND, POPCNT and ADD on 24 independent counts, from registers: three
// instructions a vector. Without VPOPCNTDQ: the same on 64-bit words.
double bits_of_and_popcount_add(std::uint64_t* sink, std::int64_t steps) {
#if defined(__AVX512VPOPCNTDQ__)
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

std::uint64_t read(const std::uint64_t* data, std::int64_t words) {
  std::uint64_t sums[32] = {};
  for (std::int64_t i = 0; i + 32 <= words; i += 32)
    for (int lane = 0; lane < 32; ++lane) sums[lane] ^= data[i + lane];
  std::uint64_t sum = 0;
  for (const auto s : sums) sum ^= s;
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  constexpr std::int64_t steps = 1 << 20, words = 1 << 26;  // 512 MiB, past every cache
  std::vector<std::uint64_t> sinks(static_cast<std::size_t>(threads) * 16, 3);
  double bits = 0;
  const double counting = seconds(
      threads, [&](int t) { bits = bits_of_and_popcount_add(&sinks[std::size_t(t) * 16], steps); });

  const std::vector<std::uint64_t> memory(words, 1);
  const double reading = seconds(threads, [&](int t) {
    const std::int64_t part = words / threads;
    sinks[static_cast<std::size_t>(t) * 16] += read(memory.data() + t * part, part);
  });
  std::printf("{\"threads\": %d, \"and_popcount_add_tbit_per_s\": %.4f, \"read_gb_per_s\": %.2f}\n",
              threads, bits * threads / counting / 1e12, words * 8.0 / reading / 1e9);
  return sinks[0] == 42 ? 1 : 0;
}
