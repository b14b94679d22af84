// How long kernels take on a GPU, by CUDA's events; nothing is recorded unless asked for.
#pragma once

#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include <string>
#include <utility>
#include <vector>

namespace ovcore::bindings {

void check(cudaError_t error);

// Used with the GIL held.
class Stopwatch {
 public:
  static Stopwatch& instance() {
    static Stopwatch only;
    return only;
  }

  void turn(bool on) { is_on_ = on; }

  // Queues something, which may fail, and notes how long it will have taken.
  template <class Queue>
  void time(const char* name, cudaStream_t stream, const Queue& queue) {
    if (!is_on_) return check(queue());
    Lap lap{name, nullptr, nullptr};
    check(cudaEventCreateWithFlags(&lap.first, cudaEventDefault));
    check(cudaEventCreateWithFlags(&lap.last, cudaEventDefault));
    check(cudaEventRecord(lap.first, stream));
    check(queue());
    check(cudaEventRecord(lap.last, stream));
    laps_.push_back(lap);
  }

  // Name and milliseconds of all that was timed since the last call; waits for the last of it.
  std::vector<std::pair<std::string, float>> read() {
    std::vector<std::pair<std::string, float>> found;
    for (const Lap& lap : laps_) {
      float milliseconds = 0;
      {
        const pybind11::gil_scoped_release others;
        cudaEventSynchronize(lap.last);  // what it fails with is told next
      }
      check(cudaEventElapsedTime(&milliseconds, lap.first, lap.last));
      found.emplace_back(lap.name, milliseconds);
      cudaEventDestroy(lap.first);
      cudaEventDestroy(lap.last);
    }
    laps_.clear();
    return found;
  }

 private:
  struct Lap {
    const char* name;
    cudaEvent_t first, last;
  };
  bool is_on_ = false;
  std::vector<Lap> laps_;
};

}  // namespace ovcore::bindings
