//! One run: everything is started, broken, mended and compared.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use libra_api::views::JobView;

use crate::audit;
use crate::faults::{Fault, Made};
use crate::ledger::Answer;
use crate::marks::{self, Marks};
use crate::recovery;
use crate::report::{Report, percentile, secs};
use crate::scene::Scene;
use crate::settings::Settings;
use crate::verdict::{Broken, Case};

/// Runs chaos by these settings.
///
/// # Errors
/// When something could not be started or compared at all.
pub async fn run(settings: &Settings) -> Result<Report, String> {
    let mut scene = Scene::open(settings).await?;
    let faults = scene.play(settings).await;
    let mut report = Report::default();
    let judged = judge(&scene, settings, &mut report).await;
    let audited = audit::broken(&scene.cluster, settings).await;
    let left = scene.close().await;
    judged?;
    report.none_of("rules that the database breaks", &audited);
    report.none_of("processes left over, ends that went wrong", &left);
    report.none_of(
        "seen wrong meanwhile (reads, epochs, feed, ends of replicas, 500)",
        &scene.callers.ledger.wrongs(),
    );
    figures(&scene, settings, &faults, &mut report).await;
    let notes: Vec<String> = faults.iter().map(|made| format!("{made:?}")).collect();
    let _ = fs::write(settings.keep.join("faults"), notes.join("\n"));
    let _ = fs::write(settings.keep.join("report"), report.to_string());
    scene.cluster.clear(!report.is_good());
    Ok(report)
}

/// Every job, one by one.
async fn judge(scene: &Scene, settings: &Settings, report: &mut Report) -> Result<(), String> {
    let jobs = scene.jobs(settings.seed).await?;
    let marks = marks::read(&scene.cluster.marks).map_err(|e| e.to_string())?;
    let (entries, kills) = (scene.callers.ledger.entries(), scene.callers.ledger.kills());
    let mut by_name: BTreeMap<String, JobView> = BTreeMap::new();
    let mut found: Vec<(Broken, String)> = Vec::new();
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for job in jobs {
        *states.entry(job.status.clone()).or_default() += 1;
        // Only the whole view has attempts and rows.
        let job = if job.kind == "sql" || job.error.is_some() {
            scene.job(&job.job_id, settings.seed).await.unwrap_or(job)
        } else {
            job
        };
        let name = job.name.clone().unwrap_or_default();
        if let Some(twin) = by_name.insert(name.clone(), job) {
            found.push((Broken::Twice, format!("{name} was stored twice, once as {}", twin.job_id)));
        }
    }
    let (mut repeated, mut given_up, mut late, none) = (0, 0, Vec::new(), Vec::new());
    for entry in &entries {
        let name = &entry.draft.name;
        let ran = marks.get(name).unwrap_or(&none);
        let case = Case { entry, job: by_name.get(name), ran, kills: &kills };
        repeated += usize::from(case.was_repeated());
        given_up += usize::from(case.is_given_up());
        let lateness = case.lateness().and_then(|micros| u64::try_from(micros).ok());
        late.extend(lateness.map(Duration::from_micros));
        found.extend(case.judge());
    }
    strangers(&by_name, &marks, entries.len(), &mut found);
    let taken = entries.iter().filter(|e| e.id().is_some()).count();
    let refused = entries.iter().filter(|e| matches!(e.answer, Some(Answer::Refused(_)))).count();
    report.line("jobs submitted", entries.len());
    report.line("  acknowledged", taken);
    report.line("  refused (429)", refused);
    for (state, count) in states {
        report.line(format!("  {state}"), count);
    }
    let ran: usize = marks.values().map(Vec::len).sum();
    report.line("attempts that ran", ran);
    report.line("jobs that ran again by their policy or after a kill", repeated);
    report.line("attempts of which the harness killed a process", kills.len());
    report.line("given up unrun: the replica that was to launch it died again and again", given_up);
    report.line("from a program's end to its job's end: p50, p99, longest", three(&mut late));
    for (broken, what) in
        [(Broken::Lost, "lost"), (Broken::Twice, "run twice"), (Broken::Untrue, "untrue ends")]
    {
        let of_it: Vec<String> =
            found.iter().filter(|(b, _)| *b == broken).map(|(_, why)| format!("{what}: {why}")).collect();
        report.none_of(what, &of_it);
    }
    Ok(())
}

/// Jobs and marks that nobody submitted.
fn strangers(
    jobs: &BTreeMap<String, JobView>,
    marks: &Marks,
    submitted: usize,
    found: &mut Vec<(Broken, String)>,
) {
    let known = |name: &str| {
        let number = name.strip_prefix("chaos-").and_then(|n| n.parse::<usize>().ok());
        number.is_some_and(|number| number < submitted)
    };
    for name in jobs.keys().chain(marks.keys()).filter(|name| !known(name)) {
        found.push((Broken::Untrue, format!("nobody submitted {name:?}")));
    }
}

async fn figures(scene: &Scene, settings: &Settings, faults: &[Made], report: &mut Report) {
    let (unclear, mut waits) = scene.callers.ledger.answers();
    report.line("calls without a clear answer, asked again elsewhere", unclear);
    report.line("until a submission was acknowledged: p50, p99, longest", three(&mut waits));

    let pair = |line: &String| {
        let (at, epoch) = line.split_once('|').unwrap_or((line, "0"));
        Some((at.parse::<i64>().ok()?, epoch.parse::<i64>().ok()?))
    };
    let rows = scene.cluster.query("SELECT at FROM transitions ORDER BY at").await;
    let rows: Vec<i64> = rows.iter().filter_map(|at| at.parse().ok()).collect();
    let scheduled =
        "SELECT at, metadata::json->>'epoch' FROM transitions WHERE to_state = 'SCHEDULED' ORDER BY id";
    let scheduled: Vec<(i64, i64)> = scene.cluster.query(scheduled).await.iter().filter_map(pair).collect();

    report.line("faults", faults.len());
    for (fault, still) in recovery::standstills(faults, &rows) {
        let (count, alone) = (still.faults, still.alone);
        let (median, longest) = (secs(still.median), secs(still.longest));
        let times = if alone > 0 {
            format!(
                "{count:>4}   {alone:>3} of them alone: all stood still for p50 {median}, longest {longest}"
            )
        } else {
            format!("{count:>4}")
        };
        report.line(format!("  {}", fault.as_str()), times);
    }
    let patience = i64::try_from((settings.lease * 2).as_micros()).unwrap_or(i64::MAX);
    let (taken_over, without) = recovery::takeovers(faults, &scene.cluster.takeovers(), patience);
    let mut taken_over: Vec<Duration> =
        taken_over.into_iter().map(|seconds| Duration::from_secs_f64(seconds.max(0.0))).collect();
    report.line(
        "attempts taken over, and how long after the fault began: p50, p99, longest",
        format!("{}: {}", taken_over.len(), three(&mut taken_over)),
    );
    report.line("  without a fault, their replica being slower than its lease", without);
    let mut epochs: Vec<i64> = scheduled.iter().map(|(_, epoch)| *epoch).collect();
    epochs.dedup();
    report.line("changes of the leader, as scheduling shows them", epochs.len().saturating_sub(1));
    succession(settings, faults, &scheduled, report);
}

/// p50, p99 and the longest.
fn three(samples: &mut [Duration]) -> String {
    [50, 99, 100].map(|p| secs(percentile(samples, p).as_secs_f64())).join(", ")
}

/// The next leader schedules within two leases.
fn succession(settings: &Settings, faults: &[Made], scheduled: &[(i64, i64)], report: &mut Report) {
    let all = recovery::successions(faults, scheduled);
    let mut alone: Vec<Duration> =
        all.iter().filter(|s| s.alone).map(|s| Duration::from_secs_f64(s.seconds.max(0.0))).collect();
    let two = settings.lease * 2;
    let killed = faults.iter().filter(|made| made.fault == Fault::KillLeader).count();
    let [p50, longest] = [50, 100].map(|p| secs(percentile(&mut alone, p).as_secs_f64()));
    report.line(
        "a leader killed, nothing else broken: until the next one schedules",
        format!(
            "{} of {killed}: p50 {p50}, longest {longest}; two leases are {}",
            alone.len(),
            secs(two.as_secs_f64())
        ),
    );
    let longest = all.iter().map(|s| s.seconds).fold(0.0, f64::max);
    report.line("  with other things broken meanwhile as well", format!("longest {}", secs(longest)));
    let late: Vec<String> = alone
        .iter()
        .filter(|after| **after > two)
        .map(|after| format!("the next leader scheduled only {after:.1?} after the last one's death"))
        .collect();
    if settings.strict_times {
        report.none_of("  later than two leases", &late);
    } else {
        report.line("  later than two leases", late.len());
    }
}
