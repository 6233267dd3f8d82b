-- Schema 2: what registries said of tags that were pushed. Unlike in the history,
-- the texts are not numbered: there are few pushes. Digests are as in schema 1, ''
-- where there is none.
CREATE TABLE push (
  number     INTEGER PRIMARY KEY,
  repository TEXT NOT NULL,
  tag        TEXT NOT NULL,
  digest     ANY NOT NULL,
  -- When it was pushed, by the clock of who says so.
  pushed     INTEGER NOT NULL,
  of_digest  INTEGER NOT NULL,
  author     TEXT NOT NULL,
  address    TEXT NOT NULL,
  agent      TEXT NOT NULL,
  told       TEXT NOT NULL,
  trust      TEXT NOT NULL,
  confirmed  INTEGER NOT NULL,
  -- When it became known, and from which source.
  learned    INTEGER NOT NULL,
  source     TEXT NOT NULL,
  UNIQUE (repository, tag, digest, pushed, author, told, trust)
) STRICT;
