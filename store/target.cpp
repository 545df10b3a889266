#include "store/target.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string>

namespace authdb {
namespace {

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row[b.size()];
}

template <typename Matches>
std::vector<const PoolEntry*> all_that(const std::vector<PoolEntry>& pool, Matches matches) {
  std::vector<const PoolEntry*> found;
  for (const PoolEntry& entry : pool) {
    if (matches(entry.credential)) found.push_back(&entry);
  }
  return found;
}

const PoolEntry* by_place(const std::vector<PoolEntry>& pool, std::string_view target) {
  if (!target.empty() && target.front() == '#') target.remove_prefix(1);
  std::int64_t place = 0;
  const auto [end, error] = std::from_chars(target.data(), target.data() + target.size(), place);
  if (error != std::errc() || end != target.data() + target.size()) return nullptr;
  const auto it = std::find_if(pool.begin(), pool.end(),
                               [&](const PoolEntry& entry) { return entry.position == place; });
  return it == pool.end() ? nullptr : &*it;
}

bool has_fingerprint(const Credential& row, std::string_view target) {
  return row.access_fingerprint == target || row.agent_key_fingerprint == target ||
         (row.refresh_hash && fingerprint(*row.refresh_hash) == target);
}

// A server may hand one bearer to two credentials. The one that can replace it stands for both.
const PoolEntry* who_can_renew(const std::vector<const PoolEntry*>& found) {
  const auto it = std::find_if(found.begin(), found.end(), [](const PoolEntry* entry) {
    return entry->credential.refresh_hash.has_value();
  });
  return it == found.end() ? found.front() : *it;
}

Error ambiguous(std::string_view target, const std::vector<const PoolEntry*>& found) {
  std::string candidates;
  for (const PoolEntry* entry : found) {
    candidates += candidates.empty() ? "" : ", ";
    candidates += "#" + std::to_string(entry->position) + " " + entry->credential.uid + " \"" +
                  entry->credential.identity.label + "\"";
  }
  return {Errc::usage,
          "\"" + std::string(target) + "\" names more than one credential: " + candidates,
          "Use the uid or the place (#n)."};
}

Error no_match(std::string_view target, const std::vector<PoolEntry>& pool) {
  if (target.starts_with("sha256:")) {
    return {
        Errc::not_found, "no credential has the bearer " + std::string(target) + ", or had it",
        "It belongs to another provider or profile, or the ledger has forgotten it. `authdb list` "
        "shows those there are."};
  }
  std::vector<std::string> names;
  for (const PoolEntry& entry : pool) names.push_back(entry.credential.identity.label);
  for (const PoolEntry& entry : pool) names.push_back(entry.credential.uid);
  const auto close = nearest(target, names);
  Error error{Errc::not_found, "no credential matches \"" + std::string(target) + "\"",
              "`authdb list` shows those there are."};
  if (!close.empty()) error.hint = "Did you mean \"" + close.front() + "\"? " + error.hint;
  return error;
}

}  // namespace

bool is_fingerprint(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  return text.starts_with(kPrefix) && text.size() == kPrefix.size() + 16 &&
         text.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

Result<const PoolEntry*> pick_target(const std::vector<PoolEntry>& pool, std::string_view target) {
  const std::string wanted = lowered(target);
  // The surest names first; a label may look like a place, and wins then.
  const auto rounds = {
      all_that(pool, [&](const Credential& row) { return row.uid == target; }),
      all_that(pool, [&](const Credential& row) { return has_fingerprint(row, target); }),
      all_that(pool, [&](const Credential& row) { return row.identity.foreign_id == target; }),
      all_that(pool, [&](const Credential& row) { return lowered(row.identity.label) == wanted; })};
  for (const auto& found : rounds) {
    if (target.empty() || found.empty()) continue;
    if (found.size() > 1 && is_fingerprint(target)) return who_can_renew(found);
    if (found.size() > 1) return fail(ambiguous(target, found));
    return found.front();
  }
  if (const PoolEntry* entry = by_place(pool, target)) return entry;
  return fail(no_match(target, pool));
}

std::vector<std::string> nearest(std::string_view wanted, const std::vector<std::string>& names) {
  const std::string lower = lowered(wanted);
  std::vector<std::pair<std::size_t, std::string>> close;
  for (const std::string& name : names) {
    const std::string candidate = lowered(name);
    const bool begins = !lower.empty() && candidate.rfind(lower, 0) == 0;
    const std::size_t distance = begins ? 0 : edit_distance(lower, candidate);
    if (distance <= std::max<std::size_t>(2, lower.size() / 3)) close.emplace_back(distance, name);
  }
  std::stable_sort(close.begin(), close.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> result;
  for (auto& [distance, name] : close) {
    if (std::find(result.begin(), result.end(), name) == result.end()) result.push_back(name);
    if (result.size() == 3) break;
  }
  return result;
}

}  // namespace authdb
