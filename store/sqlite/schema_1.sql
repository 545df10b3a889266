-- Minor step 1: the files of other tools that are kept supplied with access tokens, and a quick summary.
-- Stored: never change a step that has been released; append the next one (store/CMakeLists.txt).

CREATE TABLE projection (
  path       TEXT PRIMARY KEY CHECK (path <> ''),
  format     TEXT NOT NULL,
  profile    TEXT NOT NULL,
  written_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What such a file was given. While it is being rewritten it has both the old and the new.
CREATE TABLE projected_token (
  path        TEXT NOT NULL REFERENCES projection (path) ON DELETE CASCADE,
  place       TEXT NOT NULL,  -- a JSON pointer into the file
  fingerprint TEXT NOT NULL,  -- of the access token
  credential  INTEGER NOT NULL REFERENCES credential (id),
  PRIMARY KEY (path, place, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX projected_token_by_credential ON projected_token (credential);

-- How many credentials of each provider are in which state, without looking at those that are
-- fresh: of a million they are nearly all. `refresh_at` never lies behind `expires_at`.
CREATE INDEX credential_counted ON credential (removed_at, provider);
CREATE INDEX token_set_undated ON token_set (credential) WHERE refresh_at IS NULL;
CREATE VIEW freshness_summary AS
WITH moment AS (SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS now),
looked_at AS (
  SELECT c.provider, c.auth_type, t.expires_at, t.refresh_at
  FROM moment JOIN token_set t ON t.refresh_at <= now JOIN credential c ON c.id = t.credential
  WHERE +c.removed_at IS NULL  -- unary plus: by its id, not by that index
  UNION ALL
  SELECT c.provider, c.auth_type, t.expires_at, t.refresh_at
  FROM token_set t JOIN credential c ON c.id = t.credential
  WHERE t.refresh_at IS NULL AND +c.removed_at IS NULL
),
counted AS (
  SELECT
    provider,
    CASE
      WHEN auth_type = 'api_key' AND expires_at IS NULL THEN 'no_expiry'
      WHEN expires_at IS NULL THEN 'unknown'
      WHEN expires_at <= now THEN 'expired'
      WHEN coalesce(refresh_at, expires_at - 120000) <= now THEN 'expiring'
      ELSE 'fresh'
    END AS state,
    count(*) AS credentials
  FROM moment JOIN looked_at GROUP BY 1, 2
  UNION ALL
  SELECT provider, 'fresh', count(*) - (
    SELECT count(*) FROM looked_at l WHERE l.provider = credential.provider)
  FROM credential WHERE removed_at IS NULL GROUP BY provider
)
SELECT provider, state, sum(credentials) AS credentials
FROM counted GROUP BY provider, state HAVING sum(credentials) > 0;
