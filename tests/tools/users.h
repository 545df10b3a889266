// Two Unix users on one machine: the owner of a store, with the real executable, and a stranger.
// Only root can act for others; anybody else sees these tests skipped.
#pragma once

#include <functional>

#include "tests/tools/child.h"

namespace authdb::cli {

constexpr uid_t kOwner = 4711;
constexpr uid_t kStranger = 4712;

class UsersOfAMachine : public ProcessTest {
 protected:
  void SetUp() override;

  // The owner's $HOME. Everybody may look into it, as on many machines.
  std::filesystem::path home() const { return dir_ / "owner"; }
  // A directory of the stranger's.
  std::filesystem::path strangers() const { return dir_ / "stranger"; }

  // The executable, run by the owner.
  Child start(const std::vector<std::string>& words, const std::string& input = {},
              int terminal = -1);
  Ran own(const std::vector<std::string>& words, const std::string& input = {}) {
    return start(words, input).finish();
  }
  Ran must_own(const std::vector<std::string>& words, const std::string& input = {});

  // What `body` returns, in a process of that user.
  static std::string as(uid_t user, const std::function<std::string()>& body);
  // Makes the file or directory theirs.
  static void give(const std::filesystem::path& path, uid_t user, mode_t mode);
  void file_of(uid_t user, const std::filesystem::path& path, const std::string& text,
               mode_t mode = 0600);
};

}  // namespace authdb::cli
