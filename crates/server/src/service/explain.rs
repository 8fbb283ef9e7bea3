//! Why a job is where it is (contract A9).

use libra_api::turns::{BlockedView, ExplainView, TimeSplit};
use libra_core::attempt::Attempt;
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::mode::Mode;
use libra_core::time::Timestamp;
use libra_core::turn::{Blocked, Dimension, Explanation, Position};
use libra_store::tables::transitions;
use libra_store::tables::transitions::LogRow;

use super::turns::Explained;
use super::{Service, ServiceError};
use crate::auth::{Principal, may_see};

impl Service {
    /// Why a job waits, in words; None for one that does not.
    pub(super) async fn what_it_waits_for(&self, id: JobId) -> Result<Option<String>, ServiceError> {
        Ok(self.why_it_waits(id).await?.map(|waits| reason(&waits.explanation)))
    }

    /// Says what keeps the job, or where its time went.
    pub(crate) async fn explain(&self, principal: &Principal, id: &str) -> Result<ExplainView, ServiceError> {
        let (job, attempts) = self.job(principal, id).await?;
        let job_id = job.id;
        let waits = if job.state == State::Queued { self.why_it_waits(job_id).await? } else { None };
        let log = self.db.read(move |tx| transitions::of_job(tx, job_id)).await?;
        let mut view = ExplainView {
            job_id: job.id.to_string(),
            status: job.state.as_str().to_owned(),
            reason: self
                .engine_trouble(&job)
                .or_else(|| where_it_waits(&job, attempts.last()))
                .unwrap_or_else(|| plain_reason(&job, &log)),
            position: None,
            position_is_least: false,
            blocked_by: None,
            estimated_start_time: None,
            estimate_basis: None,
            seconds: split(&log, self.clock.now()),
        };
        if let Some(waits) = waits {
            tell(&mut view, principal, waits);
        }
        Ok(view)
    }
}

/// Why a job waits, in words.
fn reason(explanation: &Explanation) -> String {
    let ahead = match explanation.position {
        None => None,
        Some(Position::Exactly(n)) => (n > 1).then(|| match n {
            2 => "1 job is ahead of it".to_owned(),
            n => format!("{} jobs are ahead of it", n - 1),
        }),
        Some(Position::AtLeast(n)) => Some(format!("more than {} jobs are ahead of it", n.saturating_sub(1))),
    };
    let waits_for = explanation.blocked.as_ref().map(|blocked| {
        let how = if blocked.never { "it can't start" } else { "it waits for room" };
        format!("{how}: {}", blocked.message)
    });
    match (ahead, waits_for) {
        (Some(ahead), Some(waits_for)) => format!("{ahead}; {waits_for}"),
        (Some(ahead), None) => format!("{ahead}; there is room, and it is looked at again at once"),
        (None, Some(waits_for)) => waits_for,
        (None, None) => "its turn is coming: there is room".to_owned(),
    }
}

/// Fills in why a job waits.
fn tell(view: &mut ExplainView, principal: &Principal, waits: Explained) {
    let Explained { explanation, owners } = waits;
    view.reason = reason(&explanation);
    view.position_is_least = matches!(explanation.position, Some(Position::AtLeast(_)));
    view.position = explanation.position.map(|position| match position {
        Position::Exactly(n) | Position::AtLeast(n) => n as u64,
    });
    view.estimated_start_time = explanation.start.at.map(Timestamp::rfc3339);
    view.estimate_basis = Some(explanation.start.basis);
    view.blocked_by = explanation.blocked.map(|blocked| {
        // Other people's jobs are named only to those who may see them.
        let mine =
            |id| owners.iter().any(|(job, tenant, user)| *job == id && may_see(principal, user, tenant));
        BlockedView {
            unit: unit(&blocked).to_owned(),
            holders: blocked.holders.iter().filter(|id| mine(**id)).map(ToString::to_string).collect(),
            holders_total: blocked.holders_count as u64,
            limit: blocked.limit,
            message: blocked.message,
            used: blocked.used,
            requested: blocked.requested,
            capacity: blocked.capacity,
        }
    });
}

fn unit(blocked: &Blocked) -> &'static str {
    match blocked.of {
        None => "jobs",
        Some(Dimension::Cores) => "cores",
        Some(Dimension::Memory) => "bytes",
        Some(Dimension::Gpus) => "gpus",
        Some(Dimension::Slots) => "slots",
    }
}

impl Service {
    /// What keeps the job's engine from running it, while it waits for its engine.
    fn engine_trouble(&self, job: &Job) -> Option<String> {
        if job.stop.is_some() || !job.state.holds_resources() {
            return None;
        }
        if job.mode == Mode::Slurm
            && let Some(text) = self.slurm.trouble(job.spec.cluster.as_deref())
        {
            return Some(format!("what has become of it is not known: its cluster can't be read: {text}"));
        }
        if job.state != State::Scheduled {
            return None;
        }
        self.engines
            .get(&job.mode)?
            .trouble_of(&job.spec)
            .map(|text| format!("it waits for its engine: {text}"))
    }
}

/// What an engine with a queue of its own says of a job that is there.
fn where_it_waits(job: &Job, attempt: Option<&Attempt>) -> Option<String> {
    // Slurm may have put back what ran.
    let there = job.state == State::Scheduled || (job.state == State::Running && job.mode == Mode::Slurm);
    let waits = there && job.stop.is_none();
    attempt?.progress.as_ref()?.current_stage.clone().filter(|_| waits)
}

fn plain_reason(job: &Job, log: &[LogRow]) -> String {
    match (job.state, &job.failure, job.stop) {
        (State::Scheduled | State::Running, _, Some(_)) => {
            "it is being ended; this takes until the engine confirms that nothing of it is alive".to_owned()
        }
        (State::Failed | State::Timeout | State::Retrying, Some(failure), _) => failure.message.clone(),
        _ => log.last().map(|row| row.transition.reason.clone()).unwrap_or_default(),
    }
}

/// Adds up the time between the rows of the log, by the state it was spent in.
fn split(log: &[LogRow], now: Timestamp) -> TimeSplit {
    let mut split = TimeSplit::default();
    let ends = log.iter().skip(1).map(|row| row.at).chain([now]);
    for (row, end) in log.iter().zip(ends) {
        let seconds = end.seconds_since(row.at);
        match row.transition.to {
            State::Queued => split.queued += seconds,
            State::Scheduled => split.launching += seconds,
            State::Running => split.running += seconds,
            State::Retrying => split.backoff += seconds,
            State::Submitted
            | State::Validating
            | State::Succeeded
            | State::Failed
            | State::Cancelled
            | State::Timeout => {}
        }
    }
    split
}
