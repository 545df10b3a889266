// What a plan is drawn from: the copies in the documents, and what the store knows. Does not change
// while planning. Refers to the documents and the StoreSnapshot it was made from.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "migrate/migrate.h"
#include "migrate/plan/families.h"
#include "migrate/plan/store_snapshot.h"

namespace authdb::migrate {

// Errors of the store are rare and end the plan: an exception inside the planning, a Result
// outside.
struct StoreFailed {
  Error error;
};

struct PlanInput {
  PlanInput(const std::vector<Document>& read, const StoreSnapshot& stored,
            const MigrateOptions& options);

  // Of a copy, by its index.
  const Document& document_of(std::size_t copy) const { return documents[copies[copy].document]; }
  const std::filesystem::path& path_of(std::size_t copy) const { return document_of(copy).path; }
  bool is_preferred(std::size_t copy) const { return preferred[copies[copy].document]; }
  bool was_read_before(std::size_t copy) const { return read_before[copies[copy].document]; }

  // True if this store took the refresh tokens out of that copy's file.
  bool is_projected(std::size_t copy) const { return projected[copies[copy].document]; }

  // True if the copy is in the file that the login `uid` was handed over to last. Where the store
  // does not know that any more (restored, or an older one put back) no file is.
  bool is_handed(std::size_t copy, const Uid& uid) const;
  // That file; empty if it is not known.
  std::string place_of_hand_over(const Uid& uid) const;

  bool any_preferred(const std::vector<std::size_t>& family) const;
  bool all_references(const std::vector<std::size_t>& family) const;

  // True if the user allows that the credential's key is whatever its variable holds.
  bool allows(const Identity& identity) const;
  // The fingerprint that a profile's documents show of what is in the variable of `identity`;
  // empty if they show none, or several.
  std::string print_of_variable(const std::string& profile, const Identity& identity) const;
  // True if the documents show no other API key in rows of that provider, source and id.
  bool is_only_key_of_row(const Copy& copy) const;
  // True if some reference in the documents has that fingerprint.
  bool shows_print(const std::string& provider, const std::string& print) const;

  // What only the store can tell. Throw StoreFailed; empty where there is no store.
  std::optional<RetiredToken> retired(const TokenHash& hash) const;
  ProviderState state(const std::string& profile, const std::string& provider) const;
  Secret extra(const Uid& uid) const;

  const std::vector<Document>& documents;
  const StoreSnapshot& known;
  const SnapshotIndex index;
  const std::vector<Copy> copies;
  std::vector<bool> preferred;  // by document: --prefer names it
  std::vector<bool> projected;  // by document: this store supplies it
  // By document: these bytes were read there, and have not been written by a hand-over since.
  std::vector<bool> read_before;
  std::unordered_set<std::string> told_spent;  // fingerprints, by what the documents say
  std::optional<Instant> latest;               // no grant was obtained after this
  std::vector<std::string> allow_env;          // variables that --allow-env names
  bool leave_handed_over = false;              // nothing is taken back
  const ProviderRules providers;

 private:
  std::unordered_map<Uid, std::string> handed_to_;  // paths, links resolved
  std::unordered_map<std::string, std::string> prints_of_variables_;
  std::unordered_set<std::string> prints_;
  std::unordered_map<std::string, std::set<TokenHash>> keys_of_rows_;
};

}  // namespace authdb::migrate
