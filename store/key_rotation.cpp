#include "store/key_rotation.h"

#include <algorithm>
#include <map>

#include "store/engine.h"
#include "store/files.h"
#include "store/journal.h"
#include "store/locked.h"
#include "store/rescue.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr int kBatch = 256;  // cells in one write transaction: others wait for no more than that
constexpr std::size_t kMostToTell = 100;

Sealed bytes_of(const KeyId& id) { return Sealed(id.begin(), id.end()); }

// ---- rotate ------------------------------------------------------------------------------------

// True if something is still sealed with an older key of the file than the newest.
bool is_unfinished(Engine& engine) {
  const Sealer& sealer = engine.keys();
  const auto keys = value_or_throw(read_keys(engine.options.key_file));
  if (newest_key_for(keys, engine.files.store_id) != sealer.active()) return true;
  const auto is_older = [&](const KeyId& id) { return id != sealer.active() && sealer.holds(id); };
  const auto cells = engine.backend->view()->cells_by_key();
  if (std::any_of(cells.begin(), cells.end(), [&](auto& one) { return is_older(one.first); })) {
    return true;
  }
  const auto uids = Journal::all(engine.files.directory);
  return std::any_of(uids.begin(), uids.end(), [&](const Uid& uid) {
    const auto ids = Journal::keys_of(engine.place(uid).path());
    return std::any_of(ids.begin(), ids.end(), is_older);
  });
}

// From here on every write transaction and every lock of a credential begins with this key. Only
// now: a key that is not durable in its file must not seal anything.
KeyId seal_with_newest(Engine& engine) {
  const fs::path file = fs::canonical(engine.options.key_file);
  value_or_throw(sync_directory(file.parent_path()));  // who drew it may have died before that
  const auto txn = engine.begin_write();
  auto sealer = value_or_throw(Sealer::load(file));
  const KeyId newest = newest_key_for(sealer.keys(), engine.files.store_id);
  if (txn->meta("key_id") == bytes_of(newest)) return newest;
  sealer.activate(newest);
  txn->set_meta("key_id", bytes_of(newest));
  txn->set_meta("key_check", sealer.seal(Secret::copy_of(kKeyCheckText),
                                         {engine.files.store_id, "", kKeyCheckColumn, 0}));
  txn->commit();
  return newest;
}

class Resealing {
 public:
  Resealing(const Store& store, KeyRotation& report)
      : store_(store), engine_(store.engine()), report_(report) {}

  // The journals first. Whoever held one when the store named its new key may still have sealed
  // cells of its row with the old one; the lock waits for them, the tables come after.
  void journals() {
    for (const Uid& uid : Journal::all(engine_.files.directory)) {
      attempt([&] {
        if (engine_.backend->view()->load(uid)) {
          const auto locked = acquire_lock(
              store_, uid,
              {.wait = engine_.options.lock_wait, .removed_too = true, .unsettled_too = true});
          reseal(locked->journal, locked->state, uid);
        } else {
          Journal journal = lock_journal(engine_, uid);
          CredentialState state = journal.state();
          if (state.phase == Phase::sent) {  // what it is called by the next holder
            state = decide(std::move(state), event::Lost{}, engine_.now());
          }
          reseal(journal, std::move(state), uid);
        }
        rescues(uid);
      });
    }
  }

  void tables() {
    for (const SealedColumn column : kSealedColumns) {
      std::int64_t after = 0;
      while (batch(column, after)) {
      }
    }
  }

 private:
  // What one of many refuses does not stop the others.
  template <typename F>
  void attempt(F&& body) {
    auto done = Engine::guarded(body);
    if (!done && report_.left.size() < kMostToTell) report_.left.push_back(std::move(done.error()));
  }

  Sealed anew(const Sealed& cell, std::string_view owner, std::string_view place,
              std::int64_t generation) {
    if (cell.empty() || key_of(cell) == engine_.keys().active()) return cell;
    return engine_.seal(engine_.open(cell, owner, place, generation), owner, place, generation);
  }

  void reseal(Journal& journal, CredentialState state, const Uid& uid) {
    const auto ids = Journal::keys_of(engine_.place(uid).path());
    const KeyId active = engine_.keys().active();
    if (std::all_of(ids.begin(), ids.end(), [&](const KeyId& id) { return id == active; })) return;
    state.grant = anew(state.grant, uid, kGrantColumn, state.generation);
    state.answer = anew(state.answer, uid, kAnswerColumn, state.generation);
    value_or_throw(journal.rewrite(std::move(state)));
    ++report_.journals;
  }

  void rescues(const Uid& uid) {
    for (const fs::path& path : rescue_files(engine_.place(uid))) {
      auto state = read_rescue_file(path);
      if (!state) continue;
      const Sealed before =
          std::exchange(state->answer, anew(state->answer, uid, kAnswerColumn, state->generation));
      if (state->answer != before) value_or_throw(replace_rescue_file(path, *state));
    }
  }

  bool batch(SealedColumn column, std::int64_t& after) {
    const auto txn = engine_.begin_write();
    const auto cells = txn->cells_of_other_keys(column, engine_.keys().active(), after, kBatch);
    if (cells.empty()) return false;
    for (SealedCell cell : cells) {
      after = cell.row;
      if (cell.cell.empty()) continue;  // it is gone: doctor tells
      attempt([&] {
        cell.cell = anew(cell.cell, cell.owner, cell.place, cell.generation);
        txn->set_cell(cell);
        ++report_.cells;
      });
    }
    txn->commit();
    return true;
  }

  const Store& store_;
  Engine& engine_;
  KeyRotation& report_;
};

KeyRotation reseal_all(const Store& store) {
  KeyRotation report;
  report.key = hex(seal_with_newest(store.engine()));
  Resealing resealing(store, report);
  resealing.journals();
  resealing.tables();
  return report;
}

std::optional<KeyRotation> finish(const Store& store) {
  if (!is_unfinished(store.engine())) return std::nullopt;
  KeyRotation finished = reseal_all(store);
  finished.resumed = true;
  return finished;
}

// ---- prune -------------------------------------------------------------------------------------

using Named = std::map<KeyId, std::string>;  // why a key is needed

// Waits for every holder of a lock. One that took it before the store named its newest key may have
// sealed with an older one until it let go; one that takes it now looks first.
Named named_by_journals(Engine& engine) {
  Named named;
  for (const Uid& uid : Journal::all(engine.files.directory)) {
    Journal journal = lock_journal(engine, uid);
    // A power cut must not bring back what was sealed with a key that is gone then.
    value_or_throw(journal.sync());
    for (const KeyId& id : Journal::keys_of(engine.place(uid).path())) {
      named[id] = "the journal of " + uid + " is sealed with it";
    }
    for (const fs::path& path : rescue_files(engine.place(uid))) {
      const auto state = read_rescue_file(path);
      if (!state) continue;
      for (const Sealed* cell : {&state->grant, &state->answer}) {
        if (const auto id = key_of(*cell)) {
          named[*id] = "the rescue file " + path.string() + " is sealed with it";
        }
      }
    }
  }
  return named;
}

// Why a key stays; empty: it can go. `behind` is true for keys older than the active one.
std::string why_kept(const Engine& engine, const SealKey& key, const Named& named, bool active,
                     bool behind) {
  if (active) return "it seals";
  if (!behind) return "it is newer than the one that seals; `authdb key rotate` takes it up";
  if (const auto found = named.find(key.id); found != named.end()) return found->second;
  if (key.store_id.empty()) {
    return "the file does not say whose it is; take its line out if no other store needs it";
  }
  if (key.store_id != engine.files.store_id) return "it is of another store, " + key.store_id;
  return {};
}

}  // namespace

Result<KeyRotation> rotate_key(Store& store) {
  Engine& engine = store.engine();
  return Engine::guarded([&] {
    engine.require_writable();
    const KeyId before = engine.keys().active();
    if (auto finished = finish(store)) {
      // What stays behind for ever, because it is damaged, must not stand in the way of a new key.
      if (finished->cells + finished->journals > 0 || finished->key != hex(before)) {
        return std::move(*finished);
      }
    }
    value_or_throw(
        add_key(engine.options.key_file, engine.files.store_id, engine.options.lock_wait));
    return reseal_all(store);
  });
}

Result<std::optional<KeyRotation>> finish_rotation(Store& store) {
  return Engine::guarded([&] {
    store.engine().require_writable();
    return finish(store);
  });
}

Result<KeyPrune> prune_keys(Store& store) {
  Engine& engine = store.engine();
  return Engine::guarded([&] {
    engine.require_writable();
    (void)engine.keys();  // loaded before the write: see Store::unseal()
    Named named = named_by_journals(engine);
    // Nobody writes while we look and drop; whoever begins after us seals with the active key.
    const auto txn = engine.begin_write();
    const KeyId active = engine.keys().active();
    for (const auto& [id, cells] : txn->cells_by_key()) {
      named[id] =
          std::to_string(cells) + " cells are sealed with it; `authdb key rotate` ends that";
    }
    KeyPrune report;
    std::vector<KeyId> dropped;
    bool behind = false;
    for (const SealKey& key : value_or_throw(read_keys(engine.options.key_file))) {
      std::string why = why_kept(engine, key, named, key.id == active, behind);
      behind = behind || key.id == active;
      if (why.empty()) {
        dropped.push_back(key.id);
        report.dropped.push_back(hex(key.id));
      } else {
        report.kept.push_back({hex(key.id), std::move(why)});
      }
    }
    if (!dropped.empty()) {
      value_or_throw(drop_keys(engine.options.key_file, dropped, engine.options.lock_wait));
    }
    return report;
  });
}

}  // namespace authdb
