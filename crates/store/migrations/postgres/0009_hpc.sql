-- Jobs of batch schedulers that Libra sees (contract H). `record` is what their scheduler says, JSON; what lists ask for
-- stands beside it.
CREATE TABLE hpc_jobs (
    id TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    state TEXT NOT NULL,
    hpc_state TEXT NOT NULL,
    tenant TEXT NOT NULL,
    client_id TEXT,
    cluster TEXT NOT NULL,
    external_id TEXT NOT NULL,
    run BIGINT NOT NULL,
    user_name TEXT NOT NULL,
    account TEXT,
    partition_name TEXT,
    start_time BIGINT,
    end_time BIGINT,
    record TEXT NOT NULL,
    hint TEXT,
    failure TEXT,
    correlation_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
-- A scheduler's number is one job after the other: who makes the next one has seen the last.
CREATE UNIQUE INDEX hpc_jobs_by_number ON hpc_jobs (cluster, external_id, run);
CREATE INDEX hpc_jobs_by_external_id ON hpc_jobs (external_id, id);
CREATE UNIQUE INDEX hpc_jobs_by_client_id ON hpc_jobs (tenant, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX hpc_jobs_by_state ON hpc_jobs (hpc_state, id);
CREATE INDEX hpc_jobs_by_user ON hpc_jobs (user_name, id);
CREATE INDEX hpc_jobs_by_account ON hpc_jobs (account, id);
-- Which jobs were on a node.
CREATE TABLE hpc_job_nodes (
    node TEXT NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (node, job_id)
);
CREATE INDEX hpc_job_nodes_by_job ON hpc_job_nodes (job_id);
-- Every change of such a job, and what it was afterwards.
CREATE TABLE hpc_audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id TEXT NOT NULL,
    change_type TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    source TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    job_snapshot TEXT NOT NULL
);
CREATE INDEX hpc_audit_by_job ON hpc_audit (job_id, id);
CREATE INDEX hpc_audit_by_time ON hpc_audit (changed_at);
-- One job on one node: what its samples come to so far. Shares are thousandths of a percent, power is milliwatts, energy
-- joules; NULL is unknown, which is not zero.
CREATE TABLE hpc_series (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id TEXT NOT NULL,
    node TEXT NOT NULL,
    first_at BIGINT,
    last_at BIGINT,
    samples BIGINT NOT NULL,
    cpu_last BIGINT,
    cpu_count BIGINT NOT NULL,
    cpu_sum BIGINT NOT NULL,
    cpu_max BIGINT,
    memory_last BIGINT,
    memory_count BIGINT NOT NULL,
    memory_sum BIGINT NOT NULL,
    memory_max BIGINT,
    gpu_last BIGINT,
    gpu_count BIGINT NOT NULL,
    gpu_sum BIGINT NOT NULL,
    gpu_max BIGINT,
    gpu_memory_max BIGINT,
    energy BIGINT,
    read_bytes BIGINT,
    written_bytes BIGINT,
    rolled_until BIGINT NOT NULL,
    roll_at BIGINT
);
CREATE UNIQUE INDEX hpc_series_by_job ON hpc_series (job_id, node);
-- What is to be rolled up, and when.
CREATE INDEX hpc_series_to_roll ON hpc_series (roll_at, id) WHERE roll_at IS NOT NULL;
CREATE TABLE hpc_samples (
    series BIGINT NOT NULL,
    at BIGINT NOT NULL,
    cpu BIGINT,
    millicores BIGINT,
    memory_mb BIGINT,
    gpu BIGINT,
    gpu_memory_mb BIGINT,
    power BIGINT,
    PRIMARY KEY (series, at)
);
-- The same, of minutes and hours: `step` and `at` in microseconds, `at` being their beginning.
CREATE TABLE hpc_rollups (
    series BIGINT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    samples BIGINT NOT NULL,
    cpu_count BIGINT NOT NULL,
    cpu_sum BIGINT NOT NULL,
    cpu_max BIGINT,
    memory_count BIGINT NOT NULL,
    memory_sum BIGINT NOT NULL,
    memory_max BIGINT,
    gpu_count BIGINT NOT NULL,
    gpu_sum BIGINT NOT NULL,
    gpu_max BIGINT,
    PRIMARY KEY (series, step, at)
);
