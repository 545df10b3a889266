#include "migrate/plan/families.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <set>
#include <unordered_map>

#include "migrate/formats/hermes.h"

namespace authdb::migrate {
namespace {

// Union-find; a root is always the smallest index of its set.
class Sets {
 public:
  explicit Sets(std::size_t count) : parent_(count) {
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
  }
  std::size_t root(std::size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(std::size_t a, std::size_t b) {
    a = root(a);
    b = root(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<std::size_t> parent_;
};

using Members = std::vector<std::size_t>;
// Keeps the order of first appearance out of the result: families are ordered by their root.
using Buckets = std::unordered_map<std::string, Members>;

std::string_view bytes(const TokenHash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

// An issuer is a host, whatever the scheme, the path or the case.
std::string issuer_of(const Identity& id) {
  std::string_view url = id.portal_base_url;
  if (const auto scheme = url.find("://"); scheme != url.npos) url.remove_prefix(scheme + 3);
  std::string host(url.substr(0, url.find('/')));
  std::transform(host.begin(), host.end(), host.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return host;
}

bool differ(const std::string& a, const std::string& b) {
  return !a.empty() && !b.empty() && a != b;
}

bool same_principal(const Copy& a, const Copy& b) {
  return a.principal.empty() || b.principal.empty() || a.principal == b.principal;
}

class Linker {
 public:
  Linker(const std::vector<Document>& documents, const std::vector<Copy>& copies)
      : documents_(documents), copies_(copies), sets_(copies.size()), linked_(copies.size()) {}

  std::vector<Members> families() {
    by_token();
    by_slot();
    by_id();
    std::unordered_map<std::size_t, std::size_t> place;
    std::vector<Members> families;
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      const auto [it, fresh] = place.emplace(sets_.root(i), families.size());
      if (fresh) families.emplace_back();
      families[it->second].push_back(i);
    }
    return families;
  }

 private:
  const Identity& identity(std::size_t i) const { return copies_[i].row->identity; }

  void by_token() {
    std::unordered_map<std::string, std::size_t> first;
    const auto link = [&](std::string token, std::size_t i) {
      const auto [it, fresh] = first.emplace(std::move(token), i);
      if (fresh) return;
      linked_[i] = linked_[it->second] = true;
      sets_.join(i, it->second);
    };
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      const Copy& copy = copies_[i];
      const std::string& provider = identity(i).provider;
      if (copy.refresh) link(key_of({provider, "refresh", bytes(*copy.refresh)}), i);
      if (copy.access) link(key_of({provider, "access", bytes(*copy.access)}), i);
      if (!copy.fingerprint.empty()) link(key_of({provider, "fingerprint", copy.fingerprint}), i);
    }
  }

  // The Hermes home a document lies in; `shared/` belongs to the home around it.
  std::string home(std::size_t document) const {
    auto directory = documents_[document].path.parent_path();
    if (directory.filename() == "shared") directory = directory.parent_path();
    return directory.string();
  }

  void by_slot() {
    std::set<std::string> singletons;
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      if (copies_[i].row->singleton) singletons.insert(slot(i));
    }
    Buckets slots;
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      if (copies_[i].reference) continue;
      if (std::string name = slot(i); singletons.count(name) != 0) {
        slots[std::move(name)].push_back(i);
      }
    }
    for (const auto& [name, members] : slots) link_slot(members);
  }
  std::string slot(std::size_t i) const {
    return key_of({home(copies_[i].document), identity(i).provider, identity(i).source});
  }
  void link_slot(const Members& members) {
    std::set<std::size_t> pool_rows;
    for (const auto i : members) {
      if (!copies_[i].row->singleton) pool_rows.insert(sets_.root(i));
    }
    if (pool_rows.size() > 1) return;  // which of them the block belongs to, nobody can tell
    std::optional<std::size_t> anchor;
    for (const auto i : members) {
      // A side file that mirrors some other file's pair says nothing about this one's.
      const bool mirror = documents_[copies_[i].document].format == "hermes-shared-nous";
      if (mirror && linked_[i]) continue;
      if (!anchor) anchor = i;
      if (same_principal(copies_[*anchor], copies_[i])) sets_.join(*anchor, i);
    }
  }

  void by_id() {
    Buckets ids;
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      const Identity& id = identity(i);
      if (id.auth_type != AuthType::oauth || id.foreign_id.empty()) continue;
      ids[key_of({id.provider, id.foreign_id})].push_back(i);
    }
    for (const auto& [name, members] : ids) link_ids(members);
  }
  // An id that one file gives to different grants says nothing; together with label and source it
  // may still do.
  void link_ids(const Members& members) {
    for (const Members& same : undisputed(members)) {
      Buckets finer;
      const bool ambiguous = is_ambiguous(same);
      for (const auto i : same) {
        const Identity& id = identity(i);
        if (ambiguous) {
          if (!id.label.empty()) finer[key_of({id.label, id.source})].push_back(i);
          continue;
        }
        for (auto& fact : facts_of(id)) finer[std::move(fact)].push_back(i);
        if (!copies_[i].principal.empty()) finer[key_of({"", copies_[i].principal})].push_back(i);
      }
      for (const auto& [fact, rows] : finer) {
        if (ambiguous && is_ambiguous(rows)) continue;
        for (const auto i : rows) sets_.join(rows.front(), i);
      }
    }
  }
  // In parts that name no two principals, issuers or clients.
  std::vector<Members> undisputed(const Members& members) const {
    std::vector<Members> parts{members};
    parts = split(parts, [&](auto i) { return copies_[i].principal; });
    parts = split(parts, [&](auto i) { return issuer_of(identity(i)); });
    return split(parts, [&](auto i) { return identity(i).client_id; });
  }
  // Those whose name is not known go with the first that is.
  template <typename NameOf>
  static std::vector<Members> split(const std::vector<Members>& parts, NameOf name_of) {
    std::vector<Members> finer;
    for (const Members& part : parts) {
      const auto named =
          std::find_if(part.begin(), part.end(), [&](auto i) { return !name_of(i).empty(); });
      const std::string first = named == part.end() ? "" : name_of(*named);
      Buckets buckets;
      for (const auto i : part) {
        const std::string name = name_of(i);
        buckets[name.empty() ? first : name].push_back(i);
      }
      for (auto& [name, rows] : buckets) finer.push_back(std::move(rows));
    }
    return finer;
  }
  bool is_ambiguous(const Members& members) {
    std::unordered_map<std::size_t, std::size_t> root_in;  // document -> root
    for (const auto i : members) {
      const auto [it, fresh] = root_in.emplace(copies_[i].document, sets_.root(i));
      if (!fresh && it->second != sets_.root(i)) return true;
    }
    return false;
  }

  const std::vector<Document>& documents_;
  const std::vector<Copy>& copies_;
  Sets sets_;
  std::vector<bool> linked_;  // an equal token is elsewhere
};

}  // namespace

std::string key_of(std::initializer_list<std::string_view> parts) {
  std::string joined;
  for (const auto part : parts) joined.append(part).push_back('\0');
  return joined;
}

std::vector<std::string> facts_of(const Identity& id) {
  std::vector<std::string> facts;
  const auto add = [&](const char* name, const std::string& fact) {
    if (!fact.empty()) facts.push_back(key_of({name, fact}));
  };
  add("label", id.label);
  if (id.source != "manual") add("source", id.source);  // what a row is that says nothing of it
  add("account", id.account);
  add("issuer", issuer_of(id));
  add("client", id.client_id);
  return facts;
}

bool other_issuer(const Identity& a, const Identity& b) {
  return differ(issuer_of(a), issuer_of(b)) || differ(a.client_id, b.client_id);
}

std::vector<Copy> copies_of(const std::vector<Document>& documents, bool include_env) {
  std::vector<Copy> copies;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    for (const Row& row : documents[d].rows) {
      Copy copy;
      copy.document = d;
      copy.row = &row;
      copy.fingerprint = hermes::secret_fingerprint(row);
      const bool env = hermes::is_env(row.identity.source) && !include_env;
      const Grant& grant = row.grant;
      copy.reference =
          env || (grant.access_token.empty() && grant.refresh_token.empty() && !row.agent_key);
      if (!copy.reference) {
        if (!grant.refresh_token.empty()) copy.refresh = token_hash(grant.refresh_token);
        if (!grant.access_token.empty()) copy.access = token_hash(grant.access_token);
      }
      if (row.claims && !(row.claims->account + row.claims->subject).empty()) {
        copy.principal = row.claims->account + " " + row.claims->subject;
      }
      copies.push_back(std::move(copy));
    }
  }
  return copies;
}

std::vector<std::vector<std::size_t>> families_of(const std::vector<Document>& documents,
                                                  const std::vector<Copy>& copies) {
  return Linker(documents, copies).families();
}

}  // namespace authdb::migrate
