// One history's world: a directory with a store, a clock, a token server, and the processes that
// use the store. Another process is another Store object here; a process that dies is a fork
// (crash.h).
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "oauth/bearer.h"
#include "store/store.h"
#include "tests/model/books.h"
#include "tests/model/server.h"
#include "tests/model/step.h"

struct sqlite3;

namespace authdb::model {

class World;

inline constexpr std::int64_t kStart = 1'790'000'000'000;

// An action under way in this thread: what its requests may do, and what is to happen meanwhile.
struct Acting {
  Step step;
  bool outermost = false;  // nothing else is under way
  Rights rights;
  std::int64_t started_at = 0;  // of the last request
  int token_requests = 0;
  int mint_requests = 0;
  int clock_readings = 0;
  bool inner_done = false;
  int delivered = -1;  // the refresh token whose answer brought a grant last
  int refused = -1;    // the refresh token that the server said no to last
  std::set<int> lost;  // the logins of which a request of it was lost
  int odd = -1;        // the one whose answer brought a refresh token that must not become current
};
Acting*& acting();

// A process that has the store open.
struct Desk {
  Store store;
  oauth::BearerSource source;
};

// What a copy of a file knows: for each login, the version that was in it.
struct Copy {
  std::filesystem::path file;
  std::map<Uid, int> versions;
  Uid uid;  // of a journal
  std::map<Uid, int> tokens = {};
  std::set<Uid> removed = {};
};

class World {
 public:
  // `home` has a store to begin with, made by make_template().
  World(const std::filesystem::path& home, Verdict& verdict);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Time -----------------------------------------------------------------------------------------
  std::int64_t now() const { return now_; }
  void advance(std::int64_t ms) { now_ += ms; }

  // Processes ------------------------------------------------------------------------------------
  StoreOptions options(Milliseconds lock_wait);
  Desk& desk(int which);  // 0: this one, 1: another, 2: another that has time to wait
  void close_all();
  void fold_log();  // all of the write-ahead log into auth.db
  void reboot();
  bool open_fails() const { return open_failed_; }

  // Trouble --------------------------------------------------------------------------------------
  bool outsider() const { return outsider_ != nullptr; }
  void outsider_on();
  void outsider_off();
  bool trace = false;  // each request on stderr
  bool provider_gone = false;

  // Files ----------------------------------------------------------------------------------------
  const std::filesystem::path& home() const { return home_; }
  std::filesystem::path database() const { return home_ / "store" / "auth.db"; }
  std::filesystem::path journal(const Uid& uid) const;
  // Of auth.db, its log and every journal, without disturbing SQLite's locks.
  std::string state_of_files();

  Server server;
  Verdict& verdict;
  Books books;
  std::recursive_mutex mutex;  // over the server and the books
  std::vector<int> late;       // refresh tokens whose requests the server has not worked on yet
  std::optional<Copy> db_copy;
  std::optional<Copy> journal_copy;
  std::optional<Copy> backup_copy;
  // Their key is gone: nobody can open them any more.
  void forget_copies() {
    db_copy.reset();
    journal_copy.reset();
    backup_copy.reset();
  }
  int accounts = 0;
  int documents = 0;
  bool last_ok = false;  // how the last outermost action ended
  std::string last_said;
  int child_fd = -1;  // in a forked child: the way to the parent, who has the server

 private:
  Instant read_clock();

  std::filesystem::path home_;
  std::atomic<std::int64_t> now_{kStart};
  int boot_ = 1;
  bool open_failed_ = false;
  std::array<std::optional<Desk>, 3> desks_;
  sqlite3* outsider_ = nullptr;
  std::map<std::uint64_t, int> descriptors_;  // inode to descriptor, closed with the world
};

// A store with four logins whose first grants are those of fresh_server(), to be copied.
void make_template(const std::filesystem::path& home);
// The files a world begins with.
void copy_template(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace authdb::model
