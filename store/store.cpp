#include "store/store.h"

#include <stdlib.h>

#include <algorithm>
#include <random>

#include "store/cooldown.h"
#include "store/locked.h"
#include "store/rotation.h"
#include "store/sqlite/backend.h"
#include "store/user_directories.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}

// Below a directory of the user's; empty if there is none.
fs::path below(const fs::path& directory, const char* name) {
  return directory.empty() ? directory : directory / "authdb" / name;
}

// Nobody else of the profile's pool is alive.
bool is_sole(View& view, const std::string& profile, const Credential& row) {
  const auto pool = view.pool(profile, row.identity.provider);
  const auto alive = std::count_if(pool.begin(), pool.end(), [](const PoolEntry& entry) {
    return entry.credential.health.status != Status::dead;
  });
  return alive == 1 && std::any_of(pool.begin(), pool.end(), [&](const PoolEntry& entry) {
           return entry.credential.id == row.id;
         });
}

bool is_there(const std::vector<PoolEntry>& pool, const std::string& bearer) {
  return std::any_of(pool.begin(), pool.end(),
                     [&](const PoolEntry& entry) { return owns_bearer(entry.credential, bearer); });
}

void uid_first(std::vector<const PoolEntry*>& order, const Uid& uid) {
  std::stable_partition(order.begin(), order.end(),
                        [&](const PoolEntry* entry) { return entry->credential.uid == uid; });
}

Selection select_from(View& view, const std::string& profile, const std::string& provider,
                      const std::string& rejected, Instant now) {
  Selection selection;
  selection.pool = view.pool(profile, provider);
  selection.strategy = view.provider_state(profile, provider).strategy;
  std::minstd_rand random;
  if (selection.strategy == Strategy::random) random.seed(std::random_device{}());
  selection.order = in_order(selection.pool, selection.strategy, now, random);
  owner_first(selection.order, rejected);
  if (rejected.empty() || is_there(selection.pool, rejected)) return selection;
  // One that was replaced since: its owner has another by now.
  if (const auto owner = view.owner_of_bearer(rejected)) uid_first(selection.order, *owner);
  return selection;
}

bool counts_uses(Strategy strategy) {
  return strategy == Strategy::round_robin || strategy == Strategy::least_used;
}

// After every use in the pool, also after one of this very millisecond: round_robin goes by it.
Instant next_use(const std::vector<PoolEntry>& pool, Instant now) {
  for (const PoolEntry& entry : pool) {
    const auto& used = entry.credential.health.last_used_at;
    if (used && *used >= now) now = *used + Milliseconds(1);
  }
  return now;
}

Error no_profile(const std::string& name) {
  return {
      Errc::not_found, "there is no profile \"" + name + "\"",
      "`authdb profile list` shows those there are; `authdb profile add " + name + "` makes it."};
}

void require_profile(View& view, const std::string& name) {
  const auto names = view.profiles();
  if (std::find(names.begin(), names.end(), name) == names.end())
    throw BackendError{no_profile(name)};
}

// One write transaction around `body`.
template <typename F>
Result<void> write(Engine& engine, F&& body) {
  return Engine::guarded([&] {
    const auto txn = engine.begin_write();
    body(*txn);
    txn->commit();
  });
}

void mark_removed(Txn& txn, const Credential& row, Instant now) {
  txn.set_removed(row.id, now);
  txn.clear_refresh_hash(row.id);
  if (row.refresh_hash) {
    txn.retire(row.id, *row.refresh_hash, row.family, row.generation, now, Retirement::removed);
  }
  txn.wipe_removed(now - kUndoWindow);
}

}  // namespace

fs::path default_store_path() {
  if (const auto set = variable("AUTHDB_STORE"); !set.empty()) return set;
  return below(data_directory(), "auth.db");
}

fs::path default_key_path() {
  if (const auto set = variable("AUTHDB_KEY_FILE"); !set.empty()) return set;
  if (const auto set = variable("CREDENTIALS_DIRECTORY"); !set.empty()) {
    const fs::path file = fs::path(set) / "authdb.key";
    std::error_code error;
    if (fs::exists(file, error)) return file;
  }
  return below(config_directory(), "seal.key");
}

Result<Store> Store::open(StoreOptions options, OpenMode mode) {
  if (options.path.empty()) options.path = default_store_path();
  if (options.key_file.empty()) options.key_file = default_key_path();
  auto files = Engine::guarded([&] {  // std::filesystem throws where there is no working directory
    return value_or_throw(
        sqlite::open_files(options.path, options.key_file, mode, options.clock()));
  });
  if (!files) return fail(std::move(files.error()));
  auto engine = std::make_shared<Engine>();
  engine->mode = mode;
  engine->files = std::move(*files);
  engine->options = std::move(options);
  auto opened = Engine::guarded(
      [&] { return sqlite::open_backend(engine->files, mode, engine->options.clock); });
  if (!opened) return fail(std::move(opened.error()));
  engine->backend = std::move(*opened);
  return Store(std::move(engine));
}

Instant Store::now() const { return engine_->now(); }
Milliseconds Store::lock_wait() const { return engine_->options.lock_wait; }
const fs::path& Store::path() const { return engine_->files.database; }
const std::string& Store::id() const { return engine_->files.store_id; }

// ---- looking -----------------------------------------------------------------------------------

Result<std::vector<Credential>> Store::list(const Filter& filter) const {
  return Engine::guarded([&] { return engine_->backend->view()->list(filter); });
}

Result<Credential> Store::find(const Uid& uid) const {
  return Engine::guarded([&] { return engine_->load_sealed(*engine_->backend->view(), uid).row; });
}

Result<std::vector<PoolEntry>> Store::pool(std::string_view profile,
                                           std::string_view provider) const {
  return Engine::guarded([&] { return engine_->backend->view()->pool(profile, provider); });
}

Result<std::vector<std::string>> Store::profiles() const {
  return Engine::guarded([&] { return engine_->backend->view()->profiles(); });
}

Result<std::vector<std::string>> Store::profiles_of(const Uid& uid) const {
  return Engine::guarded([&] {
    const auto view = engine_->backend->view();
    return view->profiles_of(engine_->load_sealed(*view, uid).row.id);
  });
}

Result<std::vector<std::string>> Store::providers() const {
  return Engine::guarded([&] { return engine_->backend->view()->providers(); });
}

Result<ProviderState> Store::provider_state(std::string_view profile,
                                            std::string_view provider) const {
  return Engine::guarded(
      [&] { return engine_->backend->view()->provider_state(profile, provider); });
}

Result<std::optional<RetiredToken>> Store::retired(const TokenHash& hash) const {
  return Engine::guarded([&] { return engine_->backend->view()->retired(hash); });
}

Result<std::optional<Uid>> Store::owner_of_bearer(const std::string& fingerprint) const {
  return Engine::guarded([&] { return engine_->backend->view()->owner_of_bearer(fingerprint); });
}

Result<std::vector<ProviderState>> Store::provider_states(std::string_view profile) const {
  return Engine::guarded([&] {
    std::vector<ProviderState> states;
    for (auto& [state, extra] : engine_->backend->view()->provider_states(profile)) {
      state.extra = engine_->open(extra, state.profile + "/" + state.provider, kStateColumn, 0);
      states.push_back(std::move(state));
    }
    return states;
  });
}

Result<std::vector<ImportReceipt>> Store::receipts() const {
  return Engine::guarded([&] { return engine_->backend->view()->receipts(); });
}

Result<Secret> Store::last_unknown(std::string_view profile, std::string_view format) const {
  return Engine::guarded([&] {
    const auto receipt = engine_->backend->view()->last_receipt(profile, format);
    if (!receipt) return Secret();
    return engine_->open(receipt->unknown, receipt->sha256, kReceiptColumn, 0);
  });
}

Result<std::vector<Projection>> Store::projections() const {
  return Engine::guarded([&] { return engine_->backend->view()->projections(); });
}

Result<std::vector<std::string>> Store::projections_behind() const {
  return Engine::guarded([&] { return engine_->backend->view()->projections_behind(); });
}

Result<QueryRows> Store::query(const std::string& sql) const {
  return Engine::guarded([&] { return engine_->backend->view()->query(sql); });
}

Result<Held> Store::unseal(const Uid& uid) const {
  const auto read = [&] {
    // The view is given back first: the keys' first use looks into the database too, and a second
    // connection would cost a token read half as much again.
    StoredCredential stored = engine_->load_sealed(*engine_->backend->view(), uid);
    return engine_->unseal(std::move(stored));
  };
  auto held = Engine::guarded(read);
  if (held || held.error().code != Errc::refused) return held;
  // A key rotation and a prune may have gone by between reading the cells and reading the keys.
  held = Engine::guarded(read);
  if (held || held.error().code != Errc::refused || engine_->mode == OpenMode::look) return held;
  // Whoever has the lock mends what does not open from the journal, where that is no guess.
  const auto locked = LockedCredential::acquire(*this, uid, {.wait = lock_wait()});
  return locked ? Result<Held>(locked->held().clone()) : std::move(held);
}

Result<void> Store::check_keys() const {
  return Engine::guarded([&] { (void)engine_->keys(); });
}

Result<Secret> Store::unseal_extra(const Uid& uid) const {
  return Engine::guarded([&] {
    const auto view = engine_->backend->view();
    const Credential row = engine_->load_sealed(*view, uid).row;
    return engine_->open(view->extra(row.id), uid, kExtraColumn, 0);
  });
}

// ---- changing ----------------------------------------------------------------------------------

Result<void> Store::check_writable() {
  return write(*engine_, [&](Txn& txn) {
    (void)engine_->keys();
    // Something that is written and changes nothing: an empty transaction needs no space.
    txn.set_meta("key_check", txn.meta("key_check"));
  });
}

Result<void> Store::remove(const Uid& uid) {
  const auto found = find(uid);
  if (!found) return fail(found.error());
  if (found->identity.auth_type == AuthType::api_key) {
    return write(*engine_,
                 [&](Txn& txn) { mark_removed(txn, engine_->load_sealed(txn, uid).row, now()); });
  }
  // Under the lock, so that no rotation is under way that would bring the token back.
  auto locked = LockedCredential::acquire(
      *this, uid, {.wait = engine_->options.lock_wait, .unsettled_too = true, .damaged_too = true});
  if (!locked) return fail(locked.error());
  return remove(*locked);
}

Result<void> Store::remove(LockedCredential& locked) {
  Locked& held = *locked.locked_;
  return Engine::guarded([&] {
    const Instant at = now();
    commit_state(
        held, decide(held.state, event::Removed{at}, at),
        [&](Txn& txn, CredentialState&) {
          mark_removed(txn, engine_->load_sealed(txn, held.uid()).row, at);
        },
        /*durable=*/true);
  });
}

Result<Selection> Store::select(const std::string& profile, const std::string& provider,
                                const std::string& rejected) {
  auto seen = Engine::guarded(
      [&] { return select_from(*engine_->backend->view(), profile, provider, rejected, now()); });
  if (!seen || !counts_uses(seen->strategy) || seen->order.empty()) return seen;
  auto counted = Engine::guarded([&] {
    engine_->require_writable();
    const auto txn = engine_->backend->begin_careless(engine_->options.lock_wait);
    Selection selection = select_from(*txn, profile, provider, rejected, now());
    if (!selection.order.empty()) {
      txn->count_use(selection.order.front()->credential.id, next_use(selection.pool, now()));
    }
    txn->commit();
    return selection;
  });
  if (counted) return counted;
  engine_->log(LogLevel::warning, "a use could not be counted: " + counted.error().message);
  return seen;
}

Result<void> Store::report(const Uid& uid, const Report& report) {
  return write(*engine_, [&](Txn& txn) {
    const Credential row = engine_->load_sealed(txn, uid).row;
    if (row.health.status == Status::dead) return;  // a report about a call made before it died
    txn.set_health(row.id, marked(row.health, report, is_sole(txn, report.profile, row), now()));
  });
}

Result<void> Store::reset(const Uid& uid) {
  const auto clear = [&](Txn& txn, bool ended) {
    const Credential row = engine_->load_sealed(txn, uid).row;
    if (ended) return;
    Health health;
    health.status_at = now();
    health.request_count = row.health.request_count;
    health.last_used_at = row.health.last_used_at;
    txn.set_health(row.id, health);
  };
  const auto found = find(uid);
  if (!found) return fail(found.error());
  const bool told = found->identity.auth_type == AuthType::oauth &&
                    (found->renewal.rest_until || found->renewal.refusals > 0 ||
                     !found->renewal.rejected.empty() || found->health.status == Status::dead);
  if (!told) return write(*engine_, [&](Txn& txn) { clear(txn, false); });
  // What the token endpoint said is the journal's to forget; that it said no for good is not
  // forgotten.
  return Engine::guarded([&] {
    const auto locked = acquire_lock(*this, uid, {engine_->options.lock_wait});
    commit_state(
        *locked, decide(locked->state, event::Rested{}, now()),
        [&](Txn& txn, CredentialState& next) { clear(txn, next.renewal.refused); },
        /*durable=*/true);
  });
}

Result<void> Store::touch(const Uid& uid) {
  return Engine::guarded([&] {
    engine_->require_writable();
    const auto txn = engine_->backend->begin_careless(engine_->options.lock_wait);
    txn->count_use(engine_->load_sealed(*txn, uid).row.id, now());
    txn->commit();
  });
}

Result<void> Store::add_profile(const std::string& name) {
  if (name.empty()) return fail(Errc::usage, "a profile needs a name");
  return write(*engine_, [&](Txn& txn) { txn.add_profile(name, now()); });
}

Result<void> Store::remove_profile(const std::string& name) {
  return write(*engine_, [&](Txn& txn) {
    require_profile(txn, name);
    txn.remove_profile(name);
  });
}

Result<void> Store::bind(const std::string& profile, const Uid& uid,
                         std::optional<std::int64_t> position) {
  return write(*engine_, [&](Txn& txn) {
    require_profile(txn, profile);
    txn.bind(profile, engine_->load_sealed(txn, uid).row.id, position);
  });
}

Result<void> Store::unbind(const std::string& profile, const Uid& uid) {
  return write(*engine_, [&](Txn& txn) {
    require_profile(txn, profile);
    txn.unbind(profile, engine_->load_sealed(txn, uid).row.id);
  });
}

Result<void> Store::set_place(const std::string& profile, const Uid& uid, std::int64_t place) {
  return write(*engine_, [&](Txn& txn) {
    require_profile(txn, profile);
    const Credential row = engine_->load_sealed(txn, uid).row;
    std::vector<std::int64_t> order;
    for (const PoolEntry& entry : txn.pool(profile, row.identity.provider)) {
      if (entry.credential.id != row.id) order.push_back(entry.credential.id);
    }
    const auto at = std::clamp<std::int64_t>(place, 1, static_cast<std::int64_t>(order.size()) + 1);
    order.insert(order.begin() + (at - 1), row.id);
    for (std::size_t i = 0; i < order.size(); ++i) {
      txn.bind(profile, order[i], static_cast<std::int64_t>(i));
    }
  });
}

Result<void> Store::set_strategy(const std::string& profile, const std::string& provider,
                                 Strategy strategy) {
  return write(*engine_, [&](Txn& txn) {
    require_profile(txn, profile);
    ProviderState state = txn.provider_state(profile, provider);
    state.strategy = strategy;
    txn.set_state(state, {});
  });
}

Result<void> Store::put_projection(const Projection& projection) {
  return write(*engine_, [&](Txn& txn) { txn.put_projection(projection); });
}

Result<void> Store::drop_projection(const std::string& path) {
  return write(*engine_, [&](Txn& txn) { txn.drop_projection(path); });
}

}  // namespace authdb
