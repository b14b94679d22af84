// A few threads that run one function and are joined.
#pragma once

#include <functional>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace ovcore::bindings {

#if defined(__linux__)

// On Linux a new thread often waits for its turn on its creator's core, several milliseconds where
// the creator computes. These may run on every core of the process but that one.
class Threads {
 public:
  Threads(int count, const std::function<void()>& function) {
    if (count <= 0) return;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return;
    cpu_set_t cores;
    const int here = sched_getcpu();
    if (here >= 0 && sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) > 1) {
      CPU_CLR(here, &cores);
      pthread_attr_setaffinity_np(&attributes, sizeof cores, &cores);
    }
    const auto run = [](void* argument) -> void* {
      (*static_cast<const std::function<void()>*>(argument))();
      return nullptr;
    };
    void* argument = const_cast<std::function<void()>*>(&function);
    for (pthread_t thread; count > 0 && pthread_create(&thread, &attributes, run, argument) == 0;
         --count)
      threads_.push_back(thread);
    pthread_attr_destroy(&attributes);
  }
  ~Threads() {
    for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  }

 private:
  std::vector<pthread_t> threads_;

#else

class Threads {
 public:
  Threads(int count, const std::function<void()>& function) {
    try {
      for (; count > 0; --count) threads_.emplace_back(function);
    } catch (const std::system_error&) {
      // no more threads than these
    }
  }
  ~Threads() {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::vector<std::thread> threads_;

#endif

 public:
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
};

}  // namespace ovcore::bindings
