// Drives the attention kernels for long sequences: it decides what a task is, in whose memory it works, and what is
// fetched ahead of time. A Kernel is one way to take the products (f32 vectors, bf16 tiles; key_tiles.h says of what
// functions they are made).
#pragma once

#include <numeric>
#include <tuple>
#include <vector>

#include "core/parallel.h"
#include "kernels/attention/cpu/key_tiles.h"

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

// The order in which sequences are taken: where queries are few, those with most scores first, since lengths differ
// there and no thread should have a long one at the end.
class SequenceOrder {
 public:
  SequenceOrder(const Segments& queries, const Segments& keys) {
    if (!are_few(longest_segment(queries), longest_segment(keys))) return;
    order_.resize(static_cast<size_t>(queries.count()));
    std::iota(order_.begin(), order_.end(), int64_t{0});
    const auto scores = [&](int64_t s) {
      const AttentionSpan span = span_of(queries, keys, s);
      return span.queries * span.keys;
    };
    std::stable_sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) { return scores(a) > scores(b); });
  }
  int64_t operator[](int64_t i) const { return order_.empty() ? i : order_[static_cast<size_t>(i)]; }

 private:
  std::vector<int64_t> order_;  // empty: as they lie
};

// Takes heads of a sequence that are not gone through one by one, or returns false.
template <class Args, class Kernel>
bool take_all_heads(const Args& a, const AttentionSpan& span, int64_t first_head, int64_t last_head, int64_t width,
                    const Kernel& kernel) {
  if constexpr (requires { kernel.take_short(a, span, first_head, last_head, width); })
    if (kernel.take_short(a, span, first_head, last_head, width)) return true;
  if constexpr (requires { typename Kernel::State; })
    if (are_few(span.queries, span.keys)) {
      if constexpr (requires { kernel.few; }) FewQueries(a, span, width, kernel.few).take(first_head, last_head);
      else FewQueries(a, span, width, kernel).take(first_head, last_head);
      return true;
    }
  return false;
}

// Takes the queries begin ... end - 1 of a sequence and head. The task's next heads go up to last_head.
template <class Kernel>
void forward_queries(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t last_head,
                     int64_t width, int64_t begin, int64_t end, const Kernel& kernel) {
  const int64_t visible = span.visible(end - 1, a.causal), blocks = ceil_div(end - begin, query_block);
  read_keys(a, span, head, width, KeyTile{0, visible, 0}, kernel);
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
      ahead.set_calls(Kernel::fetches(block.visible, block.vectors));
      take_block<drops.value>(a, span, head, width, block, kernel, ahead);
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
  const SequenceOrder order(a.queries, a.keys);
  parallel_for(a.queries.count() * groups * tasks_a_head, [&](int64_t task) {
    const AttentionSpan span = span_of(a.queries, a.keys, order[task / (groups * tasks_a_head)]);
    const int64_t begin = task % tasks_a_head * queries_a_task, end = std::min(begin + queries_a_task, span.queries);
    if (begin >= end) return;
    const Kernel kernel = memory.of_this_thread();
    [[maybe_unused]] const typename Kernel::Registers registers;
    const int64_t first_head = task / tasks_a_head % groups * grain,
                  last_head = std::min<int64_t>(first_head + grain, a.heads);
    if (take_all_heads(a, span, first_head, last_head, width, kernel)) return;
    for (int64_t head = first_head; head < last_head; ++head)
      forward_queries(a, span, head, last_head, width, begin, end, kernel);
  });
}

// Takes a head of a sequence. The task's next heads go up to last_head.
template <class Kernel>
void backward_head(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t last_head,
                   int64_t width, const Kernel& kernel) {
  const int64_t blocks = ceil_div(span.queries, query_block);
  read_keys(a, span, head, width, KeyTile{0, span.keys, 0}, kernel);
  clear_key_gradients(a, width, KeyTile{0, span.keys, 0}, kernel);
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
      ahead.set_calls(Kernel::fetches(block.visible, block.vectors));
      take_block<drops.value>(a, span, head, width, block, kernel, ahead);
    }
  });
  write_key_gradients(a, span, head, width, KeyTile{0, span.keys, 0}, kernel);
}

// A task has some whole heads of a sequence, so that the sums over its queries have one order.
template <class Kernel>
void drive_backward(const AttentionBackwardArgs& a, int64_t width, Arena& workspace) {
  const ArenaScope scope(workspace);
  const KernelMemory<Kernel> memory(workspace, a.keys, width);
  const int64_t grain = heads_a_task(a.queries, a.keys, a.heads), groups = ceil_div(a.heads, grain);
  const SequenceOrder order(a.queries, a.keys);
  parallel_for(a.queries.count() * groups, [&](int64_t task) {
    const Kernel kernel = memory.of_this_thread();
    [[maybe_unused]] const typename Kernel::Registers registers;
    const AttentionSpan span = span_of(a.queries, a.keys, order[task / groups]);
    const int64_t first_head = task % groups * grain, last_head = std::min<int64_t>(first_head + grain, a.heads);
    if (take_all_heads(a, span, first_head, last_head, width, kernel)) return;
    for (int64_t head = first_head; head < last_head; ++head) backward_head(a, span, head, last_head, width, kernel);
  });
}

}  // namespace engine::ENGINE_ISA
