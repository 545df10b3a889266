// A store with one login that has been refreshed once, and its doctor.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>

#include "store/doctor.h"
#include "store/locked.h"
#include "tests/store/attempt_fixture.h"
#include "tests/store/rotated_fixture.h"

namespace authdb::test {

namespace fs = std::filesystem;

class DoctorTest : public RotatedTest {
 protected:
  static std::vector<std::string> codes(const std::vector<Finding>& findings, bool repaired) {
    std::vector<std::string> codes;
    for (const Finding& finding : findings) {
      if (finding.repaired == repaired) codes.push_back(finding.code);
    }
    return codes;
  }
  std::vector<std::string> found() { return codes(examine(options()), false); }
  // What a repair mended; afterwards only `left` is left.
  std::vector<std::string> mended(const std::vector<std::string>& left = {}) {
    const auto findings = repair(options());
    EXPECT_EQ(codes(findings, false), left);
    return codes(findings, true);
  }
  std::map<std::string, std::string> bytes() {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(dir_.path())) {
      const std::string name = entry.path().filename();
      const bool of_sqlite = name.ends_with("-shm") || name.ends_with("-wal");
      if (entry.is_regular_file() && !of_sqlite) files[entry.path()] = file_bytes(entry.path());
    }
    return files;
  }
  void damage_head() {
    std::fstream(journal(uid_), std::ios::in | std::ios::out | std::ios::binary).put('X');
  }
  // A process that died where `reply` says.
  void die_in_a_request(bool answered) {
    const pid_t child = ::fork();
    if (child == 0) {
      StoreOptions doomed = options();
      Store store = *Store::open(doomed, OpenMode::use);
      const auto locked = acquire_lock(store, uid_, {Milliseconds(0)});
      if (answered) {
        leave_answered(*locked, grants("refresh-a-3", "access-a-3").body, now());
      } else {
        leave_sent(*locked, now());
      }
      ::kill(::getpid(), SIGKILL);
    }
    ::waitpid(child, nullptr, 0);
  }
  std::string keep_copy() {
    {
      Store store = open(OpenMode::use);
      EXPECT_TRUE(store.add_profile("checkpoints at close"));
    }
    return file_bytes(database());
  }
  void put_back(const std::string& copy) {
    for (const char* suffix : {"-wal", "-shm"}) fs::remove(database().string() + suffix);
    std::ofstream(database(), std::ios::binary | std::ios::trunc) << copy;
  }
  void drop_database() {
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(database().string() + suffix);
  }
  std::string current() { return text(open(OpenMode::look).unseal(uid_)->refresh_token); }
};

}  // namespace authdb::test
