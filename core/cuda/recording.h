// A Recording holds work for the compute stream, in its order: kernels, fills, copies and calls of libraries. It can be
// compared with another one, and started.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

namespace engine::cuda {

class Recording {
 public:
  // Returns the recording that this thread's work goes to, or null where work goes to the stream at once.
  static Recording* running() { return current; }

  // Adds work. `values` are all that it depends on. Pointers among them are to the device's memory.
  template <class... Values>
  void add(std::function<void()> start, const Values&... values) {
    (note(values), ...);
    add_call(std::move(start));
  }
  // Adds what the host is to do between two parts of the work, such as to start an exchange with other ranks.
  void add_break(std::function<void()> work);
  size_t parts() const { return breaks_.size() + 1; }
  bool is_empty(size_t part) const;
  // Starts a part of the work.
  void start(size_t part);
  // Does what comes behind a part.
  void run_break(size_t part) { breaks_[part].work(); }
  // Forgets how the work is started, but not what it was.
  void forget_calls();
  // Returns whether this is the same work in the same parts, to the last argument.
  bool is_like(const Recording& other) const;

 private:
  friend class RecordingScope;
  struct Call {
    const char* operation;
    std::function<void()> start;
  };
  struct Break {
    size_t calls;  // before it
    std::function<void()> work;
  };
  // Returns ones in the bytes that hold a value, and zeros in those between a struct's members.
  template <class T>
  static std::array<char, sizeof(T)> mask_of() {
    alignas(T) std::array<char, sizeof(T)> bytes;
    bytes.fill(static_cast<char>(-1));
    __builtin_clear_padding(reinterpret_cast<T*>(bytes.data()));
    return bytes;
  }
  template <class T>
  void note(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    static const std::array<char, sizeof(T)> mask = mask_of<T>();
    const size_t before = noted_.size();
    noted_.resize(before + sizeof(T));
    std::memcpy(&noted_[before], &value, sizeof(T));
    for (size_t i = 0; i < sizeof(T); ++i) noted_[before + i] &= mask[i];
  }
  void add_call(std::function<void()> start);
  std::pair<size_t, size_t> calls_of(size_t part) const;  // begin and end
  static thread_local Recording* current;

  std::vector<char> noted_;
  std::vector<Call> calls_;
  std::vector<Break> breaks_;
};

// Lets this thread's work go to a recording while it lives.
class RecordingScope {
 public:
  explicit RecordingScope(Recording& recording) { Recording::current = &recording; }
  ~RecordingScope() { Recording::current = nullptr; }
  RecordingScope(const RecordingScope&) = delete;
  RecordingScope& operator=(const RecordingScope&) = delete;
};

// Starts work, or adds it to the recording that is running. `values` are all that it depends on.
template <class Start, class... Values>
void start_or_record(const Start& start, const Values&... values) {
  if (Recording* const recording = Recording::running()) recording->add(start, values...);
  else start();
}

// Does the host's work at once, or between two parts of the recording that is running.
inline void start_or_break(std::function<void()> work) {
  if (Recording* const recording = Recording::running()) recording->add_break(std::move(work));
  else work();
}

}  // namespace engine::cuda
