//! The statement that stores new jobs.

use std::sync::LazyLock;

use libra_core::job::{State, StopReason};
use libra_core::spec::Source;
use libra_core::time::Timestamp;
use tokio_postgres::types::ToSql;

use super::room::LOCK;
use crate::error::StoreError;
use crate::lane::Submission;
use crate::postgres::connection::{Connection, Failure};
use crate::postgres::rows::{Of, Rows, names, unnest};
use crate::tables::jobs::SpecTexts;
use crate::tables::json;
use crate::tx::Arg;

/// The columns of `jobs`.
const JOBS: [(&str, Of); 28] = [
    ("id", Of::Text),
    ("revision", Of::Int),
    ("state", Of::Text),
    ("user_id", Of::Text),
    ("tenant", Of::Text),
    ("name", Of::Text),
    ("kind", Of::Text),
    ("engine", Of::Text),
    ("mode", Of::Text),
    ("queue", Of::Text),
    ("cluster", Of::Text),
    ("priority", Of::Int),
    ("requirement", Of::Text),
    ("attempt", Of::Int),
    ("retries", Of::Int),
    ("lost_launches", Of::Int),
    ("submitted_at", Of::Int),
    ("queued_at", Of::Int),
    ("scheduled_at", Of::Int),
    ("started_at", Of::Int),
    ("completed_at", Of::Int),
    ("not_before", Of::Int),
    ("due_at", Of::Int),
    ("cancel_requested_at", Of::Int),
    ("stop", Of::Text),
    ("failure", Of::Text),
    ("correlation_id", Of::Text),
    ("host", Of::Text),
];

/// The columns of `job_specs` that `jobs` has not.
const SPECS: [(&str, Of); 4] =
    [("limits", Of::Text), ("retry", Of::Text), ("spec", Of::Text), ("source", Of::Text)];

const LABELS: [(&str, Of); 3] = [("job_id", Of::Text), ("key", Of::Text), ("value", Of::Text)];

const LOG: [(&str, Of); 10] = [
    ("job_id", Of::Text),
    ("revision", Of::Int),
    ("from_state", Of::Text),
    ("to_state", Of::Text),
    ("at", Of::Int),
    ("actor", Of::Text),
    ("reason", Of::Text),
    ("attempt", Of::Int),
    ("correlation_id", Of::Text),
    ("metadata", Of::Text),
];

const OUTBOX: [(&str, Of); 5] = [
    ("job_id", Of::Text),
    ("topic", Of::Text),
    ("target", Of::Text),
    ("payload", Of::Text),
    ("created_at", Of::Int),
];

/// All or nothing: nothing when there may be no room for the last of them. `$1` is the lock, `$2` how many tickets
/// they need, `$3` the greatest ticket for which there is room.
static SQL: LazyLock<String> = LazyLock::new(|| {
    let specs: Vec<(&str, Of)> = JOBS.iter().chain(&SPECS).copied().collect();
    let mut before = 3;
    let mut from = |name: &str, columns: &[(&str, Of)]| {
        let rows = unnest(name, columns, before);
        before += columns.len();
        rows
    };
    let (jobs, labels, log, outbox) =
        (from("j", &specs), from("l", &LABELS), from("t", &LOG), from("o", &OUTBOX));
    let open = "(SELECT yes FROM open)";
    format!(
        "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared($1)), \
         open AS MATERIALIZED ( \
           SELECT COALESCE(MAX(nextval('queue_tickets')) <= $3, TRUE) AS yes FROM gate CROSS JOIN generate_series(1, $2::bigint)), \
         new AS MATERIALIZED (SELECT * FROM {jobs} WHERE {open}), \
         stored AS (INSERT INTO jobs ({job_names}) SELECT {job_names} FROM new ORDER BY ord), \
         specified AS ( \
           INSERT INTO job_specs (job_id, user_id, tenant, mode, kind, name, queue, cluster, {spec_names}) \
           SELECT id, user_id, tenant, mode, kind, name, queue, cluster, {spec_names} FROM new ORDER BY ord), \
         labelled AS ( \
           INSERT INTO job_labels ({label_names}) SELECT {label_names} FROM {labels} WHERE {open}), \
         logged AS ( \
           INSERT INTO transitions ({log_names}) SELECT {log_names} FROM {log} WHERE {open} ORDER BY ord), \
         told AS ( \
           INSERT INTO outbox ({outbox_names}, tries, next_at) \
           SELECT {outbox_names}, 0, 0 FROM {outbox} WHERE {open} ORDER BY ord) \
         SELECT yes FROM open",
        job_names = names(&JOBS),
        spec_names = names(&SPECS),
        label_names = names(&LABELS),
        log_names = names(&LOG),
        outbox_names = names(&OUTBOX),
    )
});

/// A submission with what it carries as text.
pub(super) struct Prepared<'a> {
    pub(super) submission: &'a Submission,
    pub(super) id: String,
    requirement: String,
    failure: Option<String>,
    spec: SpecTexts,
}

impl<'a> Prepared<'a> {
    pub(super) fn of(submission: &'a Submission) -> Result<Self, StoreError> {
        let job = &submission.job;
        Ok(Self {
            submission,
            id: job.id.to_string(),
            requirement: json("requirement", &job.requirement)?,
            failure: job.failure.as_ref().map(|f| json("failure", f)).transpose()?,
            spec: SpecTexts::of(job)?,
        })
    }
}

/// How much a submission is, in bytes, about.
pub(super) fn bytes(submission: &Submission) -> usize {
    let program = match &submission.job.spec.source {
        Source::Code(text) | Source::File(text) => text.len(),
    };
    4_096 + program + submission.outbox.iter().map(|m| m.payload.len()).sum::<usize>()
}

/// Whether tickets have to be drawn for new jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tickets {
    /// Yes; they are stored if no ticket is greater than this one.
    Until(i64),
    /// They were.
    Drawn,
}

/// Stores all of them, or none; says whether.
pub(super) async fn insert(
    connection: &mut Connection,
    new: &[&Prepared<'_>],
    tickets: Tickets,
) -> Result<bool, Failure> {
    let specs: Vec<(&str, Of)> = JOBS.iter().chain(&SPECS).copied().collect();
    let (mut jobs, mut labels) = (Rows::new(&specs), Rows::new(&LABELS));
    let (mut log, mut outbox) = (Rows::new(&LOG), Rows::new(&OUTBOX));
    for one in new {
        jobs.push(job(one));
        let (id, submission) = (&one.id, one.submission);
        for (key, value) in &submission.job.spec.labels {
            labels.push([Arg::from(id), Arg::from(key), Arg::from(value)]);
        }
        for t in &submission.log {
            log.push([
                Arg::from(id),
                submission.job.revision.into(),
                t.from.map(State::as_str).into(),
                t.to.as_str().into(),
                submission.origin.at.0.into(),
                Arg::from(&submission.origin.actor),
                Arg::from(&t.reason),
                t.attempt.into(),
                Arg::from(&submission.job.correlation_id),
                submission.origin.metadata.as_ref().into(),
            ]);
        }
        for message in &submission.outbox {
            outbox.push([
                Arg::from(id),
                Arg::from(&message.topic),
                Arg::from(&message.target),
                Arg::from(&message.payload),
                submission.origin.at.0.into(),
            ]);
        }
    }
    let (count, until) = match tickets {
        Tickets::Until(until) => (i64::try_from(new.len()).unwrap_or(i64::MAX), until),
        Tickets::Drawn => (0, i64::MAX),
    };
    let mut arguments: Vec<&(dyn ToSql + Sync)> = vec![&LOCK, &count, &until];
    arguments.extend(jobs.arguments());
    arguments.extend(labels.arguments());
    arguments.extend(log.arguments());
    arguments.extend(outbox.arguments());
    let answer = connection.query(&SQL, &arguments).await?;
    Ok(answer.first().is_some_and(|row| row.get(0)))
}

fn job<'a>(new: &'a Prepared<'_>) -> [Arg<'a>; 32] {
    let job = &new.submission.job;
    let time = |t: Option<Timestamp>| Arg::from(t.map(|t| t.0));
    [
        Arg::from(&new.id),
        job.revision.into(),
        job.state.as_str().into(),
        Arg::from(&job.user),
        Arg::from(&job.tenant),
        job.spec.name.as_ref().into(),
        job.spec.kind.as_str().into(),
        job.mode.engine().into(),
        job.mode.as_str().into(),
        job.spec.queue.as_ref().into(),
        job.spec.cluster.as_ref().into(),
        Arg::Int(i64::from(job.spec.priority)),
        Arg::from(&new.requirement),
        job.attempt.into(),
        job.retries.into(),
        job.lost_launches.into(),
        job.submitted_at.0.into(),
        time(job.queued_at),
        time(job.scheduled_at),
        time(job.started_at),
        time(job.completed_at),
        time(job.not_before),
        time(job.due_at()),
        time(job.cancel_requested_at),
        job.stop.map(StopReason::as_str).into(),
        new.failure.as_ref().into(),
        Arg::from(&job.correlation_id),
        job.host.as_ref().into(),
        Arg::from(&new.spec.limits),
        Arg::from(&new.spec.retry),
        Arg::from(&new.spec.spec),
        Arg::from(&new.spec.source),
    ]
}
