#include "tools/render/freshness.h"

#include <array>

#include "oauth/login_hint.h"
#include "store/clock_slack.h"
#include "store/scrub.h"
#include "store/timestamp.h"
#include "tools/render/duration.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::chrono::days kSoon{7};    // what an end is warned of,
constexpr std::chrono::days kSooner{3};  // then once more,
constexpr std::chrono::days kLast{1};    // and again

Json parsed_or_text(const std::string& text) {
  auto json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json(text) : json;
}

Tone tone_of(std::string_view state) {
  if (state == "fresh" || state == "no_expiry") return Tone::good;
  if (state == "expired") return Tone::bad;
  return Tone::caution;
}

// What cannot renew itself, or was rejected, is not well however fresh it is.
Tone tone_of(const NamedRow& row, std::string_view state, bool is_bearer) {
  if (is_bearer && row.truth("rejected")) return Tone::bad;
  const Tone tone = tone_of(state);
  const bool stays = row.text("auth_type") != "oauth" || row.truth("refreshable");
  return tone == Tone::good && !stays ? Tone::caution : tone;
}

std::string users_of(const NamedRow& row) {
  const auto names = profiles_of(row);
  return names.empty() ? "nobody" : joined(names);
}

std::string left(std::optional<std::int64_t> seconds) {
  if (!seconds) return "-";
  const auto span = duration(Seconds{*seconds});
  return *seconds < 0 ? span + " ago" : span;
}

std::string age(std::optional<std::int64_t> seconds) {
  return seconds ? duration(Seconds{*seconds}) + " ago" : "unknown";
}

// It works as long as its bearer lives.
bool cannot_renew(const NamedRow& row) {
  return row.text("auth_type") == "oauth" && !row.truth("refreshable") &&
         !row.truth("needs_login") && row.text("hold").empty();
}

// What keeps the credential from being used as it is, in one or two words each.
TableCell needs(const NamedRow& row) {
  std::vector<std::string> words;
  if (row.truth("needs_login")) words.emplace_back("login");
  if (const auto hold = row.text("hold"); !hold.empty()) words.push_back("hold=" + hold);
  if (row.truth("rejected")) words.emplace_back("another bearer");
  if (cannot_renew(row)) words.emplace_back("login when it ends");
  if (const auto cooldown = row.number("cooldown_s").value_or(0); cooldown > 0) {
    words.push_back("cooling " + duration(Seconds{cooldown}));
  }
  return {joined(words), row.truth("needs_login") ? Tone::bad : Tone::caution};
}

}  // namespace

const Cell* NamedRow::cell(std::string_view column) const {
  for (std::size_t i = 0; i < rows_->columns.size(); ++i) {
    if (rows_->columns[i] == column) return &rows_->rows[index_][i];
  }
  return nullptr;
}

std::string NamedRow::text(std::string_view column) const {
  const auto* found = cell(column);
  const auto* value = found != nullptr ? std::get_if<std::string>(found) : nullptr;
  return value != nullptr ? *value : std::string();
}

std::optional<std::int64_t> NamedRow::number(std::string_view column) const {
  const auto* found = cell(column);
  if (found == nullptr) return std::nullopt;
  if (const auto* whole = std::get_if<std::int64_t>(found)) return *whole;
  if (const auto* real = std::get_if<double>(found)) return static_cast<std::int64_t>(*real);
  return std::nullopt;
}

Json rows_json(const QueryRows& rows) {
  auto array = Json::array();
  for (const auto& row : rows.rows) {
    auto object = Json::object();
    for (std::size_t i = 0; i < rows.columns.size(); ++i) object[rows.columns[i]] = to_json(row[i]);
    array.push_back(std::move(object));
  }
  return array;
}

Json freshness_json(const QueryRows& rows) {
  auto array = rows_json(rows);
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const NamedRow row(rows, i);
    array[i]["profiles"] = parsed_or_text(row.text("profiles"));
    for (const auto* truth : {"refreshable", "needs_login", "rejected"})
      array[i][truth] = row.truth(truth);
  }
  return array;
}

std::string obtained_ahead(const NamedRow& row, Instant now) {
  if (row.text("auth_type") != "oauth") return {};
  const bool keyed = row.text("bearer_kind") == "agent_key";
  if (row.text(keyed ? "agent_key_state" : "state") == "expired") return {};
  std::string at = row.text(keyed ? "agent_key_obtained_at" : "obtained_at");
  const auto time = parse_iso(at, NaiveTime::reject);
  return time && is_ahead(time->at, now) ? at : std::string();
}

namespace {

std::optional<Milliseconds> session_left(const NamedRow& row, Instant now) {
  const auto* const until = cannot_renew(row) ? "expires_at" : "session_ends_at";
  const auto ends = parse_iso(row.text(until), NaiveTime::reject);
  return ends ? std::optional(ends->at - now) : std::nullopt;
}

// It changes when another warning is due: whoever says only what is new says it then.
std::string_view how_soon(const NamedRow& row, Instant now) {
  const auto left = session_left(row, now);
  if (!left || *left < Milliseconds{0}) return "";
  if (*left < kLast) return ", within a day";
  return *left < kSooner ? ", within 3 days" : ", within 7 days";
}

}  // namespace

bool session_ends_soon(const NamedRow& row, Instant now) {
  if (cannot_renew(row) && !obtained_ahead(row, now).empty()) return true;
  const auto left = session_left(row, now);
  if (!left || *left >= kSoon) return false;
  const auto login_age = row.number("login_age_s");
  return *left < kLast || !login_age || *left < Seconds{*login_age};
}

std::string name_of(const NamedRow& row) {
  return printable(row.text("provider") + " credential " + row.text("uid") + " (" +
                   shortened(row.text("label"), kShownLabel) + ")");
}

std::vector<std::string> profiles_of(const NamedRow& row) {
  std::vector<std::string> names;
  const auto json = parsed_or_text(row.text("profiles"));
  for (const auto& name : json.is_array() ? json : Json::array()) {
    if (name.is_string()) names.push_back(name);
  }
  return names;
}

std::string way_to_log_in(const NamedRow& row, const oauth::ProviderRegistry& registry) {
  return oauth::way_to_log_in(registry, row.text("provider"), row.text("label"), profiles_of(row));
}

std::string login_warning(const NamedRow& row, Instant now, const Registry& registry) {
  if (!row.truth("needs_login") && !session_ends_soon(row, now)) return {};
  const std::string login = " " + way_to_log_in(row, registry());
  if (row.truth("needs_login")) return name_of(row) + " needs a login:" + login + ".";
  if (cannot_renew(row)) {
    const auto ahead = obtained_ahead(row, now);
    const std::string none = name_of(row) + " has no refresh token, and its bearer ";
    if (ahead.empty()) {
      return none + "ends at " + row.text("expires_at") + std::string(how_soon(row, now)) +
             ": log in again before," + login + ".";
    }
    return none + "was obtained by a clock that was ahead (" + ahead +
           "), so nobody knows when it ends: log in again," + login + ".";
  }
  return "The session of " + name_of(row) + " ends at " + row.text("session_ends_at") +
         std::string(how_soon(row, now)) +
         ", whatever is refreshed until then: log in again before," + login + ".";
}

Table freshness_table(const QueryRows& rows) {
  Table table({"PROVIDER", "LABEL", "UID", "BEARER", "STATE", "EXPIRES IN", "OBTAINED", "GEN",
               "PROFILES", "NEEDS"});
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const NamedRow row(rows, i);
    const bool keyed = row.text("bearer_kind") == "agent_key";
    const auto state = row.text("state");
    table.add({{row.text("provider")},
               {row.text("label")},
               {row.text("uid")},
               {keyed ? "access_token" : row.text("bearer_kind")},
               {state, tone_of(row, state, !keyed)},
               {left(row.number("expires_in_s"))},
               {age(row.number("age_s"))},
               {std::to_string(row.number("generation").value_or(0))},
               {users_of(row)},
               needs(row)});
    if (!keyed) continue;
    // What such a credential hands out is minted from its access token, and lives its own life.
    const auto key_state = row.text("agent_key_state");
    table.add({{},
               {},
               {},
               {"agent_key"},
               {key_state.empty() ? "not minted" : key_state, tone_of(row, key_state, true)},
               {left(row.number("agent_key_expires_in_s"))},
               {key_state.empty() ? "-" : age(row.number("agent_key_age_s"))},
               {},
               {},
               {}});
  }
  return table;
}

}  // namespace authdb::cli
