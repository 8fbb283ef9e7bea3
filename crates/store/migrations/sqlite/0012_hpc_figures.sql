-- What observed jobs use, for figures and reports (contract H5, H7). Processors at work are thousandths of one, memory is
-- MiB, `covered` is the time between samples in microseconds. Samples from before `forgotten_until` are not kept, and
-- are not taken any more.
ALTER TABLE hpc_series ADD COLUMN cores_last BIGINT;
ALTER TABLE hpc_series ADD COLUMN cores_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hpc_series ADD COLUMN cores_sum BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hpc_series ADD COLUMN cores_max BIGINT;
ALTER TABLE hpc_series ADD COLUMN memory_peak BIGINT;
ALTER TABLE hpc_series ADD COLUMN covered BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hpc_series ADD COLUMN forgotten_until BIGINT NOT NULL DEFAULT 0;
-- What a whole node used when its agent last told.
CREATE TABLE hpc_nodes (
    cluster TEXT NOT NULL,
    node TEXT NOT NULL,
    at BIGINT NOT NULL,
    cpu BIGINT,
    cpus BIGINT,
    memory_mb BIGINT,
    memory_total_mb BIGINT,
    gpu BIGINT,
    gpus BIGINT,
    PRIMARY KEY (cluster, node)
) WITHOUT ROWID;
CREATE INDEX hpc_nodes_by_time ON hpc_nodes (at);
-- What was found to be wasted while a job ran, once for each kind.
CREATE TABLE hpc_verdicts (
    job_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (job_id, kind)
) WITHOUT ROWID;
-- Who waits.
CREATE INDEX hpc_jobs_pending ON hpc_jobs (user_name, account, partition_name) WHERE hpc_state = 'pending';
CREATE INDEX hpc_jobs_by_partition ON hpc_jobs (partition_name, id);
CREATE INDEX hpc_jobs_by_tenant ON hpc_jobs (tenant, id);
