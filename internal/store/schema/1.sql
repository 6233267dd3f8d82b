-- Schema 1 of the history store. docs/store.md describes it.
--
-- Times are nanoseconds since 1970 in UTC, 0 where they are not known. Hex
-- digests, container ids and pod uids are their bytes, and text where they have
-- another form. The foreign keys are not enforced at every write; "tagwarden
-- store check" checks them.

-- Names that repeat: clusters, namespaces, workloads, containers, nodes,
-- platforms, repositories.
CREATE TABLE word (id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE digest (id INTEGER PRIMARY KEY, value ANY NOT NULL UNIQUE) STRICT;

-- Image references, byte for byte: the name and what follows it, such as :1.25;
-- and the normalised name.
CREATE TABLE reference (
  id         INTEGER PRIMARY KEY,
  name       INTEGER NOT NULL REFERENCES word,
  tail       TEXT NOT NULL,
  repository INTEGER NOT NULL REFERENCES word,
  UNIQUE (name, tail)
) STRICT;

CREATE TABLE workload (
  id        INTEGER PRIMARY KEY,
  cluster   INTEGER NOT NULL REFERENCES word,
  namespace INTEGER NOT NULL REFERENCES word,
  api       INTEGER NOT NULL REFERENCES word,
  kind      INTEGER NOT NULL REFERENCES word,
  name      INTEGER NOT NULL REFERENCES word,
  UNIQUE (name, namespace, cluster, kind, api)
) STRICT;

-- A container of a workload.
CREATE TABLE subject (
  id        INTEGER PRIMARY KEY,
  workload  INTEGER NOT NULL REFERENCES workload,
  container INTEGER NOT NULL REFERENCES word,
  UNIQUE (workload, container)
) STRICT;

-- A state of a workload's template, and the act that made it.
CREATE TABLE revision (
  id       INTEGER PRIMARY KEY,
  workload INTEGER NOT NULL REFERENCES workload,
  name     TEXT NOT NULL,
  first    INTEGER NOT NULL,
  deployed INTEGER NOT NULL,
  author   INTEGER REFERENCES word,
  via      INTEGER REFERENCES word,
  cause    TEXT,
  UNIQUE (workload, name)
) STRICT;

-- What a subject ran: one digest for one reference in one revision, and the
-- first container of it.
CREATE TABLE seen (
  id        INTEGER PRIMARY KEY,
  subject   INTEGER NOT NULL REFERENCES subject,
  revision  INTEGER NOT NULL REFERENCES revision,
  reference INTEGER NOT NULL REFERENCES reference,
  digest    INTEGER NOT NULL REFERENCES digest,
  digest_of INTEGER NOT NULL REFERENCES word,
  platform  INTEGER NOT NULL REFERENCES word,
  kind      INTEGER NOT NULL REFERENCES word,
  first     INTEGER NOT NULL,
  pod       TEXT NOT NULL,
  pod_uid   ANY NOT NULL,
  node      INTEGER NOT NULL REFERENCES word,
  container ANY NOT NULL,
  UNIQUE (subject, revision, digest, reference, digest_of, platform, kind)
) STRICT;
CREATE INDEX seen_first ON seen (subject, first);
CREATE INDEX seen_digest ON seen (digest);

-- When it ran. Intervals of one seen do not overlap, and only the last of them
-- can be running. pod to container are those of the first container, and null
-- where they are those of seen.
CREATE TABLE interval (
  id        INTEGER PRIMARY KEY,
  subject   INTEGER NOT NULL REFERENCES subject,
  seen      INTEGER NOT NULL REFERENCES seen,
  first     INTEGER NOT NULL,
  -- The last start, and the last time known without the heartbeat.
  started   INTEGER NOT NULL,
  last      INTEGER NOT NULL,
  starts    INTEGER NOT NULL,
  running   INTEGER NOT NULL,
  paused    INTEGER NOT NULL,
  -- The newest session that knew it to run.
  session   INTEGER NOT NULL,
  pod       TEXT,
  pod_uid   ANY,
  node      INTEGER REFERENCES word,
  container ANY
) STRICT;
CREATE INDEX interval_started ON interval (subject, started);
CREATE INDEX interval_seen ON interval (seen);
CREATE INDEX interval_running ON interval (subject) WHERE running > 0;

CREATE TABLE interval_node (
  interval INTEGER NOT NULL REFERENCES interval,
  node     INTEGER NOT NULL REFERENCES word,
  PRIMARY KEY (interval, node)
) STRICT, WITHOUT ROWID;

-- The containers that run.
CREATE TABLE running (
  cluster   INTEGER NOT NULL REFERENCES word,
  container ANY NOT NULL,
  interval  INTEGER NOT NULL REFERENCES interval,
  -- The session that knew it to run.
  session   INTEGER NOT NULL,
  started   INTEGER NOT NULL,
  pod       TEXT NOT NULL,
  pod_uid   ANY NOT NULL,
  node      INTEGER NOT NULL REFERENCES word,
  PRIMARY KEY (cluster, container)
) STRICT, WITHOUT ROWID;
CREATE INDEX running_pod ON running (pod);

-- Containers that ended of late, so that none counts twice. id is a hash of
-- cluster and container id. state: 0 an end without its start, 1 ended,
-- 2 taken to have ended while nobody watched. Old generations are dropped.
CREATE TABLE ended (
  id         INTEGER PRIMARY KEY,
  state      INTEGER NOT NULL,
  at         INTEGER NOT NULL,
  generation INTEGER NOT NULL
) STRICT;

-- A session is one process that writes.
CREATE TABLE session (id INTEGER PRIMARY KEY, opened INTEGER NOT NULL) STRICT;

-- Until when what a session knew to run is known to have run.
CREATE TABLE heartbeat (
  cluster INTEGER NOT NULL REFERENCES word,
  session INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY (cluster, session)
) STRICT, WITHOUT ROWID;

-- Findings as JSON, and the columns that they are searched by. delivered:
-- 0 waiting, 1 sending, 2 delivered.
CREATE TABLE finding (
  number      INTEGER PRIMARY KEY,
  fingerprint BLOB NOT NULL UNIQUE,
  delivered   INTEGER NOT NULL,
  time        INTEGER NOT NULL,
  id          TEXT NOT NULL,
  cluster     TEXT NOT NULL,
  namespace   TEXT NOT NULL,
  workload    TEXT NOT NULL,
  revision    TEXT NOT NULL,
  container   TEXT NOT NULL,
  pod         TEXT NOT NULL,
  repository  TEXT NOT NULL,
  body        TEXT NOT NULL
) STRICT;
CREATE INDEX finding_time ON finding (time);
CREATE INDEX finding_undelivered ON finding (time) WHERE delivered < 2;

-- Digests that people approved, or that a lock file names. Empty means all.
CREATE TABLE baseline (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  cluster   TEXT NOT NULL,
  namespace TEXT NOT NULL,
  api       TEXT NOT NULL,
  kind      TEXT NOT NULL,
  name      TEXT NOT NULL,
  container TEXT NOT NULL,
  reference TEXT NOT NULL,
  digest    TEXT NOT NULL,
  origin    TEXT NOT NULL,
  author    TEXT NOT NULL,
  why       TEXT NOT NULL,
  at        INTEGER NOT NULL
) STRICT;

-- What registries say is behind a digest.
CREATE TABLE content (
  digest   INTEGER PRIMARY KEY REFERENCES digest,
  kind     TEXT NOT NULL,
  platform TEXT NOT NULL,
  config   INTEGER REFERENCES digest,
  learned  INTEGER NOT NULL
) STRICT;

-- The manifests of an index, in its order.
CREATE TABLE child (
  parent   INTEGER NOT NULL REFERENCES content,
  place    INTEGER NOT NULL,
  digest   INTEGER NOT NULL REFERENCES digest,
  platform TEXT NOT NULL,
  PRIMARY KEY (parent, place)
) STRICT, WITHOUT ROWID;

-- Digests that a runtime named as one image. image is a hash of them all.
CREATE TABLE same (image INTEGER PRIMARY KEY, learned INTEGER NOT NULL) STRICT;
CREATE TABLE same_digest (
  image  INTEGER NOT NULL REFERENCES same,
  digest INTEGER NOT NULL REFERENCES digest,
  PRIMARY KEY (image, digest)
) STRICT, WITHOUT ROWID;

-- Alerts that were about to be written: one that is still here when a process
-- opens the store may or may not have reached the sink.
CREATE TABLE alert (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
