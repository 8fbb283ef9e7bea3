-- Times are microseconds since the Unix epoch, ids and JSON are text, flags are 0/1.

CREATE TABLE jobs (
    id                  TEXT    NOT NULL PRIMARY KEY,
    revision            BIGINT  NOT NULL,
    state               TEXT    NOT NULL,
    user_id             TEXT    NOT NULL,
    tenant              TEXT    NOT NULL,
    name                TEXT,
    kind                TEXT    NOT NULL,
    engine              TEXT    NOT NULL,
    mode                TEXT    NOT NULL,
    queue               TEXT,
    cluster             TEXT,
    priority            BIGINT  NOT NULL,
    requirement         TEXT    NOT NULL,
    limits              TEXT    NOT NULL,
    retry               TEXT    NOT NULL,
    attempt             BIGINT  NOT NULL,
    retries             BIGINT  NOT NULL,
    lost_launches       BIGINT  NOT NULL,
    submitted_at        BIGINT  NOT NULL,
    queued_at           BIGINT,
    scheduled_at        BIGINT,
    started_at          BIGINT,
    completed_at        BIGINT,
    not_before          BIGINT,
    due_at              BIGINT,
    cancel_requested_at BIGINT,
    stop                TEXT,
    failure             TEXT,
    correlation_id      TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE INDEX jobs_by_user ON jobs (user_id, id);
-- The order of turns within a mode; a row is in it only while it waits.
CREATE INDEX jobs_by_turn ON jobs (mode, priority DESC, queued_at, id) WHERE state = 'QUEUED';
-- When the scheduler has to act on a row by itself: the end of a queue wait or of a backoff.
CREATE INDEX jobs_by_due ON jobs (due_at, id) WHERE due_at IS NOT NULL;

-- Apart from the job's row, so that a change of state does not rewrite the program.
CREATE TABLE job_specs (
    job_id TEXT NOT NULL PRIMARY KEY,
    spec   TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE job_labels (
    job_id TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (key, value, job_id)
) WITHOUT ROWID;

CREATE TABLE attempts (
    job_id         TEXT    NOT NULL,
    number         BIGINT  NOT NULL,
    token          TEXT    NOT NULL UNIQUE,
    mode           TEXT    NOT NULL,
    host           TEXT    NOT NULL,
    epoch          BIGINT  NOT NULL,
    created_at     BIGINT  NOT NULL,
    launched_at    BIGINT,
    started_at     BIGINT,
    ended_at       BIGINT,
    handle         TEXT,
    exit           TEXT,
    progress       TEXT,
    application_id TEXT,
    links          TEXT    NOT NULL,
    PRIMARY KEY (job_id, number)
) WITHOUT ROWID;

-- The one log that events, feed, webhooks and audit read. feed_seq is given after the commit, gapless.
CREATE TABLE transitions (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    feed_seq       BIGINT,
    job_id         TEXT    NOT NULL,
    revision       BIGINT  NOT NULL,
    from_state     TEXT,
    to_state       TEXT    NOT NULL,
    at             BIGINT  NOT NULL,
    actor          TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    attempt        BIGINT  NOT NULL,
    correlation_id TEXT    NOT NULL,
    metadata       TEXT
);
CREATE INDEX transitions_by_job ON transitions (job_id, id);
CREATE INDEX transitions_unnumbered ON transitions (id) WHERE feed_seq IS NULL;
CREATE UNIQUE INDEX transitions_by_feed_seq ON transitions (feed_seq) WHERE feed_seq IS NOT NULL;

CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id     TEXT    NOT NULL,
    topic      TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    payload    TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    tries      BIGINT  NOT NULL,
    next_at    BIGINT  NOT NULL,
    done_at    BIGINT
);
CREATE INDEX outbox_due ON outbox (next_at, id) WHERE done_at IS NULL;
CREATE INDEX outbox_by_job ON outbox (job_id, id);

CREATE TABLE idempotency (
    scope      TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    body_hash  TEXT   NOT NULL,
    job_id     TEXT   NOT NULL,
    status     BIGINT NOT NULL,
    response   TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_job ON idempotency (job_id);

-- A lease saves work; correctness comes from the epoch in every write of its holder.
CREATE TABLE leases (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    epoch      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
