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
  const char* name() const { return name_.c_str(); }

 private:
  struct Vfs;
  std::string name_;
  std::unique_ptr<Vfs> vfs_;
};

enum class Access { read, write };

// Turns SQLite's codes into ours. `doing` goes in front of the message.
[[noreturn]] void throw_backend_error(const SQLite::Exception& error, std::string_view doing);

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

 private:
  void open(const std::filesystem::path& path, int flags, const ClockVfs& vfs, bool exclusive);
  std::unique_ptr<SQLite::Database> db_;
  std::unordered_map<const char*, SQLite::Statement> statements_;
  bool wrote_ = false;
};

inline constexpr int kApplicationId = 0x61756462;  // "audb". Stored: never change.
inline constexpr int kSchemaMajor = 1;

}  // namespace authdb::sqlite
