#include "migrate/match.h"

#include <algorithm>
#include <map>

namespace authdb::migrate {
namespace {

using Family = std::vector<std::size_t>;

std::vector<Family> by_credential(const Premises& premises, const Family& family) {
  std::vector<Family> parts(1);
  std::map<const Credential*, std::size_t> place;
  for (const auto i : family) {
    const auto& refresh = premises.copies[i].refresh;
    const Credential* row = refresh ? premises.index.by_refresh(*refresh) : nullptr;
    std::size_t part = 0;
    if (row) {
      const auto [it, fresh] = place.emplace(row, place.size());
      part = it->second;
      if (part == parts.size()) parts.emplace_back();
    }
    parts[part].push_back(i);
  }
  return parts;
}

const Credential* by_token(const KnownIndex& index, const std::vector<Pair>& pairs) {
  for (const Pair& pair : pairs) {
    const Credential* row = pair.refresh ? index.by_refresh(*pair.refresh) : nullptr;
    if (row) return row;
  }
  for (const Pair& pair : pairs) {
    const Credential* row = pair.retired ? index.by_uid(pair.retired->uid) : nullptr;
    if (row) return row;
  }
  return nullptr;
}

// True if the variable holds another key by now and these files say so: none of them shows the old
// key any more, and in each profile that has the credential they show the new one alone.
bool has_new_key(const Premises& premises, const Credential& row, const Copy& copy) {
  if (premises.shows_print(row.identity.provider, premises.known.referred.at(row.uid)))
    return false;
  const auto profiles = premises.known.profiles_of.find(row.uid);
  return profiles != premises.known.profiles_of.end() &&
         std::all_of(profiles->second.begin(), profiles->second.end(), [&](const auto& profile) {
           return premises.print_of_variable(profile, copy.row->identity) == copy.fingerprint;
         });
}

const Credential* by_variable(const Premises& premises, const Family& family) {
  const Copy& copy = premises.copies[family.front()];
  if (!premises.all_references(family) || copy.fingerprint.empty()) return nullptr;
  const Credential* found = nullptr;
  for (const Credential* row : premises.index.in_variable(copy)) {
    if (!has_new_key(premises, *row, copy)) continue;
    if (found != nullptr) return nullptr;  // whose new key it is, nobody can tell
    found = row;
  }
  return found;
}

}  // namespace

std::vector<Family> families_to_settle(const Premises& premises) {
  std::vector<Family> parts;
  for (const auto& family : families_of(premises.documents, premises.copies)) {
    for (auto& part : by_credential(premises, family)) parts.push_back(std::move(part));
  }
  return parts;
}

const Credential* find_credential(const Premises& premises, const Family& family,
                                  const std::vector<Pair>& pairs) {
  const KnownIndex& index = premises.index;
  if (const auto* row = by_token(index, pairs)) return row;
  const auto first = [&](auto look) {
    const Credential* found = nullptr;
    for (const auto i : family) {
      if ((found = look(premises.copies[i]))) break;
    }
    return found;
  };
  if (const auto* row = first([&](const Copy& c) { return index.by_secret(c); })) return row;
  if (const auto* row = first([&](const Copy& c) { return index.by_foreign_id(c); })) return row;
  if (const auto* row = first([&](const Copy& c) {
        return index.by_slot(c, premises.documents[c.document].profile);
      })) {
    return row;
  }
  return by_variable(premises, family);
}

}  // namespace authdb::migrate
