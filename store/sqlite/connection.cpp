#include "store/sqlite/connection.h"

#include <sqlite3.h>

#include <atomic>

namespace authdb::sqlite {
namespace {

namespace fs = std::filesystem;

constexpr int kBusyTimeoutMs = 10'000;  // a backstop: the write gate keeps writers from meeting
constexpr std::int64_t kJulianEpochMs = 210'866'760'000'000;  // 1970-01-01 in SQLite's julian ms

Error explain(int code, const std::string& text) {
  const std::string tail = ": " + text;
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {
          Errc::busy, "the database stayed locked by another program" + tail,
          "Nothing was changed. Close whatever holds auth.db open (a shell, a viewer), try again."};
    case SQLITE_FULL:
      return {Errc::try_later, "the disk is full" + tail, "Free space, then try again."};
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      return {Errc::try_later, "the database cannot be read or written" + tail,
              "Check the file system that auth.db is on."};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Errc::refused, "the database is damaged, or no SQLite database" + tail,
              "Keep the file as it is and restore a backup."};
    case SQLITE_CONSTRAINT:
      return {Errc::refused, "that would break a rule of the store" + tail,
              "Nothing was changed. A token that is current or retired cannot be added again."};
    default:
      return {Errc::unexpected, "the database refused" + tail, ""};
  }
}

}  // namespace

void throw_backend_error(const SQLite::Exception& error, std::string_view doing) {
  Error ours = explain(error.getErrorCode(), error.what());
  ours.message = std::string(doing) + ": " + ours.message;
  throw BackendError{std::move(ours)};
}

struct ClockVfs::Vfs : sqlite3_vfs {
  Clock clock;

  // Called from C, which no exception of the caller's clock may cross; and SQLite takes a failure
  // for a time that is unknown, by which everything would be fresh.
  static int now(sqlite3_vfs* self, sqlite3_int64* out) noexcept {
    Instant at = system_now();
    try {
      at = static_cast<Vfs*>(self)->clock();
    } catch (const std::exception&) {  // the machine's own time is the next best
    }
    *out = kJulianEpochMs + to_millis(at);
    return SQLITE_OK;
  }
  static int now_in_days(sqlite3_vfs* self, double* out) noexcept {
    sqlite3_int64 ms = 0;
    const int rc = now(self, &ms);
    *out = static_cast<double>(ms) / 86'400'000.0;
    return rc;
  }
};

ClockVfs::ClockVfs(Clock clock) : vfs_(std::make_unique<Vfs>()) {
  static std::atomic<int> count{0};
  name_ = "authdb-" + std::to_string(count.fetch_add(1));
  // The copy keeps the default's pAppData: its functions find what they need through whichever vfs
  // they are called with.
  static_cast<sqlite3_vfs&>(*vfs_) = *sqlite3_vfs_find(nullptr);
  vfs_->zName = name_.c_str();
  vfs_->pNext = nullptr;
  vfs_->clock = std::move(clock);
  vfs_->xCurrentTime = Vfs::now_in_days;
  vfs_->xCurrentTimeInt64 = Vfs::now;
  sqlite3_vfs_register(vfs_.get(), /*makeDflt=*/0);
}

ClockVfs::~ClockVfs() { sqlite3_vfs_unregister(vfs_.get()); }

Borrowed::~Borrowed() {
  if (statement_ == nullptr) return;
  statement_->tryReset();
  try {
    statement_->clearBindings();
  } catch (const SQLite::Exception&) {  // nothing was bound
  }
}

Connection::Connection(const fs::path& path, Access access, const ClockVfs& vfs) {
  const int flags = access == Access::read ? SQLite::OPEN_READONLY : SQLite::OPEN_READWRITE;
  try {
    open(path, flags | SQLite::OPEN_NOMUTEX, vfs, /*exclusive=*/false);
  } catch (const SQLite::Exception& error) {
    // The first opener of a closed WAL database re-creates the shared memory file, which a full
    // disk does not allow. Nobody else is attached then, so it can do without.
    const int code = error.getExtendedErrorCode();
    if (code != SQLITE_IOERR_SHMSIZE && code != SQLITE_IOERR_SHMOPEN && code != SQLITE_CANTOPEN &&
        code != SQLITE_FULL) {
      throw_backend_error(error, "opening " + path.string());
    }
    try {
      open(path, SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX, vfs, /*exclusive=*/true);
    } catch (const SQLite::Exception& again) {
      throw_backend_error(again, "opening " + path.string());
    }
  }
}

void Connection::open(const fs::path& path, int flags, const ClockVfs& vfs, bool exclusive) {
  statements_.clear();
  db_ = std::make_unique<SQLite::Database>(path.string(), flags, kBusyTimeoutMs, vfs.name());
  sqlite3* const handle = db_->getHandle();
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  // Who only looked leaves auth.db as it is: no checkpoint when the last one closes.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (exclusive) db_->exec("PRAGMA locking_mode = EXCLUSIVE");
  // A small log keeps opening cheap: the first opener after a crash reads all of it. One that grew
  // while somebody read for long is cut back when it begins anew.
  db_->exec(
      "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 128; "
      "PRAGMA journal_size_limit = 2097152");
}

Connection::~Connection() {
  statements_.clear();
  if (wrote_) sqlite3_db_config(db_->getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
}

Borrowed Connection::statement(const char* sql) {
  auto it = statements_.find(sql);
  if (it == statements_.end()) {
    it = statements_.try_emplace(sql, *db_, sql).first;
  }
  return Borrowed(it->second);
}

void Connection::exec(const char* sql) { db_->exec(sql); }

}  // namespace authdb::sqlite
