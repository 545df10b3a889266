#include "store/sqlite/backend.h"

#include <sqlite3.h>

#include <mutex>

#include "store/file_lock.h"
#include "store/sqlite/connection.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/txn.h"
#include "store/sqlite/view.h"

namespace authdb::sqlite {

// The connections nobody is using. A thread at work has one to itself; after fork() the child
// leaves its parent's behind, for SQLite allows it neither to use nor to close them.
class ConnectionPool {
 public:
  ConnectionPool(StoreFiles files, Access access, Clock clock)
      : files_(std::move(files)), access_(access), vfs_(std::move(clock)), epoch_(fork_epoch()) {}

  Lease borrow() {
    const std::lock_guard guard(mutex_);
    if (epoch_ != fork_epoch()) {
      for (auto& idle : idle_) (void)idle.release();
      idle_.clear();
      epoch_ = fork_epoch();
    }
    if (idle_.empty()) return lease(std::make_unique<Connection>(files_.database, access_, vfs_));
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    return lease(std::move(connection));
  }

  void take_back(std::unique_ptr<Connection> connection, int epoch) {
    const std::lock_guard guard(mutex_);
    if (epoch == fork_epoch()) {
      idle_.push_back(std::move(connection));
    } else {
      (void)connection.release();
    }
  }

  const StoreFiles& files() const { return files_; }

 private:
  Lease lease(std::unique_ptr<Connection> connection) {
    return Lease(connection.release(), ConnectionReturn{this, epoch_});
  }

  StoreFiles files_;
  Access access_;
  ClockVfs vfs_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
  int epoch_;
};

void ConnectionReturn::operator()(Connection* connection) const {
  std::unique_ptr<Connection> owned(connection);
  if (!poisoned) pool->take_back(std::move(owned), epoch);
}

namespace {

class SqliteView final : public Reads<View> {
 public:
  explicit SqliteView(Lease connection) : Reads<View>(*connection), owned_(std::move(connection)) {}

 private:
  Lease owned_;
};

std::int64_t pragma(Connection& connection, const char* sql) {
  Borrowed statement = connection.statement(sql);
  return statement->executeStep() ? statement->getColumn(0).getInt64() : 0;
}

// The last items of the opening checklist: those that only the file's content can answer.
void check_content(Connection& connection, const StoreFiles& files) {
  if (pragma(connection, "PRAGMA application_id") != kApplicationId) {
    throw BackendError{{Errc::refused, files.database.string() + " is not an authdb store",
                        "It is some other SQLite database; name the right file with --store."}};
  }
  const auto major = pragma(connection, "PRAGMA user_version");
  if (major > kSchemaMajor) {
    throw BackendError{{Errc::refused,
                        files.database.string() + " was written by a newer authdb (schema " +
                            std::to_string(major) + ", this one knows " +
                            std::to_string(kSchemaMajor) + ")",
                        "Use the newer authdb. Nothing has been changed."}};
  }
  Borrowed statement = connection.statement("SELECT value FROM meta WHERE key = 'store_id'");
  if (!statement->executeStep() || statement->getColumn(0).getString() != files.store_id) {
    throw BackendError{
        {Errc::refused,
         files.database.string() + " and " + files.directory.string() +
             " belong to different stores",
         "One of them was copied or restored without the other. Put back the pair."}};
  }
}

class SqliteBackend final : public Backend {
 public:
  SqliteBackend(const StoreFiles& files, Access access, Clock clock)
      : pool_(files, access, std::move(clock)) {
    const Lease connection = pool_.borrow();
    try {
      check_content(*connection, files);
    } catch (const SQLite::Exception& error) {
      throw_backend_error(error, "opening " + files.database.string());
    }
  }

  std::unique_ptr<View> view() override { return std::make_unique<SqliteView>(pool_.borrow()); }
  std::unique_ptr<Txn> begin_write(Milliseconds wait) override { return begin(wait, false); }
  std::unique_ptr<Txn> begin_careless(Milliseconds wait) override { return begin(wait, true); }
  const std::string& store_id() const override { return pool_.files().store_id; }

 private:
  // SQLite's busy handler sleeps and is unfair: with 64 writers some are never served. The kernel
  // queues those who wait for the gate and wakes one at a time.
  std::unique_ptr<Txn> begin(Milliseconds wait, bool careless) {
    const auto path = pool_.files().directory / "gate";
    auto gate = FileLock::acquire(path, wait);
    if (!gate) throw BackendError{gate.error()};
    if (!*gate) {
      throw BackendError{{Errc::busy,
                          "the write gate " + path.string() + " was not free within " +
                              std::to_string(wait.count() / 1000) + " s",
                          "Nothing was changed. A stopped process may hold it: `fuser` names it."}};
    }
    return std::make_unique<SqliteTxn>(pool_.borrow(), std::move(**gate), careless);
  }

  ConnectionPool pool_;
};

}  // namespace

std::unique_ptr<Backend> open_backend(const StoreFiles& files, OpenMode mode, Clock clock) {
  const Access access = mode == OpenMode::look ? Access::read : Access::write;
  return std::make_unique<SqliteBackend>(files, access, std::move(clock));
}

}  // namespace authdb::sqlite
