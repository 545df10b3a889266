// The reads of the SQLite backend, shared by plain views and write transactions.
#pragma once

#include <string>
#include <vector>

#include "store/backend.h"
#include "store/sqlite/connection.h"

namespace authdb::sqlite {

// `Base` is View or Txn.
template <typename Base>
class Reads : public Base {
 public:
  explicit Reads(Connection& connection) : connection_(connection) {}
  std::vector<Credential> list(const Filter& filter) override;
  std::optional<StoredCredential> load(const Uid& uid) override;
  std::vector<PoolEntry> pool(std::string_view profile, std::string_view provider) override;
  Sealed extra(std::int64_t credential) override;
  std::vector<std::string> profiles() override;
  std::vector<std::string> profiles_of(std::int64_t credential) override;
  std::vector<std::string> providers() override;
  ProviderState provider_state(std::string_view profile, std::string_view provider) override;
  std::optional<RetiredToken> retired(const TokenHash& hash) override;
  std::optional<std::int64_t> owner_of(const TokenHash& hash) override;
  std::vector<SealedState> provider_states(std::string_view profile) override;
  std::vector<ImportReceipt> receipts() override;
  std::optional<SealedReceipt> last_receipt(std::string_view profile,
                                            std::string_view format) override;
  std::optional<Uid> owner_of_bearer(const std::string& fingerprint) override;
  std::vector<Projection> projections() override;
  std::vector<std::string> projections_behind() override;
  Sealed meta(std::string_view key) override;
  std::vector<SealedCell> cells_of_other_keys(SealedColumn column, const KeyId& key,
                                              std::int64_t after, int limit) override;
  std::map<KeyId, std::int64_t> cells_by_key() override;
  QueryRows query(const std::string& sql) override;

 protected:
  Connection& connection_;
};

extern template class Reads<View>;
extern template class Reads<Txn>;

}  // namespace authdb::sqlite
