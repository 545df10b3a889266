#include "migrate/plan/match.h"

#include <algorithm>
#include <map>

namespace authdb::migrate {
namespace {

using Family = std::vector<std::size_t>;

std::vector<Family> by_credential(const PlanInput& input, const Family& family) {
  std::vector<Family> parts(1);
  std::map<const Credential*, std::size_t> place;
  for (const auto i : family) {
    const auto& refresh = input.copies[i].refresh;
    const Credential* row = refresh ? input.index.by_refresh(*refresh) : nullptr;
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

const Credential* by_token(const SnapshotIndex& index, const std::vector<Pair>& pairs) {
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
bool has_new_key(const PlanInput& input, const Credential& row, const Copy& copy) {
  if (input.shows_print(row.identity.provider, input.known.referred.at(row.uid))) return false;
  const auto profiles = input.known.profiles_of.find(row.uid);
  return profiles != input.known.profiles_of.end() &&
         std::all_of(profiles->second.begin(), profiles->second.end(), [&](const auto& profile) {
           return input.print_of_variable(profile, copy.row->identity) == copy.fingerprint;
         });
}

const Credential* by_variable(const PlanInput& input, const Family& family) {
  const Copy& copy = input.copies[family.front()];
  if (!input.all_references(family) || copy.fingerprint.empty()) return nullptr;
  const Credential* found = nullptr;
  for (const Credential* row : input.index.in_variable(copy)) {
    if (!has_new_key(input, *row, copy)) continue;
    if (found != nullptr) return nullptr;  // whose new key it is, nobody can tell
    found = row;
  }
  return found;
}

// The API key whose row has another one by now, if these files say so: in each profile that has the
// credential they show the new one in its row, and nobody shows the old one.
const Credential* by_replaced_key(const PlanInput& input, const Family& family) {
  const Copy& copy = input.copies[family.front()];
  const Identity& id = copy.row->identity;
  if (copy.reference || !copy.access || id.auth_type != AuthType::api_key) return nullptr;
  if (id.foreign_id.empty() || !input.is_only_key_of_row(copy)) return nullptr;
  const Credential* row = input.index.key_by_foreign_id(copy);
  const auto profiles =
      row == nullptr ? input.known.profiles_of.end() : input.known.profiles_of.find(row->uid);
  if (profiles == input.known.profiles_of.end() || row->origin != Origin::import) return nullptr;
  const auto shows_it = [&](const std::string& profile) {
    return std::any_of(family.begin(), family.end(), [&](auto i) {
      return input.documents[input.copies[i].document].profile == profile;
    });
  };
  const bool everywhere = std::all_of(profiles->second.begin(), profiles->second.end(), shows_it);
  return everywhere ? row : nullptr;
}

}  // namespace

std::vector<Family> families_to_decide(const PlanInput& input) {
  std::vector<Family> parts;
  for (const auto& family : families_of(input.documents, input.copies)) {
    for (auto& part : by_credential(input, family)) parts.push_back(std::move(part));
  }
  return parts;
}

const Credential* find_credential(const PlanInput& input, const Family& family,
                                  const std::vector<Pair>& pairs) {
  const SnapshotIndex& index = input.index;
  if (const auto* row = by_token(index, pairs)) return row;
  const auto first = [&](auto look) {
    const Credential* found = nullptr;
    for (const auto i : family) {
      if ((found = look(input.copies[i]))) break;
    }
    return found;
  };
  if (const auto* row = first([&](const Copy& c) { return index.by_secret(c); })) return row;
  if (const auto* row = first([&](const Copy& c) { return index.by_foreign_id(c); })) return row;
  if (const auto* row = first(
          [&](const Copy& c) { return index.by_slot(c, input.documents[c.document].profile); })) {
    return row;
  }
  if (const auto* row = by_replaced_key(input, family)) return row;
  return by_variable(input, family);
}

}  // namespace authdb::migrate
