#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <set>

#include "migrate/formats/fields.h"
#include "migrate/formats/hermes.h"
#include "store/timestamp.h"
#include "store/words.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

// Hermes keeps the login of these in a block of its own, and drops their rows without it.
bool has_block(const std::string& provider) {
  constexpr std::array<std::string_view, 5> kBlocks{"nous", "openai-codex", "xai-oauth",
                                                    "minimax-oauth", "spotify"};
  return std::find(kBlocks.begin(), kBlocks.end(), provider) != kBlocks.end();
}

bool is_block(const Imprint& place) { return !place.where.starts_with("credential_pool."); }

const Imprint* place_among(const Shown& shown, bool block) {
  const auto it = std::find_if(shown.places.begin(), shown.places.end(),
                               [&](const Imprint& place) { return is_block(place) == block; });
  return it == shown.places.end() ? nullptr : &*it;
}

// `credential_pool.nous[3]`: 3.
std::optional<std::size_t> index_in(const std::string& where) {
  const auto open = where.rfind('[');
  if (open == std::string::npos || where.back() != ']') return std::nullopt;
  std::size_t index = 0;
  const char* last = where.data() + where.size() - 1;
  const auto [end, error] = std::from_chars(where.data() + open + 1, last, index);
  return error == std::errc() && end == last ? std::optional(index) : std::nullopt;
}

void set_text(json& object, const char* key, const std::string& text) {
  if (!text.empty()) object[key] = text;
}

json epoch_seconds(const std::optional<Instant>& at) {
  return at ? json(static_cast<double>(to_millis(*at)) / 1000) : json();
}

bool same_trouble(const Health& a, const Health& b) {
  return a.status == b.status && a.status_at == b.status_at && a.error_code == b.error_code &&
         a.error_reason == b.error_reason && a.error_message == b.error_message &&
         (!a.cooldown_until || a.cooldown_until == b.cooldown_until);
}

// The six fields that every row of Hermes has, and what goes with them.
void write_health(json& row, const Health& health) {
  const Health before = hermes::health_in(row);
  if (before.request_count != health.request_count) row["request_count"] = health.request_count;
  if (!row.empty() && same_trouble(before, health)) return;
  const auto or_null = [](const std::string& text) { return text.empty() ? json() : json(text); };
  const bool untold = health.status == Status::ok && !health.status_at;
  row["last_status"] = untold ? json() : json(word(health.status));
  row["last_status_at"] = epoch_seconds(health.status_at);
  row["last_error_code"] = health.error_code ? json(*health.error_code) : json();
  row["last_error_reason"] = or_null(health.error_reason);
  row["last_error_message"] = or_null(health.error_message);
  row["last_error_reset_at"] = epoch_seconds(health.cooldown_until);
  if (health.status == Status::ok) row.erase("failure_reason");
}

// A place that Hermes has not seen before.
json new_row(const Shown& shown, const char* source) {
  const Identity& id = shown.identity();
  json row{{"id", id.foreign_id.empty() ? fingerprint(token_hash(shown.held.row.uid)).substr(7, 6)
                                        : id.foreign_id},
           {"label", id.label},
           {"auth_type", word(id.auth_type)},
           {"priority", 0},
           {"source", source}};
  for (const char* key : {"last_status", "last_status_at", "last_error_code", "last_error_reason",
                          "last_error_message", "last_error_reset_at"}) {
    row[key] = nullptr;
  }
  row["request_count"] = 0;
  set_text(row, "base_url", id.base_url);
  if (id.provider == "nous") {
    set_text(row, "inference_base_url", id.inference_base_url);
    set_text(row, "portal_base_url", id.portal_base_url);
    set_text(row, "client_id", id.client_id);
    set_text(row, "scope", id.scope);
    set_text(row, "token_type", id.token_type);
  }
  if (shown.extra.contains("tls")) row["tls"] = shown.extra["tls"];
  if (has_text(shown.extra, "secret_fingerprint")) {
    row["secret_fingerprint"] = shown.extra["secret_fingerprint"];
  }
  return row;
}

json new_block(const Shown& shown) {
  const Identity& id = shown.identity();
  json block = json::object();
  set_text(block, "portal_base_url", id.portal_base_url);
  set_text(block, "inference_base_url", id.inference_base_url);
  set_text(block, "client_id", id.client_id);
  set_text(block, "scope", id.scope);
  if (id.provider == "openai-codex") {
    block["auth_mode"] = "chatgpt";
  } else if (id.provider == "xai-oauth") {
    block["auth_mode"] = "oauth_device_code";
  } else {
    set_text(block, "token_type", id.token_type);
  }
  for (const char* key : {"tls", "region", "discovery", "redirect_uri", "accounts_base_url",
                          "api_base_url", "resource_url"}) {
    if (shown.extra.contains(key)) block[key] = shown.extra[key];
  }
  if (id.provider == "nous" && !block.contains("tls")) {
    block["tls"] = {{"insecure", false}, {"ca_bundle", nullptr}};
  }
  set_text(block, "label", id.label);
  return block;
}

// The rows of one pool, and the provider's block if it is to have one.
class PoolWriter {
 public:
  PoolWriter(const Contents& contents, const std::string& provider, const std::vector<Shown>& pool)
      : contents_(contents), provider_(provider), pool_(pool), owner_(owner_of_block()) {}

  std::optional<json> block() const {
    if (!owner_) return std::nullopt;
    const Imprint* place = place_among(*owner_, true);
    const Spelling spelling = hermes::block_spelling(provider_);
    json block = place ? place->as : new_block(*owner_);
    write(block, spelling, *owner_, place != nullptr);
    return block;
  }

  // By their places in the file where they had one, else by the order of the pool.
  json rows() const {
    std::vector<std::pair<std::size_t, json>> placed;
    for (const Shown& shown : pool_) {
      if (auto one = row(shown)) placed.push_back(std::move(*one));
    }
    const bool in_order = priorities_agree(placed);
    json rows = json::array();
    if (in_order) {
      std::stable_sort(placed.begin(), placed.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    for (auto& [index, one] : placed) {
      if (!in_order) one["priority"] = rows.size();
      rows.push_back(std::move(one));
    }
    return rows;
  }

 private:
  static constexpr std::size_t kNowhere = std::numeric_limits<std::size_t>::max();

  // The credential that had the block, else the first login whose row would be dropped without.
  const Shown* owner_of_block() const {
    for (const Shown& shown : pool_) {
      if (place_among(shown, true)) return &shown;
    }
    if (!has_block(provider_)) return nullptr;
    const auto login = std::find_if(pool_.begin(), pool_.end(), [](const Shown& shown) {
      return shown.identity().auth_type == AuthType::oauth &&
             !shown.held.row.access_fingerprint.empty() && shown.places.empty();
    });
    return login == pool_.end() ? nullptr : &*login;
  }

  std::optional<std::pair<std::size_t, json>> row(const Shown& shown) const {
    const Imprint* place = place_among(shown, false);
    if (!place && !shown.places.empty() && owner_ == &shown) return std::nullopt;  // block alone
    json row = place ? place->as : new_row(shown, new_source(shown));
    if (hermes::is_managed_elsewhere(shown.identity().source)) {
      row.erase("access_token");
      row["secret_fingerprint"] = shown.held.row.access_fingerprint;
    } else {
      write(row, hermes::row_spelling(provider_), shown, place != nullptr);
    }
    if (!is_photon(place)) write_health(row, shown.held.row.health);
    return std::pair(place ? index_in(place->where).value_or(kNowhere) : kNowhere, std::move(row));
  }

  // Rows of that plug-in have neither an id nor a health.
  static bool is_photon(const Imprint* place) {
    return place && !place->as.contains("id") && place->as.contains("issued_at");
  }

  const char* new_source(const Shown& shown) const {
    const std::string& source = shown.identity().source;
    if (source.starts_with("manual:") || hermes::is_env(source)) return source.c_str();
    if (shown.identity().auth_type == AuthType::api_key) return "manual";
    const char* seeded = hermes::seeded_source(provider_);
    if (owner_ == &shown && seeded) return seeded;
    return provider_ == "anthropic" ? "manual:hermes_pkce" : "manual:device_code";
  }

  void write(json& object, const Spelling& spelling, const Shown& shown, bool known) const {
    write_grant(object, spelling, shown.held,
                {.with_refresh = contents_.with_refresh, .anew = !known});
  }

  // True if the rows' own priorities put them in the order of the pool.
  static bool priorities_agree(std::vector<std::pair<std::size_t, json>>& placed) {
    constexpr auto kUnknown = std::numeric_limits<std::int64_t>::max();  // as migrate sorts it
    std::pair<std::int64_t, std::size_t> last{std::numeric_limits<std::int64_t>::min(), 0};
    for (auto& [index, row] : placed) {
      if (index == kNowhere) return placed.size() == 1;
      json copy{{"priority", row.value("priority", json())}};
      const std::pair key{Fields(copy).integer("priority").value_or(kUnknown), index};
      if (key < last) return false;
      last = key;
    }
    return true;
  }

  const Contents& contents_;
  const std::string& provider_;
  const std::vector<Shown>& pool_;
  const Shown* owner_;
};

void write_states(const Contents& contents, json& root) {
  for (const ProviderState& state : contents.states) {
    if (state.active) root["active_provider"] = state.provider;
    if (!state.suppressed_sources.empty()) {
      root["suppressed_sources"][state.provider] = state.suppressed_sources;
    }
    json& blocks = root["providers"];
    if (!state.extra.empty() && !blocks.contains(state.provider)) {
      blocks[state.provider] = json::parse(state.extra.reveal(), nullptr, false);
    }
  }
}

void put(json& list, const std::string& where, json value) {
  const auto index = index_in(where);
  if (!list.is_array() || !index) return;
  const auto at = std::min(*index, list.size());
  list.insert(list.begin() + static_cast<std::ptrdiff_t>(at), std::move(value));
}

// What could not be imported goes back to where it stood, unless something is there by now.
void put_back(json& root, const std::string& where, json value) {
  const auto dot = where.find('.');
  const std::string first = where.substr(0, dot);
  if (dot == std::string::npos) {
    if (!root.contains(first)) root[first] = std::move(value);
    return;
  }
  std::string member = where.substr(dot + 1);
  const bool listed = first == "credential_pool" || first == "suppressed_sources";
  if (!root.contains(first)) root[first] = json::object();
  json& parent = root[first];
  if (!parent.is_object()) return;
  if (listed && index_in(member) && !parent.contains(member)) {
    member.erase(member.rfind('['));
    if (!parent.contains(member)) parent[member] = json::array();
    return put(parent[member], where, std::move(value));
  }
  if (!parent.contains(member)) parent[member] = std::move(value);
}

// In the order of their places: a row's index counts those before it.
void put_all_back(json& root, json not_imported) {
  std::vector<std::string> places;
  for (const auto& [where, unused] : not_imported.items()) places.push_back(where);
  std::stable_sort(places.begin(), places.end(), [](const auto& a, const auto& b) {
    return index_in(a).value_or(0) < index_in(b).value_or(0);
  });
  for (const auto& where : places) put_back(root, where, std::move(not_imported[where]));
}

}  // namespace

Result<json> hermes::tree(const Contents& contents, const ExportRequest&) {
  json root = contents.unknown;
  json not_imported = json::object();
  if (const auto it = root.find(kNotImported); it != root.end()) {
    not_imported = std::move(*it);
    root.erase(it);
  }
  if (!root.contains("version")) root["version"] = 1;
  root["providers"] = json::object();
  root["credential_pool"] = json::object();
  for (const auto& [provider, pool] : contents.pools) {
    const PoolWriter writer(contents, provider, pool);
    if (auto block = writer.block()) root["providers"][provider] = std::move(*block);
    if (json rows = writer.rows(); !rows.empty()) {
      root["credential_pool"][provider] = std::move(rows);
    }
  }
  write_states(contents, root);
  put_all_back(root, std::move(not_imported));
  root["updated_at"] = format_iso(contents.now);
  return root;
}

}  // namespace authdb::migrate
