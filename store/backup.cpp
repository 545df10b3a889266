#include "store/backup.h"

#include <algorithm>
#include <map>

#include "store/adoption.h"
#include "store/cell_check.h"
#include "store/descriptors.h"
#include "store/engine.h"
#include "store/locked.h"
#include "store/ownership.h"
#include "store/sqlite/backup_file.h"
#include "store/sqlite/rebuild.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr int kTries = 3;  // a credential may be removed or added while we look for the locks

// A key that cells are sealed with and the key file does not have.
std::optional<KeyId> missing_key(const fs::path& key_file, const std::function<View&()>& view) {
  std::map<KeyId, std::int64_t> used;
  const auto held = value_or_throw(key_ids_around(key_file, [&] { used = view().cells_by_key(); }));
  for (const auto& [id, cells] : used) {
    if (held.count(id) == 0) return id;
  }
  return std::nullopt;
}

// Cells that could not be opened would be lost tokens: the old key file has to come first.
void require_keys(View& backup, const StoreOptions& options) {
  const auto missing = missing_key(options.key_file, [&]() -> View& { return backup; });
  if (!missing) return;
  throw BackendError{{Errc::refused,
                      "the backup is sealed with key " + hex(*missing) + ", which is not in " +
                          options.key_file.string(),
                      "Add the line of that key from the key file of then, at the end. Nothing "
                      "has been changed."}};
}

// Over a live login, cells that do not open would be the end of it.
void require_whole_cells(View& backup, const StoreOptions& options, const std::string& store_id,
                         const fs::path& file) {
  const Sealer sealer = value_or_throw(Sealer::load(options.key_file));
  const auto damaged = cells_that_do_not_open(backup, sealer, store_id, 1);
  if (damaged.empty()) return;
  throw BackendError{{Errc::refused,
                      "the backup " + file.string() + " is damaged or has been altered: " +
                          damaged.front().what + " does not open",
                      "Use another one. Nothing has been changed."}};
}

// Better no backup than one that nobody can restore. Where there is no key at all nobody can tell.
void require_whole_cells(Engine& engine) {
  std::unique_ptr<View> view = engine.backend->view();
  if (!can_open_cells(engine, *view)) return;
  const auto anew = [&]() -> View& {
    view.reset();  // what is sealed now, not what was sealed before the file was read
    view = engine.backend->view();
    return *view;
  };
  if (const auto missing = missing_key(engine.options.key_file, anew)) {
    throw BackendError{{Errc::refused,
                        "the store's database is damaged, or a key is missing: there are cells "
                        "sealed with key " +
                            hex(*missing) + ", which is not in " + engine.options.key_file.string(),
                        "No backup was made: restore would refuse it. `authdb doctor` says what to "
                        "do."}};
  }
  const auto damaged = cells_that_do_not_open(engine, 1);
  if (damaged.empty()) return;
  throw BackendError{{Errc::refused,
                      "the store's database is damaged: " + damaged.front().what + " does not open",
                      "No backup was made: restore would refuse it. `authdb doctor` says what to "
                      "do."}};
}

// None for an API key, nor for a credential that this database does not have: nobody can rotate it.
MovingSet take_locks(const Store& store, const std::vector<Uid>& uids) {
  Engine& engine = store.engine();
  const LockPolicy policy{.wait = engine.options.lock_wait, .removed_too = true};
  value_or_throw(room_for_descriptors(uids.size()));
  MovingSet locks;
  for (const Uid& uid : uids) {
    const auto stored = engine.backend->view()->load(uid);
    Moving& moving = locks[uid];
    if (!stored || stored->row.identity.auth_type == AuthType::api_key) continue;
    moving.locked = acquire_lock(store, uid, policy);
  }
  return locks;
}

bool all_locked(const std::vector<Uid>& uids, const MovingSet& locks) {
  return std::all_of(uids.begin(), uids.end(),
                     [&](const Uid& uid) { return locks.find(uid) != locks.end(); });
}

// The first merge finds out whose tokens would move and is rolled back; the last one has their
// locks.
Merged merge(const Store& store, View& backup, const fs::path& file) {
  Engine& engine = store.engine();
  std::vector<Uid> moving;
  for (int i = 0; i < kTries; ++i) {
    MovingSet locks = take_locks(store, moving);
    Merged merged;
    {
      const auto txn = engine.backend->begin_merge(file, engine.options.lock_wait);
      engine.follow_keys(*txn);
      require_keys(backup, engine.options);  // no prune can come between now
      merged = txn->merge_backup(engine.now());
      if (all_locked(merged.moved, locks)) {
        for (const Uid& uid : merged.moved) {
          if (locks.at(uid).locked) prepare(locks.at(uid), *txn);
        }
        txn->commit();
      }
    }
    if (all_locked(merged.moved, locks)) {
      tell_journals(locks);
      return merged;
    }
    moving = merged.moved;
  }
  throw BackendError{{Errc::busy, "the store changed each time the restore looked at it",
                      "Nothing was changed. Try again when the gateways are quieter."}};
}

std::string text_of(const Sealed& bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

Result<BackedUp> back_up(const Store& store, const fs::path& file) {
  return Engine::guarded([&] {
    value_or_throw(check_output(file));
    const fs::path path = fs::absolute(file);
    require_whole_cells(store.engine());
    store.engine().backend->back_up(path);
    BackedUp done{path, 0, static_cast<std::int64_t>(fs::file_size(path))};
    done.credentials = static_cast<std::int64_t>(value_or_throw(store.list({})).size());
    return done;
  });
}

Result<Restored> restore(StoreOptions options, const fs::path& file) {
  if (options.path.empty()) options.path = default_store_path();
  if (options.key_file.empty()) options.key_file = default_key_path();
  std::error_code error;
  if (!fs::exists(file, error)) {
    return fail(Errc::not_found, "there is no file " + file.string(),
                "`authdb backup FILE` makes one.");
  }
  return Engine::guarded([&] {
    const fs::path path = fs::canonical(file);
    const auto backup = sqlite::open_backup(path, options.clock);
    require_keys(*backup, options);
    const std::string store_id = text_of(backup->meta("store_id"));
    // That it is another store's is said before that it is damaged. Where there is no store,
    // files_to_restore() makes a directory for one: nothing may be wrong any more by then.
    const bool there = fs::exists(options.path, error);
    if (!there) require_whole_cells(*backup, options, store_id, path);
    const auto files = value_or_throw(sqlite::files_to_restore(options.path, store_id));
    if (there) require_whole_cells(*backup, options, store_id, path);
    Restored done;
    done.rebuilt = value_or_throw(sqlite::needs_rebuilding(files, options.clock));
    if (done.rebuilt) {
      auto rebuilt = value_or_throw(sqlite::rebuild_from(path, files, Journal::all(files.directory),
                                                         options.clock, options.lock_wait));
      done.rebuilt = rebuilt.has_value();
      if (rebuilt) done.set_aside = std::move(rebuilt->set_aside);
      if (rebuilt) done.held = rebuilt->held;
    }
    Store store = value_or_throw(Store::open(options, OpenMode::use));
    (void)store.engine().keys();
    Adoption adoption = adopt_journals(store);
    const Merged merged = merge(store, *backup, path);
    done.credentials = merged.credentials;
    done.back = merged.back;
    done.newer = merged.newer;
    done.held += merged.held;
    done.adopted = adoption.adopted;
    done.left = std::move(adoption.left);
    return done;
  });
}

}  // namespace authdb
