//! From stored rows to views.

use libra_api::feed::{FeedEventView, WebhookView};
use libra_api::views::{
    AttemptView, ErrorView, EventView, JobView, LimitsView, LinksView, ProgressView, ResourcesView, UsageView,
};
use libra_core::attempt::{Attempt, Outcome};
use libra_core::failure::Failure;
use libra_core::job::{Job, State};
use libra_core::memory::GIB;
use libra_core::mode::Mode;
use libra_core::requirement::Requirement;
use libra_core::time::Timestamp;
use libra_store::tables::deliveries::{Delivery, Standing};
use libra_store::tables::feed::FeedRow;
use libra_store::tables::transitions::LogRow;
use serde_json::Value;

use crate::webhooks::message_id;

fn text(time: Option<Timestamp>) -> Option<String> {
    time.map(Timestamp::rfc3339)
}

fn error(failure: &Failure) -> ErrorView {
    ErrorView {
        class: failure.class.as_str().to_owned(),
        code: failure.code.clone(),
        message: failure.message.clone(),
        detail: failure.detail.clone(),
        outcome: failure.outcome_unknown.then(|| "unknown".to_owned()),
    }
}

/// Driver and executors together. The shared server's driver is nobody's: an in-cluster job has the executors it
/// asked for, without overhead, as the reference counts them.
pub(super) fn resources(needed: &Requirement) -> ResourcesView {
    let executors = u64::from(needed.executors);
    let (cpu_cores, bytes) = if needed.shared_server {
        (executors * u64::from(needed.executor_cores), executors.saturating_mul(needed.executor_heap))
    } else {
        (needed.total_cores(), needed.total_memory())
    };
    let gib = bytes as f64 / GIB as f64;
    ResourcesView {
        cpu_cores,
        // A script for Slurm may say nothing of its memory: it gets what its partition gives, which is not zero.
        memory_gb: (bytes > 0 || needed.shared_server || needed.slots > 0)
            .then(|| (gib * 100.0).round() / 100.0),
        executors: needed.executors,
        gpus: Some(needed.gpus()).filter(|gpus| *gpus > 0),
        slots: Some(needed.slots).filter(|slots| *slots > 0),
    }
}

/// Run time as the reference prints it: `45.2s`.
pub(crate) fn execution_time(job: &Job, now: Timestamp) -> Option<String> {
    let started = job.started_at?;
    let ended = job.completed_at.unwrap_or(now);
    Some(format!("{:.1}s", ended.seconds_since(started)))
}

/// One attempt.
fn attempt(a: &Attempt) -> AttemptView {
    let exit = a.exit.as_ref();
    let outcome = match (exit.map(|e| &e.outcome), a.ended_at) {
        (Some(Outcome::Succeeded), _) => Some("SUCCEEDED"),
        (Some(Outcome::Failed { .. }), _) => Some("FAILED"),
        (Some(Outcome::Stopped), _) => Some("STOPPED"),
        (None, Some(_)) => Some("NEVER_RAN"),
        (None, None) => None,
    };
    AttemptView {
        number: a.number,
        token: a.token.to_string(),
        scheduled_at: a.created_at.rfc3339(),
        started_at: text(a.started_at),
        ended_at: text(a.ended_at),
        outcome: outcome.map(str::to_owned),
        exit_code: exit.and_then(|e| e.exit_code),
        signal: exit.and_then(|e| e.signal),
        error: exit.and_then(|e| match &e.outcome {
            Outcome::Failed { failure } => Some(error(failure)),
            Outcome::Succeeded | Outcome::Stopped => None,
        }),
        application_id: a.application_id.clone(),
        usage: usage(a),
    }
}

fn usage(a: &Attempt) -> Option<UsageView> {
    let usage = if a.ended_at.is_some() { a.usage?.ended() } else { a.usage? };
    let whole = |thousandths: u64| thousandths as f64 / 1_000.0;
    Some(UsageView {
        cpu_cores: usage.millicores.map(whole),
        cpu_seconds: whole(usage.cpu_millis),
        memory_bytes: usage.memory_bytes,
        peak_memory_bytes: usage.peak_memory_bytes,
        executors: usage.executors,
    })
}

fn links(a: &Attempt) -> LinksView {
    let links = &a.links;
    // The UI of a driver of its own has gone with the driver; that of the shared server stays as long as the server.
    let gone = a.mode == Mode::SparkSubmit && a.ended_at.is_some();
    LinksView {
        spark_ui: links.spark_ui.clone().filter(|_| !gone),
        history: links.history.clone(),
        driver_log: links.driver_log.clone(),
    }
}

/// A job with its attempts; in lists without them.
pub(crate) fn job(job: &Job, attempts: &[Attempt], now: Timestamp) -> JobView {
    let last = attempts.last();
    let progress = last.and_then(|a| a.progress.as_ref()).map(|p| ProgressView {
        // The last look came before the end; the end says more.
        percentage: if job.state == State::Succeeded { 100 } else { p.percentage },
        // Of what has ended in Slurm it says where it waited, if nobody has looked since.
        current_stage: p
            .current_stage
            .clone()
            .filter(|_| job.mode != Mode::Slurm || !job.state.is_terminal()),
        tasks_completed: p.tasks_completed,
        tasks_total: p.tasks_total,
    });
    JobView {
        job_id: job.id.to_string(),
        status: job.state.as_str().to_owned(),
        execution_mode: job.mode.as_str().to_owned(),
        engine: job.mode.engine().to_owned(),
        kind: job.spec.kind.as_str().to_owned(),
        name: job.spec.name.clone(),
        user: job.user.clone(),
        tenant: job.tenant.clone(),
        queue: job.spec.queue.clone(),
        cluster: job.spec.cluster.clone(),
        priority: job.spec.priority,
        labels: job.spec.labels.clone(),
        submitted_at: job.submitted_at.rfc3339(),
        queued_at: text(job.queued_at),
        scheduled_at: text(job.scheduled_at),
        started_at: text(job.started_at),
        completed_at: text(job.completed_at),
        cancel_requested_at: text(job.cancel_requested_at),
        next_attempt_at: text(job.not_before),
        execution_time: execution_time(job, now),
        progress,
        resource_requirement: resources(&job.requirement),
        resource_usage: job.state.holds_resources().then(|| resources(&job.requirement)),
        usage: last.and_then(usage),
        retry_count: job.retries,
        max_retries: job.retry.max_retries,
        limits: LimitsView {
            queue_timeout_seconds: job.limits.queue_seconds.unwrap_or(0),
            timeout_seconds: job.limits.run_seconds.unwrap_or(0),
        },
        application_id: last.and_then(|a| a.application_id.clone()),
        links: last.map(links).unwrap_or_default(),
        exit_code: last.and_then(|a| a.exit.as_ref()).and_then(|e| e.exit_code),
        error: job.failure.as_ref().map(error),
        attempts: attempts.iter().map(attempt).collect(),
        result: None,
        correlation_id: job.correlation_id.clone(),
    }
}

/// One row of the history.
pub(crate) fn event(row: LogRow) -> EventView {
    EventView {
        seq: row.feed_seq,
        from: row.transition.from.map(|s| s.as_str().to_owned()),
        to: row.transition.to.as_str().to_owned(),
        at: row.at.rfc3339(),
        actor: row.actor,
        reason: row.transition.reason,
        attempt: row.transition.attempt,
        correlation_id: row.correlation_id,
        metadata: row.metadata.as_deref().map(json),
    }
}

/// Stored JSON as it was; what is none is shown as a text.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// One event of the feed.
pub(crate) fn feed_event(row: FeedRow) -> FeedEventView {
    FeedEventView {
        job_id: row.job_id.to_string(),
        user: row.user,
        labels: row.labels,
        event: event(row.log),
    }
}

/// A message to a webhook.
pub(crate) fn webhook(d: Delivery, now: Timestamp) -> WebhookView {
    let standing = d.standing();
    WebhookView {
        id: d.id,
        webhook_id: message_id(d.job_id, d.id),
        job_id: d.job_id.to_string(),
        event: d.topic,
        target: d.target,
        state: standing.as_str().to_owned(),
        tries: d.tries,
        created_at: d.created_at.rfc3339(),
        next_try_at: text(Some(d.next_at).filter(|at| standing == Standing::Pending && *at > now)),
        delivered_at: text(d.done_at),
        dead_at: text(d.dead_at),
        last_error: d.last_error,
        payload: json(&d.payload),
    }
}

#[cfg(test)]
mod tests {
    use libra_core::allocation::Allocation;

    use super::*;

    #[test]
    fn what_a_script_does_not_say_of_its_memory_is_not_zero() {
        let unknown = resources(&Requirement::of_allocation(&Allocation::default()));
        assert_eq!(unknown.memory_gb, None);
        let shared = Requirement { shared_server: true, ..Requirement::default() };
        assert_eq!(resources(&shared).memory_gb, Some(0.0), "it holds none of its own");
    }
}
