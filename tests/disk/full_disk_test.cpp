// The real authdb on a real file system that is full to the last byte, read-only, or reached with
// too few descriptors.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "tests/portal/process.h"
#include "tests/store/store_fixture.h"
#include "tools/portal/portal.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kDone = 0;
constexpr int kTryLater = 5;

portal::Options jwt_era() {
  portal::Options options;
  options.era = portal::Era::kJwt;
  return options;
}

// authdb with a store on `disk`, and everything else of it somewhere else.
class RealDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    disk_ = home_.path() / "disk";
    fs::create_directory(disk_);
    fs::create_directory(home_.path() / "run");
    fs::permissions(home_.path() / "run", fs::perms::owner_all);
    runtime_ = (home_.path() / "run").string();
  }

  portal::Finished authdb(const std::string& words, const std::string& input = "",
                          const std::string& before = "") {
    std::ofstream(home_.path() / "in") << input;
    const std::string environment =
        "HOME=" + home_.path().string() + " AUTHDB_STORE=" + (disk_ / "s" / "auth.db").string() +
        " XDG_RUNTIME_DIR=" + runtime_ + " HERMES_PORTAL_BASE_URL=" + portal_.base_url() +
        " PATH=/usr/bin:/bin ";
    return portal::run({"/bin/sh", "-c",
                        before + " exec env -i " + environment + AUTHDB_BINARY + " " + words +
                            " <" + (home_.path() / "in").string()});
  }

  // A grant that the portal knows and that is due; rotated once, so that its journal is there.
  void make_store(bool rotated) {
    const portal::Grant grant = portal_.create_grant();
    const std::string answer = R"({"access_token":")" + grant.access_token +
                               R"(","refresh_token":")" + grant.refresh_token +
                               R"(","expires_in":900,"scope":")" + grant.scope + R"("})";
    const auto added = authdb("add nous --grant --label it", answer);
    ASSERT_EQ(added.code, kDone) << added.err;
    if (!rotated) return;
    const auto refreshed = authdb("refresh nous");
    ASSERT_EQ(refreshed.code, kDone) << refreshed.err;
  }

  // As if it had been imported.
  void forget_journal() {
    for (const auto& entry : fs::directory_iterator(disk_ / "s" / "auth.db.d")) {
      if (entry.is_directory()) fs::remove_all(entry.path());
    }
  }

  std::size_t refreshes() const {
    std::size_t count = 0;
    for (const auto& request : portal_.requests()) {
      if (request.path.ends_with("/token")) ++count;
    }
    return count;
  }

  void expect_readable(const std::string& label = "it") {
    for (const char* words : {"list", "status", "log", "sql 'SELECT label FROM freshness'"}) {
      const auto read = authdb(words);
      EXPECT_EQ(read.code, kDone) << words << ": " << read.err;
      EXPECT_THAT(read.out, HasSubstr(label)) << words;
    }
    const auto token = authdb("token nous");
    EXPECT_EQ(token.code, kDone) << token.err;
    EXPECT_THAT(token.out, Not(IsEmpty()));
  }

  // What a refusal for want of space says.
  void expect_full(const portal::Finished& finished) {
    EXPECT_EQ(finished.code, kTryLater) << finished.err;
    EXPECT_THAT(finished.out, IsEmpty());
    EXPECT_THAT(finished.err, AllOf(HasSubstr(disk_.string()), HasSubstr("Free space")));
  }

  TemporaryDirectory home_;
  fs::path disk_;
  std::string runtime_;
  portal::Portal portal_{jwt_era()};
};

// A file system in memory, of its own size. Mounting is root's; elsewhere the test is skipped.
class SmallDiskTest : public RealDiskTest {
 protected:
  void SetUp() override {
    RealDiskTest::SetUp();
    if (::mount("authdb-test", disk_.c_str(), "tmpfs", 0, "size=2m,mode=700") != 0) {
      // Mounting is for root, and not in every container: fault_test.cpp needs none.
      GTEST_SKIP() << "no mounting here: " << std::strerror(errno);
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) ::umount2(disk_.c_str(), MNT_DETACH);
  }

  void fill() {
    const int fd = ::open((disk_ / "fill").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    const std::string bytes(4096, 'f');
    while (::write(fd, bytes.data(), bytes.size()) > 0) {
    }
    while (::write(fd, "f", 1) > 0) {
    }
    EXPECT_EQ(errno, ENOSPC);
    ::close(fd);
  }
  void free_space() { fs::remove(disk_ / "fill"); }
  void remount(bool read_only) {
    const unsigned long flags = read_only ? MS_REMOUNT | MS_RDONLY : MS_REMOUNT;
    ASSERT_EQ(::mount(nullptr, disk_.c_str(), nullptr, flags, nullptr), 0) << std::strerror(errno);
  }
  // Dies with its changes in the log only.
  void kill_a_writer() {
    const auto killed =
        portal::run({"sqlite3", (disk_ / "s" / "auth.db").string(),
                     "UPDATE credential SET label = 'renamed'", ".shell kill -9 $PPID"});
    ASSERT_NE(killed.code, 0);
    ASSERT_GT(fs::file_size(disk_ / "s" / "auth.db-wal"), 0u);
  }

 private:
  bool mounted_ = false;
};

TEST_F(SmallDiskTest, ReadersReadOnAFullDisk) {
  make_store(true);
  fill();

  expect_readable();
}

TEST_F(SmallDiskTest, ReadersReadAKilledWritersLogOnAFullDisk) {
  make_store(true);
  kill_a_writer();
  fs::remove(disk_ / "s" / "auth.db-shm");
  fill();

  expect_readable("renamed");
}

TEST_F(SmallDiskTest, AFirstRefreshOnAFullDiskSendsNothing) {
  make_store(false);
  forget_journal();
  fill();

  expect_full(authdb("refresh nous"));

  EXPECT_EQ(refreshes(), 0u);
  free_space();
  EXPECT_EQ(authdb("refresh nous").code, kDone);
}

TEST_F(SmallDiskTest, P4_ARefreshOnAFullDiskServesTheNewTokenAndSettlesItLater) {
  make_store(true);
  const auto before = authdb("token nous");
  fill();

  const auto refreshed = authdb("refresh nous");

  EXPECT_EQ(refreshed.code, kDone) << refreshed.err;
  EXPECT_THAT(refreshed.err, HasSubstr("the next refresh settles it"));
  free_space();
  const auto settled = authdb("refresh nous");
  EXPECT_EQ(settled.code, kDone) << settled.err;
  EXPECT_EQ(refreshes(), 2u) << "sent although the journal had the answer";
  EXPECT_NE(authdb("token nous").out, before.out);
  EXPECT_THAT(authdb("log").out, HasSubstr("recovered"));
  EXPECT_EQ(authdb("refresh nous").code, kDone);
  EXPECT_EQ(portal_.counters().totals.reuse_detected, 0);
}

TEST_F(SmallDiskTest, WritersSayThatTheDiskIsFull) {
  make_store(true);
  fill();

  expect_full(authdb("add nous --label another", "sk-another"));
  expect_full(authdb("remove nous it"));
  expect_full(authdb("profile add another"));

  free_space();
  expect_readable();
}

TEST_F(SmallDiskTest, WhatCannotBeHandedOverForWantOfSpaceStaysWithTheStore) {
  fs::create_directory(disk_ / "hermes");
  std::ofstream(disk_ / "hermes" / "auth.json") << R"({"version":1,"credential_pool":{"nous":[
      {"id":"a1","label":"it","auth_type":"oauth","source":"manual:device_code","priority":0,
       "access_token":"at-1","refresh_token":"rt-1","expires_at":"2099-01-01T00:00:00Z"}]}})";
  const std::string elsewhere = " --store " + (home_.path() / "s" / "auth.db").string();
  const auto cut = authdb("migrate --cutover " + (disk_ / "hermes").string() + elsewhere);
  ASSERT_EQ(cut.code, kDone) << cut.err;
  fill();

  expect_full(authdb("export --hand-over" + elsewhere));
  EXPECT_THAT(authdb("status" + elsewhere).out, Not(HasSubstr("handed over")));

  free_space();
  const auto done = authdb("export --hand-over" + elsewhere);
  EXPECT_EQ(done.code, kDone) << done.err;
  EXPECT_THAT(authdb("status" + elsewhere).out, HasSubstr("handed over"));
}

TEST_F(SmallDiskTest, AStoreCannotBeMadeOnAFullDisk) {
  fill();

  expect_full(authdb("add nous --label it", "sk-it"));

  free_space();
  EXPECT_EQ(authdb("add nous --label it", "sk-it").code, kDone);
}

TEST_F(SmallDiskTest, ReadersReadOnAReadOnlyFileSystem) {
  make_store(true);
  remount(true);

  expect_readable();
}

TEST_F(SmallDiskTest, ReadersReadAKilledWritersLogOnAReadOnlyFileSystem) {
  make_store(true);
  kill_a_writer();
  remount(true);
  expect_readable("renamed");

  remount(false);
  fs::remove(disk_ / "s" / "auth.db-shm");
  remount(true);
  expect_readable("renamed");
}

TEST_F(SmallDiskTest, NothingIsSentFromAReadOnlyFileSystem) {
  make_store(true);
  remount(true);

  const auto refused = authdb("refresh nous");

  EXPECT_EQ(refused.code, kTryLater) << refused.err;
  EXPECT_THAT(refused.err, AllOf(HasSubstr(disk_.string()), HasSubstr("read-only")));
  EXPECT_EQ(refreshes(), 1u);
}

// With ever fewer descriptors, down to none: what is there, or an error.
TEST_F(RealDiskTest, TooFewDescriptorsAreNeverAnEmptyStoreOrAVerdict) {
  make_store(true);
  const std::string token = authdb("token nous").out;
  int failed = 0;
  int served = 0;

  for (int limit = 3; limit <= 24; ++limit) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, "ulimit -n " + std::to_string(limit));
    const std::string before = "ulimit -n " + std::to_string(limit) + ";";
    const auto listed = authdb("list", "", before);
    if (listed.code == kDone) {
      EXPECT_THAT(listed.out, HasSubstr("it"));
    } else {
      EXPECT_NE(listed.code, 3) << listed.err;
      EXPECT_NE(listed.code, 4) << listed.err;
      EXPECT_THAT(listed.out, IsEmpty());
      ++failed;
    }
    const auto got = authdb("token nous", "", before);
    if (got.code == kDone) {
      EXPECT_EQ(got.out, token);
      ++served;
    } else {
      EXPECT_NE(got.code, 3) << got.err;
      EXPECT_NE(got.code, 4) << got.err;
      EXPECT_THAT(got.out, IsEmpty());
    }
    const auto refreshed = authdb("refresh nous", "", before);
    EXPECT_NE(refreshed.code, 3) << refreshed.err;
    EXPECT_NE(refreshed.code, 4) << refreshed.err;
    if (refreshed.code == kDone) break;  // enough
  }

  EXPECT_GT(failed, 0) << "the limit was never felt";
  EXPECT_GT(served, 0);
  EXPECT_THAT(authdb("status").out, HasSubstr("fresh"));
  EXPECT_EQ(portal_.counters().totals.reuse_detected, 0);
}

}  // namespace
}  // namespace authdb::test
