//! Cancelling: a durable intent first, the engine afterwards (contract L6).

use std::sync::Arc;
use std::time::Duration;

use libra_api::problem::Code;
use libra_api::views::CancelView;
use libra_core::job::{Job, State};
use libra_core::lifecycle::{Event, Rejected};
use libra_core::mode::Mode;
use libra_core::time::Timestamp;

use super::step::FromEngine;
use super::{Applied, ByWhom, Service, ServiceError};
use crate::auth::Principal;

/// DELETE waits this long for the end.
const CANCEL_WAIT: Duration = Duration::from_secs(5);
/// A job that changes under the request is read again this often.
const MAX_TRIES: u32 = 20;

impl Service {
    /// Asks for the end of a job; true beside the view when it has come.
    pub(crate) async fn cancel(
        self: &Arc<Self>,
        principal: &Principal,
        id: &str,
    ) -> Result<(CancelView, bool), ServiceError> {
        for _ in 0..MAX_TRIES {
            let (job, _) = self.job(principal, id).await?;
            if job.state == State::Cancelled {
                return Ok((view(&job), true));
            }
            if job.state.is_terminal() {
                return Err(ended(job.state));
            }
            if job.mode == Mode::Flink {
                // Its deployment would begin another run in its place, and may have been resumed since.
                self.want_no_run(principal, &job).await?;
            }
            if job.cancel_requested_at.is_some() {
                // Whoever looks after it may not have heard of the first request.
                self.changed(job.id);
                if job.mode == Mode::Flink {
                    self.tell_deployment_of(&job);
                }
            } else {
                let who = ByWhom::User(principal.user.clone());
                match self.step(&job, Event::CancelRequested, who, FromEngine::default()).await? {
                    Applied::Done(job, _) if job.mode == Mode::Flink => self.tell_deployment_of(&job),
                    Applied::Done(..) => {}
                    Applied::Stale => continue,
                    Applied::Rejected(Rejected::Terminal(state) | Rejected::NotNow(state)) => {
                        return Err(ended(state));
                    }
                }
            }
            let (job, _) = self.job_after(principal, id, CANCEL_WAIT, |job| job.state.is_terminal()).await?;
            if job.state.is_terminal() && job.state != State::Cancelled {
                return Err(ended(job.state));
            }
            return Ok((view(&job), job.state == State::Cancelled));
        }
        Err(ServiceError::new(Code::Unavailable, "the job changes too fast to be cancelled; try again")
            .retry_after(1))
    }
}

fn ended(state: State) -> ServiceError {
    ServiceError::new(
        Code::AlreadyEnded,
        format!("the job has already ended as {state}; nothing was changed"),
    )
}

fn view(job: &Job) -> CancelView {
    let message = match job.state {
        State::Cancelled => "Job cancelled successfully".to_owned(),
        State::Succeeded
        | State::Failed
        | State::Timeout
        | State::Submitted
        | State::Validating
        | State::Queued
        | State::Scheduled
        | State::Running
        | State::Retrying => "Cancellation is under way; ask again for the job's status".to_owned(),
    };
    CancelView {
        job_id: job.id.to_string(),
        status: job.state.as_str().to_owned(),
        cancelled_at: job.completed_at.filter(|_| job.state == State::Cancelled).map(Timestamp::rfc3339),
        cancel_requested_at: job.cancel_requested_at.map(Timestamp::rfc3339),
        message,
    }
}
