// A stopwatch of a CUDA device, by events in its compute stream.
#include "core/stopwatch.h"

#include "core/cuda/memory.h"

namespace engine::cuda {

namespace {

class DeviceStopwatch final : public Stopwatch {
 public:
  explicit DeviceStopwatch(Device& device) : device_(device) {}
  ~DeviceStopwatch() override {
    for (const cudaEvent_t event : events_) cudaEventDestroy(event);
  }
  DeviceStopwatch(const DeviceStopwatch&) = delete;
  DeviceStopwatch& operator=(const DeviceStopwatch&) = delete;

  void mark() override {
    if (used_ == events_.size()) {
      cudaEvent_t event = nullptr;
      check(cudaEventCreateWithFlags(&event, cudaEventDefault), "cudaEventCreateWithFlags");
      events_.push_back(event);
    }
    check(cudaEventRecord(events_[used_++], device_.compute_stream()), "cudaEventRecord");
  }

  std::vector<double> seconds() override {
    device_.synchronize();
    std::vector<double> result;
    for (size_t i = 1; i < used_; ++i) {
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, events_[i - 1], events_[i]), "cudaEventElapsedTime");
      result.push_back(1e-3 * static_cast<double>(milliseconds));
    }
    used_ = 0;
    return result;
  }

 private:
  Device& device_;
  std::vector<cudaEvent_t> events_;  // as many as were ever marked between two readings
  size_t used_ = 0;
};

}  // namespace

std::unique_ptr<Stopwatch> make_stopwatch(Memory& memory) {
  return std::make_unique<DeviceStopwatch>(dynamic_cast<DeviceMemory&>(memory).device());
}

}  // namespace engine::cuda
