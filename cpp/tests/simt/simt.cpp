// The scheduler of fibers. A turn is passed from fiber to fiber by _setjmp and _longjmp, without a
// system call; fibers are made once and kept for the launches that follow.
#undef _FORTIFY_SOURCE  // which takes jumps between stacks for damage

#include "simt.hpp"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <string_view>
#include <utility>

#include "async.hpp"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace simt {
namespace {

constexpr int most_warps = most_threads / lanes_per_warp;
constexpr int warps_per_group = threads_per_warpgroup / lanes_per_warp;

// Shared memory, with bytes on both sides that nobody may write.
constexpr std::size_t guard_bytes = 256;
constexpr unsigned char shared_poison = 0xa5;
constexpr unsigned char guard_value = 0xc3;
constexpr std::size_t shared_alignment = 1024;

constexpr std::size_t stack_bytes = 64 * 1024;
// Where stacks start differs between the lanes of a warp, or they would compete for the same lines
// of the cache.
constexpr std::size_t stagger_bytes = 128;

// Everything below belongs to the launch that holds this. Allocated memory has a lock of its own.
std::mutex launch_mutex;

struct Fiber {
  jmp_buf context;
  unsigned thread = 0;
  Site site = {};
  Scope scope = Scope::returned;
};

// Warps that gather for a barrier of a warpgroup or the block.
struct Gathering {
  int arrived = 0;
  Site site = {};
};

struct Memory {
  alignas(shared_alignment) unsigned char shared[shared_alignment + shared_limit + guard_bytes];
  alignas(128) unsigned char warps[most_warps][2][lanes_per_warp * most_deposited];
  alignas(128) unsigned char groups[most_warps / warps_per_group][2]
                                   [threads_per_warpgroup * most_deposited];
};

enum class Order { none, ascending, descending, shuffled };

constexpr int n_lane_orders = 64;

struct Scheduler {
  // The current launch and block.
  void (*thread)(const void*) = nullptr;
  const void* arguments = nullptr;
  int n_warps = 0;
  std::size_t shared_bytes = 0;
  std::uint64_t random = 0;
  std::uint64_t n_launches = 0;

  // Warps: a bit each for those that can go on, other than the one that runs.
  std::uint32_t ready = 0;
  int n_returned = 0;
  Gathering block;
  std::array<Gathering, most_warps / warps_per_group> groups;

  // The warp that runs: whose turn it is, and where those wait that have had theirs.
  int warp = 0;
  int turn = 0;
  const std::uint8_t* lanes = nullptr;
  bool differ = false;
  Scope scope = Scope::returned;
  Site site = {};

  std::array<bool, most_warps> warp_parity = {};
  std::array<bool, most_warps / warps_per_group> group_parity = {};

  Order order = Order::none;
  std::uint8_t lane_orders[n_lane_orders][lanes_per_warp];

  Fiber host;
  std::array<Fiber, most_threads> fibers;
  Fiber* running = nullptr;
  int n_fibers = 0;
};

Scheduler now;

[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "simt: %s\n", why);
  std::abort();
}

// Outside of `now`, and from malloc, so that it is of any type.
Memory& memory() {
  static Memory* const all = [] {
    void* const made = std::aligned_alloc(alignof(Memory), sizeof(Memory));
    if (made == nullptr) give_up("no memory for what threads share");
    return static_cast<Memory*>(made);
  }();
  return *all;
}

unsigned char* shared_begin() { return memory().shared + shared_alignment; }

std::uint32_t next_random() {
  now.random ^= now.random << 13;
  now.random ^= now.random >> 7;
  now.random ^= now.random << 17;
  return static_cast<std::uint32_t>(now.random >> 16);
}

bool same(const Site& a, const Site& b) {
  return a.line == b.line && (a.what == b.what || std::string_view(a.what) == b.what);
}

bool is_ready(int thread) { return now.ready >> (thread / lanes_per_warp) & 1u; }

bool at_same_place(int thread, int other) {
  const Fiber& a = now.fibers[static_cast<std::size_t>(thread)];
  const Fiber& b = now.fibers[static_cast<std::size_t>(other)];
  if (is_ready(thread) || is_ready(other)) return is_ready(thread) == is_ready(other);
  return a.scope == b.scope && same(a.site, b.site);
}

void print_place(int first, int last) {
  const Fiber& fiber = now.fibers[static_cast<std::size_t>(first)];
  const bool one = first == last;
  if (one)
    std::fprintf(stderr, "simt:   thread %d ", first);
  else
    std::fprintf(stderr, "simt:   threads %d to %d ", first, last);
  if (is_ready(first))
    std::fprintf(stderr, "%s not arrived yet\n", one ? "has" : "have");
  else if (fiber.scope == Scope::returned)
    std::fprintf(stderr, "%s returned\n", one ? "has" : "have");
  else
    std::fprintf(stderr, "%s at %s, %s:%d\n", one ? "waits" : "wait", fiber.site.what,
                 fiber.site.file, fiber.site.line);
}

[[noreturn]] void fail_block(const char* what) {
  std::fprintf(stderr,
               "simt: launch %llu of %u x %u x %u blocks of %u threads, block (%u, %u, %u): %s\n",
               static_cast<unsigned long long>(now.n_launches), gridDim.x, gridDim.y, gridDim.z,
               blockDim.x, blockIdx.x, blockIdx.y, blockIdx.z, what);
  const int n = static_cast<int>(blockDim.x);
  for (int first = 0, t = 1; t <= n; ++t) {
    if (t < n && at_same_place(first, t)) continue;
    print_place(first, t - 1);
    first = t;
  }
  std::abort();
}

void switch_to(Fiber& from, Fiber& to) {
  if (_setjmp(from.context) == 0) _longjmp(to.context, 1);
}

Fiber& fiber_of(int warp, int lane) {
  return now.fibers[static_cast<std::size_t>(warp * lanes_per_warp + lane)];
}

int pick_ready() {
  if (now.order == Order::ascending) return __builtin_ctz(now.ready);
  if (now.order == Order::descending) return 31 - __builtin_clz(now.ready);
  const int by = static_cast<int>(next_random() % 32);
  const std::uint32_t rotated = now.ready >> by | now.ready << ((32 - by) % 32);
  return (__builtin_ctz(rotated) + by) % 32;
}

// The next fiber of a warp that starts a round of turns.
Fiber& start_round() {
  now.lanes = now.lane_orders[next_random() % n_lane_orders];
  now.turn = 0;
  now.differ = false;
  return fiber_of(now.warp, now.lanes[0]);
}

// A warp has arrived; true if it was the last one.
bool gather(Gathering& gathering, int expected) {
  if (gathering.arrived == 0) gathering.site = now.site;
  if (!same(gathering.site, now.site)) fail_block("warps wait for each other at different places");
  if (++gathering.arrived < expected) return false;
  gathering.arrived = 0;
  return true;
}

// All lanes of a warp have had their turn.
Fiber& end_round() {
  const auto warp = static_cast<std::size_t>(now.warp);
  if (now.differ) fail_block("the lanes of a warp wait at different places");
  switch (now.scope) {
    case Scope::warp:
      now.warp_parity[warp] = !now.warp_parity[warp];
      return start_round();
    case Scope::warpgroup: {
      const std::size_t group = warp / warps_per_group;
      if (gather(now.groups[group], warps_per_group)) {
        now.group_parity[group] = !now.group_parity[group];
        now.ready |= 0xfu << (group * warps_per_group);
      }
      break;
    }
    case Scope::block:
      if (gather(now.block, now.n_warps)) now.ready = 0xffffffffu >> (most_warps - now.n_warps);
      break;
    case Scope::returned:
      ++now.n_returned;
  }
  if (now.ready == 0) {
    if (now.n_returned == now.n_warps) return now.host;
    fail_block("no thread can go on");
  }
  now.warp = pick_ready();
  now.ready &= ~(1u << now.warp);
  return start_round();
}

void run(Fiber& from, Fiber& to) {
  now.running = &to;
  threadIdx.x = to.thread;
  switch_to(from, to);
}

// A fiber's life: between two rounds of this loop it waits in a pool.
void live() noexcept {
  Fiber& self = *now.running;
  switch_to(self, now.host);
  for (;;) {
    now.thread(now.arguments);
    wait(Scope::returned, {"", "", 0});
  }
}

void start_fiber(const ucontext_t& start) {
  if (_setjmp(now.host.context) == 0) setcontext(&start);
}

// Adds a warp of fibers, each of them started as far as the loop of live().
void add_fibers() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t usable =
      stack_bytes + (lanes_per_warp * stagger_bytes + page - 1) / page * page;
  const std::size_t each = page + usable;
  void* const mapped = mmap(nullptr, lanes_per_warp * each, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (mapped == MAP_FAILED) give_up("no memory for stacks");
  for (std::size_t lane = 0; lane < lanes_per_warp; ++lane) {
    char* const stack = static_cast<char*>(mapped) + lane * each;
    mprotect(stack, page, PROT_NONE);
    Fiber& fiber = now.fibers[static_cast<std::size_t>(now.n_fibers)];
    fiber.thread = static_cast<unsigned>(now.n_fibers++);
    ucontext_t start;
    getcontext(&start);
    start.uc_stack.ss_sp = stack + page;
    start.uc_stack.ss_size = usable - lane * stagger_bytes;
    start.uc_link = nullptr;
    makecontext(&start, live, 0);
    now.running = &fiber;
    start_fiber(start);
  }
}

void set_order() {
  const char* const named = std::getenv("OVCORE_SIMT_ORDER");
  const std::string_view name = named == nullptr || *named == '\0' ? "shuffled" : named;
  const Order order = name == "ascending"    ? Order::ascending
                      : name == "descending" ? Order::descending
                      : name == "shuffled"   ? Order::shuffled
                                             : Order::none;
  if (order == Order::none) give_up("OVCORE_SIMT_ORDER is ascending, descending or shuffled");
  now.random = 0x9e3779b97f4a7c15u;
  if (order == now.order) return;
  now.order = order;
  for (auto& lanes : now.lane_orders) {
    for (int i = 0; i < lanes_per_warp; ++i)
      lanes[i] = static_cast<std::uint8_t>(order == Order::descending ? lanes_per_warp - 1 - i : i);
    if (order != Order::shuffled) continue;
    for (std::uint32_t i = lanes_per_warp - 1; i > 0; --i)
      std::swap(lanes[i], lanes[next_random() % (i + 1)]);
  }
}

void run_block() {
  unsigned char* const shared = shared_begin();
  std::memset(shared, shared_poison, now.shared_bytes);
  drop_async_work();
  now.ready = 0xffffffffu >> (most_warps - now.n_warps);
  now.n_returned = 0;
  now.warp = pick_ready();
  now.ready &= ~(1u << now.warp);
  run(now.host, start_round());
  for (std::size_t i = 0; i < guard_bytes; ++i) {
    if (shared[now.shared_bytes + i] != guard_value)
      fail_block("a thread wrote past the end of shared memory");
    if (shared[i - guard_bytes] != guard_value)
      fail_block("a thread wrote before the beginning of shared memory");
  }
}

// Blocks in ascending or descending order, or by steps that reach every one of them.
void run_blocks() {
  const std::uint64_t n = static_cast<std::uint64_t>(gridDim.x) * gridDim.y * gridDim.z;
  std::uint64_t step = now.order == Order::ascending ? 1 : n - 1;
  std::uint64_t at = now.order == Order::ascending ? 0 : n - 1;
  if (now.order == Order::shuffled) {
    step = n / 8 * 5 + 1;
    while (std::gcd(step, n) != 1) ++step;
    at = n / 3;
  }
  for (std::uint64_t i = 0; i < n; ++i, at = (at + step) % n) {
    blockIdx.x = static_cast<unsigned>(at % gridDim.x);
    blockIdx.y = static_cast<unsigned>(at / gridDim.x % gridDim.y);
    blockIdx.z = static_cast<unsigned>(at / gridDim.x / gridDim.y);
    run_block();
  }
}

}  // namespace

void wait(Scope scope, Site site) {
  Fiber& self = *now.running;
  self.scope = scope;
  self.site = site;
  if (now.turn == 0) {
    now.scope = scope;
    now.site = site;
  } else if (scope != now.scope || !same(site, now.site)) {
    now.differ = true;
  }
  ++now.turn;
  Fiber& next = now.turn < lanes_per_warp ? fiber_of(now.warp, now.lanes[now.turn]) : end_round();
  if (&next != &self) run(self, next);
}

void* deposits(Scope scope) {
  const auto warp = static_cast<std::size_t>(now.warp);
  if (scope == Scope::warp) return memory().warps[warp][now.warp_parity[warp]];
  const std::size_t group = warp / warps_per_group;
  return memory().groups[group][now.group_parity[group]];
}

void* shared_memory() { return shared_begin(); }

void fail(const char* what, Site site) {
  std::fprintf(stderr, "simt: launch %llu, block (%u, %u, %u), thread %u, %s, %s:%d: %s\n",
               static_cast<unsigned long long>(now.n_launches), blockIdx.x, blockIdx.y, blockIdx.z,
               threadIdx.x, site.what, site.file, site.line, what);
  std::abort();
}

void run_grid(const cudaLaunchConfig_t& config, void (*thread)(const void*),
              const void* arguments) {
  const std::lock_guard<std::mutex> lock(launch_mutex);
  ++now.n_launches;
  set_order();
  gridDim = config.gridDim;
  blockDim = config.blockDim;
  now.thread = thread;
  now.arguments = arguments;
  now.n_warps = static_cast<int>(config.blockDim.x) / lanes_per_warp;
  now.shared_bytes = config.dynamicSmemBytes;
  std::memset(shared_begin() - guard_bytes, guard_value, guard_bytes);
  std::memset(shared_begin() + now.shared_bytes, guard_value, guard_bytes);
  while (now.n_fibers < now.n_warps * lanes_per_warp) add_fibers();
  run_blocks();
}

}  // namespace simt
