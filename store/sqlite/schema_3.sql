-- Minor step 3: an index for counting that lures no query away from what is due.
-- Stored: never change a step that has been released; append the next one (store/CMakeLists.txt).

-- An index that begins with `removed_at` was taken for every join that asks for what is not
-- removed, in place of the index of what is due: all of a million were looked at. The unary plus
-- keeps this one for those who ask with it.
DROP VIEW freshness_summary;
DROP INDEX credential_counted;
CREATE INDEX credential_counted ON credential (provider, removed_at) WHERE +removed_at IS NULL;
CREATE VIEW freshness_summary AS
WITH moment AS (SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS now),
looked_at AS (
  SELECT c.provider, c.auth_type, t.expires_at, t.refresh_at
  FROM moment JOIN token_set t ON t.refresh_at <= now CROSS JOIN credential c ON c.id = t.credential
  WHERE c.removed_at IS NULL  -- cross: from what is due to its credential, never the other way
  UNION ALL
  SELECT c.provider, c.auth_type, t.expires_at, t.refresh_at
  FROM token_set t CROSS JOIN credential c ON c.id = t.credential
  WHERE t.refresh_at IS NULL AND c.removed_at IS NULL
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
  FROM credential WHERE +removed_at IS NULL GROUP BY provider
)
SELECT provider, state, sum(credentials) AS credentials
FROM counted GROUP BY provider, state HAVING sum(credentials) > 0;
