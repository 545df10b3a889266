#include "tools/prove/worker.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <thread>

#include "oauth/bearer.h"
#include "tools/prove/dice.h"

namespace authdb::prove {
namespace {

using Clock = std::chrono::steady_clock;

// What a caller must be ready for: no bearer now, or a login is needed.
bool is_expected(Errc code) {
  return code == Errc::try_later || code == Errc::login_needed || code == Errc::not_found;
}

class Worker {
 public:
  Worker(Store store, oauth::BearerParts parts, const WorkerOptions& options)
      : source_(std::move(store), std::move(parts)), options_(options) {}

  int live() {
    const auto until = Clock::now() + options_.life;
    std::thread second([&] { ask_until(until, 1, /*may_fork=*/false); });
    ask_until(until, 0, /*may_fork=*/true);
    second.join();
    std::printf("bearers %d\n", bearers_.load());
    return failure_;
  }

 private:
  void ask_until(Clock::time_point until, std::uint64_t thread, bool may_fork) {
    Dice dice(options_.seed, thread);
    while (Clock::now() < until && failure_ == 0) {
      ask(dice);
      if (may_fork && dice.percent(5)) fork_and_go_on(dice);
      std::this_thread::sleep_for(dice.up_to(std::chrono::milliseconds(20)));
    }
  }

  void ask(Dice& dice) {
    oauth::BearerRequest request;
    request.provider = "nous";
    request.profile = options_.profile;
    if (dice.percent(20)) request.min_ttl = Seconds(1);
    const auto bearer = source_.bearer(request);
    if (bearer) {
      ++bearers_;
    } else if (!is_expected(bearer.error().code)) {
      std::fprintf(stderr, "%s\n", bearer.error().message.c_str());
      failure_ = static_cast<int>(bearer.error().code);
    }
  }

  // The child has the forking thread only, its parent's memory, and no lock.
  void fork_and_go_on(Dice& dice) {
    const std::uint64_t seed = dice.below(1U << 30U);
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) be_the_child(parent, seed);
    if (child < 0) return;
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) failure_ = 1;
  }

  [[noreturn]] void be_the_child(pid_t parent, std::uint64_t seed) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(0);
    char line[32];
    const int size = std::snprintf(line, sizeof line, "pid %d\n", ::getpid());
    if (::write(STDOUT_FILENO, line, static_cast<std::size_t>(size)) != size) ::_exit(1);
    Dice dice(seed, 2);
    for (int i = 0; i < 5; ++i) ask(dice);
    ::_exit(failure_);
  }

  oauth::BearerSource source_;
  const WorkerOptions options_;
  std::atomic<int> bearers_{0};
  std::atomic<int> failure_{0};
};

}  // namespace

int work(const WorkerOptions& options) {
  const auto registry = oauth::ProviderRegistry::load(oauth::ProviderRegistry::default_directory());
  const oauth::BearerParts parts{[&]() -> const oauth::ProviderRegistry& { return registry; },
                                 oauth::curl_transport(), oauth::process_environment()};
  StoreOptions wanted;
  wanted.endpoint_for = oauth::endpoints(parts, wanted.clock);
  auto store = Store::open(std::move(wanted), OpenMode::use);
  if (!store) {
    std::fprintf(stderr, "%s\n", store.error().message.c_str());
    return static_cast<int>(store.error().code);
  }
  return Worker(*std::move(store), parts, options).live();
}

}  // namespace authdb::prove
