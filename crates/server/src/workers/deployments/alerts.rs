//! Messages for a deployment's webhook (contract A12, F5): rows of the outbox, written with the step that they tell of.

use libra_core::deployment::normal::Normal;
use libra_core::deployment::reconcile::{Alert, Effect, Event};
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::time::Timestamp;
use libra_store::lane::OutboxRow;
use serde_json::json;

use super::effects::kind;

/// What the topic of an alert is, where that of other messages is the state of a job.
const TOPIC: &str = "ALERT";
/// The messages that follow from a step of a deployment: `generation` is wanted, `job` stands for its run.
pub(super) fn of_a_step(
    normal: &Normal,
    effects: &[Effect],
    (generation, job): (u64, JobId),
    now: Timestamp,
) -> Vec<OutboxRow> {
    let events = effects.iter().filter_map(|effect| match effect {
        Effect::Emit(event) => Some((event, event.alert()?)),
        Effect::Upload { .. } | Effect::Run { .. } | Effect::Ask(_) | Effect::WaitUntil(_) => None,
    });
    let row = |(event, alert): (&Event, Alert)| {
        message(normal, alert, (kind(event), &event.to_string()), (generation, job), now)
    };
    events.filter_map(row).collect()
}

/// The message that the job of a run has ended as none should, if it has.
pub(super) fn of_an_end(normal: &Normal, generation: u64, job: &Job, now: Timestamp) -> Option<OutboxRow> {
    let kind = match job.state {
        State::Failed => "run_failed",
        State::Timeout => "run_timed_out",
        State::Submitted
        | State::Validating
        | State::Queued
        | State::Scheduled
        | State::Running
        | State::Succeeded
        | State::Retrying
        | State::Cancelled => return None,
    };
    let why = job.failure.as_ref().map_or("it had its time", |failure| failure.message.as_str());
    message(normal, Alert::Failure, (kind, why), (generation, job.id), now)
}

fn message(
    normal: &Normal,
    alert: Alert,
    (kind, message): (&str, &str),
    (generation, job): (u64, JobId),
    now: Timestamp,
) -> Option<OutboxRow> {
    let webhook = normal.monitoring.webhook.as_ref().filter(|_| normal.wants(alert))?;
    let payload = json!({
        "jobId": job.to_string(),
        "deployment": normal.job_id,
        "generation": generation,
        "alert": word(alert),
        "kind": kind,
        "message": message,
        "timestamp": now.rfc3339(),
        "correlationId": job.to_string(),
    });
    Some(OutboxRow { topic: TOPIC.to_owned(), target: webhook.clone(), payload: payload.to_string() })
}

fn word(alert: Alert) -> &'static str {
    match alert {
        Alert::Failure => "failure",
        Alert::Backpressure => "backpressure",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_what_somebody_wants_to_hear_is_sent() {
        let job = JobId::new(Timestamp(0), [1; 10]);
        let effects = [
            Effect::Emit(Event::ReachableAgain),
            Effect::Emit(Event::NotStable(2)),
            Effect::Emit(Event::KeepsUp),
            Effect::WaitUntil(Timestamp(1)),
        ];
        let told = |monitoring: &str| -> Vec<Value> {
            let text = format!(
                r#"{{"job_id": "etl", "job_type": "stream", "artifact_path": "a.jar", "monitoring": {monitoring}}}"#
            );
            let normal = Normal::of(&serde_json::from_str(&text).unwrap(), None);
            let rows = of_a_step(&normal, &effects, (2, job), Timestamp(0));
            assert!(rows.iter().all(|row| row.target == "https://a.example/hook"));
            let body = |row: &OutboxRow| serde_json::from_str(&row.payload).unwrap();
            rows.iter().map(body).collect()
        };
        assert_eq!(told("{}"), [Value::Null; 0]);
        let hook = r#""webhook": "https://a.example/hook""#;
        let failures = told(&format!("{{{hook}}}"));
        assert_eq!(failures.len(), 1);
        assert_eq!((&failures[0]["alert"], &failures[0]["kind"]), (&json!("failure"), &json!("not_stable")));
        assert_eq!((&failures[0]["deployment"], &failures[0]["generation"]), (&json!("etl"), &json!(2)));
        let pressure =
            told(&format!(r#"{{{hook}, "alert_on_failure": false, "alert_on_backpressure": true}}"#));
        assert_eq!(pressure.iter().map(|body| &body["kind"]).collect::<Vec<_>>(), ["keeps_up"]);
    }
}
