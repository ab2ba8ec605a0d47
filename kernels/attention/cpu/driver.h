// Drives the attention kernels for long sequences: it decides what a task is, in whose memory it works, and what is
// fetched ahead of time. A Kernel is one way to take the products (f32 vectors, bf16 tiles). Its members are the parts
// of a thread's memory, fetches(block) is how often a block of queries fetches lines ahead, and read_keys and
// forward_block or backward_block are overloaded for it. It may have take_short(a, span, first head, last head, width),
// which takes these heads by itself, or returns false.
#pragma once

#include <tuple>

#include "core/parallel.h"
#include "kernels/attention/cpu/tile.h"

namespace engine::ENGINE_ISA {

// Hands memory out in parts of whole cache lines. Over no memory it only counts.
class ThreadMemory {
 public:
  explicit ThreadMemory(char* memory) : memory_(memory) {}
  template <class T>
  T* take(int64_t count) {
    T* const part = memory_ ? reinterpret_cast<T*>(memory_ + taken_) : nullptr;
    taken_ += rounded_up(count * static_cast<int64_t>(sizeof(T)), 64);
    return part;
  }
  int64_t taken() const { return taken_; }

 private:
  char* memory_;
  int64_t taken_ = 0;
};

// A Kernel's memory for every thread. `more` are further arguments of the Kernel's constructor.
template <class Kernel, class... More>
class KernelMemory {
 public:
  KernelMemory(Arena& workspace, const Segments& keys, int64_t width, const More&... more)
      : longest_(longest_segment(keys)), padded_width_(rounded_up(width, Kernel::width_padding)), more_(more...) {
    ThreadMemory counted(nullptr);
    kernel_in(counted);
    size_ = counted.taken();
    memory_ = static_cast<char*>(workspace.make(DType::u8, {thread_count(), size_}).data);
  }
  Kernel of_this_thread() const {
    ThreadMemory memory(memory_ + thread_index() * size_);
    return kernel_in(memory);
  }

 private:
  Kernel kernel_in(ThreadMemory& memory) const {
    return std::apply([&](const More&... more) { return Kernel(memory, longest_, padded_width_, more...); }, more_);
  }

  int64_t longest_, padded_width_, size_;
  std::tuple<More...> more_;
  char* memory_;
};

// The part of the next head's keys that each block of queries fetches. It is the block's part of the visible keys.
class KeyShares {
 public:
  KeyShares(const AttentionSpan& span, int64_t begin, int64_t end, bool causal) {
    for (int64_t i = begin; i < end; i += query_block)
      total_ += span.visible(std::min(i + query_block, end) - 1, causal);
  }
  // next(the block's visible keys) goes on to the next block, whose part are the rows first() ... last() - 1 of `rows`.
  void next(int64_t visible) {
    before_ = after_;
    after_ += visible;
  }
  int64_t first(int64_t rows) const { return total_ ? rows * before_ / total_ : 0; }
  int64_t last(int64_t rows) const { return total_ ? rows * after_ / total_ : 0; }

 private:
  int64_t total_ = 0, before_ = 0, after_ = 0;
};

// Reads a head's keys and values into the kernel's memory, with zeros behind them.
template <class Args, class Kernel>
void read_keys_and_values(const Args& a, const AttentionSpan& span, int64_t head, int64_t width, int64_t keys,
                          const Kernel& at) {
  const int64_t padded_width = rounded_up(width, Kernel::width_padding);
  const int64_t padded_keys = rounded_up(keys, Kernel::row_padding);
  read_rows(a.k, span.key_begin, head, width, keys, at.keys, padded_keys, padded_width);
  read_rows(a.v, span.key_begin, head, width, keys, at.values, padded_keys, padded_width);
}

// Takes the queries begin ... end - 1 of a sequence and head. The task's next heads go up to last_head.
template <class Kernel>
void forward_queries(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t last_head,
                     int64_t width, int64_t begin, int64_t end, const Kernel& kernel) {
  const int64_t visible = span.visible(end - 1, a.causal), blocks = ceil_div(end - begin, query_block);
  read_keys(a, span, head, width, visible, kernel);
  KeyShares shares(span, begin, end, a.causal);
  with_flag(a.dropout.rate > 0, [&](auto drops) {
    for (int64_t i = 0; i < blocks; ++i) {
      const QueryBlock block(span, begin + i * query_block, a.causal, a.dropout, a.heads, head);
      const int64_t row = span.query_begin + block.first;
      FetchAhead<> ahead;
      add_rows(ahead, a.y, row, head * width, width, 0, block.count);
      const int64_t coming = std::min(query_block, end - block.first - query_block);
      add_rows(ahead, a.q, row + query_block, head * width, width, 0, coming);
      shares.next(block.visible);
      if (head + 1 < last_head) {
        if (i + 1 == blocks)
          add_rows(ahead, a.q, span.query_begin + begin, (head + 1) * width, width, 0,
                   std::min(query_block, end - begin));
        for (const Columns* part : {&a.k, &a.v})
          add_rows(ahead, *part, span.key_begin, (head + 1) * width, width, shares.first(visible),
                   shares.last(visible));
      }
      ahead.set_calls(Kernel::fetches(block));
      forward_block<drops.value>(a, span, head, width, block, kernel, ahead);
    }
  });
}

// A task has some heads of a sequence, and as many of its queries as share one reading of the keys.
template <class Kernel, class... More>
void drive_forward(const AttentionForwardArgs& a, int64_t width, Arena& workspace, const More&... more) {
  constexpr int64_t queries_a_task = 8 * query_block;
  const ArenaScope scope(workspace);
  const KernelMemory<Kernel, More...> memory(workspace, a.keys, width, more...);
  const int64_t tasks_a_head = ceil_div(longest_segment(a.queries), queries_a_task);
  const int64_t grain = heads_a_task(a.queries, a.keys, a.heads), groups = ceil_div(a.heads, grain);
  parallel_for(a.queries.count() * groups * tasks_a_head, [&](int64_t task) {
    const AttentionSpan span = span_of(a.queries, a.keys, task / (groups * tasks_a_head));
    const int64_t begin = task % tasks_a_head * queries_a_task, end = std::min(begin + queries_a_task, span.queries);
    if (begin >= end) return;
    const Kernel kernel = memory.of_this_thread();
    [[maybe_unused]] const typename Kernel::Registers registers;
    const int64_t first_head = task / tasks_a_head % groups * grain,
                  last_head = std::min<int64_t>(first_head + grain, a.heads);
    if constexpr (requires { kernel.take_short(a, span, first_head, last_head, width); })
      if (kernel.take_short(a, span, first_head, last_head, width)) return;
    for (int64_t head = first_head; head < last_head; ++head)
      forward_queries(a, span, head, last_head, width, begin, end, kernel);
  });
}

// Takes a head of a sequence. The task's next heads go up to last_head.
template <class Kernel>
void backward_head(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t last_head,
                   int64_t width, const Kernel& kernel) {
  const int64_t padded_width = rounded_up(width, Kernel::width_padding), blocks = ceil_div(span.queries, query_block);
  const int64_t gradients = rounded_up(span.keys, Kernel::row_padding) * padded_width;
  read_keys(a, span, head, width, kernel);
  std::fill_n(kernel.dkeys, gradients, 0.0f);
  std::fill_n(kernel.dvalues, gradients, 0.0f);
  KeyShares shares(span, 0, span.queries, a.causal);
  with_flag(a.dropout.rate > 0, [&](auto drops) {
    for (int64_t i = 0; i < blocks; ++i) {
      const QueryBlock block(span, i * query_block, a.causal, a.dropout, a.heads, head);
      const int64_t row = span.query_begin + block.first;
      FetchAhead<> ahead;
      shares.next(block.visible);
      add_rows(ahead, a.dq, row, head * width, width, 0, block.count);
      const int64_t count = std::min(query_block, span.queries - block.first - query_block);
      for (const Columns& part : {a.q, Columns(a.dy), Columns(a.y)})
        add_rows(ahead, part, row + query_block, head * width, width, 0, count);
      if (head + 1 < last_head) {
        if (i + 1 == blocks)
          for (const Columns& part : {a.q, Columns(a.dy), Columns(a.y)})
            add_rows(ahead, part, span.query_begin, (head + 1) * width, width, 0,
                     std::min(query_block, span.queries));
        for (const Columns* part : {&a.k, &a.v})
          add_rows(ahead, *part, span.key_begin, (head + 1) * width, width, shares.first(span.keys),
                   shares.last(span.keys));
      }
      for (const Columns* part : {&a.dk, &a.dv})
        add_rows(ahead, *part, span.key_begin, head * width, width, shares.first(span.keys), shares.last(span.keys));
      ahead.set_calls(Kernel::fetches(block));
      backward_block<drops.value>(a, span, head, width, block, kernel, ahead);
    }
  });
  with_flag(a.adds_to_keys, [&](auto adds) {
    write_rows<adds.value>(a.dk, span.key_begin, head, width, span.keys, kernel.dkeys, padded_width, a.scale);
    write_rows<adds.value>(a.dv, span.key_begin, head, width, span.keys, kernel.dvalues, padded_width);
  });
}

// A task has some whole heads of a sequence, so that the sums over its queries have one order.
template <class Kernel>
void drive_backward(const AttentionBackwardArgs& a, int64_t width, Arena& workspace) {
  const ArenaScope scope(workspace);
  const KernelMemory<Kernel> memory(workspace, a.keys, width);
  const int64_t grain = heads_a_task(a.queries, a.keys, a.heads), groups = ceil_div(a.heads, grain);
  parallel_for(a.queries.count() * groups, [&](int64_t task) {
    const Kernel kernel = memory.of_this_thread();
    [[maybe_unused]] const typename Kernel::Registers registers;
    const AttentionSpan span = span_of(a.queries, a.keys, task / groups);
    const int64_t first_head = task % groups * grain, last_head = std::min<int64_t>(first_head + grain, a.heads);
    if constexpr (requires { kernel.take_short(a, span, first_head, last_head, width); })
      if (kernel.take_short(a, span, first_head, last_head, width)) return;
    for (int64_t head = first_head; head < last_head; ++head) backward_head(a, span, head, last_head, width, kernel);
  });
}

}  // namespace engine::ENGINE_ISA
