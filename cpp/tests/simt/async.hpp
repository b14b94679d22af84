// What a thread starts and waits for later, in groups: copies into shared memory, and
// multiplications that run beside it, as on tensor cores.
//
// A GPU does such work at any time between the two. Here it is done, and reads what it reads, when
// it is waited for; what it writes is poison from its start on, so that results change where a wait
// is missing or where memory is filled that others still read. What nobody has waited for when the
// block ends is dropped.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "simt.hpp"

namespace simt {

inline constexpr int async_poison = 0xa5;

// A thread's work of one kind, the oldest first.
template <class Work>
class Groups {
 public:
  bool is_empty() const { return work_.empty(); }
  void add(Work work) { work_.push_back(std::move(work)); }
  void commit() { ends_.push_back(work_.size()); }
  void clear() {
    work_.clear();
    ends_.clear();
  }
  // Does the work of all groups but the newest `pending`.
  template <class Do>
  void wait(int pending, const Do& perform) {
    const std::size_t kept = static_cast<std::size_t>(pending);
    if (ends_.size() <= kept) return;
    const auto past = ends_.end() - pending;
    const std::size_t n_done = past[-1];
    for (std::size_t i = 0; i < n_done; ++i) perform(work_[i]);
    work_.erase(work_.begin(), work_.begin() + static_cast<std::ptrdiff_t>(n_done));
    ends_.erase(ends_.begin(), past);
    for (std::size_t& end : ends_) end -= n_done;
  }

 private:
  std::vector<Work> work_;
  std::vector<std::size_t> ends_;  // of groups
};

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes, from_bytes;
};
using Multiplication = std::function<void(int* sums)>;

struct AsyncWork {
  Groups<Copy> copies;
  Groups<Multiplication> multiplications;
  // Where they are summed up, which is poison, and the sums.
  int* poisoned = nullptr;
  std::vector<int> sums;
};
inline std::array<AsyncWork, most_threads> async_work;  // of each thread of the block

inline AsyncWork& my_async_work() { return async_work[threadIdx.x]; }

// What the block before has not waited for.
inline void drop_async_work() {
  for (unsigned t = 0; t < blockDim.x; ++t) {
    async_work[t].copies.clear();
    async_work[t].multiplications.clear();
    async_work[t].poisoned = nullptr;
  }
}

// Copies from_bytes into shared memory and sets the rest of `bytes` to 0.
inline void copy_async(void* to, const void* from, std::size_t bytes, std::size_t from_bytes) {
  const Site site = {"copy_async", __FILE__, __LINE__};
  const auto at = reinterpret_cast<std::uintptr_t>(to);
  const auto offset = at - reinterpret_cast<std::uintptr_t>(shared_memory());
  if (offset >= shared_limit) fail("a copy to elsewhere than shared memory", site);
  if ((bytes != 4 && bytes != 8 && bytes != 16) || from_bytes > bytes)
    fail("a copy of so many bytes", site);
  if (at % bytes != 0 || reinterpret_cast<std::uintptr_t>(from) % bytes != 0)
    fail("a copy that is not aligned", site);
  std::memset(to, async_poison, bytes);
  my_async_work().copies.add({to, from, bytes, from_bytes});
}
inline void commit_copies() { my_async_work().copies.commit(); }
inline void wait_copies(int pending) {
  my_async_work().copies.wait(pending, [](const Copy& copy) {
    std::memset(copy.to, 0, copy.bytes);
    if (copy.from_bytes > 0) std::memcpy(copy.to, copy.from, copy.from_bytes);
  });
}

// Queues a multiplication that adds to n sums. They are poison until all that add to them are done.
inline void multiply_async(int* sums, int n, Multiplication add) {
  AsyncWork& mine = my_async_work();
  if (mine.poisoned == nullptr) {
    mine.poisoned = sums;
    mine.sums.assign(sums, sums + n);
    std::memset(sums, async_poison, mine.sums.size() * sizeof(int));
  }
  if (mine.poisoned != sums || mine.sums.size() != static_cast<std::size_t>(n))
    fail("multiplications that add to other sums still run",
         {"multiply_async", __FILE__, __LINE__});
  mine.multiplications.add(std::move(add));
}
inline void commit_multiplications() { my_async_work().multiplications.commit(); }
inline void wait_multiplications(int pending) {
  AsyncWork& mine = my_async_work();
  mine.multiplications.wait(pending, [&](const Multiplication& add) { add(mine.sums.data()); });
  if (mine.poisoned == nullptr || !mine.multiplications.is_empty()) return;
  for (std::size_t i = 0; i < mine.sums.size(); ++i) {
    if (static_cast<unsigned>(mine.poisoned[i]) != async_poison * 0x01010101u)
      fail("sums were written while multiplications added to them",
           {"wait_multiplications", __FILE__, __LINE__});
    mine.poisoned[i] = mine.sums[i];
  }
  mine.poisoned = nullptr;
}

}  // namespace simt
