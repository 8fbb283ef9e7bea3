-- A job that was removed by hand is still asked for by the id that its maker gave it: its audit has it (contract H2).
ALTER TABLE hpc_audit ADD COLUMN removed_tenant TEXT;
ALTER TABLE hpc_audit ADD COLUMN removed_name TEXT;
CREATE INDEX hpc_audit_removed ON hpc_audit (removed_tenant, removed_name) WHERE removed_name IS NOT NULL;
