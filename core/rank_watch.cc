#include "core/rank_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

namespace engine {

RankWatch::RankWatch(int rank, int size, std::vector<Socket> control)
    : rank_(rank),
      size_(size),
      control_(std::move(control)),
      heard_(control_.size(), Clock::now()),
      done_(control_.size()),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { run(); }) {}

RankWatch::~RankWatch() {
  says_done_ = true;
  wake();
  thread_.join();
  ::close(wake_);
}

void RankWatch::fail(int code) {
  failed_code_ = code;
  wake();
  for (;;) pause();
}

void RankWatch::lost(const std::string& what) {
  lost_ = what;
  is_lost_ = true;
  wake();
  for (;;) pause();
}

void RankWatch::wake() const {
  const uint64_t one = 1;
  if (write(wake_, &one, sizeof one) < 0) std::abort();
}

void RankWatch::tell_all(const Message& message, size_t but) const {
  for (size_t i = 0; i < control_.size(); ++i)
    if (control_[i] && i != but && !done_[i]) control_[i].send(&message, sizeof message, seconds_from_now(2));
}

void RankWatch::run() {
  Clock::time_point looked = Clock::now(), told = looked, lost_at{};
  while (!says_done_) {
    const double beat = std::min(1.0, timeout_ / 4);
    const std::vector<size_t> ready = wait(beat);
    if (failed_code_ >= 0) {
      tell_all({Message::failed, rank_, failed_code_});
      std::_Exit(failed_code_);
    }
    for (const size_t i : ready) read_from(i);
    const Clock::time_point now = Clock::now();
    // This process itself may have been stopped. Then the others are given their time anew.
    if (std::chrono::duration<double>(now - looked).count() > 4 * beat + 1)
      std::fill(heard_.begin(), heard_.end(), now);
    looked = now;
    // Only the clock makes a rank speak: answers to what is heard would never end.
    if (std::chrono::duration<double>(now - told).count() >= beat) {
      tell_all({Message::alive, rank_, 0});
      told = now;
    }
    for (size_t i = 0; i < control_.size(); ++i)
      if (control_[i] && !done_[i] && std::chrono::duration<double>(now - heard_[i]).count() > timeout_)
        end(i, "has not answered for " + std::to_string(static_cast<int>(timeout_)) +
                   " s: is it stopped, or its machine?");
    if (!is_lost_) continue;
    if (lost_at == Clock::time_point{}) lost_at = now;
    else if (std::chrono::duration<double>(now - lost_at).count() > 5) end_by_connection();
  }
  tell_all({Message::done, rank_, 0});
}

std::vector<size_t> RankWatch::wait(double seconds) const {
  std::vector<pollfd> wanted{{wake_, POLLIN, 0}};
  std::vector<size_t> of_wanted{SIZE_MAX}, ready;
  for (size_t i = 0; i < control_.size(); ++i) {
    if (!control_[i] || done_[i]) continue;
    wanted.push_back({control_[i].descriptor(), POLLIN, 0});
    of_wanted.push_back(i);
  }
  if (poll(wanted.data(), wanted.size(), static_cast<int>(1000 * seconds)) < 0) return ready;
  for (size_t at = 1; at < wanted.size(); ++at)
    if (wanted[at].revents) ready.push_back(of_wanted[at]);
  uint64_t count = 0;
  if (read(wake_, &count, sizeof count) < 0 && errno != EAGAIN) std::abort();
  return ready;
}

void RankWatch::read_from(size_t i) {
  for (pollfd more{control_[i].descriptor(), POLLIN, 0}; !done_[i] && poll(&more, 1, 0) > 0;) {
    Message message;
    if (!control_[i].receive(&message, sizeof message, seconds_from_now(2)))
      end(i, "ended without a word: was it killed, or was there too little memory?");
    if (message.kind == Message::done) done_[i] = true;
    if (message.kind == Message::failed) {  // it has said why
      tell_all(message, i);
      std::_Exit(message.code);
    }
    if (message.kind == Message::ended) std::_Exit(1);  // rank 0 has said it
    heard_[i] = Clock::now();
  }
}

void RankWatch::end(size_t i, const std::string& what) const {
  const int culprit = rank_at(i);
  if (rank_ == 0) tell_all({Message::ended, culprit, 0}, i);
  // The next rank speaks where rank 0 is the one.
  if (rank_ == (culprit == 0 ? 1 : 0)) {
    std::string line = "rank ";
    line.append(std::to_string(culprit)).append(" of ").append(std::to_string(size_)).append(" ").append(what);
    say(line);
  }
  std::_Exit(1);
}

void RankWatch::end_by_connection() const {
  tell_all({Message::failed, rank_, 1});
  say("rank " + std::to_string(rank_) + " of " + std::to_string(size_) + " " + lost_);
  std::_Exit(1);
}

void RankWatch::say(const std::string& line) {
  const std::string text = "engine: " + line + "; the last saved state can be resumed\n";
  if (write(2, text.data(), text.size()) < 0) return;
}

}  // namespace engine
