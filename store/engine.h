// What the public functions of the store share: the backend, the keys, and who we are. Private to
// store/.
//
// Thread safety: everything here may be called from any thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "store/backend.h"
#include "store/journal.h"
#include "store/result.h"
#include "store/seal.h"
#include "store/sqlite/opening.h"
#include "store/store.h"

namespace authdb {

// What the seals of these cells are bound to. Stored: never rename.
inline constexpr std::string_view kExtraColumn = "credential.extra";
inline constexpr std::string_view kStateColumn = "provider_state.extra";
inline constexpr std::string_view kReceiptColumn = "import_receipt.unknown";

std::string kernel_boot_id();

struct Engine {
  StoreOptions options;
  sqlite::StoreFiles files;
  OpenMode mode = OpenMode::look;
  std::unique_ptr<Backend> backend;

  // Runs `body`, which may throw BackendError, and turns that into a Result: the one place where it
  // is caught.
  template <typename F>
  static auto guarded(F&& body) -> Result<decltype(body())>;
  // The same for a body that returns a Result itself.
  template <typename F>
  static auto guarded_result(F&& body) -> decltype(body()) {
    auto outcome = guarded(std::forward<F>(body));
    if (!outcome) return fail(std::move(outcome.error()));
    return std::move(*outcome);
  }

  Instant now() const { return options.clock(); }
  void log(LogLevel level, std::string_view text) const;

  // The keys, loaded and checked against this store at the first call. Throws BackendError, as what
  // follows; inside guarded(). What it returns lives as long as the engine.
  const Sealer& keys();
  // Loads the keys again if the store seals with another one than we do: a key rotation went by.
  // Called with every lock of a credential and in every write transaction, so that no process seals
  // with a key that `key prune` may drop (docs/design.md, Sealing).
  void follow_keys(View& view);
  Sealed seal(const Secret& plain, std::string_view owner, std::string_view column,
              std::int64_t generation);
  Secret open(const Sealed& cell, std::string_view owner, std::string_view column,
              std::int64_t generation);
  Held unseal(StoredCredential stored);

  // A grant as its row will hold it. An empty access or refresh token in `grant` leaves `before`'s.
  SealedTokens seal_grant(const Uid& uid, const Identity& identity, const Grant& grant,
                          Origin origin, std::int64_t family, std::int64_t generation,
                          const Held* before);
  SealedAgentKey seal_agent_key(const Uid& uid, const AgentKey& key, std::int64_t generation);

  TokenPolicy policy(const Identity& identity) const;
  // When a token is due: `skew` before it expires, but one that this store obtained itself never
  // before half its life, so that a short-lived one is not refreshed on each call.
  std::optional<Instant> due_at(const Identity& identity, std::optional<Instant> obtained_at,
                                std::optional<Instant> expires_at, Origin origin) const;

  std::string boot_id() const {
    return options.boot_id.empty() ? kernel_boot_id() : options.boot_id;
  }
  Attempt new_attempt(AttemptKind kind, const std::string& profile) const;
  Holder self() const;
  JournalPlace place(const Uid& uid) const { return {files.directory, files.store_id, uid}; }
  // usage if the store was opened to look.
  void require_writable() const;
  std::unique_ptr<Txn> begin_write() {
    require_writable();
    auto txn = backend->begin_write(options.lock_wait);
    follow_keys(*txn);
    return txn;
  }
  // not_found if it is not there or removed.
  StoredCredential load_sealed(View& view, const Uid& uid);

  ~Engine();

 private:
  // Keys that were loaded after others keep those alive: another thread may be using them.
  struct KeyRing {
    Sealer sealer;
    std::unique_ptr<const KeyRing> older;
  };
  const Sealer& load_keys(View& view);

  // No mutex: one that another thread holds during fork() would never be free in the child.
  std::atomic<const KeyRing*> keys_{nullptr};
};

template <typename F>
auto Engine::guarded(F&& body) -> Result<decltype(body())> {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return {};
    } else {
      return body();
    }
  } catch (BackendError& error) {
    return fail(std::move(error.error));
  } catch (const std::exception& error) {
    return fail(Errc::unexpected, error.what());
  }
}

// For use inside guarded(): the value, or the error thrown.
template <typename T>
T value_or_throw(Result<T> result) {
  if (!result) throw BackendError{std::move(result.error())};
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// Says a credential the way people know it: `"label" (provider, uid)`.
std::string name_of(const Credential& row);

// Who this process is, for the ledger and for those who wait.
std::string host_name();
std::string process_name();

}  // namespace authdb
