//! Jobs as the service stores them: new ones, and their way to SUCCEEDED as the changes that it writes.

use std::collections::BTreeMap;

use libra_core::attempt::{Attempt, Exit, Holder, Links, Outcome as Ended};
use libra_core::id::{JobId, Token};
use libra_core::job::{Draft, Job, TimeLimits};
use libra_core::lifecycle::{self, Event, Step};
use libra_core::mode::{Mode, ModeChoice};
use libra_core::requirement::{self, Surroundings};
use libra_core::spec::{JobSpec, Kind, Source};
use libra_core::time::Timestamp;
use libra_store::lane::{AttemptWrite, Change, Fence, Origin, Submission};

use crate::Outcome;

/// The host on which they run.
const HOST: &str = "a-machine";
const CODE: &str = "SELECT country, count(*) AS orders, sum(amount) AS revenue FROM sales.orders \
     WHERE day = DATE'2026-01-31' GROUP BY country ORDER BY revenue DESC";

/// The present moment.
pub(crate) fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A job that was just received: the one that `submissions` sends over HTTP.
pub(crate) fn draft() -> Outcome<Job> {
    let mut spec = JobSpec::new(Kind::Sql, Source::Code(CODE.into()));
    spec.name = Some("daily-orders".into());
    spec.mode = ModeChoice::Explicit(Mode::InCluster);
    spec.spark_config = BTreeMap::from([("spark.sql.shuffle.partitions".into(), "8".into())]);
    let around = Surroundings { host_cores: 2, default_master: "local[*]" };
    let needed = requirement::requirement(&spec.spark_config, around).map_err(|bad| format!("{bad:?}"))?;
    let now = now();
    Ok(Job::received(Draft {
        id: JobId::new(now, rand::random()),
        submitted_at: now,
        user: "local".into(),
        tenant: "default".into(),
        spec,
        mode: Mode::InCluster,
        requirement: requirement::in_mode(needed, Mode::InCluster),
        limits: TimeLimits { queue_seconds: Some(3_600), run_seconds: None, launch_seconds: Some(600) },
        correlation_id: JobId::new(now, rand::random()).to_string(),
    }))
}

/// A new job like `draft`, under an id of its own.
pub(crate) fn submission(draft: &Job) -> Submission {
    let now = now();
    let mut job = draft.clone();
    job.id = JobId::new(now, rand::random());
    job.submitted_at = now;
    let step = lifecycle::submit(job, now);
    Submission {
        log: step.log,
        origin: Origin { at: now, actor: step.job.user.clone(), metadata: None },
        job: step.job,
        outbox: Vec::new(),
        idempotency: None,
        max_queued: u64::MAX / 2,
    }
}

/// Under which leases the changes of a way are written.
pub(crate) struct Leases {
    /// The leader's.
    pub(crate) leader: Fence,
    /// The replica's own.
    pub(crate) own: Fence,
}

/// QUEUED → SCHEDULED → RUNNING → SUCCEEDED.
pub(crate) fn way(queued: &Job, leases: &Leases) -> Outcome<[Change; 3]> {
    let now = now();
    let handle = libra_core::attempt::Handle(serde_json::json!({"operation": queued.id.to_string()}));
    let holder = Holder { replica: leases.own.lease.clone(), epoch: leases.own.epoch };
    let scheduled = lifecycle::step(queued, Event::Admitted(HOST.into()), now)?;
    let attempt = Attempt {
        job_id: queued.id,
        number: 1,
        token: Token::new(now, rand::random()),
        mode: queued.mode,
        host: format!("{HOST}/a-boot"),
        storage: "a-storage".into(),
        holder: Some(holder),
        created_at: now,
        launched_at: Some(now),
        started_at: None,
        ended_at: None,
        handle: None,
        exit: None,
        progress: None,
        usage: None,
        looks: 0,
        application_id: None,
        links: Links::default(),
    };
    let running = lifecycle::step(&scheduled.job, Event::Started, now)?;
    let succeeded = lifecycle::step(&running.job, Event::Succeeded, now)?;
    let exit = Exit { outcome: Ended::Succeeded, exit_code: Some(0), signal: None, began: None, at: now };
    let start = AttemptWrite::Start { number: 1, at: now, handle: Some(handle) };
    let close = AttemptWrite::Close { number: 1, at: now, exit: Some(exit) };
    Ok([
        change(queued.revision, scheduled, AttemptWrite::Open(Box::new(attempt)), &leases.leader, now),
        change(queued.revision + 1, running, start, &leases.own, now),
        change(queued.revision + 2, succeeded, close, &leases.own, now),
    ])
}

fn change(expected_revision: i64, step: Step, attempt: AttemptWrite, fence: &Fence, at: Timestamp) -> Change {
    let metadata = serde_json::json!({"replica": fence.lease, "epoch": fence.epoch}).to_string();
    Change {
        expected_revision,
        job: step.job,
        log: step.log,
        origin: Origin { at, actor: "libra".into(), metadata: Some(metadata) },
        attempts: vec![attempt],
        outbox: Vec::new(),
        fence: Some(fence.clone()),
    }
}
