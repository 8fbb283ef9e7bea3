//! The figures of Flink deployments, by the names of the reference (contract F8). The leader counts; other replicas show
//! zero.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use libra_core::deployment::plan::Kind;
use libra_core::deployment::spec::JobType;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Bounds of the time from the start of a job until it is stable, seconds.
const DEPLOYMENT_SECONDS: [f64; 10] = [1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0];
/// Bounds of one look at one deployment, seconds.
const RECONCILE_SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Deployed {
    status: &'static str,
    job_type: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfType {
    job_type: &'static str,
    cluster: String,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCluster {
    cluster: String,
}

/// How a new version ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was found stable, or has ended as a batch job should.
    Succeeded,
    /// It was given up.
    Failed,
}

/// The figures.
pub struct FlinkMetrics {
    deployments: Family<Deployed, Counter>,
    deployment_seconds: Histogram,
    active: Family<OfType, Gauge>,
    errors: Counter,
    health: Family<OfCluster, Gauge>,
    reconcile_seconds: Histogram,
    plans: Family<OfKind, Counter>,
    savepoint_age: Family<OfCluster, Gauge<f64, AtomicU64>>,
}

/// What a cluster's deployments are like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Jobs that live, by their type.
    pub active: BTreeMap<&'static str, i64>,
    /// The age of the newest savepoint of the deployment for which it is oldest, seconds; None without any.
    pub savepoint_age: Option<f64>,
}

impl FlinkMetrics {
    /// All figures at zero.
    pub(super) fn new(r: &mut Registry) -> Self {
        let metrics = Self {
            deployments: Family::default(),
            deployment_seconds: Histogram::new(DEPLOYMENT_SECONDS),
            active: Family::default(),
            errors: Counter::default(),
            health: Family::default(),
            reconcile_seconds: Histogram::new(RECONCILE_SECONDS),
            plans: Family::default(),
            savepoint_age: Family::default(),
        };
        let help = "New versions of deployments by what became of them: success, failed";
        r.register("flink_job_deployments", help, metrics.deployments.clone());
        let help = "From the start of a job until it was found stable";
        r.register_with_unit(
            "flink_job_deployment_duration",
            help,
            Unit::Seconds,
            metrics.deployment_seconds.clone(),
        );
        r.register("flink_active_jobs", "Jobs of deployments that live", metrics.active.clone());
        let help = "Looks at a deployment that failed: the store, the cluster";
        r.register("flink_reconciliation_errors", help, metrics.errors.clone());
        let help = "1 while the cluster answers, 0 while it does not";
        r.register("flink_cluster_health_status", help, metrics.health.clone());
        let help = "One look at one deployment, and what follows from it";
        r.register_with_unit(
            "flink_reconcile_duration",
            help,
            Unit::Seconds,
            metrics.reconcile_seconds.clone(),
        );
        r.register("flink_plans", "Specifications that were applied, by their plan", metrics.plans.clone());
        let help = "The age of the newest savepoint, of the deployment for which it is oldest";
        r.register_with_unit("flink_savepoint_age", help, Unit::Seconds, metrics.savepoint_age.clone());
        metrics
    }

    /// A new version has come to its end.
    pub fn deployed(&self, outcome: Outcome, job_type: JobType, seconds: Option<f64>) {
        let status = match outcome {
            Outcome::Succeeded => "success",
            Outcome::Failed => "failed",
        };
        self.deployments.get_or_create(&Deployed { status, job_type: type_word(job_type) }).inc();
        if let Some(seconds) = seconds {
            self.deployment_seconds.observe(seconds);
        }
    }

    /// A specification was applied.
    pub fn applied(&self, kind: Kind) {
        self.plans.get_or_create(&OfKind { kind: kind.as_str() }).inc();
    }

    /// A look at one deployment took so long; `well` when nothing failed.
    pub fn reconciled(&self, seconds: f64, well: bool) {
        self.reconcile_seconds.observe(seconds);
        if !well {
            self.errors.inc();
        }
    }

    /// Whether a cluster answers.
    pub fn health(&self, cluster: &str, answers: bool) {
        self.health.get_or_create(&OfCluster { cluster: cluster.to_owned() }).set(i64::from(answers));
    }

    /// Another replica looks after this cluster from now on.
    pub fn leaves(&self, cluster: &str) {
        let of = OfCluster { cluster: cluster.to_owned() };
        self.health.remove(&of);
        self.savepoint_age.remove(&of);
        for job_type in [JobType::Stream, JobType::Batch] {
            self.active.remove(&OfType { job_type: type_word(job_type), cluster: cluster.to_owned() });
        }
    }

    /// How the deployments of a cluster stand.
    pub fn stands(&self, cluster: &str, standing: &Standing) {
        for job_type in [JobType::Stream, JobType::Batch] {
            let word = type_word(job_type);
            let jobs = standing.active.get(word).copied().unwrap_or(0);
            self.active.get_or_create(&OfType { job_type: word, cluster: cluster.to_owned() }).set(jobs);
        }
        let of = OfCluster { cluster: cluster.to_owned() };
        match standing.savepoint_age {
            Some(age) => {
                self.savepoint_age.get_or_create(&of).set(age);
            }
            None => {
                self.savepoint_age.remove(&of);
            }
        }
    }
}

/// The label of a type of jobs.
pub fn type_word(job_type: JobType) -> &'static str {
    match job_type {
        JobType::Stream => "stream",
        JobType::Batch => "batch",
    }
}
