#include "tests/tools/users.h"

#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

namespace authdb::cli {
namespace {

namespace fs = std::filesystem;

// Others may not be let into the directory that this was built in.
void install(const fs::path& prefix) {
  const fs::path built = fs::path(AUTHDB_BINARY).parent_path();
  for (const char* directory : {"bin", "lib"}) fs::create_directories(prefix / directory);
  fs::copy_file(AUTHDB_BINARY, prefix / "bin/authdb");
  fs::copy_file(built / "../lib/authdb_http.so", prefix / "lib/authdb_http.so");
}

}  // namespace

void UsersOfAMachine::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can act for other users";
  give(dir_.path(), 0, 0755);
  install(dir_ / "program");
  for (const auto& [path, user] : {std::pair(home(), kOwner), std::pair(strangers(), kStranger)}) {
    fs::create_directory(path);
    give(path, user, 0755);
  }
  fs::create_directory(home() / "run");
  give(home() / "run", kOwner, 0700);
  env_ = {{"HOME", home()},
          {"XDG_RUNTIME_DIR", home() / "run"},
          // A process that closes its memory closes it to the leak checker of its own user, too.
          // And how it crashes is looked at.
          {"ASAN_OPTIONS", "detect_leaks=0:handle_segv=0:disable_coredump=0"},
          {"PATH", "/usr/bin:/bin"}};  // everything else where it is by default
}

Child UsersOfAMachine::start(const std::vector<std::string>& words, const std::string& input,
                             int terminal) {
  file_of(kOwner, dir_ / "stdin", input);
  Plumbing plumbing;
  plumbing.stdin_path = dir_ / "stdin";
  plumbing.terminal = terminal;
  plumbing.user = kOwner;
  plumbing.program = dir_ / "program/bin/authdb";
  return Child(words, env_, plumbing);
}

Ran UsersOfAMachine::must_own(const std::vector<std::string>& words, const std::string& input) {
  auto ran = own(words, input);
  EXPECT_EQ(ran.status, 0) << testing::PrintToString(words) << testing::PrintToString(ran);
  return ran;
}

std::string UsersOfAMachine::as(uid_t user, const std::function<std::string()>& body) {
  std::array<int, 2> answer{};
  if (::pipe(answer.data()) != 0) return "there is no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(answer[0]);
    const bool is_user = ::setgroups(0, nullptr) == 0 && ::setgid(user) == 0 && ::setuid(user) == 0;
    const std::string text = is_user ? body() : "cannot become user " + std::to_string(user);
    const bool told =
        ::write(answer[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(told ? 0 : 1);
  }
  ::close(answer[1]);
  std::string text;
  std::array<char, 4096> chunk{};
  for (ssize_t got = 0; (got = ::read(answer[0], chunk.data(), chunk.size())) > 0;) {
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  ::close(answer[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << text;
  return text;
}

void UsersOfAMachine::give(const fs::path& path, uid_t user, mode_t mode) {
  ASSERT_EQ(::lchown(path.c_str(), user, user), 0) << path;
  ASSERT_EQ(::chmod(path.c_str(), mode), 0) << path;
}

void UsersOfAMachine::file_of(uid_t user, const fs::path& path, const std::string& text,
                              mode_t mode) {
  write_file(path, text);
  give(path, user, mode);
}

}  // namespace authdb::cli
