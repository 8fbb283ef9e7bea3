//! Steps of the lifecycle, in one statement: jobs, attempts, log rows and messages.
//!
//! A row of the statement carries all that belongs to one change, in as many places as changes usually need; one
//! that needs more goes through a transaction of its own.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use libra_core::attempt::Attempt;
use libra_core::job::{State, StopReason};
use tokio_postgres::types::ToSql;

use super::Command;
use crate::error::StoreError;
use crate::lane::{AttemptWrite, Change, Outcome, Seen};
use crate::postgres::connection::Failure;
use crate::postgres::pool::Pool;
use crate::postgres::rows::{Of, Rows, unnest};
use crate::postgres::tx::{Begin, run};
use crate::tables;
use crate::tables::attempts::SeenTexts;
use crate::tables::json;
use crate::tx::Arg;

/// Log rows of one change.
const LOG_PLACES: usize = 2;
/// Messages of one change.
const OUTBOX_PLACES: usize = 2;

const COLUMNS: [(&str, Of); 59] = [
    ("id", Of::Text),
    ("expected", Of::Int),
    ("revision", Of::Int),
    ("state", Of::Text),
    ("attempt", Of::Int),
    ("retries", Of::Int),
    ("lost_launches", Of::Int),
    ("queued_at", Of::Int),
    ("scheduled_at", Of::Int),
    ("started_at", Of::Int),
    ("completed_at", Of::Int),
    ("not_before", Of::Int),
    ("cancel_requested_at", Of::Int),
    ("stop", Of::Text),
    ("failure", Of::Text),
    ("due_at", Of::Int),
    ("host", Of::Text),
    ("lease", Of::Text),
    ("lease_epoch", Of::Int),
    // Where the log rows come from.
    ("at", Of::Int),
    ("actor", Of::Text),
    ("metadata", Of::Text),
    ("correlation_id", Of::Text),
    // Log rows.
    ("from_1", Of::Text),
    ("to_1", Of::Text),
    ("reason_1", Of::Text),
    ("attempt_1", Of::Int),
    ("from_2", Of::Text),
    ("to_2", Of::Text),
    ("reason_2", Of::Text),
    ("attempt_2", Of::Int),
    // A new attempt, when there is a token.
    ("a_number", Of::Int),
    ("a_token", Of::Text),
    ("a_mode", Of::Text),
    ("a_host", Of::Text),
    ("a_epoch", Of::Int),
    ("a_created_at", Of::Int),
    ("a_launched_at", Of::Int),
    ("a_links", Of::Text),
    ("a_holder", Of::Text),
    ("a_storage", Of::Text),
    // What becomes of an attempt.
    ("w_number", Of::Int),
    ("w_started_at", Of::Int),
    ("w_handle", Of::Text),
    ("w_ended_at", Of::Int),
    ("w_exit", Of::Text),
    // What a look at it brought, when there is a count of looks.
    ("w_looks", Of::Int),
    ("w_progress", Of::Text),
    ("w_application_id", Of::Text),
    ("w_links", Of::Text),
    ("w_usage", Of::Text),
    ("w_began", Of::Int),
    // Messages.
    ("topic_1", Of::Text),
    ("target_1", Of::Text),
    ("payload_1", Of::Text),
    ("topic_2", Of::Text),
    ("target_2", Of::Text),
    ("payload_2", Of::Text),
    ("queues", Of::Int),
];

/// The leases are held until the commit: whoever takes one waits for it, and what comes later is refused.
/// `ended_at` is asked for in such a way that the index of open attempts is not even considered: it would be walked
/// from end to end.
static SQL: LazyLock<String> = LazyLock::new(|| {
    let changes = unnest("c", &COLUMNS, 1);
    let carried: Vec<String> = COLUMNS[19..].iter().map(|(name, _)| format!("c.{name}")).collect();
    let carried = carried.join(", ");
    format!(
        "WITH fence AS MATERIALIZED ( \
           SELECT name, epoch FROM leases WHERE name = ANY($1::text[]) FOR KEY SHARE), \
         updated AS ( \
           UPDATE jobs j SET revision = c.revision, state = c.state, attempt = c.attempt, retries = c.retries, \
             lost_launches = c.lost_launches, queued_at = c.queued_at, scheduled_at = c.scheduled_at, \
             started_at = c.started_at, completed_at = c.completed_at, not_before = c.not_before, \
             cancel_requested_at = c.cancel_requested_at, stop = c.stop, failure = c.failure, due_at = c.due_at, \
             host = c.host \
           FROM {changes} \
           WHERE j.id = c.id AND j.revision = c.expected AND (c.lease IS NULL OR EXISTS ( \
             SELECT 1 FROM fence f WHERE f.name = c.lease AND f.epoch = c.lease_epoch)) \
           RETURNING c.ord, c.id, c.revision, {carried}), \
         opened AS ( \
           INSERT INTO attempts (job_id, number, token, mode, host, epoch, created_at, launched_at, links, holder, \
             storage) \
           SELECT id, a_number, a_token, a_mode, a_host, a_epoch, a_created_at, a_launched_at, a_links, a_holder, \
             a_storage FROM updated WHERE a_token IS NOT NULL), \
         written AS ( \
           UPDATE attempts a SET \
             started_at = COALESCE(u.w_started_at, CASE WHEN u.w_looks = a.looks THEN u.w_began END, a.started_at), \
             handle = COALESCE(u.w_handle, a.handle), ended_at = u.w_ended_at, exit = COALESCE(u.w_exit, a.exit), \
             progress = COALESCE(CASE WHEN u.w_looks = a.looks THEN u.w_progress END, a.progress), \
             application_id = COALESCE(CASE WHEN u.w_looks = a.looks THEN u.w_application_id END, a.application_id), \
             links = CASE WHEN u.w_looks = a.looks THEN u.w_links ELSE a.links END, \
             usage = COALESCE(CASE WHEN u.w_looks = a.looks THEN u.w_usage END, a.usage), \
             looks = CASE WHEN u.w_looks = a.looks THEN a.looks + 1 ELSE a.looks END \
           FROM updated u WHERE a.job_id = u.id AND a.number = u.w_number AND COALESCE(a.ended_at, -1) = -1), \
         logged AS ( \
           INSERT INTO transitions (job_id, revision, from_state, to_state, at, actor, reason, attempt, \
             correlation_id, metadata) \
           SELECT u.id, u.revision, l.from_state, l.to_state, u.at, u.actor, l.reason, l.attempt, u.correlation_id, \
             u.metadata \
           FROM updated u CROSS JOIN LATERAL (VALUES (1, from_1, to_1, reason_1, attempt_1), \
             (2, from_2, to_2, reason_2, attempt_2)) AS l(place, from_state, to_state, reason, attempt) \
           WHERE l.to_state IS NOT NULL ORDER BY u.ord, l.place), \
         told AS ( \
           INSERT INTO outbox (job_id, topic, target, payload, created_at, tries, next_at) \
           SELECT u.id, m.topic, m.target, m.payload, u.at, 0, 0 \
           FROM updated u CROSS JOIN LATERAL (VALUES (1, topic_1, target_1, payload_1), \
             (2, topic_2, target_2, payload_2)) AS m(place, topic, target, payload) \
           WHERE m.topic IS NOT NULL ORDER BY u.ord, m.place) \
         SELECT ord, CASE WHEN queues = 1 THEN nextval('queue_tickets') END FROM updated"
    )
});

impl Command for Change {
    type Answer = Outcome;
    type Store = Arc<Pool>;

    fn key(&self) -> impl Hash {
        self.job.id
    }

    fn bytes(&self) -> usize {
        1_024 + self.outbox.iter().map(|m| m.payload.len()).sum::<usize>()
    }

    async fn write(pool: &Arc<Arc<Pool>>, batch: Vec<Self>) -> Vec<Result<Outcome, StoreError>> {
        let (fitting, rest): (Vec<_>, Vec<_>) = batch.into_iter().enumerate().partition(|(_, c)| fits(c));
        let (places, fitting): (Vec<usize>, Vec<Change>) = fitting.into_iter().unzip();
        let mut answers: Vec<_> = places.into_iter().zip(together(pool, &fitting).await).collect();
        for (place, change) in rest {
            answers.push((place, alone(pool, change).await));
        }
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

/// True when the change has no more parts than a row has places.
fn fits(change: &Change) -> bool {
    let opened = change.attempts.iter().filter(|w| matches!(w, AttemptWrite::Open(_))).count();
    let numbers: BTreeSet<u32> = change.attempts.iter().map(number).collect();
    let one = match opened {
        0 => numbers.len() <= 1,
        1 => change.attempts.len() == 1,
        _ => false,
    };
    one && change.log.len() <= LOG_PLACES && change.outbox.len() <= OUTBOX_PLACES
}

fn number(write: &AttemptWrite) -> u32 {
    match write {
        AttemptWrite::Open(attempt) => attempt.number,
        AttemptWrite::Start { number, .. }
        | AttemptWrite::Close { number, .. }
        | AttemptWrite::Look { number, .. } => *number,
    }
}

/// A change in a transaction of its own, with as many parts as it has.
async fn alone(pool: &Arc<Pool>, change: Change) -> Result<Outcome, StoreError> {
    let (said, answer) = tokio::sync::oneshot::channel();
    let work = Box::new(move |tx: &mut dyn crate::tx::Tx| {
        // The receiver waits for the end of this transaction.
        let _ = said.send(tables::changes::apply(tx, &change)?);
        Ok(())
    });
    run(Arc::clone(pool), Begin::Write, work).await?;
    answer.await.map_err(|_| StoreError::Closed)
}

async fn together(pool: &Arc<Pool>, batch: &[Change]) -> Vec<Result<Outcome, StoreError>> {
    match write(pool, batch).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(Wrong::Server(failure)) if batch.len() > 1 && failure.perhaps_one_by_one() => {
            let mut answers = Vec::with_capacity(batch.len());
            for one in batch.chunks(1) {
                let outcome = write(pool, one).await.map_err(StoreError::from);
                answers.push(outcome.and_then(|o| o.into_iter().next().ok_or(StoreError::Closed)));
            }
            answers
        }
        Err(wrong) => {
            let e = StoreError::from(wrong);
            batch.iter().map(|_| Err(e.clone())).collect()
        }
    }
}

enum Wrong {
    Server(Failure),
    Here(StoreError),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

impl From<StoreError> for Wrong {
    fn from(e: StoreError) -> Self {
        Self::Here(e)
    }
}

impl From<Wrong> for StoreError {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Server(failure) => failure.into(),
            Wrong::Here(e) => e,
        }
    }
}

async fn write(pool: &Arc<Pool>, batch: &[Change]) -> Result<Vec<Outcome>, Wrong> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let texts = batch.iter().map(Texts::of).collect::<Result<Vec<_>, _>>()?;
    let mut rows = Rows::new(&COLUMNS);
    for (change, texts) in batch.iter().zip(&texts) {
        rows.push(row(change, texts));
    }
    let leases: BTreeSet<&str> =
        batch.iter().filter_map(|c| Some(c.fence.as_ref()?.lease.as_str())).collect();
    let leases: Vec<&str> = leases.into_iter().collect();
    let mut arguments: Vec<&(dyn ToSql + Sync)> = vec![&leases];
    arguments.extend(rows.arguments());

    let mut connection = pool.get().await?;
    let written = connection.query(&SQL, &arguments).await?;
    let updated: HashSet<i64> = written.iter().map(|row| row.get(0)).collect();
    let missed: Vec<&str> = (1i64..)
        .zip(&texts)
        .filter(|(n, _)| !updated.contains(n))
        .map(|(_, texts)| texts.id.as_str())
        .collect();
    let mut there: HashSet<String> = HashSet::new();
    if !missed.is_empty() {
        let found = connection.query("SELECT id FROM jobs WHERE id = ANY($1::text[])", &[&missed]).await?;
        there.extend(found.iter().map(|row| row.get::<_, String>(0)));
    }
    Ok((1i64..)
        .zip(&texts)
        .map(|(n, texts)| match updated.contains(&n) {
            true => Outcome::Updated,
            false if there.contains(&texts.id) => Outcome::Stale,
            false => Outcome::Absent,
        })
        .collect())
}

/// What a change carries as text, made for it.
struct Texts<'a> {
    id: String,
    failure: Option<String>,
    opened: Option<(&'a Attempt, String, String)>,
    /// Start and end of one attempt in one change are one write.
    written: Option<u32>,
    started_at: Option<i64>,
    handle: Option<String>,
    ended_at: Option<i64>,
    exit: Option<String>,
    look: Option<(&'a Seen, SeenTexts)>,
}

impl<'a> Texts<'a> {
    fn of(change: &'a Change) -> Result<Self, StoreError> {
        let mut texts = Self {
            id: change.job.id.to_string(),
            failure: change.job.failure.as_ref().map(|f| json("failure", f)).transpose()?,
            opened: None,
            written: None,
            started_at: None,
            handle: None,
            ended_at: None,
            exit: None,
            look: None,
        };
        for write in &change.attempts {
            match write {
                AttemptWrite::Open(a) => {
                    texts.opened = Some((a, a.token.to_string(), json("links", &a.links)?));
                }
                AttemptWrite::Start { number, at, handle } => {
                    texts.written = Some(*number);
                    texts.started_at = Some(at.0);
                    texts.handle = handle.as_ref().map(|h| json("handle", h)).transpose()?;
                }
                AttemptWrite::Close { number, at, exit } => {
                    texts.written = Some(*number);
                    texts.ended_at = Some(at.0);
                    texts.exit = exit.as_ref().map(|e| json("exit", e)).transpose()?;
                }
                AttemptWrite::Look { number, seen } => {
                    texts.written = Some(*number);
                    texts.look = Some((seen, SeenTexts::of(seen)?));
                }
            }
        }
        Ok(texts)
    }
}

fn row<'a>(change: &'a Change, texts: &'a Texts<'a>) -> Vec<Arg<'a>> {
    let job = &change.job;
    let time = |t: Option<libra_core::time::Timestamp>| Arg::from(t.map(|t| t.0));
    let mut row = vec![
        Arg::from(&texts.id),
        change.expected_revision.into(),
        job.revision.into(),
        job.state.as_str().into(),
        job.attempt.into(),
        job.retries.into(),
        job.lost_launches.into(),
        time(job.queued_at),
        time(job.scheduled_at),
        time(job.started_at),
        time(job.completed_at),
        time(job.not_before),
        time(job.cancel_requested_at),
        job.stop.map(StopReason::as_str).into(),
        texts.failure.as_ref().into(),
        time(job.due_at()),
        job.host.as_ref().into(),
        change.fence.as_ref().map(|f| &f.lease).into(),
        change.fence.as_ref().map(|f| f.epoch).into(),
        change.origin.at.0.into(),
        Arg::from(&change.origin.actor),
        change.origin.metadata.as_ref().into(),
        Arg::from(&job.correlation_id),
    ];
    for place in 0..LOG_PLACES {
        let log = change.log.get(place);
        row.extend::<[Arg<'_>; 4]>([
            log.and_then(|t| t.from).map(State::as_str).into(),
            log.map(|t| t.to.as_str()).into(),
            log.map(|t| &t.reason).into(),
            log.map(|t| t.attempt).into(),
        ]);
    }
    let opened = texts.opened.as_ref();
    let look = texts.look.as_ref();
    row.extend::<[Arg<'_>; 21]>([
        opened.map(|(a, ..)| a.number).into(),
        opened.map(|(_, token, _)| token).into(),
        opened.map(|(a, ..)| a.mode.as_str()).into(),
        opened.map(|(a, ..)| &a.host).into(),
        opened.map(|(a, ..)| a.holder.as_ref().map_or(0, |h| h.epoch)).into(),
        opened.map(|(a, ..)| a.created_at.0).into(),
        opened.and_then(|(a, ..)| a.launched_at).map(|t| t.0).into(),
        opened.map(|(.., links)| links).into(),
        opened.and_then(|(a, ..)| a.holder.as_ref()).map(|h| &h.replica).into(),
        opened.map(|(a, ..)| &a.storage).into(),
        texts.written.into(),
        texts.started_at.into(),
        texts.handle.as_ref().into(),
        texts.ended_at.into(),
        texts.exit.as_ref().into(),
        look.map(|(seen, _)| seen.after).into(),
        look.and_then(|(_, texts)| texts.progress.as_ref()).into(),
        look.and_then(|(seen, _)| seen.application_id.as_ref()).into(),
        look.map(|(_, texts)| &texts.links).into(),
        look.and_then(|(_, texts)| texts.usage.as_ref()).into(),
        look.and_then(|(seen, _)| seen.began).map(|t| t.0).into(),
    ]);
    for place in 0..OUTBOX_PLACES {
        let message = change.outbox.get(place);
        row.extend::<[Arg<'_>; 3]>([
            message.map(|m| &m.topic).into(),
            message.map(|m| &m.target).into(),
            message.map(|m| &m.payload).into(),
        ]);
    }
    row.push(Arg::Int(i64::from(job.state == State::Queued)));
    row
}
