//! The table of `libra jobs`, and that of `libra events`.

use libra_api::views::{EventListView, JobListView, JobView};
use libra_core::time::Timestamp;

use crate::age;
use crate::listing::{columns, shorten};

/// The longest name in the table, characters.
const LONGEST_NAME: usize = 32;

/// One line a job.
pub(crate) fn jobs(jobs: &[JobView], now: Timestamp) -> String {
    if jobs.is_empty() {
        return String::new();
    }
    let rows = jobs.iter().map(|job| {
        [
            job.job_id.clone(),
            job.name.as_deref().map_or_else(|| "-".to_owned(), |name| shorten(name, LONGEST_NAME)),
            job.kind.clone(),
            job.execution_mode.clone(),
            status(job),
            age::ago(&job.submitted_at, now),
            took(job, now),
        ]
    });
    columns(["ID", "NAME", "KIND", "MODE", "STATUS", "SUBMITTED", "TOOK"], rows)
}

/// What to say below a page that is empty, or not the last one.
pub(crate) fn more(list: &JobListView) -> Option<String> {
    if list.jobs.is_empty() {
        return Some("no jobs".to_owned());
    }
    list.next_cursor.as_ref()?;
    let total = match (list.total, list.total_at_least) {
        (Some(total), _) => format!("{total} jobs"),
        (None, Some(least)) => format!("at least {least} jobs"),
        (None, None) => "more jobs".to_owned(),
    };
    Some(format!("{} of {total} shown; --all shows every one", list.jobs.len()))
}

/// The state, with how far it is while it runs.
pub(crate) fn status(job: &JobView) -> String {
    match &job.progress {
        Some(progress) if job.status == "RUNNING" => format!("RUNNING {}%", progress.percentage),
        _ => job.status.clone(),
    }
}

/// Its run time, so far or in all.
pub(crate) fn took(job: &JobView, now: Timestamp) -> String {
    let so_far = || age::since(job.started_at.as_deref()?, now).filter(|_| job.completed_at.is_none());
    job.execution_time.clone().or_else(so_far).unwrap_or_else(|| "-".to_owned())
}

/// One line an event.
pub(crate) fn events(list: &EventListView) -> String {
    let rows = list.events.iter().map(|event| {
        [
            event.at.clone(),
            event.from.clone().unwrap_or_else(|| "-".to_owned()),
            event.to.clone(),
            if event.attempt == 0 { "-".to_owned() } else { event.attempt.to_string() },
            event.actor.clone(),
            event.reason.clone(),
        ]
    });
    columns(["AT", "FROM", "TO", "ATTEMPT", "BY", "REASON"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_page::samples;

    #[test]
    fn a_table_of_jobs() {
        let (done, running, failed) = (samples::done(), samples::running(), samples::failed());
        insta::assert_snapshot!("jobs", jobs(&[running, done, failed], samples::now()));
        assert_eq!(jobs(&[], samples::now()), "");
    }

    #[test]
    fn a_page_that_is_not_the_last_says_so() {
        let mut list = JobListView {
            jobs: vec![samples::done()],
            total: Some(7),
            total_at_least: None,
            limit: 1,
            offset: 0,
            next_cursor: Some("c".into()),
        };
        assert_eq!(more(&list).unwrap(), "1 of 7 jobs shown; --all shows every one");
        (list.total, list.total_at_least) = (None, Some(3));
        assert_eq!(more(&list).unwrap(), "1 of at least 3 jobs shown; --all shows every one");
        list.next_cursor = None;
        assert_eq!(more(&list), None);
        list.jobs.clear();
        assert_eq!(more(&list).unwrap(), "no jobs");
    }

    #[test]
    fn a_history() {
        let list = serde_json::from_value(serde_json::json!({"jobId": "job-1", "events": [
            {"seq": 1, "from": null, "to": "SUBMITTED", "at": "2026-01-31T08:00:00.000Z", "actor": "alice",
             "reason": "submitted", "attempt": 0, "correlationId": "c"},
            {"seq": null, "from": "SCHEDULED", "to": "RUNNING", "at": "2026-01-31T08:00:01.000Z",
             "actor": "libra", "reason": "the driver started", "attempt": 1, "correlationId": "c"},
        ]}))
        .unwrap();
        insta::assert_snapshot!("events", events(&list));
    }
}
