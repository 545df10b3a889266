// Many writers at once: the write gate, next to SQLite's own busy handler.
//
//   gate_cost [WRITERS [WRITES_EACH]]
//
// Each writer commits as fast as it can (WAL, FULL). What counts is the longest wait for one
// commit, how many were told BUSY, and how large the log became.
#include <sqlite3.h>

#include <atomic>
#include <cstdlib>

#include "store/store.h"
#include "tests/bench/measure.h"

namespace {

using namespace authdb;
using namespace authdb::bench;

struct Seen {
  std::atomic<double> longest{0};
  std::atomic<int> busy{0};
  std::atomic<int> other{0};
  std::atomic<int> written{0};
  std::atomic<double> all{0};
};

void note(Seen& seen, double took) {
  ++seen.written;
  double before = seen.longest;
  while (took > before && !seen.longest.compare_exchange_weak(before, took)) {
  }
}

void report(const char* name, const Seen& seen, double took, const std::filesystem::path& log) {
  std::error_code none;
  const auto size = std::filesystem::file_size(log, none);
  std::printf(
      "  %-26s written %5d  BUSY %4d  failed %d  longest wait %8.1f ms  in all %7.0f ms  log %6.1f "
      "MB\n",
      name, seen.written.load(), seen.busy.load(), seen.other.load(), seen.longest.load(), took,
      none ? 0.0 : static_cast<double>(size) / 1e6);
}

void ours(int writers, int writes) {
  const Scratch scratch;
  auto* const seen = shared<Seen>();
  const StoreOptions options = store_in(scratch);
  Uid uid;
  {
    Store store = *Store::open(options, OpenMode::create);
    uid = add_login(store, "a", Seconds{900}, "refresh-0");
  }
  Processes processes(writers, [&](int) {
    Store store = *Store::open(options, OpenMode::use);
    return [=]() mutable {
      for (int i = 0; i < writes; ++i) {
        const double took = milliseconds([&] {
          const auto done = store.report(uid, {.http_status = 429});
          if (!done) ++(done.error().code == Errc::busy ? seen->busy : seen->other);
        });
        note(*seen, took);
      }
    };
  });
  const Store watching = *Store::open(options, OpenMode::look);
  (void)watching.find(uid);
  const double took = milliseconds([&] { processes.run(); });
  report("write gate", *seen, took, scratch / "store/auth.db-wal");
}

void naive(int writers, int writes) {
  const Scratch scratch;
  auto* const seen = shared<Seen>();
  const auto path = scratch / "plain.db";
  const auto open = [&] {
    sqlite3* db = nullptr;
    sqlite3_open(path.c_str(), &db);
    sqlite3_busy_timeout(db, 5000);
    sqlite3_exec(db, "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 128", nullptr, nullptr,
                 nullptr);
    return db;
  };
  sqlite3* const watching = open();
  sqlite3_exec(watching,
               "PRAGMA journal_mode = WAL; CREATE TABLE health(id INTEGER PRIMARY KEY, x, pad);"
               "INSERT INTO health VALUES (1, 0, randomblob(200))",
               nullptr, nullptr, nullptr);
  sqlite3_close(watching);
  Processes processes(writers, [&](int) {
    sqlite3* const db = open();
    return [=] {
      for (int i = 0; i < writes; ++i) {
        const double took = milliseconds([&] {
          const int rc =
              sqlite3_exec(db, "BEGIN IMMEDIATE; UPDATE health SET x = x + 1 WHERE id = 1; COMMIT",
                           nullptr, nullptr, nullptr);
          if (rc == SQLITE_OK) return;
          ++((rc & 0xff) == SQLITE_BUSY ? seen->busy : seen->other);
          sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
        });
        note(*seen, took);
      }
    };
  });
  const double took = milliseconds([&] { processes.run(); });
  report("busy handler, 5 s", *seen, took, path.string() + "-wal");
}

}  // namespace

int main(int argc, char** argv) {
  const int writers = argc > 1 ? std::atoi(argv[1]) : 64;
  const int writes = argc > 2 ? std::atoi(argv[2]) : 20;
  std::printf(
      "%d writers, %d commits each (target: no BUSY, longest wait 500 ms, log under 8 MB)\n",
      writers, writes);
  ours(writers, writes);
  naive(writers, writes);
}
