//! The jobs that lists are measured on: a month of them, made from their numbers, so that both stores hold the same.

use std::collections::BTreeMap;

use libra_core::attempt::{Exit, Handle, Outcome as Ended};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::{JobId, Token};
use libra_core::job::{State, TimeLimits};
use libra_core::mode::Mode;
use libra_core::retry;
use libra_core::spec::{JobSpec, Kind, Source};
use libra_core::time::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::Outcome;

/// A month, in microseconds.
const SPAN: i64 = 30 * 24 * 3_600 * 1_000_000;
/// Users, names, and pipelines (a label); the first ones have most of the jobs.
const USERS: u32 = 200;
const NAMES: u32 = 2_000;
const PIPELINES: u32 = 5_000;
const QUEUES: [Option<&str>; 5] = [None, None, Some("default"), Some("etl"), Some("adhoc")];
/// Among the newest jobs some have not ended: this share of them all.
const NEWEST_SHARE: u64 = 100;

/// The tables that are filled, with their columns.
pub(super) const TABLES: [(&str, &[&str]); 4] = [
    (
        "jobs",
        &[
            "id",
            "revision",
            "state",
            "user_id",
            "tenant",
            "name",
            "kind",
            "engine",
            "mode",
            "queue",
            "priority",
            "requirement",
            "attempt",
            "retries",
            "lost_launches",
            "submitted_at",
            "queued_at",
            "scheduled_at",
            "started_at",
            "completed_at",
            "failure",
            "correlation_id",
        ],
    ),
    (
        "job_specs",
        &[
            "job_id", "user_id", "tenant", "mode", "kind", "name", "queue", "limits", "retry", "spec",
            "source",
        ],
    ),
    ("job_labels", &["job_id", "key", "value"]),
    (
        "attempts",
        &[
            "job_id",
            "number",
            "token",
            "mode",
            "host",
            "epoch",
            "created_at",
            "launched_at",
            "started_at",
            "ended_at",
            "handle",
            "exit",
            "links",
            "holder",
        ],
    ),
];

/// A value of a row.
pub(super) enum Field {
    None,
    Int(i64),
    Text(String),
}

impl From<i64> for Field {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Field>> From<Option<T>> for Field {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

/// All of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jobs {
    pub(super) count: u64,
    /// When the last one was submitted.
    pub(super) until: Timestamp,
}

/// One of them.
struct One {
    id: JobId,
    state: State,
    user: String,
    tenant: String,
    mode: Mode,
    spec: JobSpec,
    submitted: i64,
    token: Token,
}

impl Jobs {
    /// When the job with this number was submitted, in microseconds.
    pub(super) fn submitted(&self, n: u64) -> i64 {
        let step = SPAN / i64::try_from(self.count.max(1)).unwrap_or(i64::MAX);
        self.until.0 - step * i64::try_from(self.count - n).unwrap_or(0)
    }

    /// The id of the job with this number.
    pub(super) fn id(&self, n: u64) -> JobId {
        JobId::new(Timestamp(self.submitted(n)), StdRng::seed_from_u64(n).random())
    }

    fn one(&self, n: u64) -> One {
        let mut dice = StdRng::seed_from_u64(n);
        let submitted = self.submitted(n);
        let id = JobId::new(Timestamp(submitted), dice.random());
        // Drawn three times, each below the last: the first of them come far more often than the others.
        let mut popular = |of: u32| (0..3).fold(of - 1, |below, _| dice.random_range(0..=below));
        let (user, name, pipeline) = (popular(USERS), popular(NAMES), popular(PIPELINES));
        let in_cluster = dice.random_ratio(3, 5);
        let kind = match dice.random_range(0..10) {
            0..6 => Kind::Sql,
            6..9 => Kind::Python,
            _ => Kind::Jar,
        };
        let mut spec = JobSpec::new(kind, Source::Code(String::new()));
        spec.name = dice.random_ratio(9, 10).then(|| format!("name-{name}"));
        spec.queue = QUEUES[dice.random_range(0..QUEUES.len())].map(str::to_owned);
        spec.spark_config = BTreeMap::from([("spark.sql.shuffle.partitions".into(), "8".into())]);
        spec.labels = BTreeMap::from([
            // Users of even numbers are in production and never elsewhere.
            ("env".into(), if user % 2 == 0 { "prod" } else { "dev" }.into()),
            ("pipeline".into(), format!("p-{pipeline}")),
        ]);
        let newest = n + self.count / NEWEST_SHARE >= self.count;
        let state = match dice.random_range(0..1_000) {
            0..300 if newest => State::Queued,
            300..302 if newest => State::Scheduled,
            302..310 if newest => State::Running,
            310..315 if newest => State::Retrying,
            0..930 => State::Succeeded,
            930..975 => State::Failed,
            975..995 => State::Cancelled,
            _ => State::Timeout,
        };
        One {
            id,
            state,
            user: format!("user-{user}"),
            tenant: format!("tenant-{}", user % 4),
            mode: if in_cluster { Mode::InCluster } else { Mode::SparkSubmit },
            spec,
            submitted,
            token: Token::new(Timestamp(submitted), dice.random()),
        }
    }

    /// The rows of one job in the table with this number of [`TABLES`].
    pub(super) fn rows(&self, table: usize, n: u64) -> Outcome<Vec<Vec<Field>>> {
        let job = self.one(n);
        let id = || Field::from(job.id.to_string());
        let (user, tenant) = (|| Field::from(job.user.as_str()), || Field::from(job.tenant.as_str()));
        let (name, queue) = (|| Field::from(job.spec.name.clone()), || Field::from(job.spec.queue.clone()));
        let (kind, mode) = (|| Field::from(job.spec.kind.as_str()), || Field::from(job.mode.as_str()));
        let ended = job.state.is_terminal();
        let began = ended || job.state.holds_resources();
        let at =
            |seconds: i64, there: bool| Field::from(there.then_some(job.submitted + seconds * 1_000_000));
        Ok(match table {
            0 => {
                let failure =
                    || Failure::new(ErrorClass::User, "analysis", "the table `sales.orders` is not there");
                let failure =
                    (job.state == State::Failed).then(|| serde_json::to_string(&failure())).transpose()?;
                let requirement = libra_core::requirement::Requirement::default();
                vec![vec![
                    id(),
                    Field::Int(5),
                    Field::from(job.state.as_str()),
                    user(),
                    tenant(),
                    name(),
                    kind(),
                    Field::from(job.mode.engine()),
                    mode(),
                    queue(),
                    Field::Int(5),
                    Field::from(serde_json::to_string(&requirement)?),
                    Field::Int(i64::from(began)),
                    Field::Int(0),
                    Field::Int(0),
                    at(0, true),
                    at(0, true),
                    at(1, began),
                    at(2, began),
                    at(60, ended),
                    failure.into(),
                    Field::from(job.token.to_string()),
                ]]
            }
            1 => {
                let limits =
                    TimeLimits { queue_seconds: Some(3_600), run_seconds: None, launch_seconds: Some(600) };
                let program = Source::Code("SELECT count(*) FROM sales.orders WHERE amount > 10".repeat(4));
                vec![vec![
                    id(),
                    user(),
                    tenant(),
                    mode(),
                    kind(),
                    name(),
                    queue(),
                    Field::from(serde_json::to_string(&limits)?),
                    Field::from(serde_json::to_string(&retry::default_policy())?),
                    Field::from(serde_json::to_string(&job.spec)?),
                    Field::from(serde_json::to_string(&program)?),
                ]]
            }
            2 => job
                .spec
                .labels
                .iter()
                .map(|(key, value)| vec![id(), Field::from(key.as_str()), Field::from(value.as_str())])
                .collect(),
            // Those that run have none, so that no Libra takes them over.
            _ if ended => {
                let exit = Exit {
                    outcome: Ended::Succeeded,
                    exit_code: Some(0),
                    signal: None,
                    began: None,
                    at: Timestamp(job.submitted + 60_000_000),
                };
                let handle = Handle(serde_json::json!({"operation": job.token.to_string()}));
                vec![vec![
                    id(),
                    Field::Int(1),
                    Field::from(job.token.to_string()),
                    mode(),
                    Field::from("a-machine/a-boot"),
                    Field::Int(1),
                    at(1, true),
                    at(1, true),
                    at(2, true),
                    at(60, true),
                    Field::from(serde_json::to_string(&handle)?),
                    Field::from(serde_json::to_string(&exit)?),
                    Field::from("{}"),
                    Field::from("a-replica"),
                ]]
            }
            _ => Vec::new(),
        })
    }
}
