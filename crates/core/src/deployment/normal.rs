//! A specification with everything filled in, and the fingerprint of it.
//!
//! Two specifications that say the same have one normal form: defaults are written out, lengths of time are
//! milliseconds, SQL is a list of statements, maps are sorted, empty blocks are gone. Fields keep the names and places
//! of the specification, so that a difference can be shown where it was written.

mod defaults;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::spec::{
    Advanced, ArtifactType, DeploymentSpec, Every, JobType, Millis, Monitoring, Overlap, Resources,
    RestartStrategy, Security, UpgradeMode,
};
use crate::artifact::Digest;

pub use defaults::{
    CHECKPOINT_INTERVAL, CHECKPOINT_TIMEOUT, FIXED_DELAY, GROWING_DELAY, RESTARTS, STABLE_CHECKPOINTS,
    STABLE_RESTARTS, STABLE_TIMEOUT_SECONDS, STABLE_WINDOW_SECONDS,
};
pub(super) use defaults::{checkpoint_interval, least_stability_time};

/// A specification with everything filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Normal {
    /// The deployment.
    pub job_id: String,
    /// How long it runs.
    pub job_type: JobType,
    /// The cluster; None = the first one configured.
    pub cluster: Option<String>,
    /// What kind of program.
    pub artifact_type: ArtifactType,
    /// Where the program is.
    pub artifact_path: Option<String>,
    /// Which bytes it is: as the specification pins them, else as they were found.
    #[serde(rename = "artifact_signature", serialize_with = "digest_text")]
    pub artifact_digest: Option<Digest>,
    /// True when the specification pins those bytes; None where they are what was found.
    pub artifact_pinned: Option<bool>,
    /// False: changes of the file are not followed. None = they are, where there is one.
    pub artifact_watch: Option<bool>,
    /// Who vouches for it.
    pub signature: Option<String>,
    /// The class or module that is run.
    pub entry_class: Option<String>,
    /// SQL, one statement an item.
    pub sql: Vec<String>,
    /// How the state gets across; `stateless` for batch.
    pub upgrade_mode: UpgradeMode,
    /// Whether state may be left out.
    pub allow_non_restored_state: bool,
    /// Warnings are errors.
    pub strict: bool,
    /// What has to be seen of a new version.
    pub stability: Stability,
    /// Parallelism, checkpoints, restarts.
    pub deployment: Deployment,
    /// As written: without effect.
    pub resources: Resources,
    /// As written.
    pub security: Security,
    /// With defaults.
    pub monitoring: Monitoring,
    /// Arguments.
    pub args: Vec<String>,
    /// As written: without effect.
    pub env_vars: BTreeMap<String, String>,
    /// Only of a batch job.
    pub batch_config: Option<BatchConfig>,
    /// Only of a stream job.
    pub stream_config: Option<StreamConfig>,
    /// As written.
    pub advanced: Advanced,
}

/// What has to be seen before a version counts as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stability {
    /// Completed checkpoints.
    pub checkpoints: u32,
    /// Seconds of running without a restart.
    pub window_seconds: u64,
    /// Restarts that are forgiven.
    pub max_restarts: u32,
    /// Seconds after which a version is bad.
    pub timeout_seconds: u64,
}

/// Parallelism, checkpoints, restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// Subtasks of each operator.
    pub parallelism: u32,
    /// 0 = no checkpoints.
    pub checkpoint_interval: Millis,
    /// None = the cluster's own directory.
    pub savepoint_path: Option<String>,
    /// What Flink does when the job fails.
    pub restart_strategy: RestartStrategy,
    /// None = without an end.
    pub max_restart_attempts: Option<u32>,
    /// The wait, or the first of them.
    pub restart_delay: Millis,
}

/// When a batch job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchConfig {
    /// None = once.
    pub cron: Option<String>,
    /// The zone of `cron`.
    pub timezone: String,
    /// When one is due while another runs.
    pub overlap: Overlap,
    /// None = no limit.
    pub max_runs: Option<u32>,
    /// None = no limit.
    pub ttl_seconds: Option<u64>,
    /// Whether what a run leaves in the cluster is removed.
    pub cleanup_on_completion: bool,
}

/// Savepoints and how checkpoints are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamConfig {
    /// None = never.
    pub savepoint_trigger_interval: Option<Every>,
    /// A longer one has failed.
    pub checkpoint_timeout: Millis,
    /// The least pause.
    pub min_pause_between_checkpoints: Millis,
    /// The most at once.
    pub max_concurrent_checkpoints: u32,
}

#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn digest_text<S: serde::Serializer>(digest: &Option<Digest>, to: S) -> Result<S::Ok, S::Error> {
    digest.as_ref().map(ToString::to_string).serialize(to)
}

impl Normal {
    /// The normal form of `spec`, whose artifact was found to have the digest `found`, if it was looked at.
    ///
    /// A file that changes in its place makes another normal form, so a new version that is copied over the old one is
    /// seen. `found` is kept with the generation: later, the file may be another one.
    pub fn of(spec: &DeploymentSpec, found: Option<&Digest>) -> Self {
        let pinned: Option<Digest> = spec.artifact_signature.as_deref().and_then(|text| text.parse().ok());
        let stream = spec.job_type == JobType::Stream;
        // What runs the statements of a specification is Libra's own, and no part of what was declared: with a newer Libra
        // nothing has changed.
        let found = found.filter(|_| spec.artifact_path.is_some());
        Self {
            job_id: spec.job_id.clone(),
            job_type: spec.job_type,
            cluster: spec.cluster.clone(),
            artifact_type: spec.program_type(),
            artifact_path: spec.artifact_path.clone(),
            artifact_pinned: pinned.is_some().then_some(true),
            artifact_digest: pinned.or_else(|| found.cloned()),
            artifact_watch: spec.artifact_watch.filter(|watched| !watched),
            signature: spec.signature.clone(),
            entry_class: spec.entry_class.clone(),
            sql: spec.sql.as_ref().map(super::spec::Statements::split).unwrap_or_default(),
            upgrade_mode: if stream { spec.upgrade_mode.unwrap_or_default() } else { UpgradeMode::Stateless },
            allow_non_restored_state: stream && spec.allow_non_restored_state.unwrap_or(false),
            strict: spec.strict,
            stability: defaults::stability(spec),
            deployment: defaults::deployment(spec),
            resources: spec.resources.clone().unwrap_or_default(),
            security: spec.security.clone().unwrap_or_default(),
            monitoring: defaults::monitoring(spec),
            args: spec.args.clone(),
            env_vars: spec.env_vars.clone(),
            batch_config: (!stream).then(|| defaults::batch(spec)),
            stream_config: stream.then(|| defaults::stream(spec)),
            advanced: spec.advanced.clone().unwrap_or_default(),
        }
    }

    /// The form as JSON: keys sorted, nothing that is null or empty. New optional fields leave old fingerprints alone.
    pub fn canonical(&self) -> Value {
        tidy(self.json()).unwrap_or_else(|| Value::Object(Map::new()))
    }

    #[expect(clippy::expect_used, reason = "its keys are texts, and nothing in it refuses to be written")]
    fn json(&self) -> Value {
        serde_json::to_value(self).expect("a normal form is JSON")
    }

    /// The fingerprint of the form. Equal means nothing has changed; different means that a plan is needed, which
    /// compares field by field: no fingerprint ever redeploys a job by itself.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.canonical().to_string())
    }
}

/// Sorted, and without what is null or empty; None when nothing is left.
fn tidy(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.into_iter().collect();
            let map: Map<_, _> = sorted.into_iter().filter_map(|(k, v)| Some((k, tidy(v)?))).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        Value::Array(items) => (!items.is_empty()).then_some(Value::Array(items)),
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => Some(other),
    }
}

/// The space of fingerprints: any UUID that never changes.
const SPACE: Uuid = Uuid::from_u128(0x8f1d_6a52_37c0_5b0e_9d44_e1a7_2c90_b6f3);

/// The name-based UUID (version 5: 122 bits of SHA-1) of a normal form. It tells a change from none, within one
/// deployment; bytes of artifacts, where somebody may forge, have SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Fingerprint(Uuid);

impl Fingerprint {
    /// The fingerprint of a text.
    pub(super) fn of(text: &str) -> Self {
        Self(Uuid::new_v5(&SPACE, text.as_bytes()))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

#[cfg(test)]
mod tests;
