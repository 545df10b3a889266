#include "store/engine.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

#include "store/scrub.h"

namespace authdb {

namespace {

constexpr Seconds kUnknownLife{60};  // no sooner: it would be a refresh per call
constexpr std::string_view kAccessColumn = "token_set.access_token";
constexpr std::string_view kRefreshColumn = "token_set.refresh_token";
constexpr std::string_view kAgentKeyColumn = "agent_key.secret";

std::string read_boot_id() {
  std::string text;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> text;
  return text;
}

Error not_our_keys(const StoreOptions& options, const sqlite::StoreFiles& files,
                   const std::string& why) {
  return {Errc::refused,
          "the seal key file " + options.key_file.string() + " does not belong to " +
              files.database.string() + ": " + why,
          "It is an old copy, or another store's. Name the right one with AUTHDB_KEY_FILE, or put "
          "it back from your copy."};
}

// A known cell, sealed with the active key, tells a wrong key file from a damaged store.
Result<Sealer> check_keys(Sealer loaded, const Sealed& key_check, const StoreOptions& options,
                          const sqlite::StoreFiles& files) {
  const auto id = key_of(key_check);
  if (!id) {
    return fail(Errc::refused, "the key check of " + files.database.string() + " is damaged",
                "Restore the store from a backup.");
  }
  if (!loaded.activate(*id)) {
    return fail(not_our_keys(
        options, files, "the store is sealed with key " + hex(*id) + ", which is not in the file"));
  }
  if (!loaded.open(key_check, {files.store_id, "", kKeyCheckColumn, 0})) {
    return fail(not_our_keys(options, files, "its key " + hex(*id) + " is another one"));
  }
  return loaded;
}

// What the store says is asked before the file is read: a key is in the file before the store names
// it. The other way about, a pruned key may be gone from the file and asked for: look again.
Result<Sealer> load_sealer(View& view, const StoreOptions& options,
                           const sqlite::StoreFiles& files) {
  Sealed before = view.meta("key_check");
  for (;;) {
    auto loaded = Sealer::load(options.key_file);
    if (!loaded) return loaded;
    auto checked = check_keys(std::move(*loaded), before, options, files);
    if (checked) return checked;
    Sealed now = view.meta("key_check");
    if (now == before) return checked;
    before = std::move(now);
  }
}

// A row has the fingerprint of what it has; what is removed keeps it when its cells are wiped.
void require_there(const Credential& row, const Secret& opened, std::string_view column,
                   bool expected) {
  if (!expected || !opened.empty() || row.removed_at) return;
  throw BackendError{{Errc::refused,
                      "the sealed cell " + std::string(column) + " of " + row.uid +
                          " is gone, and its fingerprint is there",
                      "Somebody or something has changed the file. `authdb doctor` says what to "
                      "do."}};
}

}  // namespace

std::string kernel_boot_id() {
  static const std::string id = read_boot_id();
  return id;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

std::string process_name() { return program_invocation_short_name; }

std::string name_of(const Credential& row) {
  return "\"" + shortened(row.identity.label, kShownLabel) + "\" (" + row.identity.provider + ", " +
         row.uid + ")";
}

void Engine::log(LogLevel level, std::string_view text) const {
  try {
    if (options.log) options.log(level, text);
  } catch (const std::exception&) {  // a log line is never worth a token
  }
}

const Sealer& Engine::keys() {
  const KeyRing* const known = keys_.load();
  return known != nullptr ? known->sealer : load_keys(*backend->view());
}

void Engine::follow_keys(View& view) {
  const KeyRing* const known = keys_.load();
  if (known == nullptr) return;  // whoever needs them first loads those of then
  const Sealed active = view.meta("key_id");
  if (!std::equal(active.begin(), active.end(), known->sealer.active().begin(),
                  known->sealer.active().end())) {
    load_keys(view);
  }
}

const Sealer& Engine::load_keys(View& view) {
  Sealer loaded = value_or_throw(load_sealer(view, options, files));
  const KeyRing* known = keys_.load();
  for (;;) {
    if (known != nullptr && known->sealer.same_as(loaded)) return known->sealer;
    // Of threads that come at once one wins; the others look again.
    auto fresh = std::make_unique<KeyRing>(KeyRing{std::move(loaded), nullptr});
    fresh->older.reset(known);
    if (keys_.compare_exchange_strong(known, fresh.get())) return fresh.release()->sealer;
    (void)fresh->older.release();
    loaded = std::move(fresh->sealer);
  }
}

Engine::~Engine() { delete keys_.load(); }

void Engine::require_writable() const {
  if (mode != OpenMode::look) return;
  throw BackendError{{Errc::usage, "the store was opened to look, not to change", ""}};
}

Sealed Engine::seal(const Secret& plain, std::string_view owner, std::string_view column,
                    std::int64_t generation) {
  if (plain.empty()) return {};
  return keys().seal(plain, {files.store_id, owner, column, generation});
}

Secret Engine::open(const Sealed& cell, std::string_view owner, std::string_view column,
                    std::int64_t generation) {
  if (cell.empty()) return {};
  const Sealer* sealer = &keys();
  const auto id = key_of(cell);
  // Sealed with a key that was drawn after we loaded ours.
  if (id && !sealer->holds(*id)) sealer = &load_keys(*backend->view());
  return value_or_throw(sealer->open(cell, {files.store_id, owner, column, generation}));
}

Held Engine::unseal(StoredCredential stored) {
  Held held;
  const std::int64_t generation = stored.row.generation;
  held.access_token = open(stored.cells.access_token, stored.row.uid, kAccessColumn, generation);
  held.refresh_token = open(stored.cells.refresh_token, stored.row.uid, kRefreshColumn, generation);
  held.agent_key = open(stored.cells.agent_key, stored.row.uid, kAgentKeyColumn,
                        stored.cells.agent_key_generation);
  require_there(stored.row, held.access_token, kAccessColumn,
                !stored.row.access_fingerprint.empty());
  require_there(stored.row, held.refresh_token, kRefreshColumn,
                stored.row.refresh_hash.has_value());
  require_there(stored.row, held.agent_key, kAgentKeyColumn,
                !stored.row.agent_key_fingerprint.empty());
  held.row = std::move(stored.row);
  return held;
}

SealedTokens Engine::seal_grant(const Uid& uid, const Identity& identity, const Grant& grant,
                                Origin origin, std::int64_t family, std::int64_t generation,
                                const Held* before) {
  const bool keep_access = grant.access_token.empty() && before != nullptr;
  const bool keep_refresh = grant.refresh_token.empty() && before != nullptr;
  const Secret& access = keep_access ? before->access_token : grant.access_token;
  const Secret& refresh = keep_refresh ? before->refresh_token : grant.refresh_token;
  SealedTokens tokens;
  tokens.family = family;
  tokens.generation = generation;
  tokens.access_token = seal(access, uid, kAccessColumn, generation);
  tokens.refresh_token = seal(refresh, uid, kRefreshColumn, generation);
  if (!access.empty()) tokens.access_fingerprint = fingerprint(access);
  if (!refresh.empty()) tokens.refresh_hash = token_hash(refresh);
  tokens.bearer_kind = keep_access ? before->row.bearer_kind : grant.bearer_kind;
  tokens.origin = origin;
  tokens.obtained_at = keep_access ? before->row.obtained_at : grant.obtained_at;
  tokens.obtained_derived = keep_access ? before->row.obtained_derived : grant.obtained_derived;
  tokens.expires_at = keep_access ? before->row.expires_at : grant.expires_at;
  tokens.refresh_at = due_at(identity, tokens.obtained_at, tokens.expires_at, origin);
  if (!keep_access && grant.lifetime_cut_off) tokens.refresh_at = now() + kUnknownLife;
  tokens.session_ends_at = grant.session_ends_at;
  if (!tokens.session_ends_at && before != nullptr && before->row.family == family) {
    tokens.session_ends_at = before->row.session_ends_at;
  }
  return tokens;
}

SealedAgentKey Engine::seal_agent_key(const Uid& uid, const AgentKey& key,
                                      std::int64_t generation) {
  SealedAgentKey sealed;
  sealed.key_id = key.key_id;
  sealed.secret = seal(key.secret, uid, kAgentKeyColumn, generation);
  sealed.fingerprint = fingerprint(key.secret);
  sealed.obtained_at = key.obtained_at;
  sealed.expires_at = key.expires_at;
  sealed.reused = key.reused;
  sealed.from_generation = generation;
  return sealed;
}

TokenPolicy Engine::policy(const Identity& identity) const {
  const auto endpoint = options.endpoint_for ? options.endpoint_for(identity) : nullptr;
  return endpoint ? endpoint->policy() : TokenPolicy();
}

std::optional<Instant> Engine::due_at(const Identity& identity, std::optional<Instant> obtained_at,
                                      std::optional<Instant> expires_at, Origin origin) const {
  if (!expires_at || identity.auth_type == AuthType::api_key) return std::nullopt;
  const Instant due = *expires_at - policy(identity).skew;
  if (origin == Origin::import || !obtained_at) return due;
  const Instant half_life = *obtained_at + (*expires_at - *obtained_at) / 2;
  return std::min(*expires_at, std::max(due, half_life));  // our clock may be ahead of the server's
}

Attempt Engine::new_attempt(AttemptKind kind, const std::string& profile) const {
  Attempt attempt;
  attempt.kind = kind;
  attempt.pid = ::getpid();
  attempt.boot_id = boot_id();
  attempt.host = host_name();
  attempt.process = process_name();
  attempt.profile = profile;
  attempt.started_at = now();
  return attempt;
}

Holder Engine::self() const { return {::getpid(), now(), host_name(), process_name()}; }

StoredCredential Engine::load_sealed(View& view, const Uid& uid) {
  auto stored = view.load(uid);
  if (!stored || stored->row.removed_at) {
    throw BackendError{{Errc::not_found, "there is no credential " + uid + " in this store",
                        "`authdb list` shows those there are."}};
  }
  return std::move(*stored);
}

}  // namespace authdb
