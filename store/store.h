// The store: one SQLite file of credentials that any number of processes share.
//
// Looking (list, find, pool, query) takes no lock, sends nothing and never changes auth.db or a
// journal. Every change of tokens takes that credential's lock and recovers first; those that talk
// to a server are in rotation.h.
//
// Thread safety: a Store may be used from any number of threads, and copies share one store. After
// fork() the child's first call reopens it.
//
// Errors common to all: refused (damaged, foreign, wrong key, wrong permissions), busy (a lock was
// not had by the deadline), unexpected (SQLite or the file system failed). An error means that
// nothing was changed, unless the function says otherwise; a commit that fails may have been
// written all the same, and its error says so.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "store/change.h"
#include "store/clock.h"
#include "store/credential.h"
#include "store/pool.h"
#include "store/projection.h"
#include "store/result.h"
#include "store/token_endpoint.h"

namespace authdb {

struct Engine;
class Store;
class LockedCredential;

enum class LogLevel { debug, info, warning, error };
using Logger = std::function<void(LogLevel, std::string_view)>;

enum class OpenMode {
  look,    // read-only; works without the key as long as no secret is asked for
  use,     // read and write; the store must exist
  create,  // as `use`, and makes the store (and a key, if there is none) where there is nothing
};

struct StoreOptions {
  std::filesystem::path path = {};      // auth.db; empty: default_store_path()
  std::filesystem::path key_file = {};  // empty: default_key_path()
  Clock clock = system_now;
  EndpointFor endpoint_for = {};   // without it nothing can be rotated, and due times use 120 s
  Logger log = {};                 // silent
  Milliseconds lock_wait{30'000};  // for each lock; on the steady clock, which stands in suspend
  // Which run of the machine this is: an attempt that another one left half done may have been sent
  // though its journal does not say so. Empty: the kernel's.
  std::string boot_id = {};
  // Called before the steps of a rotation that must not be cut short; what it returns is kept until
  // they are over, and must not throw when it goes. The command defers its signals here.
  std::function<std::shared_ptr<void>()> shield = {};
  // Called with no lock held when a refresh token is about to be spent: whoever knows where else a
  // newer pair of this login may have been written applies it to the store. It keeps its failures
  // to itself: then what the store has is sent.
  std::function<void(const Store&, const Uid&)> look_elsewhere = {};
};

// $AUTHDB_STORE, else ${XDG_DATA_HOME:-~/.local/share}/authdb/auth.db. Empty: this user has no home
// directory (user_directories.h).
std::filesystem::path default_store_path();
// $AUTHDB_KEY_FILE, else $CREDENTIALS_DIRECTORY/authdb.key, else
// ${XDG_CONFIG_HOME:-~/.config}/authdb/seal.key. Empty likewise.
std::filesystem::path default_key_path();

struct Filter {
  std::string provider;  // empty: all
  std::string profile;   // empty: all, bound or not
  bool include_removed = false;
  std::optional<Instant> due_by = {};  // what is due then, or obtained in the future; indexed
};

struct RetiredToken {
  Uid uid;
  std::int64_t family = 0;
  std::int64_t generation = 0;
  Instant retired_at{};
  Retirement reason = Retirement::presumed;
};

// The outcome of an inference call, as the caller saw it.
struct Report {
  int http_status = 0;
  std::optional<Instant> reset_at;  // when the provider says it will serve again
  std::string reason;               // a word: `usage_limit_reached`, `billing_unverified`
  std::string message;              // for people; scrubbed before it is stored
  std::string profile = {};         // whose call it was: is there another credential in its pool?
};

// A pool, and which of it to try, best first.
struct Selection {
  Selection() = default;
  Selection(Selection&&) = default;  // not copied: `order` points into `pool`
  Selection& operator=(Selection&&) = default;

  std::vector<PoolEntry> pool;
  Strategy strategy = Strategy::fill_first;
  std::vector<const PoolEntry*> order;  // empty: none can be used now
};

// A cell of a query's result.
using Cell = std::variant<std::monostate, std::int64_t, double, std::string>;
struct QueryRows {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};

// How long a removed credential can be taken back; its seals are wiped by the next removal after.
inline constexpr std::chrono::hours kUndoWindow{24};

class Store {
 public:
  // Runs the checklist of DESIGN 4.1; each refusal has its own message and mend. not_found if there
  // is no store and `mode` does not make one.
  static Result<Store> open(StoreOptions options, OpenMode mode);

  // Looking -------------------------------------------------------------------------------------

  Result<std::vector<Credential>> list(const Filter& filter) const;
  // not_found, also for a removed one.
  Result<Credential> find(const Uid& uid) const;
  // The credentials of `provider` that `profile` may use, by position. Empty if there are none.
  Result<std::vector<PoolEntry>> pool(std::string_view profile, std::string_view provider) const;
  Result<std::vector<std::string>> profiles() const;
  Result<std::vector<std::string>> profiles_of(const Uid& uid) const;
  // Every provider with a credential that is not removed.
  Result<std::vector<std::string>> providers() const;
  // `extra` left out.
  Result<ProviderState> provider_state(std::string_view profile, std::string_view provider) const;
  Result<std::optional<RetiredToken>> retired(const TokenHash& hash) const;
  // Whose bearer (an access token or agent key) has this fingerprint, or had it as far as the
  // ledger and the files of other tools remember; nullopt: nobody's that is known.
  Result<std::optional<Uid>> owner_of_bearer(const std::string& fingerprint) const;
  // Every provider that `profile` has set something for; opens the seals.
  Result<std::vector<ProviderState>> provider_states(std::string_view profile) const;
  Result<std::vector<ImportReceipt>> receipts() const;  // `unknown` left out
  // What the file of that profile and format that was read last had beside credentials: JSON, or
  // empty. Opens a seal.
  Result<Secret> last_unknown(std::string_view profile, std::string_view format) const;
  // By path.
  Result<std::vector<Projection>> projections() const;
  // The paths of those that show another access token than their credential has now.
  Result<std::vector<std::string>> projections_behind() const;
  // Any SELECT; one that writes, or reads a sealed column, is refused (usage).
  Result<QueryRows> query(const std::string& sql) const;

  // Opens the seals. refused without the right key, or where they do not open: what is damaged is
  // taken from the credential's journal first, under its lock, if the store may be changed.
  Result<Held> unseal(const Uid& uid) const;
  // Ok if this process could unseal: the key file is there, private, and has this store's key.
  Result<void> check_keys() const;
  Result<Secret> unseal_extra(const Uid& uid) const;

  // Changing ------------------------------------------------------------------------------------

  // Whether it could be changed now: the database can be written, and there is the key to seal
  // with.
  Result<void> check_writable();

  // All or nothing, in one write transaction, under the locks of every existing credential it
  // names. `told` hears how many of Change::credentials have been written so far, in the caller's
  // thread; nothing is there before the end.
  Result<Applied> apply(const Change& change, const std::function<void(std::size_t)>& told = {});

  // Marks a credential removed in every profile, retires its refresh token and seals the rest away
  // for a day. Its uid is never used again.
  Result<void> remove(const Uid& uid);
  // The same, for a caller who has the lock and will want it further.
  Result<void> remove(LockedCredential& locked);

  // The pool of `profile` in the order its strategy wants, the owner of the bearer `rejected` (a
  // fingerprint; may be empty) before all others. round_robin and least_used count the first as
  // used in the same transaction, so that two who ask at once get different ones. That count is
  // not durable, on purpose, and where it cannot be written the order is still good. fill_first and
  // random write nothing.
  Result<Selection> select(const std::string& profile, const std::string& provider,
                           const std::string& rejected = {});
  // Counts one use more, of a credential that was not the first.
  Result<void> touch(const Uid& uid);

  // Marks a credential after a call went wrong (cooldown.h says for how long it rests then), or
  // clears the mark after one that went well. Tokens are not touched.
  Result<void> report(const Uid& uid, const Report& report);
  Result<void> reset(const Uid& uid);

  Result<void> add_profile(const std::string& name);
  // Credentials that other profiles use stay; the others stay too, bound to nobody.
  Result<void> remove_profile(const std::string& name);
  Result<void> bind(const std::string& profile, const Uid& uid,
                    std::optional<std::int64_t> position = {});
  Result<void> unbind(const std::string& profile, const Uid& uid);
  // 1-based; the others move over. Beyond the end means the end.
  Result<void> set_place(const std::string& profile, const Uid& uid, std::int64_t place);
  Result<void> set_strategy(const std::string& profile, const std::string& provider,
                            Strategy strategy);

  // Registers what a file has been, or is about to be, given; in place of what was registered.
  // not_found if a credential is not there.
  Result<void> put_projection(const Projection& projection);
  Result<void> drop_projection(const std::string& path);

  Instant now() const;
  Milliseconds lock_wait() const;  // StoreOptions::lock_wait
  const std::filesystem::path& path() const;
  const std::string& id() const;

  // For rotation.cpp; nothing outside store/ can use it.
  Engine& engine() const { return *engine_; }

 private:
  explicit Store(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}
  std::shared_ptr<Engine> engine_;
};

}  // namespace authdb
