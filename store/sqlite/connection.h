// One SQLite connection with the settings the store relies on, and its prepared statements.
//
// Thread safety: a connection belongs to one thread at a time.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>

#include "store/backend.h"
#include "store/clock.h"

struct sqlite3_vfs;

namespace authdb::sqlite {

// SQLite's file layer with our clock in it, so that an injected clock moves the views too.
class ClockVfs {
 public:
  explicit ClockVfs(Clock clock);
  ~ClockVfs();
  ClockVfs(const ClockVfs&) = delete;
  ClockVfs& operator=(const ClockVfs&) = delete;
  const char* name() const;
  // The same without file locks, for a file system that nobody can write to.
  const char* name_without_locks() const;

 private:
  struct Vfs;
  std::unique_ptr<Vfs> vfs_;
  std::unique_ptr<Vfs> without_locks_;
};

enum class Access { read, write };

// True for SQLite's codes for a file that is not a whole database.
bool is_damage(int code);

// Turns SQLite's codes into ours: `doing`, as in "cannot write", and `path` go in front. `cause` is
// the errno behind it, as sqlite3_system_errno() knows it; 0: none.
[[noreturn]] void throw_backend_error(const SQLite::Exception& error, std::string_view doing,
                                      const std::filesystem::path& path, int cause = 0);

// A prepared statement on loan: bound and stepped by its borrower, reset and unbound on return,
// because reset alone would leave the bindings, sealed cells among them, in memory.
class Borrowed {
 public:
  explicit Borrowed(SQLite::Statement& statement) : statement_(&statement) {}
  Borrowed(Borrowed&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
  Borrowed& operator=(Borrowed&&) = delete;
  ~Borrowed();
  SQLite::Statement* operator->() { return statement_; }
  SQLite::Statement& operator*() { return *statement_; }

 private:
  SQLite::Statement* statement_;
};

// The first opener of a closed database re-creates the memory that connections share, which neither
// a full disk nor a read-only one allows. Nobody else is attached then, so it reads without: see
// alone().
class Connection {
 public:
  // Errors as BackendError: damaged, foreign, newer, full disk.
  Connection(const std::filesystem::path& path, Access access, const ClockVfs& vfs);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // `sql` must be a literal: its address is the key.
  Borrowed statement(const char* sql);
  void exec(const char* sql);
  SQLite::Database& database() { return *db_; }
  void note_write() { wrote_ = true; }
  // True if it shares no memory with other connections: it keeps everybody else out of the file, or
  // does not see what they write. To be closed as soon as it is not needed.
  bool alone() const { return alone_; }
  // As throw_backend_error(), for this file.
  [[noreturn]] void fail(const SQLite::Exception& error, std::string_view doing) const;

 private:
  void open(const std::string& name, int flags, const char* vfs);
  void open_alone(const ClockVfs& vfs);
  std::filesystem::path path_;
  std::unique_ptr<SQLite::Database> db_;
  bool alone_ = false;
  int cause_ = 0;  // errno: why it is
  std::unordered_map<const char*, SQLite::Statement> statements_;
  bool wrote_ = false;
};

inline constexpr int kApplicationId = 0x61756462;  // "audb". Stored: never change.
inline constexpr int kSchemaMajor = 1;

}  // namespace authdb::sqlite
