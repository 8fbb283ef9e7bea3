//! The pages of `libra hpc`. What is unknown is a dash.

use libra_api::hpc::jobs::{HpcJobListView, HpcJobView};
use libra_core::time::Timestamp;

use crate::age;
use crate::listing::{columns, shorten};
use crate::page::Page;

/// The longest name in the table, characters.
const LONGEST_NAME: usize = 24;

fn dash() -> String {
    "-".to_owned()
}

/// One line a job.
pub(crate) fn jobs(jobs: &[HpcJobView], now: Timestamp) -> String {
    if jobs.is_empty() {
        return String::new();
    }
    let rows = jobs.iter().map(|job| {
        let scheduler = &job.scheduler;
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(dash);
        [
            job.id.clone(),
            scheduler.cluster_name.clone(),
            scheduler.external_job_id.clone(),
            scheduler.name.as_deref().map_or_else(dash, |name| shorten(name, LONGEST_NAME)),
            if job.user.is_empty() { dash() } else { job.user.clone() },
            or_dash(&scheduler.account),
            or_dash(&scheduler.partition),
            scheduler.raw_state.clone(),
            job.node_count.map_or_else(dash, |count| count.to_string()),
            job.start_time.as_deref().map_or_else(dash, |at| age::ago(at, now)),
            ran(job),
        ]
    });
    columns(
        ["ID", "CLUSTER", "NUMBER", "NAME", "USER", "ACCOUNT", "PARTITION", "STATE", "NODES", "BEGAN", "RAN"],
        rows,
    )
}

fn ran(job: &HpcJobView) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a job")]
    job.runtime_seconds.map_or_else(dash, |seconds| age::span(seconds as i64))
}

/// What to say below a page that is empty, or not the last one.
pub(crate) fn more(list: &HpcJobListView) -> Option<String> {
    if list.jobs.is_empty() {
        return Some("no jobs".to_owned());
    }
    list.next_cursor.as_ref()?;
    let total =
        list.total.map_or_else(|| "more than 10,000 jobs".to_owned(), |total| format!("{total} jobs"));
    Some(format!("{} of {total} shown; --all shows every one", list.jobs.len()))
}

/// One job.
pub(crate) fn job(job: &HpcJobView, now: Timestamp) -> String {
    let scheduler = &job.scheduler;
    let mut page = Page::default();
    page.line("job", &job.id);
    page.line(
        "number",
        &format!("{} on {} ({})", scheduler.external_job_id, scheduler.cluster_name, scheduler.kind),
    );
    page.maybe("name", scheduler.name.as_deref());
    page.maybe("user", Some(job.user.as_str()).filter(|user| !user.is_empty()));
    page.maybe("account", scheduler.account.as_deref());
    page.maybe("partition", scheduler.partition.as_deref());
    let why = scheduler.state_reason.as_deref().filter(|why| *why != "None");
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    page.line("state", &format!("{} ({}{why})", job.state, scheduler.raw_state));
    if let Some(failure) = &job.failure {
        page.line("failure", &format!("{} ({})", failure.message, failure.code));
    }
    page.maybe("submitted", scheduler.submit_time.as_deref());
    page.maybe("began", job.start_time.as_deref());
    page.maybe("ended", job.end_time.as_deref());
    page.line("ran", &ran(job));
    page.maybe("nodes", Some(job.nodes.join(", ").as_str()).filter(|nodes| !nodes.is_empty()));
    let amount = |name: &str, asked: Option<u64>, has: Option<u64>| {
        let shown = |amount: Option<u64>| amount.map_or_else(dash, |amount| amount.to_string());
        (asked.is_some() || has.is_some())
            .then(|| format!("{name}: asked {}, has {}", shown(asked), shown(has)))
    };
    let amounts = [
        amount("processors", scheduler.requested_cpus, scheduler.allocated_cpus),
        amount("memory, MiB", scheduler.requested_memory_mb, scheduler.allocated_memory_mb),
        amount("GPUs", scheduler.requested_gpus, scheduler.allocated_gpus),
    ];
    let amounts: Vec<String> = amounts.into_iter().flatten().collect();
    page.maybe("resources", Some(amounts.join("; ").as_str()).filter(|text| !text.is_empty()));
    let percent = |share: Option<f64>| share.map_or_else(dash, |share| format!("{share:.0} %"));
    let memory = job.max_memory_usage_mb.map_or_else(dash, |mb| format!("{mb} MiB"));
    if job.sample_count > 0 {
        let newest = job.last_sample_at.as_deref().map_or_else(dash, |at| age::ago(at, now));
        let used = format!(
            "processors {}, memory at most {memory}, GPUs {}; {} samples, the newest {newest}",
            percent(job.avg_cpu_usage),
            percent(job.avg_gpu_usage),
            job.sample_count
        );
        page.line("used", &used);
    } else {
        page.line("used", "nobody has measured it");
    }
    page.text
}

#[cfg(test)]
mod tests {
    use libra_api::hpc::jobs::SchedulerView;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-01-31T10:00:00Z").unwrap()
    }

    fn known() -> HpcJobView {
        HpcJobView {
            id: "job-7".into(),
            user: "ann".into(),
            nodes: vec!["n1".into(), "n2".into()],
            node_count: Some(2),
            state: "running".into(),
            start_time: Some("2026-01-31T08:00:00.000Z".into()),
            runtime_seconds: Some(7_200.0),
            sample_count: 3,
            avg_cpu_usage: Some(50.4),
            max_memory_usage_mb: Some(512),
            last_sample_at: Some("2026-01-31T09:59:30.000Z".into()),
            scheduler: SchedulerView {
                kind: "slurm".into(),
                external_job_id: "12".into(),
                raw_state: "RUNNING".into(),
                name: Some("train".into()),
                partition: Some("gpu".into()),
                account: Some("physics".into()),
                requested_cpus: Some(16),
                allocated_cpus: Some(16),
                cluster_name: "main".into(),
                ..SchedulerView::default()
            },
            ..HpcJobView::default()
        }
    }

    #[test]
    fn what_is_unknown_is_a_dash() {
        let scheduler = SchedulerView {
            kind: "slurm".into(),
            external_job_id: "13".into(),
            raw_state: "PENDING".into(),
            cluster_name: "main".into(),
            ..SchedulerView::default()
        };
        let bare =
            HpcJobView { id: "job-8".into(), state: "pending".into(), scheduler, ..HpcJobView::default() };
        insta::assert_snapshot!("hpc_jobs", jobs(&[known(), bare.clone()], now()));
        insta::assert_snapshot!("hpc_job", job(&known(), now()));
        insta::assert_snapshot!("hpc_job_bare", job(&bare, now()));
        let mut list = HpcJobListView {
            jobs: vec![bare],
            total: None,
            limit: 1,
            offset: 0,
            next_cursor: Some("c".into()),
        };
        assert_eq!(more(&list).unwrap(), "1 of more than 10,000 jobs shown; --all shows every one");
        list.jobs.clear();
        assert_eq!(more(&list).unwrap(), "no jobs");
    }
}
