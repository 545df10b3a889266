#include "migrate/premises.h"

#include <algorithm>
#include <unordered_set>

#include "migrate/choice.h"
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

std::vector<bool> projected_among(const std::vector<Document>& documents, const Known& known) {
  std::unordered_set<std::string> paths;
  for (const Projection& projection : known.projections) paths.insert(projection.path);
  std::vector<bool> projected(documents.size());
  std::error_code error;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    const std::string path = fs::weakly_canonical(documents[d].path, error).string();
    projected[d] = paths.count(path) != 0;
  }
  return projected;
}

std::vector<bool> read_before_among(const std::vector<Document>& documents, const Known& known) {
  const auto key = [](const std::string& path, const std::string& sha, const std::string& who) {
    return path + '\0' + sha + '\0' + who;
  };
  std::unordered_set<std::string> receipts;
  for (const auto& r : known.receipts) receipts.insert(key(r.path, r.sha256, r.profile));
  std::vector<bool> read(documents.size());
  for (std::size_t d = 0; d < documents.size(); ++d) {
    const Document& document = documents[d];
    read[d] = receipts.count(key(document.path, document.sha256, document.profile)) != 0;
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

std::optional<Instant> latest_obtained(const Known& known, const MigrateOptions& options) {
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

std::unordered_set<std::string> prints_among(const std::vector<Copy>& copies) {
  std::unordered_set<std::string> prints;
  for (const Copy& copy : copies) {
    if (copy.reference) prints.insert(key_of({copy.row->identity.provider, copy.fingerprint}));
  }
  return prints;
}

}  // namespace

Premises::Premises(const std::vector<Document>& read, const Known& stored,
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
      prints_of_variables_(prints_of(read, copies)),
      prints_(prints_among(copies)) {}

bool Premises::allows(const Identity& identity) const {
  const auto variable = variable_of(identity.source);
  return variable && identity.auth_type == AuthType::api_key &&
         std::find(allow_env.begin(), allow_env.end(), *variable) != allow_env.end();
}

std::string Premises::print_of_variable(const std::string& profile,
                                        const Identity& identity) const {
  const auto it = prints_of_variables_.find(variable_key(profile, identity));
  return it == prints_of_variables_.end() ? std::string() : it->second;
}

bool Premises::shows_print(const std::string& provider, const std::string& print) const {
  return !print.empty() && prints_.count(key_of({provider, print})) != 0;
}

bool Premises::any_preferred(const std::vector<std::size_t>& family) const {
  return std::any_of(family.begin(), family.end(), [&](auto i) { return is_preferred(i); });
}

bool Premises::all_references(const std::vector<std::size_t>& family) const {
  return std::all_of(family.begin(), family.end(), [&](auto i) { return copies[i].reference; });
}

std::optional<RetiredToken> Premises::retired(const TokenHash& hash) const {
  if (!known.retired) return std::nullopt;
  return checked(known.retired(hash));
}

ProviderState Premises::state(const std::string& profile, const std::string& provider) const {
  if (!known.state) return {};
  return checked(known.state(profile, provider));
}

Secret Premises::extra(const Uid& uid) const {
  if (!known.extra) return {};
  return checked(known.extra(uid));
}

}  // namespace authdb::migrate
