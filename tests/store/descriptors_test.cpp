// Changes of more logins than a process may open files.
#include "store/descriptors.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/backup.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

using testing::HasSubstr;

constexpr rlim_t kFew = 60;
constexpr int kLogins = 100;

class DescriptorsTest : public StoreTest {
 protected:
  static std::vector<Credential> rows(const Store& store) { return store.list({}).value(); }
  Change of_all(const Store& store, const std::string& suffix) {
    Change all;
    for (const Credential& row : rows(store)) {
      all.credentials.push_back(
          login("", "access-" + row.uid + suffix, "refresh-" + row.uid + suffix, now()));
      all.credentials.back().identity.reset();
      all.credentials.back().uid = row.uid;
      all.credentials.back().planned_against = row.generation;
    }
    return all;
  }
  void add_logins() {
    Store store = open();
    Change all;
    for (int i = 0; i < kLogins; ++i) {
      const std::string name = std::to_string(i);
      all.credentials.push_back(login(name, "access-" + name, "refresh-" + name, now()));
    }
    ASSERT_TRUE(store.apply(all));
    // Each has a journal from here on.
    ASSERT_TRUE(store.apply(of_all(store, "-2")));
  }
  // The message of `body`, run in a process that may open few files: by its soft limit, or at all.
  template <typename F>
  static std::string among_few(rlim_t hard, F body) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) return "no pipe";
    const pid_t child = ::fork();
    if (child == 0) {
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      limit = {kFew, std::min(hard, limit.rlim_max)};
      ::setrlimit(RLIMIT_NOFILE, &limit);
      const std::string said = body();
      (void)!::write(ends[1], said.data(), said.size());
      ::_exit(0);
    }
    ::close(ends[1]);
    std::string said;
    std::array<char, 512> buffer{};
    for (ssize_t n = 0; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
      said.append(buffer.data(), static_cast<std::size_t>(n));
    }
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    return said;
  }
  template <typename T>
  static std::string said(const Result<T>& result) {
    return result ? "done" : result.error().message + ": " + result.error().hint;
  }
};

TEST_F(DescriptorsTest, AChangeOfMoreLoginsThanFilesMayUsuallyBeOpenIsApplied) {
  add_logins();

  EXPECT_EQ(among_few(RLIM_INFINITY,
                      [&] {
                        Store store = open(OpenMode::use);
                        return said(store.apply(of_all(store, "-3")));
                      }),
            "done");

  for (const Credential& row : rows(open())) EXPECT_EQ(row.generation, 3);
}

TEST_F(DescriptorsTest, WhereTheLimitCannotBeRaisedItIsNamedAndNothingIsChanged) {
  add_logins();

  EXPECT_THAT(among_few(kFew,
                        [&] {
                          Store store = open(OpenMode::use);
                          return said(store.apply(of_all(store, "-3")));
                        }),
              HasSubstr("ulimit -n"));

  for (const Credential& row : rows(open())) EXPECT_EQ(row.generation, 2);
}

TEST_F(DescriptorsTest, ARestoreOfMoreLoginsThanFilesMayUsuallyBeOpenIsDone) {
  add_logins();
  const auto file = dir_.path() / "backup.db";
  ASSERT_TRUE(back_up(open(OpenMode::look), file));
  {
    Store store = open(OpenMode::use);
    for (const Credential& row : rows(store)) ASSERT_TRUE(store.remove(row.uid));
  }

  EXPECT_EQ(among_few(RLIM_INFINITY, [&] { return said(restore(options(), file)); }), "done");

  EXPECT_EQ(open().list({})->size(), static_cast<std::size_t>(kLogins));
}

TEST_F(DescriptorsTest, TheLimitIsRaisedNoFurtherThanNeeded) {
  EXPECT_EQ(among_few(RLIM_INFINITY,
                      [] {
                        rlimit limit{};
                        const bool few = room_for_descriptors(2) && room_for_descriptors(200);
                        ::getrlimit(RLIMIT_NOFILE, &limit);
                        return few && limit.rlim_cur > 200 && limit.rlim_cur < 300 ? "so" : "not";
                      }),
            "so");
}

}  // namespace
}  // namespace authdb::test
