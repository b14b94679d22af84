// Spreads independent tasks over threads while Python is left free, reports progress, and lets
// Ctrl-C end them.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "threads.hpp"

namespace ovcore::bindings {

// What Python passes as progress: a function of (done, of), or None.
using Progress = std::optional<pybind11::function>;

// Calls task(i) once for every i in [0, n_tasks), on at most `workers` threads; the calling thread
// is one of them. Must be called without the GIL. Tasks are handed out one at a time, so tasks of
// unequal cost balance; a task should take well under a second, since Ctrl-C waits for those
// running.
template <class Task>
void for_each_task(std::int64_t n_tasks, int workers, const Progress& progress, const Task& task) {
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> stop{false};
  const auto work = [&](const auto& between_tasks) {
    for (std::int64_t i; !stop.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < n_tasks;
         between_tasks())
      task(i);
  };
  const std::function<void()> help = [&] { work([] {}); };

  bool python_raised = false;
  {
    // Fewer helpers where the system gives no more threads: those there are do the work.
    Threads helpers(static_cast<int>(std::min<std::int64_t>(workers, n_tasks)) - 1, help);
    using Clock = std::chrono::steady_clock;
    auto last_look = Clock::now();
    work([&] {
      if (Clock::now() - last_look < std::chrono::milliseconds(100)) return;
      last_look = Clock::now();
      pybind11::gil_scoped_acquire python;
      try {
        if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
        if (progress) (*progress)(std::min(next.load(), n_tasks), n_tasks);
      } catch (pybind11::error_already_set& error) {
        error.restore();
        python_raised = stop = true;
      }
    });
  }
  if (!python_raised && !progress) return;
  pybind11::gil_scoped_acquire python;
  if (python_raised) throw pybind11::error_already_set();
  (*progress)(n_tasks, n_tasks);
}

// Starting a thread costs tens of microseconds: jobs estimated below a millisecond run on one.
inline int workers_worth_starting(int workers, double seconds) {
  return seconds < 1e-3 ? 1 : workers;
}

}  // namespace ovcore::bindings
