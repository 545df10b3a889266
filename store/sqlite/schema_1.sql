-- Minor step 1: the files of other tools that are kept supplied with access tokens.
-- Stored: never change a step that has been released; append the next one (store/sqlite/schema.h).

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
