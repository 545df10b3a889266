// The whole difference between databases, in row verbs: what one can read, and what one write
// transaction can do. No SQL crosses this line, no rotation logic sits below it, and no Secret
// either: the cells that pass here are sealed.
//
// Methods throw BackendError; Engine::guarded() turns it into a Result once, at the public
// function.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/attempt.h"
#include "store/change.h"
#include "store/credential.h"
#include "store/result.h"
#include "store/seal.h"
#include "store/store.h"

namespace authdb {

struct BackendError {
  Error error;
  bool damaged = false;  // the file is not a whole database
};

// The sealed cells of one credential; empty where there is NULL.
struct Cells {
  Sealed access_token;
  Sealed refresh_token;
  Sealed agent_key;
  std::int64_t agent_key_generation = 0;  // what the agent key's cell is bound to
};

struct StoredCredential {
  Credential row;
  Cells cells;
};

// A token set as it will stand in its row.
struct SealedTokens {
  std::int64_t family = 1;
  std::int64_t generation = 1;
  Sealed access_token;
  Sealed refresh_token;
  std::string access_fingerprint;
  std::optional<TokenHash> refresh_hash;
  BearerKind bearer_kind = BearerKind::access_token;
  Origin origin = Origin::import;
  std::optional<Instant> obtained_at;
  bool obtained_derived = false;
  std::optional<Instant> expires_at;
  std::optional<Instant> refresh_at;
  std::optional<Instant> session_ends_at;
  Hold hold = Hold::none;
};

struct SealedAgentKey {
  std::string key_id;
  Sealed secret;
  std::string fingerprint;
  std::optional<Instant> obtained_at;
  std::optional<Instant> expires_at;
  bool reused = false;
  std::int64_t from_generation = 1;
};

// The columns that hold sealed cells.
enum class SealedColumn {
  access_token,
  refresh_token,
  agent_key,
  credential_extra,
  state_extra,
  receipt_unknown,
};
inline constexpr std::array kSealedColumns = {
    SealedColumn::access_token,     SealedColumn::refresh_token, SealedColumn::agent_key,
    SealedColumn::credential_extra, SealedColumn::state_extra,   SealedColumn::receipt_unknown};

// One cell and what it is bound to (store/seal.h).
struct SealedCell {
  SealedColumn column = SealedColumn::access_token;
  std::int64_t row = 0;  // its place among the cells of its column
  std::string owner;     // a uid, `profile/provider`, a file's hash
  std::string place;     // `table.column`
  std::int64_t generation = 0;
  Sealed cell;
};

struct SealedState {
  ProviderState state;
  Sealed extra;
};

struct SealedReceipt {
  std::string sha256;  // what the cell is bound to
  Sealed unknown;
};

// What merging a backup did.
struct Merged {
  std::int64_t credentials = 0;  // that the backup knows
  std::int64_t back = 0;         // among them: were gone or removed here
  std::int64_t newer = 0;        // among them: have newer tokens here
  std::int64_t held = 0;         // put on hold=uncertain
  std::vector<Uid> moved;        // whose tokens are the backup's now, in uid order
};

// Reads. Each call sees one consistent state of the database.
class View {
 public:
  virtual ~View() = default;
  virtual std::vector<Credential> list(const Filter& filter) = 0;
  virtual std::optional<StoredCredential> load(const Uid& uid) = 0;  // removed ones too
  virtual std::vector<PoolEntry> pool(std::string_view profile, std::string_view provider) = 0;
  virtual Sealed extra(std::int64_t credential) = 0;
  virtual std::vector<std::string> profiles() = 0;
  virtual std::vector<std::string> profiles_of(std::int64_t credential) = 0;
  virtual std::vector<std::string> providers() = 0;
  virtual ProviderState provider_state(std::string_view profile, std::string_view provider) = 0;
  virtual std::optional<RetiredToken> retired(const TokenHash& hash) = 0;
  // The credential whose current refresh token this is.
  virtual std::optional<std::int64_t> owner_of(const TokenHash& hash) = 0;
  // Every provider that `profile` has set something for, with its sealed fields.
  virtual std::vector<SealedState> provider_states(std::string_view profile) = 0;
  virtual std::vector<ImportReceipt> receipts() = 0;
  // The receipt of the file of that profile and format that was read last.
  virtual std::optional<SealedReceipt> last_receipt(std::string_view profile,
                                                    std::string_view format) = 0;
  // Whose bearer it is, or was as far as the ledger and the projections go back.
  virtual std::optional<Uid> owner_of_bearer(const std::string& fingerprint) = 0;
  virtual std::vector<Projection> projections() = 0;
  virtual std::vector<std::string> projections_behind() = 0;
  virtual Sealed meta(std::string_view key) = 0;  // empty if there is none
  // Up to `limit` cells of the column behind row `after` that other keys than `key` sealed, by row.
  virtual std::vector<SealedCell> cells_of_other_keys(SealedColumn column, const KeyId& key,
                                                      std::int64_t after, int limit) = 0;
  // How many cells each key sealed, over all tables; meta's key check among them.
  virtual std::map<KeyId, std::int64_t> cells_by_key() = 0;
  virtual QueryRows query(const std::string& sql) = 0;
};

// One write transaction, behind the write gate. Rolls back when destroyed, unless commit()
// returned.
class Txn : public View {
 public:
  virtual std::int64_t insert(const Uid& uid, const Identity& identity, const Sealed& extra,
                              Instant at) = 0;
  virtual void set_identity(std::int64_t credential, const Identity& identity) = 0;
  virtual void set_extra(std::int64_t credential, const Sealed& extra) = 0;
  virtual void set_removed(std::int64_t credential, std::optional<Instant> at) = 0;
  // Deletes the sealed cells of credentials that were removed before `before`.
  virtual void wipe_removed(Instant before) = 0;

  virtual void insert_tokens(std::int64_t credential, const SealedTokens& tokens) = 0;
  // The compare-and-swap: false, and nothing changed, unless exactly this hash and generation stood
  // in the row.
  virtual bool advance(std::int64_t credential, const std::optional<TokenHash>& expected_hash,
                       std::int64_t expected_generation, const SealedTokens& tokens) = 0;
  virtual void set_hold(std::int64_t credential, Hold hold) = 0;
  virtual void clear_refresh_hash(std::int64_t credential) = 0;
  // Does nothing if the hash is retired already.
  virtual void retire(std::int64_t credential, const TokenHash& hash, std::int64_t family,
                      std::int64_t generation, Instant at, Retirement reason) = 0;
  // Undoes a removal: the credential, and `hash` as its current token unless it is retired for
  // another reason or current elsewhere since.
  virtual void take_back(std::int64_t credential, const std::optional<TokenHash>& hash) = 0;
  // Lifts a `presumed` retirement; anything else stays.
  virtual void pardon(const TokenHash& hash) = 0;

  virtual void put_agent_key(std::int64_t credential, const SealedAgentKey& key) = 0;
  virtual void drop_agent_key(std::int64_t credential) = 0;
  // The counters of one that has them stay: only count_use() moves those.
  virtual void set_health(std::int64_t credential, const Health& health) = 0;
  virtual void count_use(std::int64_t credential, Instant at) = 0;
  // The copy of what the journal says of the renewal, for those who only look.
  virtual void put_renewal(std::int64_t credential, const Renewal& renewal) = 0;
  // The bearer that a resource server refused, and how many it did in a row; empty: none.
  // Adds a ledger row, and now and then drops those that are old or too many.
  virtual void record(std::int64_t credential, const Attempt& attempt) = 0;

  virtual void add_profile(const std::string& name, Instant at) = 0;
  virtual void remove_profile(const std::string& name) = 0;
  virtual void bind(const std::string& profile, std::int64_t credential,
                    std::optional<std::int64_t> position) = 0;
  virtual void unbind(const std::string& profile, std::int64_t credential) = 0;
  virtual void set_state(const ProviderState& state, const Sealed& extra) = 0;
  virtual void add_receipt(const ImportReceipt& receipt, const Sealed& unknown, Instant at) = 0;

  virtual void set_meta(std::string_view key, const Sealed& value) = 0;
  // Puts another seal around the same secret: `cell` is what stands there, with its new bytes.
  virtual void set_cell(const SealedCell& cell) = 0;

  // Merges the backup that begin_merge() was given, by the rules of restore() in store/backup.h.
  virtual Merged merge_backup(Instant at) = 0;
  virtual void put_projection(const Projection& projection) = 0;
  virtual void drop_projection(const std::string& path) = 0;

  virtual void commit() = 0;  // if this throws, only a fresh read can tell whether it happened
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::unique_ptr<View> view() = 0;
  // busy if the write gate is not had within `wait`.
  virtual std::unique_ptr<Txn> begin_write(Milliseconds wait) = 0;
  // As begin_write, but the commit is not synced: for counters.
  virtual std::unique_ptr<Txn> begin_careless(Milliseconds wait) = 0;
  // As begin_write, with a backup at hand.
  virtual std::unique_ptr<Txn> begin_merge(const std::filesystem::path& backup,
                                           Milliseconds wait) = 0;
  // Writes a copy to a new file.
  virtual void back_up(const std::filesystem::path& file) = 0;
};

}  // namespace authdb
