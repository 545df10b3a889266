// Where the HTTP module is loaded from: a program, and a library, in directories of their own.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "oauth/http_module.h"
#include "tests/portal/process.h"

namespace authdb::oauth {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kModule = "authdb_http.so";

class HttpLoaderTest : public testing::Test {
 protected:
  HttpLoaderTest() {
    std::string pattern = testing::TempDir() + "authdb-loader-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    put(HTTP_PROBE, "bin/probe");
  }
  ~HttpLoaderTest() override {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  fs::path at(const std::string& name) const { return root_ / name; }
  void put(const fs::path& from, const std::string& name) const {
    fs::create_directories(at(name).parent_path());
    fs::copy_file(from, at(name), fs::copy_options::overwrite_existing);
    ::chmod(at(name).c_str(), 0755);
  }
  void put_module(const std::string& directory) const {
    put(HTTP_MODULE, directory + "/" + kModule);
  }
  std::string said(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> command{at("bin/probe")};
    command.insert(command.end(), more.begin(), more.end());
    return portal::run(command).out;
  }
  void expect_loaded(const std::vector<std::string>& more = {}) const {
    EXPECT_THAT(said(more), HasSubstr("connect"));  // libcurl's word for a port without a listener
  }

  fs::path root_;
};

TEST_F(HttpLoaderTest, ItIsLoadedBesideTheProgramInEachOfItsLayouts) {
  for (const char* directory : {"lib", "bin", "lib/authdb"}) {
    put_module(directory);
    expect_loaded();
    fs::remove(at(directory) / kModule);
  }
}

TEST_F(HttpLoaderTest, ItIsNotLoadedFromWhereItWasBuiltNorFromTheWorkingDirectory) {
  put_module("work");
  const fs::path before = fs::current_path();
  fs::current_path(at("work"));
  const std::string heard = said();
  fs::current_path(before);

  EXPECT_THAT(heard, AllOf(HasSubstr("authdb_http.so is not installed"),
                           HasSubstr(at("lib").string()), HasSubstr(at("bin").string())));
}

TEST_F(HttpLoaderTest, WhatOthersCanWriteOrReplaceIsNotLoadedAndTheErrorSaysWhich) {
  const std::string module = at("lib/authdb_http.so");
  put_module("lib");
  const auto refused = [&](const fs::path& what) {
    EXPECT_THAT(said(), AllOf(HasSubstr(module + " is not loaded: other users can write to "),
                              HasSubstr("chmod go-w " + what.string())));
  };
  for (const mode_t mode : {0775u, 0777u}) {
    ::chmod(at("lib").c_str(), mode);
    refused(at("lib"));
    ::chmod(at("lib").c_str(), 0755);
    ::chmod(module.c_str(), mode);
    refused(module);
    ::chmod(module.c_str(), 0644);
    ::chmod(root_.c_str(), mode);
    refused(root_);
    ::chmod(root_.c_str(), 0700);
  }
  expect_loaded();
  // The first that is there decides: what is refused is not passed over.
  ::chmod(module.c_str(), 0666);
  put_module("bin");
  refused(module);
}

TEST_F(HttpLoaderTest, AModuleThatIsNoFileIsNotLoaded) {
  fs::create_directories(at("lib"));
  ASSERT_EQ(::mkfifo(at("lib/authdb_http.so").c_str(), 0644), 0);

  EXPECT_THAT(said(), HasSubstr("is a pipe, not a regular file"));
}

TEST_F(HttpLoaderTest, AnotherUsersModuleIsNotLoadedUnlessTheProgramIsItsToo) {
  // Only root makes files of other users.
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  put_module("lib");
  ASSERT_EQ(::chown(at("lib/authdb_http.so").c_str(), 4711, 4711), 0);
  EXPECT_THAT(said(), HasSubstr("belongs to user 4711"));

  // Whoever owns the program could have changed that.
  ASSERT_EQ(::chown(at("bin/probe").c_str(), 4711, 4711), 0);
  expect_loaded();
}

TEST_F(HttpLoaderTest, ALibraryFindsItBesideItself) {
  put(HTTP_PROBE_LIBRARY, "elsewhere/libprobe.so");
  const std::vector<std::string> library{at("elsewhere/libprobe.so")};
  EXPECT_THAT(said(library), HasSubstr("is not installed"));
  put_module("elsewhere");

  expect_loaded(library);
}

// An upgrade may put a new module in the place before an old process loads it.
TEST(HttpModule, AProgramOfAnotherVersionIsToldSoWithinTheAnswerThatItKnows) {
  void* const module = ::dlopen(HTTP_MODULE, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(module, nullptr) << ::dlerror();
  auto* const perform =
      reinterpret_cast<AuthdbHttpPerform*>(::dlsym(module, "authdb_http_perform"));
  AuthdbHttpAnswer answer;
  std::memset(&answer, 0x55, sizeof answer);
  perform(kAuthdbHttpAbi - 1, nullptr, &answer);

  EXPECT_THAT(answer.failure, HasSubstr("of another version"));
  EXPECT_EQ(answer.body, nullptr);
  EXPECT_EQ(answer.unreached, 0);
  EXPECT_EQ(answer.trust, 0x55555555) << "an older program has no room for it";
}

}  // namespace
}  // namespace authdb::oauth
