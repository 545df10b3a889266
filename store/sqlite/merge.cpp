#include "store/sqlite/merge.h"

#include "store/sqlite/backup_file.h"
#include "store/sqlite/rows.h"

namespace authdb::sqlite {
namespace {

// One after the other; ?1 is the time. `forward` are the credentials whose tokens the backup has
// newer than this database, or had when they were removed here.
constexpr const char* kSteps[] = {
    // Credentials that are not in this database at all. They have no token set yet.
    "INSERT INTO credential (uid, provider, label, auth_type, source, foreign_id, account, "
    "client_id, scope, token_type, base_url, portal_base_url, inference_base_url, extra, "
    "created_at, removed_at) SELECT uid, provider, label, auth_type, source, foreign_id, account, "
    "client_id, scope, token_type, base_url, portal_base_url, inference_base_url, extra, "
    "created_at, removed_at FROM backup.credential b "
    "WHERE NOT EXISTS (SELECT 1 FROM main.credential c WHERE c.uid = b.uid)",

    "CREATE TEMP TABLE forward AS SELECT c.id AS id, b.id AS backup, c.uid AS uid, "
    "t.credential IS NULL AS gone, c.removed_at IS NOT NULL AND b.removed_at IS NULL AS removed, "
    "t.credential IS NULL OR t.generation < bt.generation AS newer, "
    "t.refresh_hash AS old_hash, t.family AS old_family, t.generation AS old_generation, "
    "t.hold AS old_hold "
    "FROM backup.credential b JOIN backup.token_set bt ON bt.credential = b.id "
    "JOIN main.credential c ON c.uid = b.uid LEFT JOIN main.token_set t ON t.credential = c.id "
    "WHERE t.credential IS NULL OR t.generation < bt.generation "
    "OR (t.generation = bt.generation AND c.removed_at IS NOT NULL AND b.removed_at IS NULL)",

    // Back from removal, as `undo` would: the token it was retired for is current again.
    "UPDATE main.credential SET removed_at = NULL WHERE id IN (SELECT id FROM forward WHERE "
    "removed)",
    "DELETE FROM main.retired_token WHERE reason = 'removed' AND refresh_hash IN (SELECT "
    "bt.refresh_hash FROM forward f JOIN backup.token_set bt ON bt.credential = f.backup "
    "WHERE f.removed)",

    // A row that stands behind the backup's makes way for it. What is retired here, or current
    // elsewhere, does not become current again. Of the same grant a hold is what it is here: one
    // that has ended since is not begun by an old file.
    "DELETE FROM main.token_set WHERE credential IN (SELECT id FROM forward)",
    "INSERT INTO main.token_set (credential, family, generation, access_token, refresh_token, "
    "access_fingerprint, refresh_hash, bearer_kind, origin, obtained_at, obtained_derived, "
    "expires_at, refresh_at, session_ends_at, hold) "
    "SELECT f.id, bt.family, bt.generation, bt.access_token, bt.refresh_token, "
    "bt.access_fingerprint, CASE WHEN NOT EXISTS (SELECT 1 FROM main.retired_token r WHERE "
    "r.refresh_hash = bt.refresh_hash) AND NOT EXISTS (SELECT 1 FROM main.token_set o WHERE "
    "o.refresh_hash = bt.refresh_hash) THEN bt.refresh_hash END, bt.bearer_kind, bt.origin, "
    "bt.obtained_at, bt.obtained_derived, bt.expires_at, bt.refresh_at, bt.session_ends_at, "
    "CASE WHEN NOT f.newer THEN f.old_hold WHEN bt.refresh_hash IS NULL THEN bt.hold "
    "ELSE coalesce(bt.hold, 'uncertain') END FROM forward f JOIN backup.token_set bt ON "
    "bt.credential = f.backup",
    "DELETE FROM main.agent_key WHERE credential IN (SELECT id FROM forward)",
    "INSERT INTO main.agent_key (credential, key_id, secret, fingerprint, obtained_at, expires_at, "
    "reused, from_generation) SELECT f.id, k.key_id, k.secret, k.fingerprint, k.obtained_at, "
    "k.expires_at, k.reused, k.from_generation FROM forward f JOIN backup.agent_key k ON "
    "k.credential = f.backup",
    "INSERT OR IGNORE INTO main.retired_token (refresh_hash, credential, family, generation, "
    "retired_at, reason) SELECT old_hash, id, old_family, old_generation, ?1, 'spent' FROM forward "
    "WHERE old_hash IS NOT NULL AND NOT EXISTS (SELECT 1 FROM main.token_set o WHERE "
    "o.refresh_hash = old_hash)",

    // What is older there was spent since; two ends of one generation: ours stands.
    "INSERT OR IGNORE INTO main.retired_token (refresh_hash, credential, family, generation, "
    "retired_at, reason) SELECT bt.refresh_hash, c.id, bt.family, bt.generation, ?1, "
    "CASE WHEN bt.generation < t.generation THEN 'spent' ELSE 'superseded' END "
    "FROM backup.credential b JOIN backup.token_set bt ON bt.credential = b.id "
    "JOIN main.credential c ON c.uid = b.uid JOIN main.token_set t ON t.credential = c.id "
    "WHERE bt.refresh_hash IS NOT NULL AND bt.refresh_hash IS NOT t.refresh_hash "
    "AND c.removed_at IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM main.token_set o WHERE o.refresh_hash = bt.refresh_hash)",
    "INSERT OR IGNORE INTO main.retired_token (refresh_hash, credential, family, generation, "
    "retired_at, reason) SELECT r.refresh_hash, c.id, r.family, r.generation, r.retired_at, "
    "r.reason FROM backup.retired_token r JOIN backup.credential b ON b.id = r.credential "
    "JOIN main.credential c ON c.uid = b.uid "
    "WHERE NOT EXISTS (SELECT 1 FROM main.token_set o WHERE o.refresh_hash = r.refresh_hash)",

    // Who it is, and what people said of it. What a removed one was wiped of stays away.
    "UPDATE main.credential AS c SET (label, source, foreign_id, extra) = (SELECT "
    "b.label, b.source, b.foreign_id, b.extra FROM backup.credential b WHERE "
    "b.uid = c.uid) WHERE c.removed_at IS NULL AND c.uid IN (SELECT uid FROM backup.credential)",
    // Whose its tokens are, where they go, and how, is about tokens: it counts where the backup has
    // the same. A pair is the same by its refresh token; what has none, by its access token or for
    // having none. The owner may have been learnt since. Where the backup is older than the column
    // ca_file, the name is that of the row itself.
    "UPDATE main.credential AS c SET (account, client_id, base_url, portal_base_url, "
    "inference_base_url, ca_file) = (SELECT CASE WHEN coalesce(c.account, '') = '' OR c.id IN "
    "(SELECT id FROM forward) THEN b.account ELSE c.account END, b.client_id, b.base_url, "
    "b.portal_base_url, b.inference_base_url, ca_file FROM backup.credential b WHERE b.uid = "
    "c.uid) "
    "WHERE c.removed_at IS NULL AND EXISTS (SELECT 1 FROM backup.credential b LEFT JOIN "
    "backup.token_set bt ON bt.credential = b.id LEFT JOIN "
    "main.token_set t ON t.credential = c.id WHERE b.uid = c.uid "
    "AND (bt.refresh_hash = t.refresh_hash OR (t.refresh_hash IS NULL AND bt.access_fingerprint IS "
    "t.access_fingerprint)))",
    // A verdict is about a grant: it counts where both have the same, and dead stays dead.
    "DELETE FROM main.health WHERE status <> 'dead' AND credential IN (SELECT t.credential "
    "FROM main.token_set t JOIN main.credential c ON c.id = t.credential "
    "JOIN backup.credential b ON b.uid = c.uid JOIN backup.token_set bt ON bt.credential = b.id "
    "WHERE bt.generation = t.generation)",
    "INSERT OR IGNORE INTO main.health (credential, status, status_at, error_code, error_reason, "
    "error_message, cooldown_until, request_count, last_used_at) SELECT c.id, h.status, "
    "h.status_at, h.error_code, h.error_reason, h.error_message, h.cooldown_until, "
    "h.request_count, h.last_used_at FROM backup.health h JOIN backup.credential b ON b.id = "
    "h.credential JOIN backup.token_set bt ON bt.credential = b.id JOIN main.credential c ON "
    "c.uid = b.uid JOIN main.token_set t ON t.credential = c.id WHERE bt.generation = "
    "t.generation",

    // Who may use what.
    "INSERT OR IGNORE INTO main.profile (name, created_at) SELECT name, created_at FROM "
    "backup.profile ORDER BY id",
    "DELETE FROM main.profile_credential WHERE credential IN (SELECT c.id FROM main.credential c "
    "JOIN backup.credential b ON b.uid = c.uid) AND profile IN (SELECT p.id FROM main.profile p "
    "JOIN backup.profile q ON q.name = p.name)",
    "INSERT INTO main.profile_credential (profile, credential, position) SELECT p.id, c.id, "
    "x.position FROM backup.profile_credential x JOIN backup.profile q ON q.id = x.profile "
    "JOIN main.profile p ON p.name = q.name JOIN backup.credential b ON b.id = x.credential "
    "JOIN main.credential c ON c.uid = b.uid",
    "INSERT OR REPLACE INTO main.provider_state (profile, provider, active, strategy, suppressed, "
    "extra) SELECT p.id, s.provider, s.active, s.strategy, s.suppressed, s.extra "
    "FROM backup.provider_state s JOIN backup.profile q ON q.id = s.profile "
    "JOIN main.profile p ON p.name = q.name",
    "INSERT INTO main.import_receipt (path, sha256, format, profile, rows, imported, unknown, "
    "imported_at) SELECT path, sha256, format, profile, rows, imported, unknown, imported_at "
    "FROM backup.import_receipt b WHERE NOT EXISTS (SELECT 1 FROM main.import_receipt r WHERE "
    "r.path = b.path AND r.sha256 = b.sha256 AND r.imported_at = b.imported_at)",
};

std::int64_t count(Connection& connection, const char* sql) {
  SQLite::Statement statement(connection.database(), sql);
  return statement.executeStep() ? statement.getColumn(0).getInt64() : 0;
}

void run(Connection& connection, const char* sql, Instant at) {
  SQLite::Statement step(connection.database(), sql);
  if (step.getBindParameterCount() > 0) step.bind(1, to_millis(at));
  step.exec();
}

Merged counts(Connection& connection) {
  Merged merged;
  merged.credentials = count(connection, "SELECT count(*) FROM backup.credential");
  merged.back = count(connection, "SELECT count(*) FROM forward WHERE gone OR removed");
  merged.held = count(connection,
                      "SELECT count(*) FROM forward f JOIN main.token_set t ON t.credential = f.id "
                      "WHERE f.newer AND t.hold = 'uncertain'");
  merged.newer = count(connection,
                       "SELECT count(*) FROM backup.credential b JOIN backup.token_set bt ON "
                       "bt.credential = b.id JOIN main.credential c ON c.uid = b.uid JOIN "
                       "main.token_set t ON t.credential = c.id WHERE t.generation > "
                       "bt.generation");
  SQLite::Statement uids(connection.database(), "SELECT uid FROM forward ORDER BY uid");
  while (uids.executeStep()) merged.moved.push_back(uids.getColumn(0).getString());
  return merged;
}

}  // namespace

void attach_backup(Connection& connection, const std::filesystem::path& file) {
  try {
    SQLite::Statement attach(connection.database(), "ATTACH ?1 AS backup");
    attach.bind(1, file.string());
    attach.exec();
    // Again: the file may be another one by now.
    require_our_schema(connection.database(), "backup", file);
  } catch (const SQLite::Exception& error) {
    throw_backend_error(error, "cannot open the backup", file, 0);
  }
}

Merged merge_attached(Connection& connection, Instant at) {
  try {
    for (const char* step : kSteps) run(connection, step, at);
    Merged merged = counts(connection);
    connection.exec("DROP TABLE forward");
    return merged;
  } catch (const SQLite::Exception& error) {
    connection.fail(error, "cannot restore into");
  }
}

}  // namespace authdb::sqlite
