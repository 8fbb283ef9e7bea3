//! Waiting for a job, and showing how far it is.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use libra_api::client::Client;
use libra_api::views::JobView;
use libra_core::job::State;
use libra_core::mode::Mode;

use crate::failure::{Exit, Failure};
use crate::patience::Patience;
use crate::{job_page, job_table, output};

/// How long one call waits for the end of the job. Also how old the shown progress may be.
const SLICE: Duration = Duration::from_secs(1);
/// The least time between two calls, should the service answer at once.
const LEAST_PAUSE: Duration = Duration::from_millis(200);
/// How often the bar is drawn anew.
const TICK: Duration = Duration::from_millis(120);
/// Progress of a job in percent.
const WHOLE: u64 = 100;

/// Waits until the job `id` ends. On a terminal a bar shows how far it is, elsewhere one line each state.
pub(crate) async fn until_ended(client: &Client, id: &str) -> Result<JobView, Failure> {
    let mut display = Display::new();
    let ended = tokio::select! {
        ended = watch(client, id, &mut display) => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, format!("no longer waiting for {id}"))
            .hint(format!("the job goes on: `libra wait {id}` waits again, `libra cancel {id}` ends it"))),
    };
    display.clear();
    ended
}

async fn watch(client: &Client, id: &str, display: &mut Display) -> Result<JobView, Failure> {
    let mut patience = Patience::new();
    // The first look does not wait, so that a wrong id is told at once.
    let mut slice = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let job = patience.call(|| client.job(id, slice)).await?;
        if State::parse(&job.status).is_some_and(State::is_terminal) {
            return Ok(job);
        }
        display.show(&job);
        if !slice.is_zero() {
            tokio::time::sleep(LEAST_PAUSE.saturating_sub(begun.elapsed())).await;
        }
        slice = SLICE;
    }
}

/// Says how the job ended and why, and what the exit code is to say.
pub(crate) fn tell_end(job: &JobView) -> Exit {
    let took = job.execution_time.as_deref().map(|t| format!(" in {t}")).unwrap_or_default();
    output::say(&format!("{} {}{took}", job.job_id, job.status));
    if let Some(error) = job.error.as_ref().filter(|_| job.status != "SUCCEEDED") {
        output::say(&job_page::failure(error));
        // In the shared Spark a job has no log of its own.
        if Mode::parse(&job.execution_mode) == Some(Mode::SparkSubmit) {
            let id = &job.job_id;
            output::say(&format!(
                "hint: `libra logs {id}` shows what it wrote; with --stderr, Spark's own log"
            ));
        }
    }
    exit_of(&job.status)
}

/// The exit code of a terminal state.
pub(crate) fn exit_of(status: &str) -> Exit {
    match State::parse(status) {
        Some(State::Succeeded) => Exit::Done,
        Some(State::Cancelled) => Exit::Cancelled,
        Some(State::Timeout) => Exit::Timeout,
        Some(
            State::Failed
            | State::Submitted
            | State::Validating
            | State::Queued
            | State::Scheduled
            | State::Running
            | State::Retrying,
        )
        | None => Exit::Failed,
    }
}

/// One line on how far a job is.
fn line(job: &JobView) -> String {
    let mut parts = vec![job_table::status(job)];
    if let Some(progress) = job.progress.as_ref().filter(|_| job.status == "RUNNING") {
        parts.extend(progress.current_stage.clone());
        if progress.tasks_total > 0 {
            parts.push(format!("{} of {} tasks", progress.tasks_completed, progress.tasks_total));
        }
    }
    if job.retry_count > 0 {
        parts.push(format!("retry {} of {}", job.retry_count, job.max_retries));
    }
    output::one_line(&parts.join(", "))
}

enum Display {
    Bar(ProgressBar),
    Lines { last: Option<String> },
}

impl Display {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: None };
        }
        let bar = ProgressBar::new(WHOLE);
        // A template that could not be read would leave the built-in one.
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{bar:30}] {elapsed:>4} {wide_msg}") {
            bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
        }
        bar.enable_steady_tick(TICK);
        Self::Bar(bar)
    }

    fn show(&mut self, job: &JobView) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(job.progress.as_ref().map_or(0, |p| u64::from(p.percentage)));
                bar.set_message(line(job));
            }
            Self::Lines { last } => {
                if last.as_deref() != Some(&job.status) {
                    output::say(&format!("{} {}", job.job_id, job.status));
                    *last = Some(job.status.clone());
                }
            }
        }
    }

    fn clear(&self) {
        match self {
            Self::Bar(bar) => bar.finish_and_clear(),
            Self::Lines { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_page::samples;

    #[test]
    fn a_line_says_how_far_a_job_is() {
        assert_eq!(line(&samples::running()), "RUNNING 40%, Stage 2/4, 12 of 30 tasks");
        assert_eq!(line(&samples::failed()), "FAILED, retry 1 of 3");
    }

    #[test]
    fn each_end_has_its_exit_code() {
        let ends = ["SUCCEEDED", "FAILED", "CANCELLED", "TIMEOUT"].map(exit_of);
        assert_eq!(ends, [Exit::Done, Exit::Failed, Exit::Cancelled, Exit::Timeout]);
    }
}
