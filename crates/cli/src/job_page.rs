//! The page of `libra job`, and that of `libra explain`.

use std::fmt::Write as _;

use libra_api::turns::ExplainView;
use libra_api::views::{AttemptView, ErrorView, JobView, ResourcesView, UsageView};
use libra_core::memory;
use libra_core::time::Timestamp;

use crate::output::{lines, one_line};
use crate::page::Page;
use crate::{age, job_table};

/// Everything about one job.
pub(crate) fn job(job: &JobView, now: Timestamp) -> String {
    let mut page = Page::default();
    page.line("job", &job.job_id);
    page.maybe("name", job.name.as_deref());
    let stage = job.progress.as_ref().and_then(|p| p.current_stage.as_deref());
    let stage = stage.filter(|_| job.status == "RUNNING").map(|s| format!(", {s}")).unwrap_or_default();
    page.line("status", &format!("{}{stage}", job_table::status(job)));
    page.line("kind", &format!("{}, {} on {}", job.kind, job.execution_mode, job.engine));
    page.line("user", &format!("{} (tenant {})", job.user, job.tenant));
    page.maybe("queue", job.queue.as_deref());
    page.line("priority", &job.priority.to_string());
    if !job.labels.is_empty() {
        let labels: Vec<String> = job.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        page.line("labels", &labels.join(", "));
    }
    for (name, at) in [
        ("submitted", Some(&job.submitted_at)),
        ("queued", job.queued_at.as_ref()),
        ("scheduled", job.scheduled_at.as_ref()),
        ("started", job.started_at.as_ref()),
        ("cancel asked", job.cancel_requested_at.as_ref()),
        ("next try", job.next_attempt_at.as_ref()),
        ("ended", job.completed_at.as_ref()),
    ] {
        if let Some(at) = at {
            let ago = if name == "next try" { String::new() } else { format!(" ({})", age::ago(at, now)) };
            page.line(name, &format!("{at}{ago}"));
        }
    }
    page.line("took", &job_table::took(job, now));
    page.line("needs", &resources(&job.resource_requirement));
    page.maybe("holds", job.resource_usage.as_ref().map(resources).as_deref());
    page.maybe("used", job.usage.as_ref().map(usage).as_deref());
    page.line("retries", &format!("{} of {}", job.retry_count, job.max_retries));
    page.line(
        "limits",
        &format!(
            "run time {}, queue wait {}",
            limit(job.limits.timeout_seconds),
            limit(job.limits.queue_timeout_seconds)
        ),
    );
    page.maybe("application", job.application_id.as_deref());
    page.maybe("spark ui", job.links.spark_ui.as_deref());
    page.maybe("history", job.links.history.as_deref());
    page.maybe("exit code", job.exit_code.map(|code| code.to_string()).as_deref());
    for attempt in &job.attempts {
        page.line(&format!("attempt {}", attempt.number), &one_attempt(attempt));
    }
    if let Some(error) = &job.error {
        page.text.push_str(&failure(error));
    }
    page.text
}

/// Why a job failed, over as many lines as the engine took.
pub(crate) fn failure(error: &ErrorView) -> String {
    let mut text = format!("error ({}, {}): {}\n", error.class, error.code, lines(&error.message));
    if let Some(outcome) = &error.outcome {
        let _ = writeln!(text, "  outcome: {}", one_line(outcome));
    }
    let detail = error.detail.as_deref().unwrap_or_default();
    // Engines often begin with the message itself.
    for line in detail.strip_prefix(&error.message).unwrap_or(detail).trim_start_matches('\n').lines() {
        let _ = writeln!(text, "  {}", lines(line));
    }
    text
}

/// Why a job is where it is.
pub(crate) fn explain(view: &ExplainView) -> String {
    let mut page = Page::default();
    page.line("job", &view.job_id);
    page.line("status", &view.status);
    page.line("why", &view.reason);
    let least = if view.position_is_least { " or later" } else { "" };
    page.maybe("place", view.position.map(|n| format!("{n}{least} in the queue")).as_deref());
    if let Some(blocked) = &view.blocked_by {
        page.line("blocked by", &blocked.limit);
        let others = blocked.holders_total.saturating_sub(blocked.holders.len() as u64);
        let others = match (others, blocked.holders.is_empty()) {
            (0, _) => None,
            (n, true) => Some(format!("{n} jobs that you may not see")),
            (n, false) => Some(format!("{n} more")),
        };
        let held: Vec<String> = blocked.holders.iter().cloned().chain(others).collect();
        page.maybe("held by", Some(held.join(", ")).filter(|text| !text.is_empty()).as_deref());
    }
    let basis = view.estimate_basis.as_deref();
    let start = match (&view.estimated_start_time, basis) {
        (Some(at), Some(basis)) => Some(format!("{at} ({basis})")),
        (Some(at), None) => Some(at.clone()),
        (None, Some(basis)) => Some(format!("can't be said: {basis}")),
        (None, None) => None,
    };
    page.maybe("starts", start.as_deref());
    let seconds = view.seconds;
    page.line(
        "time",
        &format!(
            "queued {:.1}s, launching {:.1}s, running {:.1}s, waiting to retry {:.1}s",
            seconds.queued, seconds.launching, seconds.running, seconds.backoff
        ),
    );
    page.text
}

fn resources(needs: &ResourcesView) -> String {
    let executors = match needs.executors {
        0 => "no executors".to_owned(),
        1 => "1 executor".to_owned(),
        n => format!("{n} executors"),
    };
    let memory = needs.memory_gb.map_or_else(|| "memory unknown".to_owned(), |gib| format!("{gib} GiB"));
    format!("{} cores, {memory}, {executors}", needs.cpu_cores)
}

fn usage(usage: &UsageView) -> String {
    let now = usage
        .cpu_cores
        .zip(usage.memory_bytes)
        .map(|(cores, bytes)| format!("; now {cores:.1} cores, {}", memory::display(bytes)));
    format!(
        "{:.1}s of processor time, at most {} of memory{}",
        usage.cpu_seconds,
        memory::display(usage.peak_memory_bytes),
        now.unwrap_or_default()
    )
}

fn limit(seconds: i64) -> String {
    if seconds == 0 { "unlimited".to_owned() } else { age::span(seconds) }
}

fn one_attempt(attempt: &AttemptView) -> String {
    let mut text = attempt.outcome.clone().unwrap_or_else(|| "open".to_owned());
    if let Some(code) = attempt.exit_code {
        let _ = write!(text, ", exit code {code}");
    }
    if let Some(signal) = attempt.signal {
        let _ = write!(text, ", signal {signal}");
    }
    let _ = match (&attempt.started_at, &attempt.ended_at) {
        (Some(from), Some(to)) => write!(text, ", {from} to {to}"),
        (Some(from), None) => write!(text, ", since {from}"),
        (None, _) => write!(text, ", scheduled {}", attempt.scheduled_at),
    };
    if let Some(error) = &attempt.error {
        let _ = write!(text, ": {}", error.message);
    }
    text
}

#[cfg(test)]
pub(crate) mod samples {
    //! Views as the API gives them.

    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-01-31T09:00:00Z").unwrap()
    }

    fn view(id: &str, status: &str, more: Value) -> JobView {
        let mut all = json!({
            "jobId": id, "status": status, "executionMode": "in-cluster", "engine": "spark", "kind": "sql",
            "user": "admin", "tenant": "default", "priority": 5, "submittedAt": "2026-01-31T08:56:40.000Z",
            "resourceRequirement": {"cpuCores": 0, "memoryGB": 0.0, "executors": 0},
            "retryCount": 0, "maxRetries": 3, "links": {}, "correlationId": "c-1",
            "limits": {"queueTimeoutSeconds": 1800, "timeoutSeconds": 3600},
        });
        let Value::Object(more) = more else { panic!("an object") };
        all.as_object_mut().unwrap().extend(more);
        serde_json::from_value(all).unwrap()
    }

    pub(crate) fn done() -> JobView {
        view(
            "job-0198f0c4-6b1e-7c3a-9a55-3f1f0f6c2a10",
            "SUCCEEDED",
            json!({"name": "count\nusers", "executionTime": "1.2s", "completedAt": "2026-01-31T08:56:42.000Z"}),
        )
    }

    pub(crate) fn running() -> JobView {
        view(
            "job-0198f0c4-6b1e-7c3a-9a55-3f1f0f6c2a12",
            "RUNNING",
            json!({
                "kind": "python", "executionMode": "spark-submit", "name": "a name that is longer than the column is",
                "startedAt": "2026-01-31T08:57:00.000Z", "labels": {"team": "data", "env": "test"},
                "progress": {"percentage": 40, "currentStage": "Stage 2/4", "tasksCompleted": 12, "tasksTotal": 30},
                "resourceRequirement": {"cpuCores": 5, "memoryGB": 7.5, "executors": 2},
                "resourceUsage": {"cpuCores": 5, "memoryGB": 7.5, "executors": 2},
                "usage": {"cpuCores": 1.85, "cpuSeconds": 93.21, "memoryBytes": 734_003_200, "peakMemoryBytes": 1_288_490_188},
                "links": {"sparkUi": "http://127.0.0.1:4040"}, "applicationId": "local-1",
                "attempts": [{"number": 1, "token": "t", "scheduledAt": "2026-01-31T08:56:50.000Z",
                              "startedAt": "2026-01-31T08:57:00.000Z"}],
            }),
        )
    }

    pub(crate) fn failed() -> JobView {
        let error = json!({"class": "user", "code": "exit_code", "message": "The driver ended with exit code 7.",
                           "detail": "Traceback:\n  boom\u{1b}[2J"});
        view(
            "job-0198f0c4-6b1e-7c3a-9a55-3f1f0f6c2a11",
            "FAILED",
            json!({
                "kind": "python", "executionMode": "spark-submit", "submittedAt": "2026-01-29T08:00:00.000Z",
                "startedAt": "2026-01-29T08:00:05.000Z", "completedAt": "2026-01-29T08:00:20.000Z",
                "executionTime": "15.0s", "exitCode": 7, "error": error, "retryCount": 1,
                "attempts": [
                    {"number": 1, "token": "t", "scheduledAt": "2026-01-29T08:00:01.000Z", "outcome": "NEVER_RAN"},
                    {"number": 2, "token": "t", "scheduledAt": "2026-01-29T08:00:01.000Z", "outcome": "FAILED",
                     "startedAt": "2026-01-29T08:00:05.000Z", "endedAt": "2026-01-29T08:00:20.000Z",
                     "exitCode": 7, "error": error},
                ],
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_jobs() {
        insta::assert_snapshot!("job_done", job(&samples::done(), samples::now()));
        insta::assert_snapshot!("job_running", job(&samples::running(), samples::now()));
        insta::assert_snapshot!("job_failed", job(&samples::failed(), samples::now()));
    }

    #[test]
    fn a_page_of_reasons() {
        let view = serde_json::from_value(serde_json::json!({
            "jobId": "job-1", "status": "QUEUED", "position": 3,
            "reason": "2 jobs are ahead of it; it waits for room: needs 4 cores; 6 of 8 are in use",
            "blockedBy": {
                "limit": "libra.resources.limits.cpu-cores", "message": "needs 4 cores; 6 of 8 are in use",
                "unit": "cores", "used": 6, "requested": 4, "capacity": 8,
                "holders": ["job-2", "job-3"], "holdersTotal": 4,
            },
            "estimatedStartTime": "2026-01-29T08:10:00.000Z",
            "estimateBasis": "played forward with expected run times: 1 job ends and 2 start before it",
            "seconds": {"queued": 12.34, "launching": 0.0, "running": 0.0, "backoff": 0.0},
        }))
        .unwrap();
        insta::assert_snapshot!("explain", explain(&view));
    }
}
