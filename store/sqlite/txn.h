// The write transaction of the SQLite backend.
#pragma once

#include <memory>
#include <string>

#include "store/file_lock.h"
#include "store/sqlite/connection.h"
#include "store/sqlite/view.h"

namespace authdb::sqlite {

class ConnectionPool;

// Gives a connection back to its pool, unless something made it unfit.
struct ConnectionReturn {
  ConnectionPool* pool = nullptr;
  int epoch = 0;
  bool poisoned = false;
  void operator()(Connection* connection) const;
};
using Lease = std::unique_ptr<Connection, ConnectionReturn>;

class SqliteTxn final : public Reads<Txn> {
 public:
  SqliteTxn(Lease connection, FileLock gate, bool careless);
  ~SqliteTxn() override;
  SqliteTxn(const SqliteTxn&) = delete;
  SqliteTxn& operator=(const SqliteTxn&) = delete;

  std::int64_t insert(const Uid& uid, const Identity& identity, const Sealed& extra,
                      Instant at) override;
  void set_identity(std::int64_t credential, const Identity& identity) override;
  void set_extra(std::int64_t credential, const Sealed& extra) override;
  void set_removed(std::int64_t credential, std::optional<Instant> at) override;
  void wipe_removed(Instant before) override;
  void insert_tokens(std::int64_t credential, const SealedTokens& tokens) override;
  bool advance(std::int64_t credential, const std::optional<TokenHash>& expected_hash,
               std::int64_t expected_generation, const SealedTokens& tokens) override;
  void set_hold(std::int64_t credential, Hold hold) override;
  void clear_refresh_hash(std::int64_t credential) override;
  void retire(std::int64_t credential, const TokenHash& hash, std::int64_t family,
              std::int64_t generation, Instant at, Retirement reason) override;
  void take_back(std::int64_t credential, const std::optional<TokenHash>& hash) override;
  void pardon(const TokenHash& hash) override;
  void put_agent_key(std::int64_t credential, const SealedAgentKey& key) override;
  void drop_agent_key(std::int64_t credential) override;
  void set_health(std::int64_t credential, const Health& health) override;
  void count_use(std::int64_t credential, Instant at) override;
  void put_renewal(std::int64_t credential, const Renewal& renewal) override;
  void record(std::int64_t credential, const Attempt& attempt) override;
  void add_profile(const std::string& name, Instant at) override;
  void remove_profile(const std::string& name) override;
  void bind(const std::string& profile, std::int64_t credential,
            std::optional<std::int64_t> position) override;
  void unbind(const std::string& profile, std::int64_t credential) override;
  void set_state(const ProviderState& state, const Sealed& extra) override;
  void add_receipt(const ImportReceipt& receipt, const Sealed& unknown, Instant at) override;
  void set_meta(std::string_view key, const Sealed& value) override;
  void set_cell(const SealedCell& cell) override;
  Merged merge_backup(Instant at) override;
  void put_projection(const Projection& projection) override;
  void drop_projection(const std::string& path) override;
  void commit() override;

  // Brings the schema to minor version `minor`, whose step is `sql`. Does nothing if it is there.
  void bring_schema_to(int minor, const char* sql);

 private:
  void prune_ledger(std::int64_t credential, Instant now);

  FileLock gate_;
  Lease owned_;
  bool careless_;
  bool committed_ = false;
};

}  // namespace authdb::sqlite
