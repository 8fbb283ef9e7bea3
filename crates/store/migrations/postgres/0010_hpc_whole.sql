-- The number of the array or of the heterogeneous job that a job is a part of: what was submitted as one is found as one.
ALTER TABLE hpc_jobs ADD COLUMN whole TEXT;
CREATE INDEX hpc_jobs_by_whole ON hpc_jobs (cluster, whole) WHERE whole IS NOT NULL;
