//! Fields with a fixed set of values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobType {
    /// Until it is stopped; it has state that is carried along.
    Stream,
    /// Until its input is read; each run begins anew.
    Batch,
}

/// What kind of program a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactType {
    /// A jar with a `main`.
    Jar,
    /// SQL statements.
    Sql,
    /// A Python program, or an archive with a module.
    Python,
}

impl ArtifactType {
    /// What the ending of a path says; a jar when it says nothing.
    pub fn of_path(path: &str) -> Self {
        // An upload has its file's name after `#`.
        let name = path.rsplit(['/', '#']).next().unwrap_or(path).to_ascii_lowercase();
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("py" | "zip") => Self::Python,
            Some("sql") => Self::Sql,
            Some(_) | None => Self::Jar,
        }
    }

    /// The spelling in a specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jar => "jar",
            Self::Sql => "sql",
            Self::Python => "python",
        }
    }
}

/// How a change gets the state of a stream job across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeMode {
    /// Stop with a savepoint, start from it. Where the job is down: from its last checkpoint.
    #[default]
    Savepoint,
    /// Cancel, start from the last checkpoint: quicker, and what came after it is read again.
    LastState,
    /// Start with nothing.
    Stateless,
}

/// What Flink does when a job fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartStrategy {
    /// So many restarts, the same wait before each.
    FixedDelay,
    /// Waits that grow.
    ExponentialDelay,
    /// As long as failures are rare enough.
    FailureRate,
}

impl RestartStrategy {
    /// Flink's name of it, which is also the spelling in a specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FixedDelay => "fixed-delay",
            Self::ExponentialDelay => "exponential-delay",
            Self::FailureRate => "failure-rate",
        }
    }
}

/// Whose classes come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResolveOrder {
    /// Flink's.
    ParentFirst,
    /// The job's.
    ChildFirst,
}

impl ResolveOrder {
    /// Flink's name of it, which is also the spelling in a specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ParentFirst => "parent-first",
            Self::ChildFirst => "child-first",
        }
    }
}

/// Who shares a class loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheMode {
    /// Nobody: what Flink does.
    PerJob,
    /// Jobs of one jar; Flink can't.
    Shared,
}

/// What happens when a run is due while the one before it still runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// The new one is left out.
    #[default]
    Skip,
    /// One waits, however many became due.
    Queue,
    /// The old one is ended first.
    Replace,
}
