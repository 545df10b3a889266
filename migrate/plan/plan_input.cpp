#include "migrate/plan/plan_input.h"

#include <algorithm>
#include <unordered_set>

#include "migrate/plan/choice.h"
#include "store/env_source.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;

template <typename T>
T checked(Result<T> result) {
  if (!result) throw StoreFailed{std::move(result.error())};
  return std::move(*result);
}

bool is_within(const fs::path& path, const fs::path& place) {
  std::error_code error;
  const fs::path wanted = fs::weakly_canonical(place, error);
  const fs::path source = fs::weakly_canonical(path, error);
  const auto [end, unused] =
      std::mismatch(wanted.begin(), wanted.end(), source.begin(), source.end());
  return end == wanted.end();
}

std::vector<bool> preferred_among(const std::vector<Document>& documents,
                                  const MigrateOptions& options) {
  std::vector<bool> preferred(documents.size());
  for (std::size_t d = 0; options.prefer && d < documents.size(); ++d) {
    preferred[d] = !documents[d].failure && is_within(documents[d].path, *options.prefer);
  }
  return preferred;
}

std::string resolved(const Document& document) {
  std::error_code error;
  return fs::weakly_canonical(document.path, error).string();
}

std::vector<bool> projected_among(const std::vector<Document>& documents,
                                  const StoreSnapshot& known) {
  std::unordered_set<std::string> paths;
  for (const Projection& projection : known.projections) paths.insert(projection.path);
  std::vector<bool> projected(documents.size());
  for (std::size_t d = 0; d < documents.size(); ++d) {
    projected[d] = paths.count(resolved(documents[d])) != 0;
  }
  return projected;
}

bool is_of_hand_over(const ImportReceipt& receipt) {
  return receipt.format.starts_with(kHandedOver);
}

std::vector<bool> read_before_among(const std::vector<Document>& documents,
                                    const StoreSnapshot& known) {
  // When each was last there, counted in receipts; 0: never.
  std::unordered_map<std::string, std::size_t> read_at;
  std::unordered_map<std::string, std::size_t> written_at;
  std::size_t n = 0;
  for (const auto& r : known.receipts) {
    ++n;
    if (is_of_hand_over(r)) {
      written_at[key_of({r.path, r.sha256})] = n;
    } else {
      read_at[key_of({r.path, r.sha256, r.profile})] = n;
    }
  }
  const auto last = [](const auto& receipts, const std::string& key) {
    const auto it = receipts.find(key);
    return it == receipts.end() ? 0 : it->second;
  };
  std::vector<bool> read(documents.size());
  for (std::size_t d = 0; d < documents.size(); ++d) {
    const Document& one = documents[d];
    read[d] = last(read_at, key_of({one.path.string(), one.sha256, one.profile})) >
              last(written_at, key_of({resolved(one), one.sha256}));
  }
  return read;
}

std::unordered_set<std::string> spent_among(const std::vector<Document>& documents) {
  std::unordered_set<std::string> spent;
  for (const Document& document : documents) {
    spent.insert(document.spent.begin(), document.spent.end());
  }
  return spent;
}

std::optional<Instant> latest_obtained(const StoreSnapshot& known, const MigrateOptions& options) {
  const auto& now = options.now ? options.now : known.now;
  return now ? std::optional<Instant>(*now + kClockSlack) : std::nullopt;
}

std::string variable_key(const std::string& profile, const Identity& identity) {
  return key_of({profile, identity.provider, identity.source});
}

// By profile, provider and variable; empty where the documents differ.
std::unordered_map<std::string, std::string> prints_of(const std::vector<Document>& documents,
                                                       const std::vector<Copy>& copies) {
  std::unordered_map<std::string, std::string> prints;
  for (const Copy& copy : copies) {
    const Identity& identity = copy.row->identity;
    if (!copy.reference || !variable_of(identity.source)) continue;
    const auto [it, fresh] =
        prints.emplace(variable_key(documents[copy.document].profile, identity), copy.fingerprint);
    if (!fresh && it->second != copy.fingerprint) it->second.clear();
  }
  return prints;
}

std::string row_key(const Identity& id) { return key_of({id.provider, id.source, id.foreign_id}); }

// The API keys that the rows of each id show.
std::unordered_map<std::string, std::set<TokenHash>> keys_among(const std::vector<Copy>& copies) {
  std::unordered_map<std::string, std::set<TokenHash>> keys;
  for (const Copy& copy : copies) {
    const Identity& id = copy.row->identity;
    if (id.auth_type != AuthType::api_key || id.foreign_id.empty() || !copy.access) continue;
    keys[row_key(id)].insert(*copy.access);
  }
  return keys;
}

std::unordered_set<std::string> prints_among(const std::vector<Copy>& copies) {
  std::unordered_set<std::string> prints;
  for (const Copy& copy : copies) {
    if (copy.reference) prints.insert(key_of({copy.row->identity.provider, copy.fingerprint}));
  }
  return prints;
}

}  // namespace

PlanInput::PlanInput(const std::vector<Document>& read, const StoreSnapshot& stored,
                     const MigrateOptions& options)
    : documents(read),
      known(stored),
      index(stored),
      copies(copies_of(read, options.include_env)),
      preferred(preferred_among(read, options)),
      projected(projected_among(read, stored)),
      read_before(read_before_among(read, stored)),
      told_spent(spent_among(read)),
      latest(latest_obtained(stored, options)),
      allow_env(options.allow_env),
      leave_handed_over(options.leave_handed_over),
      providers(options.providers),
      handed_to_(places_of_hand_overs(stored.receipts)),
      prints_of_variables_(prints_of(read, copies)),
      prints_(prints_among(copies)),
      keys_of_rows_(keys_among(copies)) {}

bool PlanInput::is_only_key_of_row(const Copy& copy) const {
  const auto it = keys_of_rows_.find(row_key(copy.row->identity));
  return it != keys_of_rows_.end() && it->second.size() == 1;
}

bool PlanInput::allows(const Identity& identity) const {
  const auto variable = variable_of(identity.source);
  return variable && identity.auth_type == AuthType::api_key &&
         std::find(allow_env.begin(), allow_env.end(), *variable) != allow_env.end();
}

std::string PlanInput::print_of_variable(const std::string& profile,
                                         const Identity& identity) const {
  const auto it = prints_of_variables_.find(variable_key(profile, identity));
  return it == prints_of_variables_.end() ? std::string() : it->second;
}

bool PlanInput::shows_print(const std::string& provider, const std::string& print) const {
  return !print.empty() && prints_.count(key_of({provider, print})) != 0;
}

bool PlanInput::is_handed(std::size_t copy, const Uid& uid) const {
  const auto place = handed_to_.find(uid);
  return place != handed_to_.end() && place->second == resolved(document_of(copy));
}

std::string PlanInput::place_of_hand_over(const Uid& uid) const {
  const auto place = handed_to_.find(uid);
  return place == handed_to_.end() ? std::string() : place->second;
}

bool PlanInput::any_preferred(const std::vector<std::size_t>& family) const {
  return std::any_of(family.begin(), family.end(), [&](auto i) { return is_preferred(i); });
}

bool PlanInput::all_references(const std::vector<std::size_t>& family) const {
  return std::all_of(family.begin(), family.end(), [&](auto i) { return copies[i].reference; });
}

std::optional<RetiredToken> PlanInput::retired(const TokenHash& hash) const {
  if (!known.retired) return std::nullopt;
  return checked(known.retired(hash));
}

ProviderState PlanInput::state(const std::string& profile, const std::string& provider) const {
  if (!known.state) return {};
  return checked(known.state(profile, provider));
}

Secret PlanInput::extra(const Uid& uid) const {
  if (!known.extra) return {};
  return checked(known.extra(uid));
}

}  // namespace authdb::migrate
