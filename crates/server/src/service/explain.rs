//! Why a job is where it is (contract A9).

use libra_api::views::{ExplainView, TimeSplit};
use libra_core::admission;
use libra_core::job::{Job, State};
use libra_core::time::Timestamp;
use libra_store::tables::transitions::LogRow;
use libra_store::tables::{jobs, transitions};

use super::replicas::usage_of;
use super::{Service, ServiceError};
use crate::auth::{Principal, Role};

/// How far ahead the place in the queue is counted.
const PLACES_COUNTED: u32 = 10_000;

impl Service {
    /// Says what keeps the job, or where its time went.
    pub(crate) async fn explain(&self, principal: &Principal, id: &str) -> Result<ExplainView, ServiceError> {
        let (job, _) = self.job(principal, id).await?;
        let (job_id, mode) = (job.id, job.mode);
        let (log, waiting, holding) = self
            .db
            .read(move |tx| {
                Ok((
                    transitions::of_job(tx, job_id)?,
                    jobs::waiting(tx, mode, PLACES_COUNTED)?,
                    jobs::holding(tx)?,
                ))
            })
            .await?;
        let mut view = ExplainView {
            job_id: job.id.to_string(),
            status: job.state.as_str().to_owned(),
            reason: self.engine_trouble(&job).unwrap_or_else(|| plain_reason(&job, &log)),
            position: None,
            blocked_by: None,
            held_by: Vec::new(),
            seconds: split(&log, self.clock.now()),
        };
        if job.state == State::Queued {
            let usage = usage_of(&holding);
            let place = waiting.iter().position(|w| w.id == job.id);
            view.position = place.map(|p| p as u64 + 1);
            let head = waiting.first().filter(|_| place != Some(0));
            let (what, needed) = match head {
                Some(head) => ("the job at the head of the queue", head.needed),
                None => ("it", job.requirement),
            };
            if let Some(blocked) =
                admission::blocked_by(job.mode, &needed, &usage, &self.config.limits, &self.standing.hosts())
            {
                view.reason = match (head, view.position) {
                    (Some(_), Some(n)) => {
                        format!("{} jobs are ahead of it; {what} waits: {}", n - 1, blocked.message)
                    }
                    _ => format!("it waits for room: {}", blocked.message),
                };
                view.blocked_by = Some(blocked.limit);
                // Other people's jobs are named only to those who may see them.
                if principal.role == Role::Admin {
                    view.held_by = holding
                        .iter()
                        .filter(|h| h.mode == job.mode || h.needed.host_cores() > 0)
                        .map(|h| h.id.to_string())
                        .collect();
                }
            } else {
                "its turn is coming: there is room".clone_into(&mut view.reason);
            }
        }
        Ok(view)
    }
}

impl Service {
    /// What keeps the job's engine from running it, while it waits for its engine.
    fn engine_trouble(&self, job: &Job) -> Option<String> {
        if job.state != State::Scheduled || job.stop.is_some() {
            return None;
        }
        self.engines.get(&job.mode)?.trouble().map(|text| format!("it waits for its engine: {text}"))
    }
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
