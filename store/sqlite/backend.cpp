#include "store/sqlite/backend.h"

#include <pthread.h>
#include <sqlite3.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "store/file_lock.h"
#include "store/files.h"
#include "store/sqlite/backup_file.h"
#include "store/sqlite/connection.h"
#include "store/sqlite/merge.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/schema_sql.h"
#include "store/sqlite/stand_ins.h"
#include "store/sqlite/txn.h"
#include "store/sqlite/view.h"

namespace authdb::sqlite {

// The connections nobody is using. A thread at work has one to itself.
//
// SQLite keeps its locks by file and process, so that in a forked child a new connection would
// believe it has the locks of its parent's. Therefore fork() waits until no thread is at work in a
// pool, which takes a statement or a commit and never a request, and closes what is idle: the child
// begins with nothing of its parent's.
//
// A connection that is alone with the file is not kept, or everybody else would be kept out for as
// long as this process lives, long after the disk has space again; and a thread that has one gets
// it once more when it asks for another, which would wait for the first for ever. Nor is one that
// has stand-ins kept: somebody may bring the schema up, and they would hide what is there then.
class ConnectionPool {
 public:
  ConnectionPool(StoreFiles files, Access access, Clock clock);
  ~ConnectionPool();
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  Lease borrow() { return borrow(Shape::newest); }
  // For bringing the schema up: without stand-ins, which would be altered in place of the real
  // ones.
  Lease borrow_as_it_is() { return borrow(Shape::as_it_is); }

  void take_back(std::unique_ptr<Connection> connection, const ConnectionReturn& how) {
    if (connection.get() == t_alone.connection) {
      if (--t_alone.leases > 0) {
        (void)connection.release();
        return;
      }
      t_alone = {};
    }
    if (how.epoch != fork_epoch()) {
      (void)connection.release();  // the parent's: SQLite allows neither its use nor its closing
    } else if (how.poisoned || connection->alone()) {
      connection.reset();
    } else {
      const std::lock_guard guard(mutex_);
      idle_.push_back(std::move(connection));
    }
    returned();
  }

  void before_fork() {
    turnstile_.lock();
    std::unique_lock guard(mutex_);
    // A thread that forks out of its own work (a clock that does) cannot wait for itself.
    if (t_at_work == 0) none_at_work_.wait(guard, [this] { return at_work_ == 0; });
    idle_.clear();
    guard.release();  // held until fork() is over
  }
  void after_fork() {
    mutex_.unlock();
    turnstile_.unlock();
  }

  const StoreFiles& files() const { return files_; }

  // The database was of an older minor schema when it was last looked at: connections have
  // stand-ins for what it lacks, and are for reading.
  bool older() const { return older_; }
  void set_older(bool older) { older_ = older; }

 private:
  enum class Shape { newest, as_it_is };

  Lease borrow(Shape shape) {
    if (t_alone.connection != nullptr && t_alone.pool == this) {
      ++t_alone.leases;
      return Lease(t_alone.connection, ConnectionReturn{this, fork_epoch()});
    }
    std::unique_ptr<Connection> connection;
    {
      // Who begins stands behind a fork() that waits; who is at work already must not.
      std::unique_lock turn(turnstile_, std::defer_lock);
      if (t_at_work == 0) turn.lock();
      const std::lock_guard guard(mutex_);
      ++at_work_;
      if (!idle_.empty()) {
        connection = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    ++t_at_work;
    const bool older = older_;
    try {
      if (!connection) connection = connect(older && shape == Shape::newest);
    } catch (...) {
      returned();
      throw;
    }
    if (connection->alone()) t_alone = {this, connection.get(), 1};
    return Lease(connection.release(), ConnectionReturn{this, fork_epoch(), older});
  }

  std::unique_ptr<Connection> connect(bool with_stand_ins) {
    auto connection = std::make_unique<Connection>(files_.database, access_, vfs_);
    if (!with_stand_ins) return connection;
    try {
      stand_in_for_steps_after(schema_minor(*connection), *connection);
    } catch (const SQLite::Exception& error) {
      connection->fail(error, "cannot read the schema of");
    }
    return connection;
  }

  void returned() {
    --t_at_work;
    const std::lock_guard guard(mutex_);
    if (--at_work_ == 0) none_at_work_.notify_all();
  }

  // A connection of this thread that is alone with its file, and how often it is lent.
  struct Alone {
    ConnectionPool* pool = nullptr;
    Connection* connection = nullptr;
    int leases = 0;
  };

  static thread_local Alone t_alone;
  static thread_local int t_at_work;  // leases of this thread, over all pools
  StoreFiles files_;
  Access access_;
  ClockVfs vfs_;
  std::mutex turnstile_;
  std::mutex mutex_;
  std::condition_variable none_at_work_;
  int at_work_ = 0;
  std::atomic<bool> older_ = false;
  std::vector<std::unique_ptr<Connection>> idle_;
};

thread_local ConnectionPool::Alone ConnectionPool::t_alone;
thread_local int ConnectionPool::t_at_work = 0;

namespace {

// Every pool of the process. Never destroyed: fork handlers cannot be taken back.
struct Pools {
  std::mutex mutex;
  std::vector<ConnectionPool*> all;
};

Pools& pools() {
  static Pools* const instance = [] {
    (void)
        fork_epoch();  // its handlers stand first, so that ours wait before those take their mutex
    auto* made = new Pools;
    ::pthread_atfork(
        [] {
          pools().mutex.lock();
          for (ConnectionPool* pool : pools().all) pool->before_fork();
        },
        [] {
          for (ConnectionPool* pool : pools().all) pool->after_fork();
          pools().mutex.unlock();
        },
        [] {
          for (ConnectionPool* pool : pools().all) pool->after_fork();
          pools().mutex.unlock();
        });
    return made;
  }();
  return *instance;
}

}  // namespace

ConnectionPool::ConnectionPool(StoreFiles files, Access access, Clock clock)
    : files_(std::move(files)), access_(access), vfs_(std::move(clock)) {
  const std::lock_guard guard(pools().mutex);
  pools().all.push_back(this);
}

ConnectionPool::~ConnectionPool() {
  const std::lock_guard guard(pools().mutex);
  std::erase(pools().all, this);
}

void ConnectionReturn::operator()(Connection* connection) const {
  pool->take_back(std::unique_ptr<Connection>(connection), *this);
}

namespace {

constexpr Milliseconds kBringUpWait{30'000};

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
      : clock_(clock), pool_(files, access, std::move(clock)) {
    look_at_content(files);
    if (access == Access::read || !pool_.older()) return;
    // Where it cannot be had (a full disk) that is no reason to refuse a token that is there.
    try {
      bring_up(kBringUpWait);
    } catch (const BackendError&) {
    }
  }

  std::unique_ptr<View> view() override { return std::make_unique<SqliteView>(pool_.borrow()); }
  std::unique_ptr<Txn> begin_write(Milliseconds wait) override { return begin(wait, false); }
  std::unique_ptr<Txn> begin_careless(Milliseconds wait) override { return begin(wait, true); }
  std::unique_ptr<Txn> begin_merge(const std::filesystem::path& backup,
                                   Milliseconds wait) override {
    bring_up(wait);
    FileLock gate = take_gate(wait);
    Lease connection = pool_.borrow();
    connection.get_deleter().poisoned = true;  // closed afterwards, and the backup with it
    attach_backup(*connection, backup);
    return std::make_unique<SqliteTxn>(std::move(connection), std::move(gate), false);
  }
  void back_up(const std::filesystem::path& file) override {
    const Lease connection = pool_.borrow();
    if (auto written = write_backup(*connection, file, clock_); !written) {
      throw BackendError{written.error()};
    }
  }

 private:
  void look_at_content(const StoreFiles& files) {
    Lease connection = pool_.borrow();
    try {
      check_content(*connection, files);
      pool_.set_older(schema_minor(*connection) < kSchemaMinor);
      connection.get_deleter().poisoned = pool_.older();  // it has no stand-ins yet
    } catch (const SQLite::Exception& error) {
      connection->fail(error, "cannot open");
    }
  }

  // Older programs keep working with what a minor step adds. This one reads without it, and writes
  // only where it is: what is written names the newest columns.
  void bring_up(Milliseconds wait) {
    if (!pool_.older()) return;
    auto gate = take_gate(wait);
    SqliteTxn txn(pool_.borrow_as_it_is(), std::move(gate), false);
    for (int next = 1; next <= kSchemaMinor; ++next) {
      txn.bring_schema_to(next, kSchemaSteps.at(static_cast<std::size_t>(next)));
    }
    txn.commit();
    pool_.set_older(false);
  }

  // SQLite's busy handler sleeps and is unfair: with 64 writers some are never served. The kernel
  // queues those who wait for the gate and wakes one at a time.
  std::unique_ptr<Txn> begin(Milliseconds wait, bool careless) {
    bring_up(wait);
    auto gate = take_gate(wait);
    return std::make_unique<SqliteTxn>(pool_.borrow(), std::move(gate), careless);
  }

  FileLock take_gate(Milliseconds wait) {
    const auto path = pool_.files().directory / "gate";
    auto gate = FileLock::acquire(path, wait);
    std::error_code ignored;
    if (!gate && !std::filesystem::exists(path, ignored)) {
      // It is empty, and some ways to copy a store leave such files out.
      if (auto made = create_durable(path, Secret()); !made) throw BackendError{made.error()};
      gate = FileLock::acquire(path, wait);
    }
    if (!gate) throw BackendError{gate.error()};
    if (!*gate) {
      throw BackendError{{Errc::busy,
                          "the write gate " + path.string() + " was not free within " +
                              std::to_string(wait.count() / 1000) + " s",
                          "Nothing was changed. A stopped process may hold it: `fuser` names it."}};
    }
    return std::move(**gate);
  }

  Clock clock_;
  ConnectionPool pool_;
};

}  // namespace

std::unique_ptr<Backend> open_backend(const StoreFiles& files, OpenMode mode, Clock clock) {
  const Access access = mode == OpenMode::look ? Access::read : Access::write;
  return std::make_unique<SqliteBackend>(files, access, std::move(clock));
}

}  // namespace authdb::sqlite
