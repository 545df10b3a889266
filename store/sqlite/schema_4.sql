-- Minor step 4: what a credential's journal knows of its renewal, for those who ask with SQL.
-- Stored: never change a step that has been released; append the next one (store/CMakeLists.txt).

-- The journal has all of this and decides; a row here is its copy. No row: nothing was ever tried.
CREATE TABLE renewal (
  credential    INTEGER PRIMARY KEY REFERENCES credential (id),
  revision      INTEGER NOT NULL,             -- of the journal record that this row mirrors
  losses        INTEGER NOT NULL DEFAULT 0,   -- attempts with the current token that were never answered
  lost_at       INTEGER,                      -- the first of them, and who made it
  lost_pid      INTEGER,
  lost_process  TEXT,
  last_lost_at  INTEGER,
  failures      INTEGER NOT NULL DEFAULT 0,   -- in a row, since the last answer that brought a grant
  failing_since INTEGER,
  rest_since    INTEGER,                      -- the token endpoint is left alone from then
  rest_until    INTEGER,                      -- until then
  refusals      INTEGER NOT NULL DEFAULT 0,   -- in a row: 4xx answers that nobody knows the meaning of
  refused_since INTEGER,
  rejected      TEXT,                         -- fingerprint of a bearer that a resource server refused:
                                              -- the current one, or the one that it replaced
  rejections    INTEGER NOT NULL DEFAULT 0    -- bearers in a row that were refused
) STRICT;

-- The bearer that an attempt brought: who reports one that was replaced since is still understood.
ALTER TABLE attempt ADD COLUMN bearer TEXT;
CREATE INDEX attempt_by_bearer ON attempt (bearer) WHERE bearer IS NOT NULL;

DROP VIEW freshness;
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
    OR coalesce(r.refusals >= 5 AND now - r.refused_since >= 3600000
        AND (t.access_fingerprint IS NULL OR coalesce(t.expires_at <= now, 0)) AND NOT coalesce(k.expires_at > now, 0), 0)
    OR coalesce(t.refresh_hash IS NULL
        AND r.rejected = coalesce(k.fingerprint, t.access_fingerprint), 0)
    OR (c.auth_type = 'oauth' AND t.refresh_hash IS NULL AND t.access_fingerprint IS NOT NULL
        AND coalesce(t.expires_at <= now, 0) AND NOT coalesce(k.expires_at > now, 0)) AS needs_login,
  t.hold,
  coalesce(h.status, 'ok') AS status,
  (SELECT CASE WHEN until > now THEN (until - now + 999) / 1000 END FROM (SELECT max(
     coalesce(CASE WHEN coalesce(h.status_at <= now + 60000, 1) THEN h.cooldown_until END, 0),
     coalesce(CASE WHEN r.rest_since <= now + 60000 THEN r.rest_until END, 0)) AS until)) AS cooldown_s,
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
  strftime('%Y-%m-%dT%H:%M:%fZ', t.session_ends_at / 1000.0, 'unixepoch') AS session_ends_at,
  coalesce(r.losses, 0) AS losses,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.lost_at / 1000.0, 'unixepoch') AS lost_at,
  r.lost_pid,
  r.lost_process,
  coalesce(r.failures, 0) AS failures,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.failing_since / 1000.0, 'unixepoch') AS failing_since,
  coalesce(r.rejected = coalesce(k.fingerprint, t.access_fingerprint), 0) AS rejected
FROM moment
JOIN credential c
JOIN token_set t ON t.credential = c.id
LEFT JOIN health h ON h.credential = c.id
LEFT JOIN renewal r ON r.credential = c.id
LEFT JOIN agent_key k ON k.credential = c.id
WHERE c.removed_at IS NULL;

DROP VIEW pool;
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
      WHEN h.cooldown_until > now AND coalesce(h.status_at <= now + 60000, 1) THEN 'cooling'
      WHEN r.rest_until > now AND r.rest_since <= now + 60000 AND coalesce(t.expires_at <= now, 0)
        AND NOT coalesce(k.expires_at > now, 0) THEN 'cooling'
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
  LEFT JOIN agent_key k ON k.credential = c.id
  LEFT JOIN renewal r ON r.credential = c.id
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
