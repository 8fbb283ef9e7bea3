//! Where a job runs: execution modes and the rule of `auto`.

use serde::{Deserialize, Serialize};

use crate::spec::Kind;

/// An execution mode. The engine follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In a warm, shared Spark Connect server.
    InCluster,
    /// In a `spark-submit` process of its own.
    SparkSubmit,
    /// As a `SparkApplication` of the Spark operator.
    Kubernetes,
    /// On a Flink session cluster, as a run of a deployment: never chosen, and never submitted.
    Flink,
    /// As a batch job of a Slurm cluster: a script, or a Spark of its own in an allocation. Chosen for scripts alone.
    Slurm,
}

impl Mode {
    /// All modes, lightest first.
    pub const ALL: [Self; 5] =
        [Self::InCluster, Self::SparkSubmit, Self::Kubernetes, Self::Flink, Self::Slurm];

    /// The spelling on the wire, in the configuration and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InCluster => "in-cluster",
            Self::SparkSubmit => "spark-submit",
            Self::Kubernetes => "kubernetes",
            Self::Flink => "flink",
            Self::Slurm => "slurm",
        }
    }

    /// Reads the spelling; the references also write `IN_CLUSTER`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase().replace('_', "-");
        Self::ALL.into_iter().find(|m| m.as_str() == text)
    }

    /// The engine behind the mode.
    pub fn engine(self) -> &'static str {
        match self {
            Self::InCluster | Self::SparkSubmit | Self::Kubernetes => "spark",
            Self::Flink => "flink",
            Self::Slurm => "slurm",
        }
    }

    /// True where what runs does not end with the host of the replica that looks after it: it is not to be launched again
    /// because that host was lost.
    pub fn outlives_host(self) -> bool {
        match self {
            Self::Slurm | Self::Flink => true,
            Self::InCluster | Self::SparkSubmit | Self::Kubernetes => false,
        }
    }

    /// True when this build of Libra can run submitted jobs of `kind` in this mode.
    pub fn runs(self, kind: Kind) -> bool {
        match (self, kind) {
            (Self::InCluster, Kind::Sql | Kind::Python)
            | (Self::SparkSubmit, Kind::Sql | Kind::Python | Kind::Scala | Kind::Jar)
            | (Self::Slurm, Kind::Sql | Kind::Python | Kind::Scala | Kind::Jar | Kind::Script) => true,
            (Self::InCluster, Kind::Scala | Kind::Jar | Kind::Script)
            | (Self::SparkSubmit, Kind::Script)
            | (
                Self::Kubernetes | Self::Flink,
                Kind::Sql | Kind::Python | Kind::Scala | Kind::Jar | Kind::Script,
            ) => false,
        }
    }
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModeChoice {
    /// Libra chooses (contract R6).
    #[default]
    Auto,
    /// The user chose.
    #[serde(untagged)]
    Explicit(Mode),
}

/// More executors than this go to kubernetes in `auto` (contract R6).
pub const KUBERNETES_ABOVE_EXECUTORS: u32 = 20;
/// More executor memory than this (bytes, without overhead) goes to kubernetes in `auto`.
pub const KUBERNETES_ABOVE_MEMORY: u64 = 100 * crate::memory::GIB;
/// More executors than this go to spark-submit in `auto`.
pub const SPARK_SUBMIT_ABOVE_EXECUTORS: u32 = 5;
/// More executor memory than this (bytes, without overhead) goes to spark-submit in `auto`.
pub const SPARK_SUBMIT_ABOVE_MEMORY: u64 = 32 * crate::memory::GIB;

/// What `auto` looks at.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The job's kind: only SQL and Python may share a server.
    pub kind: Kind,
    /// Executors at most.
    pub executors: u32,
    /// Memory of all executors together, in bytes, without overhead (contract R1).
    pub executor_memory: u64,
    /// True when the job needs something that only a process of its own can give: a file, jars, packages,
    /// a master of its own, for SQL an environment.
    pub needs_own_process: bool,
}

/// Chooses the mode for a job of this shape among the `enabled` ones (contract R6).
///
/// The preferred mode first; when that one is disabled or can't run the kind, the next heavier one,
/// then the next lighter one. None when no enabled mode can run the job.
pub fn select(shape: Shape, enabled: &[Mode]) -> Option<Mode> {
    let preferred =
        if shape.executors > KUBERNETES_ABOVE_EXECUTORS || shape.executor_memory > KUBERNETES_ABOVE_MEMORY {
            Mode::Kubernetes
        } else if shape.executors > SPARK_SUBMIT_ABOVE_EXECUTORS
            || shape.executor_memory > SPARK_SUBMIT_ABOVE_MEMORY
            || shape.needs_own_process
        {
            Mode::SparkSubmit
        } else {
            Mode::InCluster
        };
    let fits = |mode: &Mode| {
        enabled.contains(mode)
            && mode.runs(shape.kind)
            && !(shape.needs_own_process && *mode == Mode::InCluster)
            // Its queue is for those who ask for it.
            && (*mode != Mode::Slurm || shape.kind == Kind::Script)
    };
    let heavier = Mode::ALL.into_iter().filter(|m| *m >= preferred);
    let lighter = Mode::ALL.into_iter().rev().filter(|m| *m < preferred);
    heavier.chain(lighter).find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GIB;

    fn shape(kind: Kind, executors: u32, gib: u64) -> Shape {
        Shape { kind, executors, executor_memory: gib * GIB, needs_own_process: false }
    }

    #[test]
    fn auto_follows_the_reference() {
        // contract: R6
        let both = [Mode::InCluster, Mode::SparkSubmit];
        assert_eq!(select(shape(Kind::Sql, 5, 32), &both), Some(Mode::InCluster));
        assert_eq!(select(shape(Kind::Sql, 6, 1), &both), Some(Mode::SparkSubmit));
        assert_eq!(select(shape(Kind::Sql, 1, 33), &both), Some(Mode::SparkSubmit));
        assert_eq!(
            select(shape(Kind::Sql, 21, 1), &both),
            Some(Mode::SparkSubmit),
            "kubernetes is not enabled"
        );
        assert_eq!(select(shape(Kind::Python, 1, 1), &both), Some(Mode::InCluster));
        for kind in [Kind::Scala, Kind::Jar] {
            assert_eq!(select(shape(kind, 1, 1), &both), Some(Mode::SparkSubmit), "never in-cluster");
            assert_eq!(select(shape(kind, 1, 1), &[Mode::InCluster]), None);
            assert_eq!(select(shape(kind, 30, 1), &Mode::ALL), Some(Mode::SparkSubmit), "never on Flink");
        }
        assert_eq!(select(shape(Kind::Script, 0, 0), &Mode::ALL), Some(Mode::Slurm));
        assert_eq!(select(shape(Kind::Script, 0, 0), &both), None);
        assert_eq!(select(shape(Kind::Sql, 0, 0), &[Mode::Slurm]), None, "only scripts are led there");
    }

    #[test]
    fn only_enabled_modes_are_chosen() {
        assert_eq!(select(shape(Kind::Sql, 0, 0), &[Mode::SparkSubmit]), Some(Mode::SparkSubmit));
        assert_eq!(select(shape(Kind::Sql, 9, 0), &[Mode::InCluster]), Some(Mode::InCluster));
        assert_eq!(select(shape(Kind::Scala, 0, 0), &[Mode::InCluster]), None);
        let own = Shape { needs_own_process: true, ..shape(Kind::Sql, 0, 0) };
        assert_eq!(select(own, &[Mode::InCluster]), None);
    }

    #[test]
    fn modes_read_back() {
        for mode in Mode::ALL {
            assert_eq!(Mode::parse(mode.as_str()), Some(mode));
        }
        assert_eq!(Mode::parse("IN_CLUSTER"), Some(Mode::InCluster));
        assert_eq!(Mode::parse("auto"), None);
    }
}
