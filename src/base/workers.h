// Threads that share out a task.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pki {

/// One task at a time, of parts that do not depend on each other.
class Workers {
 public:
  /// With one thread, or where the system gives no more, none is started: wait() does the work.
  explicit Workers(std::size_t threads);
  /// What is not begun is left undone.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Begins to call `part` with 0, 1 and so on up to `count` - 1, in several threads.
  void start(std::size_t count, std::function<void(std::size_t)> part);
  /// Returns when that is done. Throws the first exception that a part threw; others are then left
  /// undone.
  void wait();
  void run(std::size_t count, std::function<void(std::size_t)> part) {
    start(count, std::move(part));
    wait();
  }

 private:
  void work();
  void do_next(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void(std::size_t)> part_;
  std::size_t count_ = 0;
  std::size_t next_ = 0;
  std::size_t busy_ = 0;  // parts that are being done
  std::exception_ptr failure_;
  bool ends_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace pki
