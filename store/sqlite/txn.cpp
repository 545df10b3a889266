#include "store/sqlite/txn.h"

#include <nlohmann/json.hpp>

#include "store/sqlite/ledger.h"
#include "store/sqlite/merge.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/sealed_column.h"

namespace authdb::sqlite {
namespace {

// Runs a statement that changes rows and says how many.
template <typename Bind>
int change(Connection& connection, const char* sql, Bind bind) {
  try {
    Borrowed statement = connection.statement(sql);
    Binder binder(*statement);
    bind(binder);
    return statement->exec();
  } catch (const SQLite::Exception& error) {
    connection.fail(error, "cannot write");
  }
}

template <typename Bind>
void change_one(Connection& connection, const char* sql, Bind bind) {
  if (change(connection, sql, bind) == 1) return;
  throw BackendError{{Errc::unexpected, "a row that was there a moment ago is gone", ""}};
}

void exec(Connection& connection, const char* sql, std::string_view doing) {
  try {
    connection.exec(sql);
  } catch (const SQLite::Exception& error) {
    connection.fail(error, doing);
  }
}

void bind_identity(Binder& b, const Identity& identity) {
  b.text(identity.provider)
      .text(identity.label)
      .enumerated(identity.auth_type)
      .text_or_null(identity.source)
      .text_or_null(identity.foreign_id)
      .text_or_null(identity.account)
      .text_or_null(identity.client_id)
      .text_or_null(identity.scope)
      .text_or_null(identity.token_type)
      .text_or_null(identity.base_url)
      .text_or_null(identity.portal_base_url)
      .text_or_null(identity.inference_base_url)
      .text_or_null(identity.ca_file);
}

void bind_tokens(Binder& b, const SealedTokens& tokens) {
  b.integer(tokens.family)
      .integer(tokens.generation)
      .blob(tokens.access_token)
      .blob(tokens.refresh_token)
      .text_or_null(tokens.access_fingerprint)
      .hash(tokens.refresh_hash)
      .enumerated(tokens.bearer_kind)
      .enumerated(tokens.origin)
      .at(tokens.obtained_at)
      .integer(tokens.obtained_derived ? 1 : 0)
      .at(tokens.expires_at)
      .at(tokens.refresh_at)
      .at(tokens.session_ends_at)
      .enumerated(tokens.hold);
}

}  // namespace

SqliteTxn::SqliteTxn(std::unique_ptr<Connection, ConnectionReturn> connection, FileLock gate,
                     bool careless)
    : Reads<Txn>(*connection),
      gate_(std::move(gate)),
      owned_(std::move(connection)),
      careless_(careless) {
  try {
    // A commit that is not synced is only ever a counter's.
    if (careless_) connection_.exec("PRAGMA synchronous = NORMAL");
    // IMMEDIATE takes the write lock now: a read that became a write later could only fail.
    connection_.exec("BEGIN IMMEDIATE");
  } catch (const SQLite::Exception& error) {
    // No destructor runs: the next one to borrow this connection must not commit carelessly.
    owned_.get_deleter().poisoned = careless_;
    connection_.fail(error, "cannot write");
  }
}

SqliteTxn::~SqliteTxn() {
  try {
    if (!committed_) connection_.exec("ROLLBACK");
    if (careless_) connection_.exec("PRAGMA synchronous = FULL");
  } catch (const SQLite::Exception&) {
    // SQLite has rolled back by itself, or the connection is broken: nobody shall use it again.
    owned_.get_deleter().poisoned = true;
  }
}

void SqliteTxn::commit() {
  try {
    exec(connection_, "COMMIT", "cannot commit to");
  } catch (BackendError& error) {
    // What could not be synced may be there after all, now or after the next start.
    error.error.hint += " Look before you try again: it may have been written all the same.";
    throw;
  }
  committed_ = true;
  connection_.note_write();
}

std::int64_t SqliteTxn::insert(const Uid& uid, const Identity& identity, const Sealed& extra,
                               Instant at) {
  change_one(
      connection_,
      "INSERT INTO credential (provider, label, auth_type, source, foreign_id, account, "
      "client_id, scope, token_type, base_url, portal_base_url, inference_base_url, ca_file, uid, "
      "extra, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      [&](Binder& b) {
        bind_identity(b, identity);
        b.text(uid).blob(extra).at(at);
      });
  return connection_.database().getLastInsertRowid();
}

void SqliteTxn::set_identity(std::int64_t credential, const Identity& identity) {
  change_one(
      connection_,
      "UPDATE credential SET provider = ?, label = ?, auth_type = ?, source = ?, foreign_id = ?, "
      "account = ?, client_id = ?, scope = ?, token_type = ?, base_url = ?, portal_base_url = ?, "
      "inference_base_url = ?, ca_file = ? WHERE id = ?",
      [&](Binder& b) {
        bind_identity(b, identity);
        b.integer(credential);
      });
}

void SqliteTxn::set_extra(std::int64_t credential, const Sealed& extra) {
  change_one(connection_, "UPDATE credential SET extra = ? WHERE id = ?",
             [&](Binder& b) { b.blob(extra).integer(credential); });
}

void SqliteTxn::set_removed(std::int64_t credential, std::optional<Instant> at) {
  change_one(connection_, "UPDATE credential SET removed_at = ? WHERE id = ?",
             [&](Binder& b) { b.at(at).integer(credential); });
}

void SqliteTxn::wipe_removed(Instant before) {
  const auto bind = [&](Binder& b) { b.at(before); };
  change(connection_,
         "UPDATE token_set SET access_token = NULL, refresh_token = NULL WHERE "
         "(access_token IS NOT NULL OR refresh_token IS NOT NULL) AND credential IN "
         "(SELECT id FROM credential WHERE removed_at < ?)",
         bind);
  change(
      connection_,
      "DELETE FROM agent_key WHERE credential IN (SELECT id FROM credential WHERE removed_at < ?)",
      bind);
  change(connection_,
         "UPDATE credential SET extra = NULL WHERE extra IS NOT NULL AND removed_at < ?", bind);
}

void SqliteTxn::insert_tokens(std::int64_t credential, const SealedTokens& tokens) {
  change_one(
      connection_,
      "INSERT INTO token_set (family, generation, access_token, refresh_token, "
      "access_fingerprint, refresh_hash, bearer_kind, origin, obtained_at, obtained_derived, "
      "expires_at, refresh_at, session_ends_at, hold, credential) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      [&](Binder& b) {
        bind_tokens(b, tokens);
        b.integer(credential);
      });
}

bool SqliteTxn::advance(std::int64_t credential, const std::optional<TokenHash>& expected_hash,
                        std::int64_t expected_generation, const SealedTokens& tokens) {
  return change(
             connection_,
             "UPDATE token_set SET family = ?, generation = ?, access_token = ?, refresh_token = "
             "?, "
             "access_fingerprint = ?, refresh_hash = ?, bearer_kind = ?, origin = ?, obtained_at = "
             "?, "
             "obtained_derived = ?, expires_at = ?, refresh_at = ?, session_ends_at = ?, hold = ? "
             "WHERE credential = ? AND refresh_hash IS ? AND generation = ?",
             [&](Binder& b) {
               bind_tokens(b, tokens);
               b.integer(credential).hash(expected_hash).integer(expected_generation);
             }) == 1;
}

void SqliteTxn::set_hold(std::int64_t credential, Hold hold) {
  change_one(connection_, "UPDATE token_set SET hold = ? WHERE credential = ?",
             [&](Binder& b) { b.enumerated(hold).integer(credential); });
}

void SqliteTxn::clear_refresh_hash(std::int64_t credential) {
  change_one(connection_, "UPDATE token_set SET refresh_hash = NULL WHERE credential = ?",
             [&](Binder& b) { b.integer(credential); });
}

void SqliteTxn::retire(std::int64_t credential, const TokenHash& hash, std::int64_t family,
                       std::int64_t generation, Instant at, Retirement reason) {
  // Proof replaces a guess; nothing replaces proof.
  change(connection_,
         "INSERT INTO retired_token (refresh_hash, credential, family, generation, retired_at, "
         "reason) "
         "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (refresh_hash) DO UPDATE SET "
         "reason = excluded.reason WHERE retired_token.reason = 'presumed'",
         [&](Binder& b) {
           b.hash(hash)
               .integer(credential)
               .integer(family)
               .integer(generation)
               .at(at)
               .enumerated(reason);
         });
}

void SqliteTxn::take_back(std::int64_t credential, const std::optional<TokenHash>& hash) {
  set_removed(credential, std::nullopt);
  change(connection_, "DELETE FROM retired_token WHERE credential = ? AND reason = 'removed'",
         [&](Binder& b) { b.integer(credential); });
  change(connection_,
         "UPDATE token_set SET refresh_hash = ?2 WHERE credential = ?1 AND refresh_hash IS NULL "
         "AND NOT EXISTS (SELECT 1 FROM token_set WHERE refresh_hash = ?2) "
         "AND NOT EXISTS (SELECT 1 FROM retired_token WHERE refresh_hash = ?2)",
         [&](Binder& b) { b.integer(credential).hash(hash); });
}

void SqliteTxn::pardon(const TokenHash& hash) {
  change(connection_, "DELETE FROM retired_token WHERE refresh_hash = ? AND reason = 'presumed'",
         [&](Binder& b) { b.hash(hash); });
}

void SqliteTxn::put_agent_key(std::int64_t credential, const SealedAgentKey& key) {
  change(connection_,
         "INSERT OR REPLACE INTO agent_key (credential, key_id, secret, fingerprint, obtained_at, "
         "expires_at, reused, from_generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
         [&](Binder& b) {
           b.integer(credential)
               .text_or_null(key.key_id)
               .blob(key.secret)
               .text(key.fingerprint)
               .at(key.obtained_at)
               .at(key.expires_at)
               .integer(key.reused ? 1 : 0)
               .integer(key.from_generation);
         });
}

void SqliteTxn::drop_agent_key(std::int64_t credential) {
  change(connection_, "DELETE FROM agent_key WHERE credential = ?",
         [&](Binder& b) { b.integer(credential); });
}

void SqliteTxn::set_health(std::int64_t credential, const Health& health) {
  change(connection_,
         "INSERT INTO health (credential, status, status_at, error_code, error_reason, "
         "error_message, cooldown_until, request_count, last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?, "
         "?, ?) ON CONFLICT (credential) DO UPDATE SET status = excluded.status, "
         "status_at = excluded.status_at, error_code = excluded.error_code, "
         "error_reason = excluded.error_reason, error_message = excluded.error_message, "
         "cooldown_until = excluded.cooldown_until",
         [&](Binder& b) {
           b.integer(credential)
               .enumerated(health.status)
               .at(health.status_at)
               .maybe(health.error_code)
               .text_or_null(health.error_reason)
               .text_or_null(health.error_message)
               .at(health.cooldown_until)
               .integer(health.request_count)
               .at(health.last_used_at);
         });
}

void SqliteTxn::count_use(std::int64_t credential, Instant at) {
  change(connection_,
         "INSERT INTO health (credential, request_count, last_used_at) VALUES (?, 1, ?) "
         "ON CONFLICT (credential) DO UPDATE SET request_count = request_count + 1, "
         "last_used_at = excluded.last_used_at",
         [&](Binder& b) { b.integer(credential).at(at); });
}

void SqliteTxn::put_renewal(std::int64_t credential, const Renewal& renewal) {
  const Losses& losses = renewal.losses;
  const auto at_if = [&](Instant at) {
    return losses.count > 0 ? std::optional(at) : std::nullopt;
  };
  change(connection_,
         "INSERT INTO renewal (credential, revision, losses, lost_at, lost_pid, lost_process, "
         "last_lost_at, failures, failing_since, rest_since, rest_until, refusals, refused_since, "
         "rejected, rejections, refused, waiting) "
         "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
         "ON CONFLICT (credential) DO UPDATE SET "
         "revision = excluded.revision, losses = excluded.losses, lost_at = excluded.lost_at, "
         "lost_pid = excluded.lost_pid, lost_process = excluded.lost_process, "
         "last_lost_at = excluded.last_lost_at, failures = excluded.failures, "
         "failing_since = excluded.failing_since, rest_since = excluded.rest_since, "
         "rest_until = excluded.rest_until, refusals = excluded.refusals, "
         "refused_since = excluded.refused_since, rejected = excluded.rejected, "
         "rejections = excluded.rejections, refused = excluded.refused, "
         "waiting = excluded.waiting",
         [&](Binder& b) {
           b.integer(credential)
               .integer(renewal.revision)
               .integer(losses.count)
               .at(at_if(losses.first_at))
               .integer(losses.pid)
               .text_or_null(losses.process)
               .at(at_if(losses.last_at))
               .integer(renewal.failures)
               .at(renewal.failing_since)
               .at(renewal.rest_since)
               .at(renewal.rest_until)
               .integer(renewal.refusals)
               .at(renewal.refused_since)
               .text_or_null(renewal.rejected)
               .integer(renewal.rejections)
               .integer(renewal.refused ? 1 : 0)
               .integer(renewal.waiting ? 1 : 0);
         });
}

void SqliteTxn::record(std::int64_t credential, const Attempt& attempt) {
  change_one(
      connection_,
      "INSERT INTO attempt (credential, kind, outcome, refresh_hash, family, from_generation, "
      "to_generation, pid, boot_id, host, process, profile, started_at, finished_at, "
      "http_status, error_code, bearer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      [&](Binder& b) {
        b.integer(credential)
            .enumerated(attempt.kind)
            .enumerated(attempt.outcome)
            .hash(attempt.refresh_hash)
            .integer(attempt.family)
            .integer(attempt.from_generation)
            .maybe(attempt.to_generation)
            .integer(attempt.pid)
            .text(attempt.boot_id)
            .text(attempt.host)
            .text(attempt.process)
            .text_or_null(attempt.profile)
            .at(attempt.started_at)
            .at(attempt.finished_at)
            .maybe(attempt.http_status)
            .text_or_null(attempt.error_code)
            .text_or_null(attempt.bearer);
      });
  if (prunes_ledger(connection_.database().getLastInsertRowid())) {
    prune_ledger(credential, attempt.started_at);
  }
}

void SqliteTxn::prune_ledger(std::int64_t credential, Instant now) {
  change(connection_, kPruneLedger, [&](Binder& b) {
    b.integer(credential).at(now - kLedgerAge).integer(kLedgerRows).integer(kLedgerPruneStep);
  });
}

void SqliteTxn::add_profile(const std::string& name, Instant at) {
  change(connection_, "INSERT OR IGNORE INTO profile (name, created_at) VALUES (?, ?)",
         [&](Binder& b) { b.text(name).at(at); });
}

void SqliteTxn::remove_profile(const std::string& name) {
  change_one(connection_, "DELETE FROM profile WHERE name = ?", [&](Binder& b) { b.text(name); });
}

void SqliteTxn::bind(const std::string& profile, std::int64_t credential,
                     std::optional<std::int64_t> position) {
  // Without a position: behind the last of the same provider.
  change_one(
      connection_,
      "INSERT INTO profile_credential (profile, credential, position) "
      "SELECT p.id, ?2, coalesce(?3, (SELECT 1 + max(pc.position) FROM profile_credential pc "
      "  JOIN credential c ON c.id = pc.credential WHERE pc.profile = p.id AND c.provider = "
      "  (SELECT provider FROM credential WHERE id = ?2)), 0) "
      "FROM profile p WHERE p.name = ?1 "
      "ON CONFLICT (profile, credential) DO UPDATE SET position = coalesce(?3, position)",
      [&](Binder& b) { b.text(profile).integer(credential).maybe(position); });
}

void SqliteTxn::unbind(const std::string& profile, std::int64_t credential) {
  change(connection_,
         "DELETE FROM profile_credential WHERE credential = ?2 AND profile = "
         "(SELECT id FROM profile WHERE name = ?1)",
         [&](Binder& b) { b.text(profile).integer(credential); });
}

void SqliteTxn::set_state(const ProviderState& state, const Sealed& extra) {
  change_one(connection_,
             "INSERT INTO provider_state (profile, provider, active, strategy, suppressed, extra) "
             "SELECT id, ?2, ?3, ?4, ?5, ?6 FROM profile WHERE name = ?1 "
             "ON CONFLICT (profile, provider) DO UPDATE SET active = excluded.active, "
             "strategy = excluded.strategy, suppressed = excluded.suppressed, "
             "extra = coalesce(excluded.extra, extra)",
             [&](Binder& b) {
               b.text(state.profile)
                   .text(state.provider)
                   .integer(state.active ? 1 : 0)
                   .enumerated(state.strategy)
                   .text(nlohmann::json(state.suppressed_sources).dump())
                   .blob(extra);
             });
}

void SqliteTxn::set_meta(std::string_view key, const Sealed& value) {
  change_one(connection_, "UPDATE meta SET value = ?2 WHERE key = ?1",
             [&](Binder& b) { b.text(key).blob(value); });
}

void SqliteTxn::set_cell(const SealedCell& cell) {
  change_one(connection_, sql_of(cell.column).update,
             [&](Binder& b) { b.integer(cell.row).blob(cell.cell); });
}

void SqliteTxn::add_receipt(const ImportReceipt& receipt, const Sealed& unknown, Instant at) {
  change_one(connection_,
             "INSERT INTO import_receipt (path, sha256, format, profile, rows, imported, unknown, "
             "imported_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
             [&](Binder& b) {
               b.text(receipt.path)
                   .text(receipt.sha256)
                   .text(receipt.format)
                   .text(receipt.profile)
                   .integer(receipt.rows)
                   .integer(receipt.imported)
                   .blob(unknown)
                   .at(at);
             });
}

Merged SqliteTxn::merge_backup(Instant at) { return merge_attached(connection_, at); }
void SqliteTxn::put_projection(const Projection& projection) {
  const auto bind_path = [&](Binder& b) { b.text(projection.path); };
  change(connection_,
         "INSERT INTO projection (path, format, profile, written_at) VALUES (?, ?, ?, ?) "
         "ON CONFLICT (path) DO UPDATE SET format = excluded.format, profile = excluded.profile, "
         "written_at = excluded.written_at",
         [&](Binder& b) {
           b.text(projection.path)
               .text(projection.format)
               .text(projection.profile)
               .at(projection.written_at);
         });
  change(connection_, "DELETE FROM projected_token WHERE path = ?", bind_path);
  for (const ProjectedToken& token : projection.tokens) {
    change_one(
        connection_,
        "INSERT INTO projected_token (path, place, fingerprint, credential) "
        "SELECT ?1, ?2, ?3, id FROM credential WHERE uid = ?4",
        [&](Binder& b) {
          b.text(projection.path).text(token.place).text(token.fingerprint).text(token.credential);
        });
  }
}

void SqliteTxn::drop_projection(const std::string& path) {
  change(connection_, "DELETE FROM projection WHERE path = ?", [&](Binder& b) { b.text(path); });
}

void SqliteTxn::bring_schema_to(int minor, const char* sql) {
  try {
    Borrowed read = connection_.statement("SELECT value FROM meta WHERE key = 'schema_minor'");
    if (read->executeStep() && read->getColumn(0).getInt() >= minor) return;
  } catch (const SQLite::Exception& error) {
    connection_.fail(error, "cannot read the schema of");
  }
  exec(connection_, sql, "cannot bring up the schema of");
  change(connection_, "UPDATE meta SET value = ? WHERE key = 'schema_minor'",
         [&](Binder& b) { b.integer(minor); });
}

}  // namespace authdb::sqlite
