#include "base/workers.h"

#include <atomic>
#include <stdexcept>
#include <string>

#include "support.h"

using pki::Workers;

TEST_CASE("workers: each part is done once, task after task") {
  for (const std::size_t threads : {0U, 1U, 2U, 5U}) {
    CAPTURE(threads);
    Workers workers(threads);
    for (const std::size_t count : {0U, 1U, 7U, 1000U}) {
      std::vector<std::atomic<int>> done(count);
      workers.run(count, [&](std::size_t i) { ++done[i]; });
      CHECK(std::ranges::all_of(done, [](const auto& times) { return times == 1; }));
    }
  }
}

TEST_CASE("workers: with one there is no thread, and nothing is done before it is waited for") {
  Workers workers(1);
  const auto self = std::this_thread::get_id();
  int done = 0;
  workers.start(3, [&](std::size_t) {
    CHECK(std::this_thread::get_id() == self);
    ++done;
  });
  CHECK(done == 0);
  workers.wait();
  CHECK(done == 3);
}

TEST_CASE("workers: the first failure is thrown, and they go on to the next task") {
  for (const std::size_t threads : {1U, 3U}) {
    CAPTURE(threads);
    Workers workers(threads);
    std::atomic<int> done = 0;
    workers.start(100'000, [&](std::size_t i) {
      if (i == 5) throw std::runtime_error("five");
      ++done;
    });
    CHECK_THROWS_WITH(workers.wait(), "five");
    CHECK(done < 100'000);
    workers.run(10, [&](std::size_t) { ++done; });
    CHECK(done >= 10);
  }
}

// As when publishing fails while the next group is made.
TEST_CASE("workers: what is not begun when they go away is left undone") {
  std::atomic<std::size_t> done = 0;
  constexpr std::size_t many = 10'000'000;
  {
    Workers workers(2);
    workers.start(many, [&](std::size_t) { ++done; });
  }
  CHECK(done < many);
}
