// Communicator: the processes (ranks) that `./engine ... --ranks W`, mpirun, srun or torchrun start together, each with
// the whole model and its share of the work. Where nobody started several, there is one rank, and its communicator does
// nothing: no caller asks how many there are. Calls that exchange numbers must be made by all ranks in the same order.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace engine {

// The order in which the ranks' numbers are added up. Either gives the same bits on every rank.
enum class SumOrder {
  fastest,  // any, which may change with the number of ranks
  tree      // ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)); the number of ranks is a power of two
};

// Returns the seconds of a clock that nobody sets.
inline double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The time that an exchange took, in steady_seconds. It begins after it was started where others come before it.
struct ExchangeSpan {
  const char* name;
  size_t bytes;
  double started, begin, end;
};

// The communicator of a single rank; others derive from it.
//
// Values of `sum` and `gather` are in the host's memory. Those of what is started are where the gradients are. They
// belong to the communicator until wait() returns, or, on a device, in the order of its work.
class Communicator {
 public:
  virtual ~Communicator() = default;

  int rank() const { return rank_; }  // 0 ... size()-1
  int size() const { return size_; }
  // The same among the ranks of this machine: a rank's device is the one of its local rank.
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  // Whether this rank is the one that writes files and speaks to the user.
  bool is_first() const { return rank_ == 0; }
  // This rank's part of `count` things, begin and end. The parts lie in the ranks' order and differ by at most one
  // thing.
  std::pair<int64_t, int64_t> share(int64_t count) const {
    return {count * rank_ / size_, count * (rank_ + 1) / size_};
  }
  // The same where things are cut into so many parts, each rank has consecutive ones, and each of these is done by
  // itself. A part without things is left out.
  std::vector<std::pair<int64_t, int64_t>> shares(int64_t count, int64_t parts) const {
    std::vector<std::pair<int64_t, int64_t>> all;
    for (auto [part, last] = share(parts); part < last; ++part)
      if (const int64_t begin = count * part / parts, end = count * (part + 1) / parts; begin < end)
        all.emplace_back(begin, end);
    return all;
  }
  // The beginnings of all ranks' parts of `count` things, and the end.
  std::vector<int64_t> begins_of_shares(int64_t count) const {
    std::vector<int64_t> begins;
    for (int rank = 0; rank <= size_; ++rank) begins.push_back(count * rank / size_);
    return begins;
  }

  // Each element's sum over the ranks, the same bits on each of them.
  virtual void sum(std::span<float>) {}
  virtual void sum(std::span<double>) {}
  // The same, begun at once and done after wait().
  virtual void start_sum(std::span<float>, SumOrder = SumOrder::fastest) {}
  // The bits that any rank has, begun at once and done after wait().
  virtual void start_or(std::span<uint8_t>) {}
  // The halves of a sum, between which each rank has a part of it alone. Part r is of rank r. It begins with element
  // begins[r] and ends before begins[r + 1], and may be empty. begins has size() + 1 numbers, the same on all ranks,
  // from 0 to the number of values, and is read before the call returns.
  //
  // Makes this rank's part the sum over the ranks. The other parts hold anything afterwards.
  virtual void start_reduce_scatter(std::span<float>, std::span<const int64_t> /*begins*/,
                                    SumOrder = SumOrder::fastest) {}
  // Makes every part that of its rank. The elements are bytes, so that values of any type can travel.
  virtual void start_all_gather(std::span<std::byte>, std::span<const int64_t> /*begins*/) {}
  // Ends everything that was started.
  virtual void wait() {}
  // The elements of all ranks, those of rank 0 first.
  virtual std::vector<float> gather(const std::vector<float>& own) { return own; }
  virtual std::vector<int32_t> gather(const std::vector<int32_t>& own) { return own; }
  virtual std::vector<char> gather(const std::vector<char>& own) { return own; }
  std::vector<std::string> gather(const std::vector<std::string>& own);
  // Makes all ranks end where one does not answer for so many seconds. The default is 60. MPI has no such limit.
  virtual void set_timeout(double) {}
  // Waits a moment on a rank that has failed, since the first one may have failed in the same way and say so. All then
  // end in its call.
  virtual void let_first_speak() {}
  // Ends all ranks at once, with this exit code: the others would wait for one that failed. A single rank returns.
  virtual void abort(int) {}
  // Returns the exchanges since the last call, which begins to note them. Those of a device have streams of their own,
  // and are not among them.
  virtual std::vector<ExchangeSpan> take_exchanges() { return {}; }

 protected:
  void require_tree() const;  // an Error where the number of ranks is no power of two

  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
};

// Throws an Error that names the first rank whose text differs from rank 0's, and the first line where it does.
void require_same_on_all_ranks(Communicator& ranks, const std::string& what, const std::string& text);

bool has_mpi();  // whether this build has MPI

// The communicator of this process: MPI's where mpirun started it, one over TCP where the environment says so
// (rank_place.h), else that of a single rank. Made once, by main, and destroyed last. An error where mpirun started a
// build without MPI.
std::unique_ptr<Communicator> make_communicator();

}  // namespace engine
