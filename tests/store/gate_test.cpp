// Many writers in processes of their own: each is served, none is told BUSY, and the write-ahead
// log stays small, also where somebody reads for long.
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

constexpr int kWriters = 64;
constexpr std::uintmax_t kLargestLog = 8U << 20U;

// A process that keeps one read transaction open until it is destroyed.
class LongReader {
 public:
  explicit LongReader(const std::filesystem::path& database) {
    int ready[2];
    int go[2];
    EXPECT_EQ(::pipe(ready), 0);
    EXPECT_EQ(::pipe(go), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(go[1]);
      sqlite3* db = nullptr;
      sqlite3_open_v2(database.c_str(), &db, SQLITE_OPEN_READONLY, nullptr);
      const int begun =
          sqlite3_exec(db, "BEGIN; SELECT count(*) FROM attempt", nullptr, nullptr, nullptr);
      char byte = begun == SQLITE_OK ? 'y' : 'n';
      (void)!::write(ready[1], &byte, 1);
      (void)!::read(go[0], &byte, 1);
      ::_exit(0);
    }
    ::close(go[0]);
    go_ = go[1];
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'y');
    ::close(ready[0]);
    ::close(ready[1]);
  }
  LongReader(const LongReader&) = delete;
  LongReader& operator=(const LongReader&) = delete;
  ~LongReader() {
    ::close(go_);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
  int go_ = -1;
};

class GateTest : public StoreTest {
 protected:
  void SetUp() override {
    Store store = open();
    for (int i = 0; i < kWriters; ++i) uids_.push_back(add_login(store, std::to_string(i)));
  }
  // Each writer rotates a credential of its own `turns` times, as fast as it can. Returns how many
  // failed.
  int write_at_once(int turns) {
    std::vector<pid_t> writers;
    for (const Uid& uid : uids_) {
      const pid_t child = ::fork();
      if (child == 0) {
        StoreOptions patient = options();
        patient.lock_wait = std::chrono::minutes(2);
        auto store = Store::open(patient, OpenMode::use);
        bool fine = store.has_value();
        for (int turn = 0; fine && turn < turns; ++turn) {
          const std::string next = uid + "-" + std::to_string(::getpid()) + std::to_string(turn);
          will(grants("refresh-" + next, "access-" + next));
          const auto rotated = rotate(*store, uid, {.force = true});
          fine = rotated && rotated->warning.empty();  // a warning: it could not be settled
        }
        ::_exit(fine ? 0 : 1);
      }
      writers.push_back(child);
    }
    int failed = 0;
    for (const pid_t writer : writers) {
      int status = 0;
      ::waitpid(writer, &status, 0);
      if (status != 0) ++failed;
    }
    return failed;
  }
  std::uintmax_t log_size() const {
    std::error_code none;
    const auto size = std::filesystem::file_size(dir_.path() / "store" / "auth.db-wal", none);
    return none ? 0 : size;
  }

  std::vector<Uid> uids_;
};

TEST_F(GateTest, SixtyFourWritersAreAllServedAndTheLogStaysSmall) {
  const Store watching = open(OpenMode::look);  // so that the log is not cleared at the end
  ASSERT_TRUE(watching.find(uids_[0]));

  EXPECT_EQ(write_at_once(6), 0);

  EXPECT_LT(log_size(), kLargestLog);
  EXPECT_EQ(
      watching.query("SELECT 1 FROM rotation WHERE outcome = 'committed' AND kind = 'refresh'")
          ->rows.size(),
      static_cast<std::size_t>(kWriters) * 6);
}

TEST_F(GateTest, ALongReaderStopsNoWriterAndItsLogShrinksAgain) {
  const Store watching = open(OpenMode::look);
  ASSERT_TRUE(watching.find(uids_[0]));
  {
    const LongReader reader(database());
    EXPECT_EQ(write_at_once(2), 0);
    EXPECT_LT(log_size(), kLargestLog);
    EXPECT_EQ(write_at_once(2), 0);
  }
  EXPECT_EQ(write_at_once(1), 0);

  EXPECT_LE(log_size(), 4U << 20U) << "what a reader once made it grow to stays for ever";
}

}  // namespace
}  // namespace authdb::test
