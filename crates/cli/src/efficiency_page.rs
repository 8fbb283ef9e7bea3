//! The pages of `libra efficiency`. What is unknown is a dash, and how much is known stands beside it.

use std::fmt::Write as _;

use libra_api::hpc::efficiency::{EfficiencyListView, EfficiencyView, ShareView, SumView, SumsView};

use crate::age;
use crate::listing::columns;
use crate::output;

/// Seconds in an hour.
const HOUR: f64 = 3_600.0;

/// All jobs of some time, by user.
pub(crate) fn list(view: &EfficiencyListView) -> String {
    let total = std::iter::once(&view.total).filter(|_| view.users.len() != 1);
    let rows = view.users.iter().chain(total).map(line);
    let mut text = columns(
        ["USER", "JOBS", "MEASURED", "CPU", "MEMORY", "GPU", "TIME", "IDLE CORE HOURS", "KNOWN", "VERDICTS"],
        rows,
    );
    let _ = writeln!(
        text,
        "\nsince {}; CPU, MEMORY, GPU and TIME: used of what was given; KNOWN: how much of the core hours was measured",
        view.since
    );
    text
}

fn line(sums: &SumsView) -> [String; 10] {
    let cpu = &sums.cpu_core_seconds;
    let idle = (cpu.jobs > 0).then(|| (cpu.allocated - cpu.used).max(0.0) / HOUR);
    let verdicts: Vec<String> = sums.verdicts.iter().map(|(kind, jobs)| format!("{kind} {jobs}")).collect();
    [
        sums.user.clone().unwrap_or_else(|| "(all)".to_owned()),
        sums.jobs.to_string(),
        sums.measured_jobs.to_string(),
        used(cpu),
        used(&sums.memory_mb_seconds),
        used(&sums.gpu_seconds),
        used(&sums.time_seconds),
        idle.map_or_else(dash, |hours| format!("{hours:.1}")),
        format!("{:.0} %", cpu.coverage_percent),
        if verdicts.is_empty() { dash() } else { verdicts.join(", ") },
    ]
}

fn used(sum: &SumView) -> String {
    percent(sum.percent)
}

fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(dash, |percent| format!("{percent:.0} %"))
}

fn dash() -> String {
    "-".to_owned()
}

/// One job.
pub(crate) fn job(view: &EfficiencyView) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a job")]
    let ran = view.runtime_seconds.map_or_else(dash, |seconds| age::span(seconds as i64));
    let mut text = format!(
        "{}  {}  {}, has run for {ran}; {} samples\n\n",
        view.job_id, view.user, view.state, view.sample_count
    );
    let runtime = view.runtime_seconds.filter(|seconds| *seconds > 0.0);
    // Of what was held for so long, people want to know how many.
    let mean = |seconds: Option<f64>| seconds.zip(runtime).map(|(seconds, ran)| seconds / ran);
    let held = |share: &ShareView| ShareView {
        requested: mean(share.requested),
        allocated: mean(share.allocated),
        used: mean(share.used),
        ..share.clone()
    };
    let number = |n: Option<f64>| n.map_or_else(dash, |n| format!("{n:.1}"));
    let hours = |n: Option<f64>| number(n.map(|seconds| seconds / HOUR));
    let row = |name: &str, share: &ShareView, shown: &dyn Fn(Option<f64>) -> String| {
        [
            name.to_owned(),
            shown(share.requested),
            shown(share.allocated),
            shown(share.used),
            percent(share.percent),
            format!("{:.0} %", share.coverage_percent),
        ]
    };
    text.push_str(&columns(
        ["", "REQUESTED", "HAD", "USED", "", "KNOWN"],
        [
            row("processors", &held(&view.cpu_core_seconds), &number),
            row("memory, MiB", &view.memory_mb, &number),
            row("GPUs", &held(&view.gpu_seconds), &number),
            row("time, hours", &view.time_seconds, &hours),
        ],
    ));
    for verdict in &view.verdicts {
        let _ =
            write!(text, "\n{} since {}: {}", verdict.kind, verdict.at, output::one_line(&verdict.message));
    }
    if !view.verdicts.is_empty() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use libra_api::hpc::efficiency::VerdictView;

    use super::*;

    #[test]
    fn what_is_unknown_is_a_dash() {
        let share = |had: f64, used: Option<f64>, known: f64| ShareView {
            requested: Some(had),
            allocated: Some(had),
            used,
            percent: used.map(|used| 100.0 * used / had),
            coverage_percent: known,
        };
        let view = EfficiencyView {
            job_id: "job-7".into(),
            user: "ann".into(),
            state: "running".into(),
            runtime_seconds: Some(7_200.0),
            sample_count: 240,
            cpu_core_seconds: share(64.0 * 7_200.0, Some(7_300.0), 99.6),
            memory_mb: share(64_000.0, Some(2_100.0), 99.6),
            gpu_seconds: ShareView { requested: Some(14_400.0), ..ShareView::default() },
            time_seconds: share(36_000.0, Some(7_200.0), 100.0),
            verdicts: vec![VerdictView {
                kind: "idle_cores".into(),
                at: "2026-01-31T08:00:00.000Z".into(),
                message: "1.0 of its 64 processors were at work in the mean".into(),
            }],
        };
        insta::assert_snapshot!("efficiency_of_a_job", job(&view));
        let sum = |had: f64, used: f64| SumView {
            jobs: 3,
            allocated: had,
            used,
            percent: Some(100.0 * used / had),
            coverage_percent: 75.0,
        };
        let ann = SumsView {
            user: Some("ann".into()),
            jobs: 4,
            measured_jobs: 3,
            cpu_core_seconds: sum(360_000.0, 90_000.0),
            memory_mb_seconds: sum(1_000.0, 100.0),
            time_seconds: sum(7_200.0, 3_600.0),
            verdicts: [("idle_cores".to_owned(), 2)].into(),
            ..SumsView::default()
        };
        let bob = SumsView { user: Some("bob".into()), jobs: 1, ..SumsView::default() };
        let total = SumsView { user: None, jobs: 5, ..ann.clone() };
        let since = "2026-01-24T08:00:00.000Z".into();
        let view = EfficiencyListView { since, total, users: vec![ann, bob], truncated: false };
        insta::assert_snapshot!("efficiency_of_users", list(&view));
    }
}
