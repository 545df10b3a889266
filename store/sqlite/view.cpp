#include "store/sqlite/view.h"

#include <sqlite3.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "store/clock_slack.h"
#include "store/sqlite/backend.h"
#include "store/sqlite/query.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/sealed_column.h"

namespace authdb::sqlite {
namespace {

// Every column a Credential is made of, in the order read_credential() takes them.
#define AUTHDB_CREDENTIAL_COLUMNS                                                             \
  "c.id, c.uid, c.provider, c.label, c.auth_type, c.source, c.foreign_id, c.account, "        \
  "c.client_id, c.scope, c.token_type, c.base_url, c.portal_base_url, c.inference_base_url, " \
  "c.ca_file, c.created_at, c.removed_at, t.family, t.generation, "                           \
  " t.bearer_kind, t.access_fingerprint, "                                                    \
  "t.refresh_hash, t.origin, t.obtained_at, t.obtained_derived, t.expires_at, t.refresh_at, " \
  "t.session_ends_at, t.hold, k.credential IS NOT NULL, k.fingerprint, k.obtained_at, "       \
  "k.expires_at, coalesce(h.status, 'ok'), h.status_at, h.error_code, h.error_reason, "       \
  "h.error_message, h.cooldown_until, coalesce(h.request_count, 0), h.last_used_at, "         \
  "coalesce(r.revision, 0), coalesce(r.losses, 0), coalesce(r.lost_at, 0), r.lost_pid, "      \
  "r.lost_process, coalesce(r.last_lost_at, 0), r.failures, r.failing_since, r.rest_since, "  \
  "r.rest_until, r.refusals, r.refused_since, coalesce(r.refused, 0), "                       \
  "coalesce(r.waiting, 0), r.rejected, coalesce(r.rejections, 0) "
#define AUTHDB_CREDENTIAL_FROM                                                              \
  "FROM credential c JOIN token_set t ON t.credential = c.id "                              \
  "LEFT JOIN agent_key k ON k.credential = c.id LEFT JOIN health h ON h.credential = c.id " \
  "LEFT JOIN renewal r ON r.credential = c.id "

Identity read_identity(RowReader& row) {
  Identity identity;
  identity.provider = row.text();
  identity.label = row.text();
  identity.auth_type = row.enumerated(AuthType::oauth);
  identity.source = row.text();
  identity.foreign_id = row.text();
  identity.account = row.text();
  identity.client_id = row.text();
  identity.scope = row.text();
  identity.token_type = row.text();
  identity.base_url = row.text();
  identity.portal_base_url = row.text();
  identity.inference_base_url = row.text();
  identity.ca_file = row.text();
  return identity;
}

Health read_health(RowReader& row) {
  Health health;
  health.status = row.enumerated(Status::ok);
  health.status_at = row.at();
  if (const auto code = row.maybe()) health.error_code = static_cast<int>(*code);
  health.error_reason = row.text();
  health.error_message = row.text();
  health.cooldown_until = row.at();
  health.request_count = row.integer();
  health.last_used_at = row.at();
  return health;
}

Renewal read_renewal(RowReader& row) {
  Renewal renewal;
  renewal.revision = row.integer();
  renewal.losses.count = static_cast<int>(row.integer());
  renewal.losses.first_at = row.at().value_or(Instant{});
  renewal.losses.pid = row.integer();
  renewal.losses.process = row.text();
  renewal.losses.last_at = row.at().value_or(Instant{});
  renewal.failures = static_cast<int>(row.integer());
  renewal.failing_since = row.at();
  renewal.rest_since = row.at();
  renewal.rest_until = row.at();
  renewal.refusals = static_cast<int>(row.integer());
  renewal.refused_since = row.at();
  renewal.refused = row.flag();
  renewal.waiting = row.flag();
  renewal.rejected = row.text();
  renewal.rejections = static_cast<int>(row.integer());
  return renewal;
}

void read_tokens(RowReader& row, Credential& credential) {
  credential.family = row.integer();
  credential.generation = row.integer();
  credential.bearer_kind = row.enumerated(BearerKind::access_token);
  credential.access_fingerprint = row.text();
  credential.refresh_hash = row.hash();
  credential.origin = row.enumerated(Origin::import);
  credential.obtained_at = row.at();
  credential.obtained_derived = row.flag();
  credential.expires_at = row.at();
  credential.refresh_at = row.at();
  credential.session_ends_at = row.at();
  credential.hold = row.enumerated(Hold::none);
}

Credential read_credential(RowReader& row) {
  Credential credential;
  credential.id = row.integer();
  credential.uid = row.text();
  credential.identity = read_identity(row);
  credential.created_at = row.at().value_or(Instant{});
  credential.removed_at = row.at();
  read_tokens(row, credential);
  credential.has_agent_key = row.flag();
  credential.agent_key_fingerprint = row.text();
  credential.agent_key_obtained_at = row.at();
  credential.agent_key_expires_at = row.at();
  credential.health = read_health(row);
  credential.renewal = read_renewal(row);
  return credential;
}

// Runs a query and maps each row. The one place where SQLite's exceptions become ours on the read
// side.
template <typename T, typename Bind, typename Map>
std::vector<T> rows(Connection& connection, const char* sql, Bind bind, Map map) {
  try {
    Borrowed statement = connection.statement(sql);
    Binder binder(*statement);
    bind(binder);
    std::vector<T> out;
    while (statement->executeStep()) {
      RowReader row(*statement);
      out.push_back(map(row));
    }
    return out;
  } catch (const SQLite::Exception& error) {
    connection.fail(error, "cannot read");
  }
}

template <typename T, typename Bind, typename Map>
std::optional<T> first_row(Connection& connection, const char* sql, Bind bind, Map map) {
  auto all = rows<T>(connection, sql, bind, map);
  if (all.empty()) return std::nullopt;
  return std::move(all.front());
}

constexpr auto kNothing = [](Binder&) {};
constexpr auto kText = [](RowReader& row) { return row.text(); };

std::vector<std::string> read_words(const std::string& array) {
  std::vector<std::string> words;
  for (const auto& value : nlohmann::json::parse(array, nullptr, false)) {
    if (value.is_string()) words.push_back(value.get<std::string>());
  }
  return words;
}

}  // namespace

template <typename Base>
std::vector<Credential> Reads<Base>::list(const Filter& filter) {
#define AUTHDB_LIST                                                                              \
  "SELECT " AUTHDB_CREDENTIAL_COLUMNS AUTHDB_CREDENTIAL_FROM                                     \
  "WHERE (?1 OR c.removed_at IS NULL) AND (?2 = '' OR c.provider = ?2) AND (?3 = '' OR EXISTS (" \
  "  SELECT 1 FROM profile_credential pc JOIN profile p ON p.id = pc.profile "                   \
  "  WHERE pc.credential = c.id AND p.name = ?3)) "
  constexpr const char* kAll = AUTHDB_LIST "ORDER BY c.id";
  // A union, because an OR would keep SQLite from the indexes.
  constexpr const char* kDue = AUTHDB_LIST
      "AND t.credential IN (SELECT credential FROM token_set WHERE refresh_at <= ?4 UNION ALL "
      "SELECT credential FROM token_set WHERE obtained_at > ?5 + "
      "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)) ORDER BY t.refresh_at";
#undef AUTHDB_LIST
  constexpr std::int64_t kSlackMillis = Milliseconds(kClockSlack).count();
  return rows<Credential>(
      connection_, filter.due_by ? kDue : kAll,
      [&](Binder& b) {
        b.integer(filter.include_removed ? 1 : 0).text(filter.provider).text(filter.profile);
        if (filter.due_by) b.integer(to_millis(*filter.due_by)).integer(kSlackMillis);
      },
      read_credential);
}

template <typename Base>
std::optional<StoredCredential> Reads<Base>::load(const Uid& uid) {
  constexpr const char* kSql =
      "SELECT " AUTHDB_CREDENTIAL_COLUMNS
      ", t.access_token, t.refresh_token, k.secret, "
      "coalesce(k.from_generation, 0) " AUTHDB_CREDENTIAL_FROM "WHERE c.uid = ?1";
  return first_row<StoredCredential>(
      connection_, kSql, [&](Binder& b) { b.text(uid); },
      [](RowReader& row) {
        StoredCredential stored;
        stored.row = read_credential(row);
        stored.cells.access_token = row.blob();
        stored.cells.refresh_token = row.blob();
        stored.cells.agent_key = row.blob();
        stored.cells.agent_key_generation = row.integer();
        return stored;
      });
}

template <typename Base>
std::vector<PoolEntry> Reads<Base>::pool(std::string_view profile, std::string_view provider) {
  constexpr const char* kSql =
      "SELECT " AUTHDB_CREDENTIAL_COLUMNS
      ", EXISTS (SELECT 1 FROM provider_state s, json_each(s.suppressed) j "
      "  WHERE s.profile = p.id AND s.provider = c.provider AND j.value = c.source) "
      "FROM profile p "
      "JOIN profile_credential pc ON pc.profile = p.id JOIN credential c ON c.id = pc.credential "
      "JOIN token_set t ON t.credential = c.id "
      "LEFT JOIN agent_key k ON k.credential = c.id LEFT JOIN health h ON h.credential = c.id "
      "LEFT JOIN renewal r ON r.credential = c.id "
      "WHERE p.name = ?1 AND c.provider = ?2 AND c.removed_at IS NULL "
      "ORDER BY pc.position, c.id";
  std::int64_t position = 0;
  return rows<PoolEntry>(
      connection_, kSql, [&](Binder& b) { b.text(profile).text(provider); },
      [&](RowReader& row) {
        PoolEntry entry;
        entry.credential = read_credential(row);
        entry.suppressed = row.flag();
        entry.position = ++position;
        return entry;
      });
}

template <typename Base>
Sealed Reads<Base>::extra(std::int64_t credential) {
  return first_row<Sealed>(
             connection_, "SELECT extra FROM credential WHERE id = ?1",
             [&](Binder& b) { b.integer(credential); }, [](RowReader& row) { return row.blob(); })
      .value_or(Sealed());
}

template <typename Base>
std::vector<std::string> Reads<Base>::profiles() {
  return rows<std::string>(connection_, "SELECT name FROM profile ORDER BY id", kNothing, kText);
}

template <typename Base>
std::vector<std::string> Reads<Base>::profiles_of(std::int64_t credential) {
  return rows<std::string>(
      connection_,
      "SELECT p.name FROM profile_credential pc JOIN profile p ON p.id = "
      "pc.profile WHERE pc.credential = ?1 ORDER BY p.id",
      [&](Binder& b) { b.integer(credential); }, kText);
}

template <typename Base>
std::vector<std::string> Reads<Base>::providers() {
  return rows<std::string>(
      connection_,  // unary plus: by the index for counting (schema_3.sql)
      "SELECT DISTINCT provider FROM credential WHERE +removed_at IS NULL ORDER BY provider",
      kNothing, kText);
}

template <typename Base>
ProviderState Reads<Base>::provider_state(std::string_view profile, std::string_view provider) {
  auto found = first_row<ProviderState>(
      connection_,
      "SELECT s.active, s.strategy, s.suppressed FROM provider_state s JOIN profile p ON p.id = "
      "s.profile WHERE p.name = ?1 AND s.provider = ?2",
      [&](Binder& b) { b.text(profile).text(provider); },
      [](RowReader& row) {
        ProviderState state;
        state.active = row.flag();
        state.strategy = row.enumerated(Strategy::fill_first);
        state.suppressed_sources = read_words(row.text());
        return state;
      });
  ProviderState state = found ? std::move(*found) : ProviderState();
  state.profile = profile;
  state.provider = provider;
  return state;
}

template <typename Base>
std::vector<SealedState> Reads<Base>::provider_states(std::string_view profile) {
  return rows<SealedState>(
      connection_,
      "SELECT s.provider, s.active, s.strategy, s.suppressed, s.extra FROM provider_state s "
      "JOIN profile p ON p.id = s.profile WHERE p.name = ?1 ORDER BY s.provider",
      [&](Binder& b) { b.text(profile); },
      [&](RowReader& row) {
        SealedState found;
        found.state.profile = profile;
        found.state.provider = row.text();
        found.state.active = row.flag();
        found.state.strategy = row.enumerated(Strategy::fill_first);
        found.state.suppressed_sources = read_words(row.text());
        found.extra = row.blob();
        return found;
      });
}

template <typename Base>
std::optional<RetiredToken> Reads<Base>::retired(const TokenHash& hash) {
  return first_row<RetiredToken>(
      connection_,
      "SELECT c.uid, r.family, r.generation, r.retired_at, r.reason FROM retired_token r "
      "JOIN credential c ON c.id = r.credential WHERE r.refresh_hash = ?1",
      [&](Binder& b) { b.hash(hash); },
      [](RowReader& row) {
        RetiredToken token;
        token.uid = row.text();
        token.family = row.integer();
        token.generation = row.integer();
        token.retired_at = row.at().value_or(Instant{});
        token.reason = row.enumerated(Retirement::presumed);
        return token;
      });
}

template <typename Base>
std::optional<std::int64_t> Reads<Base>::owner_of(const TokenHash& hash) {
  return first_row<std::int64_t>(
      connection_, "SELECT credential FROM token_set WHERE refresh_hash = ?1",
      [&](Binder& b) { b.hash(hash); }, [](RowReader& row) { return row.integer(); });
}

template <typename Base>
std::vector<ImportReceipt> Reads<Base>::receipts() {
  return rows<ImportReceipt>(
      connection_,
      "SELECT path, sha256, format, profile, rows, imported FROM import_receipt ORDER BY id",
      kNothing, [](RowReader& row) {
        ImportReceipt receipt;
        receipt.path = row.text();
        receipt.sha256 = row.text();
        receipt.format = row.text();
        receipt.profile = row.text();
        receipt.rows = row.integer();
        receipt.imported = row.integer();
        return receipt;
      });
}

template <typename Base>
std::optional<SealedReceipt> Reads<Base>::last_receipt(std::string_view profile,
                                                       std::string_view format) {
  return first_row<SealedReceipt>(
      connection_,
      "SELECT sha256, unknown FROM import_receipt WHERE profile = ?1 AND format = ?2 "
      "ORDER BY id DESC LIMIT 1",
      [&](Binder& b) { b.text(profile).text(format); },
      [](RowReader& row) {
        SealedReceipt receipt;
        receipt.sha256 = row.text();
        receipt.unknown = row.blob();
        return receipt;
      });
}

template <typename Base>
std::optional<Uid> Reads<Base>::owner_of_bearer(const std::string& fingerprint) {
  constexpr const char* kSql =
      "SELECT c.uid FROM credential c WHERE c.removed_at IS NULL AND c.id IN ("
      "  SELECT credential FROM token_set WHERE access_fingerprint = ?1 UNION "
      "  SELECT credential FROM attempt WHERE bearer = ?1 UNION "
      "  SELECT credential FROM projected_token WHERE fingerprint = ?1)";
  return first_row<Uid>(
      connection_, kSql, [&](Binder& b) { b.text(fingerprint); }, kText);
}

template <typename Base>
std::vector<Projection> Reads<Base>::projections() {
  auto all = rows<Projection>(
      connection_, "SELECT path, format, profile, written_at FROM projection ORDER BY path",
      kNothing, [](RowReader& row) {
        Projection one;
        one.path = row.text();
        one.format = row.text();
        one.profile = row.text();
        one.written_at = row.at().value_or(Instant{});
        return one;
      });
  for (Projection& one : all) {
    one.tokens = rows<ProjectedToken>(
        connection_,
        "SELECT c.uid, p.place, p.fingerprint FROM projected_token p JOIN credential c "
        "ON c.id = p.credential WHERE p.path = ?1 ORDER BY p.place, p.fingerprint",
        [&](Binder& b) { b.text(one.path); },
        [](RowReader& row) {
          ProjectedToken token;
          token.credential = row.text();
          token.place = row.text();
          token.fingerprint = row.text();
          return token;
        });
  }
  return all;
}

template <typename Base>
std::vector<std::string> Reads<Base>::projections_behind() {
  return rows<std::string>(
      connection_,
      "SELECT DISTINCT p.path FROM projected_token p JOIN token_set t ON t.credential = "
      "p.credential JOIN credential c ON c.id = p.credential WHERE c.removed_at IS NULL AND "
      "t.access_fingerprint IS NOT NULL AND t.access_fingerprint <> p.fingerprint ORDER BY p.path",
      kNothing, kText);
}

template <typename Base>
Sealed Reads<Base>::meta(std::string_view key) {
  return first_row<Sealed>(
             connection_, "SELECT value FROM meta WHERE key = ?1", [&](Binder& b) { b.text(key); },
             [](RowReader& row) { return row.blob(); })
      .value_or(Sealed());
}

template <typename Base>
std::vector<SealedCell> Reads<Base>::cells_of_other_keys(SealedColumn column, const KeyId& key,
                                                         std::int64_t after, int limit) {
  const SealedColumnSql& sql = sql_of(column);
  return rows<SealedCell>(
      connection_, sql.select,
      [&](Binder& b) { b.blob(Sealed(key.begin(), key.end())).integer(after).integer(limit); },
      [&](RowReader& row) {
        SealedCell cell;
        cell.column = column;
        cell.row = row.integer();
        cell.owner = row.text();
        cell.generation = row.integer();
        cell.cell = row.blob();
        cell.place = std::string(sql.table) + "." + std::string(sql.column);
        return cell;
      });
}

template <typename Base>
std::map<KeyId, std::int64_t> Reads<Base>::cells_by_key() {
  std::map<KeyId, std::int64_t> counts;
  for (const SealedColumn column : kSealedColumns) {
    rows<int>(connection_, sql_of(column).count, kNothing, [&](RowReader& row) {
      const Sealed bytes = row.blob();
      KeyId id{};
      std::copy_n(bytes.begin(), std::min(bytes.size(), id.size()), id.begin());
      counts[id] += row.integer();
      return 0;
    });
  }
  if (const auto id = key_of(meta("key_check"))) ++counts[*id];
  return counts;
}

template <typename Base>
QueryRows Reads<Base>::query(const std::string& sql) {
  try {
    return run_query(connection_.database(), sql);
  } catch (const SQLite::Exception& error) {
    connection_.fail(error, "cannot read");
  }
}

template class Reads<View>;
template class Reads<Txn>;

}  // namespace authdb::sqlite
