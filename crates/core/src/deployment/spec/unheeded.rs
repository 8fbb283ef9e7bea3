//! What a session cluster can't honour: known, accepted, without effect (contract F1).
//!
//! The processes of a session cluster are started before any job is, with sizes, environment, ports, levels of logging
//! and log-in of their own. A warning says so; with `strict: true` it is an error.

use super::{ArtifactPath, CacheMode, DeploymentSpec, Every, JobType, Millis, UpgradeMode};
use crate::deployment::Violation;

impl DeploymentSpec {
    /// What is written and has no effect.
    pub fn warnings(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut say = |given: bool, pointer: &str, reason: &str| {
            if given {
                found.push(Violation::new(pointer, reason));
            }
        };
        let path = self.artifact_path.as_deref().map(ArtifactPath::read);
        let is_file = matches!(path, Some(Ok(ArtifactPath::File(_))));
        say(
            self.artifact_watch.is_some() && !is_file,
            "/artifact_watch",
            "has no effect: only a file in the configured directories is followed",
        );
        say(
            self.artifact_watch == Some(true) && is_file && self.artifact_signature.is_some(),
            "/artifact_watch",
            "has no effect: `artifact_signature` pins the bytes, so another file is told and not deployed",
        );
        if let Some(r) = &self.resources {
            let reason = "has no effect on a session cluster, whose processes have their sizes; set it in Flink's own \
                          configuration";
            say(r.memory.is_some(), "/resources/memory", reason);
            say(r.cpu_cores.is_some(), "/resources/cpu_cores", reason);
            say(r.network_memory.is_some(), "/resources/network_memory", reason);
        }
        say(
            !self.env_vars.is_empty(),
            "/env_vars",
            "has no effect on a session cluster, whose processes are running already; pass arguments in `args`",
        );
        if let Some(s) = &self.security {
            say(
                s.kerberos_principal.is_some(),
                "/security/kerberos_principal",
                "has no effect: Libra does not log in with Kerberos; log the cluster in by its own keytab",
            );
            say(
                s.ssl_enabled.is_some(),
                "/security/ssl_enabled",
                "has no effect: whether TLS is spoken follows from the cluster's address in `libra.flink.clusters`",
            );
            say(
                s.artifact_verification == Some(false),
                "/security/artifact_verification",
                "has no effect: what `artifact_signature` and `signature` say is verified before every use",
            );
        }
        if let Some(m) = &self.monitoring {
            let reason = "has no effect on a session cluster: set it in Flink's own configuration";
            say(m.metrics_port.is_some(), "/monitoring/metrics_port", reason);
            say(m.log_level.is_some(), "/monitoring/log_level", reason);
        }
        if let Some(a) = &self.advanced {
            say(
                a.classloader_resolve_order.is_some(),
                "/advanced/classloader_resolve_order",
                "counts only where `main` runs: TaskManagers follow `classloader.resolve-order` of Flink's own \
                 configuration",
            );
            say(
                a.classloader_cache_mode == Some(CacheMode::Shared),
                "/advanced/classloader_cache_mode",
                "has no effect: Flink gives every job a class loader of its own",
            );
            say(
                a.taskmanager_heap_size.is_some(),
                "/advanced/taskmanager_heap_size",
                "has no effect on a session cluster, whose TaskManagers have their sizes",
            );
        }
        match self.job_type {
            JobType::Stream => {
                let given = self.batch_config.is_some();
                say(
                    given,
                    "/batch_config",
                    "has no effect on a stream job; write `job_type: batch` to run it by the clock",
                );
            }
            JobType::Batch => self.unheeded_in_batch(&mut say),
        }
        found
    }

    /// A batch job has no state that is carried along.
    fn unheeded_in_batch(&self, say: &mut impl FnMut(bool, &str, &str)) {
        let reason = "has no effect on a batch job, which has no checkpoints and no savepoints";
        say(self.stream_config.is_some(), "/stream_config", reason);
        let checkpoints = |d: &super::Deployment| d.checkpoint_interval.is_some_and(|i| i != Millis(0));
        let deployment = self.deployment.as_ref();
        say(deployment.is_some_and(checkpoints), "/deployment/checkpoint_interval", reason);
        say(deployment.is_some_and(|d| d.savepoint_path.is_some()), "/deployment/savepoint_path", reason);
        let mode = self.upgrade_mode.is_some_and(|mode| mode != UpgradeMode::Stateless);
        say(mode, "/upgrade_mode", reason);
        let allowed = self.allow_non_restored_state == Some(true);
        say(allowed, "/allow_non_restored_state", reason);
        let stability = self.stability.as_ref();
        say(stability.is_some_and(|s| s.checkpoints > Some(0)), "/stability/checkpoints", reason);
        let batch = self.batch_config.as_ref();
        let no_cron = batch.is_some_and(|b| b.cron.is_none());
        let zone = no_cron && batch.is_some_and(|b| b.timezone.is_some());
        say(zone, "/batch_config/timezone", "has no effect without `cron`");
        let overlap = no_cron && batch.is_some_and(|b| b.overlap.is_some());
        say(overlap, "/batch_config/overlap", "has no effect without `cron`");
    }
}

impl Every {
    /// True for an interval of 0.
    pub fn is_never(&self) -> bool {
        matches!(self, Self::Interval(Millis(0)))
    }
}
