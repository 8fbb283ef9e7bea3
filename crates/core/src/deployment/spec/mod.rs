//! What a person writes about a Flink job: the reference's YAML with the added keys of contract F1.
//!
//! Names and places are those of the file. Nothing is filled in here: an absent field stays absent, so that what was
//! written can be shown again. [`crate::deployment::normal`] fills in.

mod choices;
mod glance;
mod millis;
mod sections;
mod source;
mod statements;
mod unheeded;
mod validate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use choices::{ArtifactType, CacheMode, JobType, Overlap, ResolveOrder, RestartStrategy, UpgradeMode};
pub use glance::{brings_code, is_insert, is_refused};
pub use millis::{Every, Millis};
pub use sections::{
    Advanced, BatchConfig, Deployment, Monitoring, Resources, Security, Stability, StreamConfig,
};
pub use source::ArtifactPath;
pub use statements::Statements;
pub use validate::{
    MAX_ARGS, MAX_DURATION, MAX_JOB_ID_BYTES, MAX_PARALLELISM, MAX_SQL_BYTES, MAX_TEXT_BYTES,
    MIN_CHECKPOINT_INTERVAL, MIN_SAVEPOINT_INTERVAL,
};

/// A declared Flink job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentSpec {
    /// The deployment's name for ever: letters, digits, `.`, `_`, `-`.
    pub job_id: String,
    /// `stream` runs until it is stopped, `batch` ends.
    pub job_type: JobType,
    /// The configured cluster it runs on; the first one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What kind of program it is; it follows from `artifact_path` and `sql` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<ArtifactType>,
    /// A path in the configured directories, `artifact:<name>@<version>`, an upload, or an object's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_path: Option<String>,
    /// The digest that the artifact must have: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_signature: Option<String>,
    /// Whether another file that takes the place of the one in `artifact_path` is deployed; it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_watch: Option<bool>,
    /// A signature of the artifact as minisign writes it, or the path of one in the configured directories; when
    /// absent it may lie beside the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The class whose `main` is run; the one in the jar's manifest when absent. For Python: the module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_class: Option<String>,
    /// SQL statements, as one text or as a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<Statements>,
    /// How a change gets the state across; `savepoint` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_mode: Option<UpgradeMode>,
    /// State of operators that are gone may be left out when the job is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_non_restored_state: Option<bool>,
    /// What has to be seen before a new version counts as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability: Option<Stability>,
    /// What has no effect on a session cluster is an error, not a warning.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strict: bool,
    /// Parallelism, checkpoints, restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// Sizes; a session cluster has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Verification; Kerberos and TLS belong to the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// Arguments of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment; the processes of a session cluster have theirs already.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_vars: BTreeMap<String, String>,
    /// Only for batch jobs: when they run, and how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_config: Option<BatchConfig>,
    /// Only for stream jobs: savepoints and how checkpoints are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_config: Option<StreamConfig>,
    /// Class loading and network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advanced: Option<Advanced>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The JSON Schema of a specification, for editors (draft 2020-12).
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(DeploymentSpec).to_value()
}

impl DeploymentSpec {
    /// A specification with nothing but a name, a type and an artifact; everything else absent.
    pub fn new(job_id: impl Into<String>, job_type: JobType, artifact_path: Option<String>) -> Self {
        Self {
            job_id: job_id.into(),
            job_type,
            cluster: None,
            artifact_type: None,
            artifact_path,
            artifact_signature: None,
            artifact_watch: None,
            signature: None,
            entry_class: None,
            sql: None,
            upgrade_mode: None,
            allow_non_restored_state: None,
            stability: None,
            strict: false,
            deployment: None,
            resources: None,
            security: None,
            monitoring: None,
            args: Vec::new(),
            env_vars: BTreeMap::new(),
            batch_config: None,
            stream_config: None,
            advanced: None,
        }
    }

    /// The kind of program: as written, else SQL where there is `sql`, else by the ending of `artifact_path`.
    pub fn program_type(&self) -> ArtifactType {
        let path = self.artifact_path.as_deref().unwrap_or_default();
        match self.artifact_type {
            Some(kind) => kind,
            None if self.sql.is_some() => ArtifactType::Sql,
            None => ArtifactType::of_path(path),
        }
    }
}
