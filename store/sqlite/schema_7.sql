-- Minor step 7: when a login was made, whatever has been rotated since.
-- Stored: never change a step that has been released; append the next one (store/CMakeLists.txt).

CREATE INDEX attempt_login ON attempt (credential, family, started_at) WHERE kind = 'login';

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
  CASE WHEN NOT coalesce(t.obtained_at > now + 60000, 0) THEN (now - t.obtained_at) / 1000 END AS age_s,
  CASE WHEN NOT coalesce(t.obtained_at > now + 60000, 0) THEN (t.expires_at - now) / 1000 END AS expires_in_s,
  CASE
    WHEN c.auth_type = 'api_key' AND t.expires_at IS NULL THEN 'no_expiry'
    WHEN t.expires_at IS NULL THEN 'unknown'
    WHEN t.expires_at <= now THEN 'expired'
    WHEN t.obtained_at > now + 60000 THEN 'unknown'
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
  CASE WHEN NOT coalesce(k.obtained_at > now + 60000, 0) THEN (now - k.obtained_at) / 1000 END AS agent_key_age_s,
  CASE WHEN NOT coalesce(k.obtained_at > now + 60000, 0) THEN (k.expires_at - now) / 1000 END AS agent_key_expires_in_s,
  CASE
    WHEN k.credential IS NULL THEN NULL
    WHEN k.expires_at IS NULL THEN 'unknown'
    WHEN k.expires_at <= now THEN 'expired'
    WHEN k.obtained_at > now + 60000 THEN 'unknown'
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
  coalesce(r.rejected = coalesce(k.fingerprint, t.access_fingerprint), 0) AS rejected,
  strftime('%Y-%m-%dT%H:%M:%fZ', (SELECT max(a.started_at) FROM attempt a
     WHERE a.credential = c.id AND a.family = t.family AND a.kind = 'login') / 1000.0, 'unixepoch') AS login_at,
  (SELECT CASE WHEN max(a.started_at) <= now + 60000 THEN (now - max(a.started_at)) / 1000 END FROM attempt a
   WHERE a.credential = c.id AND a.family = t.family AND a.kind = 'login') AS login_age_s
FROM moment
JOIN credential c
JOIN token_set t ON t.credential = c.id
LEFT JOIN health h ON h.credential = c.id
LEFT JOIN renewal r ON r.credential = c.id
LEFT JOIN agent_key k ON k.credential = c.id
WHERE c.removed_at IS NULL;
