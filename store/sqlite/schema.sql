-- Schema version 1, step 0. Stored: never change a step that has been released; append the next one.
-- Times are INTEGER Unix milliseconds UTC, in columns that end in _at; NULL is unknown.
-- `sealed` in a comment: 0x01, key id, nonce and XChaCha20-Poly1305 ciphertext (store/seal.h).
-- docs/schema.md says what every column means.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credential (
  id                 INTEGER PRIMARY KEY AUTOINCREMENT,
  uid                TEXT NOT NULL UNIQUE CHECK (length(uid) = 12),
  provider           TEXT NOT NULL CHECK (provider <> ''),
  label              TEXT NOT NULL,
  auth_type          TEXT NOT NULL CHECK (auth_type IN ('oauth', 'api_key')),
  source             TEXT,
  foreign_id         TEXT,
  account            TEXT,
  client_id          TEXT,
  scope              TEXT,
  token_type         TEXT,
  base_url           TEXT,
  portal_base_url    TEXT,
  inference_base_url TEXT,
  extra              BLOB,  -- sealed
  created_at         INTEGER NOT NULL,
  removed_at         INTEGER
) STRICT;
CREATE INDEX credential_by_provider ON credential (provider) WHERE removed_at IS NULL;

CREATE TABLE token_set (
  credential         INTEGER PRIMARY KEY REFERENCES credential (id),
  family             INTEGER NOT NULL CHECK (family >= 1),
  generation         INTEGER NOT NULL CHECK (generation >= 1),
  access_token       BLOB,  -- sealed
  refresh_token      BLOB,  -- sealed
  access_fingerprint TEXT,
  refresh_hash       BLOB CHECK (length(refresh_hash) = 32),
  bearer_kind        TEXT NOT NULL CHECK (bearer_kind IN ('access_token', 'agent_key', 'api_key')),
  origin             TEXT NOT NULL CHECK (origin IN ('import', 'login', 'rotation')),
  obtained_at        INTEGER,
  obtained_derived   INTEGER NOT NULL DEFAULT 0 CHECK (obtained_derived IN (0, 1)),
  expires_at         INTEGER,
  refresh_at         INTEGER,
  session_ends_at    INTEGER,
  hold               TEXT CHECK (hold IN ('conflict', 'uncertain', 'handed_over'))
) STRICT;
CREATE UNIQUE INDEX token_set_refresh_hash ON token_set (refresh_hash) WHERE refresh_hash IS NOT NULL;
CREATE INDEX token_set_due ON token_set (refresh_at) WHERE refresh_at IS NOT NULL;
CREATE INDEX token_set_access ON token_set (access_fingerprint) WHERE access_fingerprint IS NOT NULL;

CREATE TABLE agent_key (
  credential      INTEGER PRIMARY KEY REFERENCES credential (id),
  key_id          TEXT,
  secret          BLOB NOT NULL,  -- sealed
  fingerprint     TEXT NOT NULL,
  obtained_at     INTEGER,
  expires_at      INTEGER,
  reused          INTEGER NOT NULL DEFAULT 0 CHECK (reused IN (0, 1)),
  from_generation INTEGER NOT NULL
) STRICT;

CREATE TABLE health (
  credential     INTEGER PRIMARY KEY REFERENCES credential (id),
  status         TEXT NOT NULL DEFAULT 'ok' CHECK (status IN ('ok', 'exhausted', 'dead')),
  status_at      INTEGER,
  error_code     INTEGER,
  error_reason   TEXT,
  error_message  TEXT,
  cooldown_until INTEGER,
  request_count  INTEGER NOT NULL DEFAULT 0,
  last_used_at   INTEGER
) STRICT;

CREATE TABLE retired_token (
  refresh_hash BLOB PRIMARY KEY CHECK (length(refresh_hash) = 32),
  credential   INTEGER NOT NULL REFERENCES credential (id),
  family       INTEGER NOT NULL,
  generation   INTEGER NOT NULL,
  retired_at   INTEGER NOT NULL,
  reason       TEXT NOT NULL CHECK (reason IN ('spent', 'presumed', 'superseded', 'removed'))
) STRICT, WITHOUT ROWID;
CREATE INDEX retired_token_by_credential ON retired_token (credential);

-- The ratchet, in the schema too: code that would make a spent token current again fails in any program.
CREATE TRIGGER token_set_ratchet_update BEFORE UPDATE OF refresh_hash ON token_set
WHEN NEW.refresh_hash IS NOT NULL
  AND EXISTS (SELECT 1 FROM retired_token WHERE refresh_hash = NEW.refresh_hash)
BEGIN SELECT RAISE(ABORT, 'a retired refresh token cannot become current'); END;
CREATE TRIGGER token_set_ratchet_insert BEFORE INSERT ON token_set
WHEN NEW.refresh_hash IS NOT NULL
  AND EXISTS (SELECT 1 FROM retired_token WHERE refresh_hash = NEW.refresh_hash)
BEGIN SELECT RAISE(ABORT, 'a retired refresh token cannot become current'); END;
CREATE TRIGGER retired_token_not_current BEFORE INSERT ON retired_token
WHEN EXISTS (SELECT 1 FROM token_set WHERE refresh_hash = NEW.refresh_hash)
BEGIN SELECT RAISE(ABORT, 'a current refresh token cannot be retired'); END;
CREATE TRIGGER token_set_generation BEFORE UPDATE OF generation ON token_set
WHEN NEW.generation < OLD.generation
BEGIN SELECT RAISE(ABORT, 'a generation never goes back'); END;

CREATE TABLE attempt (
  id              INTEGER PRIMARY KEY,
  credential      INTEGER NOT NULL REFERENCES credential (id),
  kind            TEXT NOT NULL CHECK (kind IN ('refresh', 'mint', 'login', 'import', 'revoke')),
  outcome         TEXT NOT NULL CHECK (outcome IN
                    ('committed', 'rejected', 'not_sent', 'uncertain', 'recovered', 'superseded')),
  refresh_hash    BLOB,
  family          INTEGER NOT NULL,
  from_generation INTEGER NOT NULL,
  to_generation   INTEGER,
  pid             INTEGER NOT NULL,
  boot_id         TEXT NOT NULL,
  host            TEXT NOT NULL,
  process         TEXT NOT NULL,
  profile         TEXT,
  started_at      INTEGER NOT NULL,
  finished_at     INTEGER,
  http_status     INTEGER,
  error_code      TEXT
) STRICT;
CREATE INDEX attempt_by_credential ON attempt (credential, id);
CREATE INDEX attempt_by_time ON attempt (started_at);

CREATE TABLE profile (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE CHECK (name <> ''),
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE profile_credential (
  profile    INTEGER NOT NULL REFERENCES profile (id) ON DELETE CASCADE,
  credential INTEGER NOT NULL REFERENCES credential (id),
  position   INTEGER NOT NULL,
  PRIMARY KEY (profile, credential)
) STRICT, WITHOUT ROWID;
CREATE INDEX profile_credential_by_credential ON profile_credential (credential);

CREATE TABLE provider_state (
  profile    INTEGER NOT NULL REFERENCES profile (id) ON DELETE CASCADE,
  provider   TEXT NOT NULL,
  active     INTEGER NOT NULL DEFAULT 0 CHECK (active IN (0, 1)),
  strategy   TEXT NOT NULL DEFAULT 'fill_first'
               CHECK (strategy IN ('fill_first', 'round_robin', 'least_used', 'random')),
  suppressed TEXT NOT NULL DEFAULT '[]',  -- a JSON array of words
  extra      BLOB,  -- sealed
  PRIMARY KEY (profile, provider)
) STRICT, WITHOUT ROWID;

CREATE TABLE import_receipt (
  id          INTEGER PRIMARY KEY,
  path        TEXT NOT NULL,
  sha256      TEXT NOT NULL,
  format      TEXT NOT NULL,
  profile     TEXT NOT NULL,
  rows        INTEGER NOT NULL,
  imported    INTEGER NOT NULL,
  unknown     BLOB,  -- sealed
  imported_at INTEGER NOT NULL
) STRICT;
CREATE INDEX import_receipt_by_path ON import_receipt (path);

CREATE VIEW freshness AS
WITH moment AS (SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS now)
SELECT
  c.uid,
  c.provider,
  c.label,
  (SELECT json_group_array(name) FROM (
     SELECT p.name FROM profile_credential pc JOIN profile p ON p.id = pc.profile
     WHERE pc.credential = c.id ORDER BY p.name)) AS profiles,
  c.auth_type,
  c.source,
  c.account,
  t.bearer_kind,
  t.family,
  t.generation,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.obtained_at / 1000.0, 'unixepoch') AS obtained_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.expires_at / 1000.0, 'unixepoch') AS expires_at,
  (now - t.obtained_at) / 1000 AS age_s,
  (t.expires_at - now) / 1000 AS expires_in_s,
  CASE
    WHEN c.auth_type = 'api_key' AND t.expires_at IS NULL THEN 'no_expiry'
    WHEN t.expires_at IS NULL THEN 'unknown'
    WHEN t.expires_at <= now THEN 'expired'
    WHEN coalesce(t.refresh_at, t.expires_at - 120000) <= now THEN 'expiring'
    ELSE 'fresh'
  END AS state,
  t.refresh_hash IS NOT NULL AND t.hold IS NULL AND coalesce(h.status, 'ok') <> 'dead' AS refreshable,
  coalesce(h.status, 'ok') = 'dead'
    OR (c.auth_type = 'oauth' AND t.refresh_hash IS NULL AND t.access_fingerprint IS NOT NULL
        AND coalesce(t.expires_at <= now, 0) AND NOT coalesce(k.expires_at > now, 0)) AS needs_login,
  t.hold,
  coalesce(h.status, 'ok') AS status,
  CASE WHEN h.cooldown_until > now THEN (h.cooldown_until - now + 999) / 1000 END AS cooldown_s,
  strftime('%Y-%m-%dT%H:%M:%fZ', k.obtained_at / 1000.0, 'unixepoch') AS agent_key_obtained_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', k.expires_at / 1000.0, 'unixepoch') AS agent_key_expires_at,
  (now - k.obtained_at) / 1000 AS agent_key_age_s,
  (k.expires_at - now) / 1000 AS agent_key_expires_in_s,
  CASE
    WHEN k.credential IS NULL THEN NULL
    WHEN k.expires_at IS NULL THEN 'unknown'
    WHEN k.expires_at <= now THEN 'expired'
    WHEN k.expires_at - 120000 <= now THEN 'expiring'
    ELSE 'fresh'
  END AS agent_key_state,
  (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', a.started_at / 1000.0, 'unixepoch') FROM attempt a
   WHERE a.credential = c.id ORDER BY a.id DESC LIMIT 1) AS last_attempt_at,
  (SELECT a.outcome FROM attempt a
   WHERE a.credential = c.id ORDER BY a.id DESC LIMIT 1) AS last_outcome,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.session_ends_at / 1000.0, 'unixepoch') AS session_ends_at
FROM moment
JOIN credential c
JOIN token_set t ON t.credential = c.id
LEFT JOIN health h ON h.credential = c.id
LEFT JOIN agent_key k ON k.credential = c.id
WHERE c.removed_at IS NULL;

CREATE VIEW pool AS
WITH moment AS (SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS now),
entry AS (
  SELECT
    p.name AS profile,
    c.provider,
    pc.position AS place,
    c.id,
    c.uid,
    c.label,
    CASE
      WHEN coalesce(h.status, 'ok') = 'dead' THEN 'dead'
      WHEN t.hold IS NOT NULL AND t.hold <> 'uncertain' THEN t.hold
      WHEN h.cooldown_until > now THEN 'cooling'
      WHEN EXISTS (SELECT 1 FROM provider_state s, json_each(s.suppressed) j
                   WHERE s.profile = p.id AND s.provider = c.provider AND j.value = c.source)
        THEN 'suppressed'
    END AS why_not
  FROM moment
  JOIN profile p
  JOIN profile_credential pc ON pc.profile = p.id
  JOIN credential c ON c.id = pc.credential AND c.removed_at IS NULL
  JOIN token_set t ON t.credential = c.id
  LEFT JOIN health h ON h.credential = c.id
)
SELECT
  profile,
  provider,
  row_number() OVER (PARTITION BY profile, provider ORDER BY place, id) AS position,
  uid,
  label,
  why_not IS NULL AS selectable,
  why_not
FROM entry;

CREATE VIEW rotation AS
SELECT
  strftime('%Y-%m-%dT%H:%M:%fZ', a.started_at / 1000.0, 'unixepoch') AS at,
  c.provider,
  c.label,
  c.uid,
  a.profile,
  a.kind,
  a.family,
  a.from_generation,
  a.to_generation,
  a.outcome,
  a.http_status,
  a.error_code,
  a.pid,
  a.process,
  a.finished_at - a.started_at AS latency_ms,
  CASE WHEN a.refresh_hash IS NOT NULL
    THEN 'sha256:' || lower(substr(hex(a.refresh_hash), 1, 16)) END AS fingerprint
FROM attempt a
JOIN credential c ON c.id = a.credential;

CREATE VIEW family AS
SELECT c.uid, t.family, t.generation, 'current' AS state,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.obtained_at / 1000.0, 'unixepoch') AS since
FROM credential c JOIN token_set t ON t.credential = c.id
WHERE c.removed_at IS NULL AND c.auth_type = 'oauth'
UNION ALL
SELECT c.uid, r.family, r.generation, r.reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.retired_at / 1000.0, 'unixepoch')
FROM credential c JOIN retired_token r ON r.credential = c.id;
