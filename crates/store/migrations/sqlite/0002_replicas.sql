-- Several replicas, the feed's readers, dead letters and retention.

-- The machine on which a job holds resources; NULL while it holds none.
ALTER TABLE jobs ADD COLUMN host TEXT;
UPDATE jobs SET host = (
    SELECT substr(a.host, 1, instr(a.host, '/') - 1) FROM attempts a
    WHERE a.job_id = jobs.id AND a.number = jobs.attempt)
WHERE state IN ('SCHEDULED', 'RUNNING');
-- Retention looks at those that ended longest ago.
CREATE INDEX jobs_by_end ON jobs (completed_at, id) WHERE completed_at IS NOT NULL;
-- What never changes about a job moves to its specification, with the indexes by which people look for it: a change
-- of state has less to write. The program comes last and by itself, because lists do without it.
ALTER TABLE job_specs RENAME TO old_job_specs;
CREATE TABLE job_specs (
    job_id  TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    tenant  TEXT NOT NULL,
    mode    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    name    TEXT,
    queue   TEXT,
    cluster TEXT,
    limits  TEXT NOT NULL,
    retry   TEXT NOT NULL,
    spec    TEXT NOT NULL,
    source  TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO job_specs (job_id, user_id, tenant, mode, kind, name, queue, cluster, limits, retry, spec, source)
SELECT j.id, j.user_id, j.tenant, j.mode, j.kind, j.name, j.queue, j.cluster, j.limits, j.retry,
       json_set(s.spec, '$.source', json('{"code":""}')), json_extract(s.spec, '$.source')
FROM jobs j JOIN old_job_specs s ON s.job_id = j.id;
DROP TABLE old_job_specs;
ALTER TABLE jobs DROP COLUMN limits;
ALTER TABLE jobs DROP COLUMN retry;
CREATE INDEX job_specs_by_user ON job_specs (user_id, job_id, tenant);
CREATE INDEX job_specs_by_tenant ON job_specs (tenant, job_id);
CREATE INDEX job_specs_by_mode ON job_specs (mode, job_id);
CREATE INDEX job_specs_by_kind ON job_specs (kind, job_id);
CREATE INDEX job_specs_by_name ON job_specs (name, job_id) WHERE name IS NOT NULL;
CREATE INDEX job_specs_by_queue ON job_specs (queue, job_id) WHERE queue IS NOT NULL;
CREATE INDEX job_specs_by_cluster ON job_specs (cluster, job_id) WHERE cluster IS NOT NULL;
-- With the tenant, because most readers see one tenant only: it is looked at within the index.
DROP INDEX jobs_by_state;
CREATE INDEX jobs_by_state ON jobs (state, id, tenant);
DROP INDEX jobs_by_user;
CREATE INDEX jobs_by_user ON jobs (user_id, state, id, tenant);
CREATE INDEX job_labels_by_job ON job_labels (job_id);

-- The replica that looks after the attempt, NULL until one has claimed it, and whose files it uses.
ALTER TABLE attempts ADD COLUMN holder TEXT;
ALTER TABLE attempts ADD COLUMN storage TEXT NOT NULL DEFAULT '';
-- Held by a process of before this migration: whoever starts first takes it over.
UPDATE attempts SET holder = '' WHERE ended_at IS NULL;
CREATE INDEX attempts_open ON attempts (holder, job_id, number) WHERE ended_at IS NULL;

ALTER TABLE leases ADD COLUMN renewed_at BIGINT NOT NULL DEFAULT 0;

CREATE TABLE replicas (
    id         TEXT   NOT NULL PRIMARY KEY,
    host       TEXT   NOT NULL,
    storage    TEXT   NOT NULL,
    address    TEXT   NOT NULL,
    version    TEXT   NOT NULL,
    cores      BIGINT NOT NULL,
    memory     BIGINT NOT NULL,
    started_at BIGINT NOT NULL
) WITHOUT ROWID;

-- A message that was given up waits for a person to replay it.
ALTER TABLE outbox ADD COLUMN dead_at BIGINT;
ALTER TABLE outbox ADD COLUMN last_error TEXT;
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox (next_at, id) WHERE done_at IS NULL AND dead_at IS NULL;
CREATE INDEX outbox_pending_by_job ON outbox (job_id, id) WHERE done_at IS NULL AND dead_at IS NULL;
CREATE INDEX outbox_dead ON outbox (dead_at, id) WHERE dead_at IS NOT NULL;

-- Facts about the database itself.
CREATE TABLE facts (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
