// Processes of several threads each, over several credentials and several expiries: one request for
// each credential and expiry, and everyone who asks is given the same token.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <sstream>
#include <thread>

#include "bearer_fixture.h"
#include "tools/portal/portal.h"

namespace authdb::oauth {
namespace {

constexpr int kProcesses = 6;
constexpr std::size_t kThreads = 4;
constexpr std::size_t kCredentials = 3;
constexpr Seconds kLife{900};

// A process that asks once in each round, in all its threads. Made before any thread is.
class Member {
 public:
  // `ask` is called in each thread; what it returns must hold no blank.
  Member(const std::function<std::string()>& ask) {
    int go[2];
    int told[2];
    if (::pipe(go) != 0 || ::pipe(told) != 0) throw std::runtime_error("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(go[1]);
      run(ask, go[0], told[1]);
      ::_exit(0);
    }
    ::close(go[0]);
    ::close(told[1]);
    go_ = go[1];
    told_ = told[0];
  }
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;
  ~Member() {
    // By a word: members made later hold this pipe open too.
    EXPECT_EQ(::write(go_, "q", 1), 1);
    ::close(go_);
    ::close(told_);
    ::waitpid(pid_, nullptr, 0);
  }
  void start_round() const { ASSERT_EQ(::write(go_, "x", 1), 1); }
  std::vector<std::string> answers() const {
    std::string line;
    for (char c = 0; ::read(told_, &c, 1) == 1 && c != '\n';) line += c;
    std::istringstream words(line);
    return {std::istream_iterator<std::string>(words), {}};
  }

 private:
  static void run(const std::function<std::string()>& ask, int go, int told) {
    for (char word = 0; ::read(go, &word, 1) == 1 && word == 'x';) {
      std::vector<std::string> got(kThreads);
      std::vector<std::thread> threads;
      for (std::string& slot : got) threads.emplace_back([&] { slot = ask(); });
      for (std::thread& thread : threads) thread.join();
      std::string line;
      for (const std::string& one : got) line += one + " ";
      line += "\n";
      if (::write(told, line.data(), line.size()) < 0) return;
    }
  }

  pid_t pid_ = -1;
  int go_ = -1;
  int told_ = -1;
};

class HerdTest : public BearerTest {
 protected:
  HerdTest() {
    shared_now_ = new (::mmap(nullptr, sizeof *shared_now_, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0))
        std::atomic<std::int64_t>(to_millis(kStart));
    http_ = curl_transport();
  }
  ~HerdTest() override { ::munmap(shared_now_, sizeof *shared_now_); }

  // One process's source, opened at its first question, on the clock that all share.
  std::function<std::string()> asker(std::size_t which) {
    auto once = std::make_shared<std::once_flag>();
    auto source = std::make_shared<std::unique_ptr<BearerSource>>();
    auto request = std::make_shared<BearerRequest>();
    return [=, this] {
      std::call_once(*once, [&] {
        StoreOptions mine = options();
        mine.clock = [shared = shared_now_] { return at_millis(*shared); };
        mine.endpoint_for = endpoints(parts(), mine.clock);
        const Store store = *Store::open(mine, OpenMode::use);
        request->provider = "nous";
        request->credential = store.list({})->at(which).uid;
        *source = std::make_unique<BearerSource>(store, parts());
      });
      const auto got = (*source)->bearer(*request);
      return got ? got->fingerprint : "error:" + std::to_string(static_cast<int>(got.error().code));
    };
  }

  std::atomic<std::int64_t>* shared_now_ = nullptr;
};

TEST_F(HerdTest, P1_ThreadsOfProcessesOverCredentialsAndExpiriesCostOneCallEach) {
  std::vector<std::unique_ptr<Member>> members;
  for (std::size_t i = 0; i < kProcesses; ++i) {
    members.push_back(std::make_unique<Member>(asker(i % kCredentials)));
  }
  portal::Options setup;
  setup.era = portal::Era::kJwt;
  setup.access_ttl = kLife;
  setup.clock_ms = to_millis(kStart);
  portal::Portal portal(setup);
  portal.freeze();
  for (std::size_t i = 0; i < kCredentials; ++i) {
    const portal::Grant grant = portal.create_grant();
    Seed seed = jwt_seed();
    seed.label = std::to_string(i);
    seed.portal = portal.base_url();
    seed.access = grant.access_token;
    seed.refresh = grant.refresh_token;
    seed.scope = grant.scope;
    seed.expires_in = kLife;
    add(seed);
  }

  std::vector<std::string> last(kCredentials);
  for (int round = 1; round <= 3; ++round) {
    *shared_now_ += Milliseconds(kLife).count();
    portal.advance(kLife);
    for (const auto& member : members) member->start_round();
    std::vector<std::string> fresh(kCredentials);
    for (std::size_t i = 0; i < kProcesses; ++i) {
      const auto answers = members[i]->answers();
      ASSERT_EQ(answers.size(), kThreads);
      std::string& expected = fresh[i % kCredentials];
      if (expected.empty()) expected = answers[0];
      EXPECT_THAT(answers, testing::Each(expected)) << "round " << round;
    }
    for (std::size_t i = 0; i < kCredentials; ++i) {
      EXPECT_THAT(fresh[i], testing::StartsWith("sha256:"));
      EXPECT_NE(fresh[i], last[i]);
    }
    last = fresh;
    EXPECT_EQ(portal.counters().totals.token_posts, round * static_cast<int>(kCredentials));
  }
  EXPECT_EQ(portal.counters().totals.reuse_detected, 0);
  EXPECT_EQ(portal.counters().totals.max_in_flight_per_token, 1);
}

}  // namespace
}  // namespace authdb::oauth
