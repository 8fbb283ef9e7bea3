-- Times are microseconds since the Unix epoch, ids and JSON are text, flags are 0/1, as in SQLite.
-- Ids and whatever else is ordered compare byte by byte, whatever the locale of the database.

-- One row is updated a few times in its life; its columns that never change and are searched have their indexes
-- on job_specs, because an update that changes an indexed column writes to every index of its table.
CREATE TABLE jobs (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision            BIGINT NOT NULL,
    state               TEXT COLLATE "C" NOT NULL,
    user_id             TEXT COLLATE "C" NOT NULL,
    tenant              TEXT COLLATE "C" NOT NULL,
    name                TEXT COLLATE "C",
    kind                TEXT COLLATE "C" NOT NULL,
    engine              TEXT COLLATE "C" NOT NULL,
    mode                TEXT COLLATE "C" NOT NULL,
    queue               TEXT COLLATE "C",
    cluster             TEXT COLLATE "C",
    priority            BIGINT NOT NULL,
    requirement         TEXT   NOT NULL,
    attempt             BIGINT NOT NULL,
    retries             BIGINT NOT NULL,
    lost_launches       BIGINT NOT NULL,
    submitted_at        BIGINT NOT NULL,
    queued_at           BIGINT,
    scheduled_at        BIGINT,
    started_at          BIGINT,
    completed_at        BIGINT,
    not_before          BIGINT,
    due_at              BIGINT,
    cancel_requested_at BIGINT,
    stop                TEXT,
    failure             TEXT,
    correlation_id      TEXT   NOT NULL,
    host                TEXT COLLATE "C"
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05);
-- With the tenant, because most readers see one tenant only: it is looked at within the index.
CREATE INDEX jobs_by_state ON jobs (state, id, tenant);
CREATE INDEX jobs_by_user ON jobs (user_id, state, id, tenant);
-- The order of turns within a mode; a row is in it only while it waits.
CREATE INDEX jobs_by_turn ON jobs (mode, priority DESC, queued_at, id) WHERE state = 'QUEUED';
-- When the scheduler has to act on a row by itself: the end of a queue wait or of a backoff.
CREATE INDEX jobs_by_due ON jobs (due_at, id) WHERE due_at IS NOT NULL;
-- Retention looks at those that ended longest ago.
CREATE INDEX jobs_by_end ON jobs (completed_at, id) WHERE completed_at IS NOT NULL;

-- What never changes about a job. The program comes last, because lists do without it.
CREATE TABLE job_specs (
    job_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL,
    tenant  TEXT COLLATE "C" NOT NULL,
    mode    TEXT COLLATE "C" NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL,
    name    TEXT COLLATE "C",
    queue   TEXT COLLATE "C",
    cluster TEXT COLLATE "C",
    limits  TEXT NOT NULL,
    retry   TEXT NOT NULL,
    spec    TEXT NOT NULL,
    source  TEXT NOT NULL
);
CREATE INDEX job_specs_by_user ON job_specs (user_id, job_id, tenant);
CREATE INDEX job_specs_by_tenant ON job_specs (tenant, job_id);
CREATE INDEX job_specs_by_mode ON job_specs (mode, job_id);
CREATE INDEX job_specs_by_kind ON job_specs (kind, job_id);
CREATE INDEX job_specs_by_name ON job_specs (name, job_id) WHERE name IS NOT NULL;
CREATE INDEX job_specs_by_queue ON job_specs (queue, job_id) WHERE queue IS NOT NULL;
CREATE INDEX job_specs_by_cluster ON job_specs (cluster, job_id) WHERE cluster IS NOT NULL;

CREATE TABLE job_labels (
    job_id TEXT COLLATE "C" NOT NULL,
    key    TEXT COLLATE "C" NOT NULL,
    value  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (key, value, job_id)
);
CREATE INDEX job_labels_by_job ON job_labels (job_id);

-- The replica that looks after an attempt is NULL until one has claimed it; storage says whose files it uses.
CREATE TABLE attempts (
    job_id         TEXT COLLATE "C" NOT NULL,
    number         BIGINT NOT NULL,
    token          TEXT COLLATE "C" NOT NULL UNIQUE,
    mode           TEXT COLLATE "C" NOT NULL,
    host           TEXT COLLATE "C" NOT NULL,
    epoch          BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    launched_at    BIGINT,
    started_at     BIGINT,
    ended_at       BIGINT,
    handle         TEXT,
    exit           TEXT,
    progress       TEXT,
    application_id TEXT,
    links          TEXT   NOT NULL,
    holder         TEXT COLLATE "C",
    storage        TEXT COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (job_id, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX attempts_open ON attempts (holder, job_id, number) WHERE ended_at IS NULL;

-- The one log that events, feed, webhooks and audit read. feed_seq is given after the commit, gapless.
CREATE TABLE transitions (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed_seq       BIGINT,
    job_id         TEXT COLLATE "C" NOT NULL,
    revision       BIGINT NOT NULL,
    from_state     TEXT COLLATE "C",
    to_state       TEXT COLLATE "C" NOT NULL,
    at             BIGINT NOT NULL,
    actor          TEXT   NOT NULL,
    reason         TEXT   NOT NULL,
    attempt        BIGINT NOT NULL,
    correlation_id TEXT   NOT NULL,
    metadata       TEXT
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX transitions_by_job ON transitions (job_id, id);
CREATE INDEX transitions_unnumbered ON transitions (id) WHERE feed_seq IS NULL;
CREATE UNIQUE INDEX transitions_by_feed_seq ON transitions (feed_seq) WHERE feed_seq IS NOT NULL;

-- A message that was given up waits for a person to replay it.
CREATE TABLE outbox (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id     TEXT COLLATE "C" NOT NULL,
    topic      TEXT   NOT NULL,
    target     TEXT   NOT NULL,
    payload    TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    tries      BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    done_at    BIGINT,
    dead_at    BIGINT,
    last_error TEXT
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX outbox_by_job ON outbox (job_id, id);
CREATE INDEX outbox_due ON outbox (next_at, id) WHERE done_at IS NULL AND dead_at IS NULL;
CREATE INDEX outbox_pending_by_job ON outbox (job_id, id) WHERE done_at IS NULL AND dead_at IS NULL;
CREATE INDEX outbox_dead ON outbox (dead_at, id) WHERE dead_at IS NOT NULL;

CREATE TABLE idempotency (
    scope      TEXT COLLATE "C" NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    body_hash  TEXT   NOT NULL,
    job_id     TEXT COLLATE "C" NOT NULL,
    status     BIGINT NOT NULL,
    response   TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_by_job ON idempotency (job_id);

-- A lease saves work; correctness comes from the epoch in every write of its holder.
CREATE TABLE leases (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder     TEXT COLLATE "C" NOT NULL,
    epoch      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    renewed_at BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
-- Because of this index an update of the epoch waits for those who hold the row FOR KEY SHARE, which every fenced
-- write does, and a renewal does not.
CREATE UNIQUE INDEX leases_by_epoch ON leases (name, epoch);

CREATE TABLE replicas (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    host       TEXT   NOT NULL,
    storage    TEXT   NOT NULL,
    address    TEXT   NOT NULL,
    version    TEXT   NOT NULL,
    cores      BIGINT NOT NULL,
    memory     BIGINT NOT NULL,
    started_at BIGINT NOT NULL
);

-- Facts about the database itself.
CREATE TABLE facts (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- A ticket is drawn for every job that enters the queue, before it does: from the tickets drawn since the queue was
-- last counted it is known that it can't be full yet, without counting it again.
CREATE SEQUENCE queue_tickets;
