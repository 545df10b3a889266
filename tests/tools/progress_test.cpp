// What a person who waits is shown, on a terminal that remembers all it was sent.
#include "tools/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <sstream>

namespace authdb::cli {
namespace {

using testing::EndsWith;
using testing::IsEmpty;

class Terminal : public std::stringbuf {
 public:
  // Whether it has been sent `text`, or is so within a minute.
  bool shows(const std::string& text) {
    std::unique_lock lock(mutex_);
    return flushed_.wait_for(lock, std::chrono::minutes(1),
                             [&] { return sent_.find(text) != std::string::npos; });
  }
  std::string sent() {
    const std::lock_guard lock(mutex_);
    return sent_;
  }

 protected:
  int sync() override {
    const std::lock_guard lock(mutex_);
    sent_ = str();
    flushed_.notify_all();
    return 0;
  }

 private:
  std::mutex mutex_;
  std::condition_variable flushed_;
  std::string sent_;
};

class ProgressTest : public testing::Test {
 protected:
  ProgressTest() { context_.err_is_terminal = true; }

  Terminal terminal_;
  std::istringstream in_;
  std::ostringstream out_;
  std::ostream err_{&terminal_};
  Context context_{in_, out_, err_};
};

TEST_F(ProgressTest, ABarShowsHowManyOfHowMany) {
  Progress progress(context_, "Importing", Milliseconds(0));
  const auto counter = progress.counter();

  counter("files read", 1, 1);
  EXPECT_TRUE(terminal_.shows("Importing [########################] 1 of 1 files read, "))
      << terminal_.sent();
  counter("credentials written", 50'000, 100'000);
  EXPECT_TRUE(
      terminal_.shows("Importing [############............] 50000 of 100000 credentials written, "))
      << terminal_.sent();
}

TEST_F(ProgressTest, WhatIsNotCountedShowsTheSeconds) {
  const Progress progress(context_, "restoring", Milliseconds(0));
  EXPECT_TRUE(terminal_.shows("restoring … 0 s")) << terminal_.sent();
}

TEST_F(ProgressTest, NothingOfItIsLeftAtTheEnd) {
  {
    const Progress progress(context_, "Importing", Milliseconds(0));
    ASSERT_TRUE(terminal_.shows("Importing"));
  }
  EXPECT_THAT(terminal_.sent(), EndsWith("\r\x1b[K"));
}

TEST_F(ProgressTest, WhatIsSoonDoneShowsNothing) {
  Terminal another;
  std::ostream another_err(&another);
  Context impatient{in_, out_, another_err};
  impatient.err_is_terminal = true;
  {
    Progress progress(context_, "Importing", std::chrono::hours(1));
    progress.counter()("files read", 1, 1);
    // By now the first would have been drawn, too.
    const Progress later(impatient, "restoring", Milliseconds(0));
    ASSERT_TRUE(another.shows("restoring … 0 s\r\x1b[Krestoring"));
  }
  EXPECT_THAT(terminal_.sent(), IsEmpty());
}

TEST_F(ProgressTest, NothingIsDrawnIntoAPipe) {
  context_.err_is_terminal = false;
  Progress progress(context_, "Importing", Milliseconds(0));
  EXPECT_FALSE(progress.counter());
}

TEST_F(ProgressTest, NothingIsDrawnForTheQuiet) {
  context_.globals.quiet = true;
  Progress progress(context_, "Importing", Milliseconds(0));
  EXPECT_FALSE(progress.counter());
}

}  // namespace
}  // namespace authdb::cli
