-- Deployments: Flink jobs that are declared and kept as they are declared. The wish is people's, the row is the
-- reconciler's write-ahead log; each has a number of its own that its writers name. The agenda is what time has asked
-- for. All three are JSON.
CREATE TABLE deployments (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    cluster TEXT NOT NULL,
    version BIGINT NOT NULL,
    wish TEXT NOT NULL,
    revision BIGINT NOT NULL,
    state TEXT NOT NULL,
    agenda TEXT NOT NULL,
    events BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
-- Jobs of one name on one cluster would take each other's place.
CREATE UNIQUE INDEX deployments_by_cluster ON deployments (cluster, id);
-- Every specification that was applied, as it was written.
CREATE TABLE deployment_generations (
    tenant TEXT NOT NULL,
    deployment TEXT NOT NULL,
    generation BIGINT NOT NULL,
    spec TEXT NOT NULL,
    digest TEXT NOT NULL,
    applied_at BIGINT NOT NULL,
    applied_by TEXT NOT NULL,
    PRIMARY KEY (tenant, deployment, generation)
);
-- What happened to a deployment, numbered from 1 in each.
CREATE TABLE deployment_events (
    tenant TEXT NOT NULL,
    deployment TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (tenant, deployment, seq)
);
