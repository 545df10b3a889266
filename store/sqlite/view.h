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
  bool is_current(const TokenHash& hash) override;
  std::vector<SealedState> provider_states(std::string_view profile) override;
  std::vector<ImportReceipt> receipts() override;
  std::optional<SealedReceipt> last_receipt(std::string_view profile,
                                            std::string_view format) override;
  LostAttempts lost_attempts(std::int64_t credential, const TokenHash& hash) override;
  std::vector<Projection> projections() override;
  std::vector<std::string> projections_behind() override;
  Sealed meta(std::string_view key) override;
  QueryRows query(const std::string& sql) override;

 protected:
  // A store of an older schema that is only looked at lacks the tables of later steps.
  bool has_table(const char* name);

  Connection& connection_;
};

extern template class Reads<View>;
extern template class Reads<Txn>;

}  // namespace authdb::sqlite
