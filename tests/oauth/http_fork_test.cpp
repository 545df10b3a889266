// The first request of a process loads the HTTP module, which takes milliseconds. A process that
// forks meanwhile has a child that must not wait for the loading thread: it has only the forking
// one.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "oauth/http.h"

namespace authdb::oauth {
namespace {

constexpr int kHung = 99;

Answer ask_nobody() {
  HttpRequest request;
  request.url = "http://127.0.0.1:1/";   // tcpmux: nobody listens
  request.deadline = Milliseconds{200};  // too short to try for a connection again
  return curl_transport()->perform(request, {});
}

// In a process of its own, which has not loaded the module: one thread loads it, the other forks.
[[noreturn]] void fork_while_loading(std::chrono::microseconds after) {
  std::thread loading([] { ask_nobody(); });
  // Waits for nothing: the moment of the fork is what varies.
  std::this_thread::sleep_for(after);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // SIGALRM ends it if it hangs
    ::_exit(ask_nobody().failure.empty() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  loading.join();
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : kHung);
}

TEST(HttpForkTest, AChildOfAProcessThatIsLoadingTheModuleCanMakeRequests) {
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
  // Its locks stay locked in the child, which then waits for ever in malloc.
  GTEST_SKIP() << "the sanitizer's own allocator does not survive a fork beside a thread at work";
#endif
#endif
  for (int turn = 0; turn < 24; ++turn) {
    const pid_t process = ::fork();
    if (process == 0) fork_while_loading(std::chrono::microseconds(250 * turn));
    int status = 0;
    ASSERT_EQ(::waitpid(process, &status, 0), process);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_EQ(WEXITSTATUS(status), 0) << "forked after " << 250 * turn << " us";
  }
}

}  // namespace
}  // namespace authdb::oauth
