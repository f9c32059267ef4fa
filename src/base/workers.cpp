#include "base/workers.h"

#include <system_error>
#include <utility>

namespace pki {

Workers::Workers(std::size_t threads) {
  if (threads < 2) return;
  try {
    for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // A limit of processes: those that were started do it.
  }
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::start(std::size_t count, std::function<void(std::size_t)> part) {
  {
    const std::lock_guard lock(mutex_);
    part_ = std::move(part);
    count_ = count;
    next_ = 0;
  }
  changed_.notify_all();
}

void Workers::wait() {
  std::unique_lock lock(mutex_);
  while (threads_.empty() && next_ < count_) do_next(lock);
  changed_.wait(lock, [this] { return next_ == count_ && busy_ == 0; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Workers::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ends_ || next_ < count_; });
    if (ends_) return;
    do_next(lock);
  }
}

void Workers::do_next(std::unique_lock<std::mutex>& lock) {
  const std::size_t index = next_++;
  ++busy_;
  lock.unlock();
  std::exception_ptr failure;
  try {
    part_(index);
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  --busy_;
  if (failure && !failure_) {
    failure_ = failure;
    next_ = count_;
  }
  if (next_ == count_ && busy_ == 0) changed_.notify_all();
}

}  // namespace pki
