//! Messages for the world that follow from a step (contract A12): rows of the outbox, written with it.

use libra_core::job::{Job, State};
use libra_core::lifecycle::{Effect, Step};
use libra_core::time::Timestamp;
use libra_store::lane::OutboxRow;
use serde_json::json;

/// The outbox rows of a step: one for each state that the job's subscriber asked for.
pub(super) fn outbox(step: &Step, now: Timestamp) -> Vec<OutboxRow> {
    let Some(wanted) = &step.job.spec.notifications else { return Vec::new() };
    let asked = |state: State| {
        if wanted.events.is_empty() {
            state.is_terminal()
        } else {
            wanted.events.iter().any(|e| e == state.as_str())
        }
    };
    let states = step.effects.iter().filter_map(|effect| match effect {
        Effect::Notify(state) if asked(*state) => Some(*state),
        Effect::Notify(_)
        | Effect::WakeScheduler
        | Effect::WakeSupervisor(_)
        | Effect::OpenAttempt(_)
        | Effect::StartAttempt(_)
        | Effect::CloseAttempt(_) => None,
    });
    states.map(|state| row(&step.job, state, &wanted.webhook, now)).collect()
}

fn row(job: &Job, state: State, target: &str, now: Timestamp) -> OutboxRow {
    let error = job
        .failure
        .as_ref()
        .map(|f| json!({"class": f.class.as_str(), "code": f.code, "message": f.message}));
    let payload = json!({
        "jobId": job.id.to_string(),
        "status": state.as_str(),
        "timestamp": now.rfc3339(),
        "attempt": job.attempt,
        "correlationId": job.correlation_id,
        "error": error,
    });
    OutboxRow { topic: state.as_str().to_owned(), target: target.to_owned(), payload: payload.to_string() }
}
