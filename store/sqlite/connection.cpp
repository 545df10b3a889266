#include "store/sqlite/connection.h"

#include <sqlite3.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "store/files.h"

namespace authdb::sqlite {
namespace {

namespace fs = std::filesystem;

constexpr int kBusyTimeoutMs = 10'000;  // a backstop: the write gate keeps writers from meeting
constexpr std::int64_t kJulianEpochMs = 210'866'760'000'000;  // 1970-01-01 in SQLite's julian ms

bool is_about_space(int cause) {
  return cause == ENOSPC || cause == EDQUOT || cause == EROFS || cause == EMFILE ||
         cause == ENFILE || cause == EIO;
}

Error explain(int code, const std::string& what, const fs::path& path, const std::string& text,
              int cause) {
  const std::string head = what + " " + path.string() + ": ";
  const std::string tail = ": " + text;
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {
          Errc::busy, head + "the database stayed locked by another program" + tail,
          "Nothing was changed. Close whatever holds auth.db open (a shell, a viewer), try again."};
    case SQLITE_FULL:
      return file_error(what, path, ENOSPC);
    case SQLITE_READONLY:
      if (is_about_space(cause)) return file_error(what, path, cause);
      return {Errc::try_later, head + "its log cannot be made" + tail,
              "Free space on that file system (`df`, `df -i`) or make its directory writable."};
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:  // its log could not be recovered, try after try
      if (is_about_space(cause)) return file_error(what, path, cause);
      return {Errc::try_later, head + "the database cannot be read or written" + tail,
              "Check the file system that auth.db is on."};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {
          Errc::refused, head + "the database is damaged, or no SQLite database" + tail,
          "`authdb restore FILE` makes it anew from a backup, however old, and the journals. "
          "Without any backup move auth.db and auth.db-wal away: `authdb doctor --repair` makes it "
          "anew from the journals alone."};
    case SQLITE_CONSTRAINT:
      return {Errc::refused, head + "that would break a rule of the store" + tail,
              "Nothing was changed. A token that is current or retired cannot be added again."};
    default:
      return {Errc::unexpected, head + "the database refused" + tail, ""};
  }
}

bool on_read_only_file_system(const fs::path& path) {
  struct statvfs volume {};
  return ::statvfs(path.c_str(), &volume) == 0 && (volume.f_flag & ST_RDONLY) != 0;
}

// A file: URI, in which these three mean something.
std::string uri_of(const fs::path& path) {
  std::string uri = "file:";
  for (const char c : path.string()) {
    if (c == '%') {
      uri += "%25";
    } else if (c == '?') {
      uri += "%3f";
    } else if (c == '#') {
      uri += "%23";
    } else {
      uri += c;
    }
  }
  return uri;
}

// Whether it may be for want of the memory that connections share, and not for want of descriptors:
// of those the next try has no more, and it would keep everybody else out.
bool lacks_shared_memory(int code, int cause) {
  if (cause == EMFILE || cause == ENFILE) return false;
  return code == SQLITE_IOERR_SHMSIZE || code == SQLITE_IOERR_SHMOPEN ||
         code == SQLITE_IOERR_SHMMAP || (code & 0xff) == SQLITE_CANTOPEN || code == SQLITE_FULL;
}

}  // namespace

bool is_damage(int code) {
  return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

void throw_backend_error(const SQLite::Exception& error, std::string_view doing,
                         const fs::path& path, int cause) {
  throw BackendError{explain(error.getErrorCode(), std::string(doing), path, error.what(), cause),
                     is_damage(error.getErrorCode())};
}

struct ClockVfs::Vfs : sqlite3_vfs {
  std::string name;
  Clock clock;

  // The copy keeps the original's pAppData: its functions find what they need through whichever vfs
  // they are called with.
  Vfs(const char* original, Clock the_clock)
      : sqlite3_vfs(*sqlite3_vfs_find(original)), clock(std::move(the_clock)) {
    static std::atomic<int> count{0};
    name = "authdb-" + std::to_string(count.fetch_add(1));
    zName = name.c_str();
    pNext = nullptr;
    xCurrentTime = now_in_days;
    xCurrentTimeInt64 = now;
    sqlite3_vfs_register(this, /*makeDflt=*/0);
  }
  ~Vfs() { sqlite3_vfs_unregister(this); }
  Vfs(const Vfs&) = delete;
  Vfs& operator=(const Vfs&) = delete;

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

ClockVfs::ClockVfs(Clock clock)
    : vfs_(std::make_unique<Vfs>(nullptr, clock)),
      without_locks_(std::make_unique<Vfs>("unix-none", clock)) {}

ClockVfs::~ClockVfs() = default;

const char* ClockVfs::name() const { return vfs_->name.c_str(); }
const char* ClockVfs::name_without_locks() const { return without_locks_->name.c_str(); }

Borrowed::~Borrowed() {
  if (statement_ == nullptr) return;
  statement_->tryReset();
  try {
    statement_->clearBindings();
  } catch (const SQLite::Exception&) {  // nothing was bound
  }
}

Connection::Connection(const fs::path& path, Access access, const ClockVfs& vfs) : path_(path) {
  const int flags = access == Access::read ? SQLite::OPEN_READONLY : SQLite::OPEN_READWRITE;
  try {
    open(path.string(), flags, vfs.name());
  } catch (const SQLite::Exception& error) {
    cause_ = db_ ? sqlite3_system_errno(db_->getHandle()) : 0;
    if (!lacks_shared_memory(error.getExtendedErrorCode(), cause_)) fail(error, "cannot open");
    try {
      open_alone(vfs);
    } catch (const SQLite::Exception&) {
      throw_backend_error(error, "cannot open", path, cause_);  // the first one says why
    }
  }
}

// Without a log the file is all there is, and its content is read as something that never changes:
// whoever wants to change it begins with a log. With one, the memory that others would share is on
// the heap; that takes the file for this connection alone, but where nobody can write, where locks
// cannot be had either.
void Connection::open_alone(const ClockVfs& vfs) {
  alone_ = true;
  const bool read_only = on_read_only_file_system(path_);
  if (read_only) cause_ = EROFS;
  if (::access((path_.string() + "-wal").c_str(), F_OK) != 0) {
    open(uri_of(path_) + "?immutable=1", SQLite::OPEN_READONLY | SQLite::OPEN_URI, vfs.name());
  } else if (read_only) {
    open(path_.string(), SQLite::OPEN_READONLY, vfs.name_without_locks());
  } else {
    open(path_.string(), SQLite::OPEN_READWRITE, vfs.name());
  }
}

void Connection::open(const std::string& name, int flags, const char* vfs) {
  statements_.clear();
  db_ = std::make_unique<SQLite::Database>(name, flags | SQLite::OPEN_NOMUTEX, kBusyTimeoutMs, vfs);
  sqlite3* const handle = db_->getHandle();
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  // Who only looked leaves auth.db as it is: no checkpoint when the last one closes.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (alone_) db_->exec("PRAGMA locking_mode = EXCLUSIVE");
  // A small log keeps opening cheap: the first opener after a crash reads all of it. One that grew
  // while somebody read for long is cut back when it begins anew.
  db_->exec(
      "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 128; "
      "PRAGMA journal_size_limit = 2097152");
}

void Connection::fail(const SQLite::Exception& error, std::string_view doing) const {
  const int latest = db_ ? sqlite3_system_errno(db_->getHandle()) : 0;
  throw_backend_error(error, doing, path_, latest != 0 ? latest : cause_);
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
