// What the store holds already, as the plan needs it: read in bulk once, so that planning a hundred
// thousand rows does not ask a hundred thousand questions.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "migrate/plan/families.h"
#include "store/store.h"

namespace authdb::migrate {

// With the uid of a login after it, the format of the receipt for a file that was given this login
// by a hand-over; its path has links resolved.
inline constexpr std::string_view kHandedOver = "handed-over ";
// Which file each login was given to, the last time that it was.
std::unordered_map<Uid, std::string> places_of_hand_overs(
    const std::vector<ImportReceipt>& receipts);

struct StoreSnapshot {
  std::optional<Instant> now;           // the store's clock
  std::vector<Credential> credentials;  // removed ones too
  std::unordered_map<Uid, std::set<std::string>> profiles_of;
  std::set<std::string> profiles;
  std::vector<ImportReceipt> receipts;
  std::vector<Projection> projections;
  // Fingerprint of the secret that a credential without tokens refers to.
  std::unordered_map<Uid, std::string> referred;
  // Asked one by one; absent where there is no store.
  std::function<Result<std::optional<RetiredToken>>(const TokenHash&)> retired;
  std::function<Result<ProviderState>(const std::string& profile, const std::string& provider)>
      state;
  std::function<Result<Secret>(const Uid&)> extra;
  // By the fingerprint of an access token that the store has, or had.
  std::function<Result<std::optional<Uid>>(const std::string&)> owner_of_bearer;
};

// `store` may be null: then nothing is known.
Result<StoreSnapshot> read_snapshot(const Store* store);

// Finds the credential that copies belong to. Refers to the StoreSnapshot it was made from.
class SnapshotIndex {
 public:
  explicit SnapshotIndex(const StoreSnapshot& known);

  const Credential* by_uid(const Uid& uid) const;
  const Credential* by_refresh(const TokenHash& hash) const;
  // By equal access token, of now or of earlier, or equal secret elsewhere.
  const Credential* by_secret(const Copy& copy) const;
  // By the id it had where it was imported from, if another fact is equal too; nullptr if several
  // have it, or it names another account, issuer or client.
  const Credential* by_foreign_id(const Copy& copy) const;
  // The API key that had its id, and its source, where it was imported from; nullptr if none, or
  // several.
  const Credential* key_by_foreign_id(const Copy& copy) const;
  // Those that are kept in the variable that `copy` names, whatever their fingerprints are.
  const std::vector<const Credential*>& in_variable(const Copy& copy) const;
  // For rows without an id: the one credential without an id that `profile` has from that source,
  // unless it names another account, issuer or client.
  const Credential* by_slot(const Copy& copy, const std::string& profile) const;

 private:
  using Map = std::unordered_map<std::string, std::vector<const Credential*>>;
  const Credential* by_earlier_bearer(const Copy& copy) const;
  static const Credential* only(const Map& map, const std::string& key);
  // Access tokens that projections still show.
  void add_projected(const StoreSnapshot& known);

  std::unordered_map<Uid, const Credential*> uids_;
  Map refresh_;
  Map secret_;
  Map foreign_;
  Map foreign_key_;
  Map slot_;
  Map variable_;
  Map removed_variable_;
  const StoreSnapshot& known_;
};

}  // namespace authdb::migrate
