//! Soak: a steady load for a long time. Memory of the replicas and dead rows of the database must not grow.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{interval, sleep};

use crate::report::Report;
use crate::scene::Scene;
use crate::settings::Settings;

/// What must not be exceeded.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// By so much may a replica's memory grow after the warm-up, percent.
    pub memory_percent: u64,
    /// And by so much in any case, KiB.
    pub memory_kib: u64,
    /// So many dead rows may a table have: what a minute of load leaves behind between two rounds of autovacuum.
    pub dead_rows: u64,
    /// And so many more for each hundred live ones.
    pub dead_percent: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory_percent: 25, memory_kib: 16 * 1024, dead_rows: 20_000, dead_percent: 10 }
    }
}

/// The share of the time that is warm-up.
const WARM_UP: u32 = 4;
const SAMPLE_EVERY: Duration = Duration::from_mins(1);
/// A replica's memory is compared as the median of so many samples.
const SAMPLES: usize = 5;

/// One look.
#[derive(Clone, Debug, Default)]
struct Sample {
    after: Duration,
    /// Resident memory of each replica, KiB.
    memory: BTreeMap<String, u64>,
    tables: Vec<Table>,
}

#[derive(Clone, Debug)]
struct Table {
    name: String,
    live: u64,
    dead: u64,
    bytes: u64,
}

/// Runs a soak by these settings.
///
/// # Errors
/// When something could not be started at all.
pub async fn soak(settings: &Settings, bounds: Bounds) -> Result<Report, String> {
    let mut scene = Scene::open(settings).await?;
    let begun = Instant::now();
    let (done, mut stop) = watch::channel(false);
    let cluster = std::sync::Arc::clone(&scene.cluster);
    let looks = tokio::spawn(async move {
        let mut samples = Vec::new();
        let mut ticks = interval(SAMPLE_EVERY);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return samples,
                _ = ticks.tick() => {}
            }
            let sample = look(&cluster, begun.elapsed()).await;
            println!("{}", sample.told());
            samples.push(sample);
        }
    });
    scene.play(settings).await;
    let _ = done.send(true);
    let samples = looks.await.map_err(|e| e.to_string())?;

    let mut report = Report::default();
    let (submitted, answered) = scene.callers.ledger.counts();
    report.line("jobs submitted", submitted);
    report.line("  answered", answered);
    for line in scene.cluster.query("SELECT state, count(*) FROM jobs GROUP BY 1 ORDER BY 1").await {
        let (state, count) = line.split_once('|').unwrap_or((&line, ""));
        report.line(format!("  {state}, still kept"), count);
    }
    let kept = scene.cluster.query("SELECT count(*) FROM jobs").await.join("");
    let mut unkept = Vec::new();
    if settings.keep_jobs.is_none() && kept != submitted.to_string() {
        unkept.push(format!("{submitted} jobs were submitted, and {kept} are there"));
    }
    report.none_of("jobs lost", &unkept);
    let mut grown = memory(&samples, bounds, settings.time / WARM_UP, &mut report);
    grown.extend(dead_rows(&samples, bounds, settings.time / WARM_UP, &mut report));
    report.none_of("grown beyond its bound", &grown);
    // Sockets and caches of a moment: nothing of it is left.
    sleep(Duration::from_secs(1)).await;
    let left = scene.close().await;
    report.none_of("processes left over, ends that went wrong", &left);
    report.none_of("seen wrong meanwhile", &scene.callers.ledger.wrongs());
    let told: Vec<String> = samples.iter().map(Sample::told).collect();
    let _ = fs::write(settings.keep.join("samples"), told.join("\n"));
    let _ = fs::write(settings.keep.join("report"), report.to_string());
    scene.cluster.clear(!report.is_good());
    Ok(report)
}

async fn look(cluster: &crate::cluster::Cluster, after: Duration) -> Sample {
    let resident = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    let memory =
        cluster.pids().await.into_iter().filter_map(|(id, pid)| Some((id, resident(pid)?))).collect();
    let tables = "SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) \
                  FROM pg_stat_user_tables ORDER BY relname";
    let table = |line: &String| {
        let words: Vec<&str> = line.split('|').collect();
        let [name, live, dead, bytes] = words.as_slice() else { return None };
        let (live, dead, bytes) = (live.parse().ok()?, dead.parse().ok()?, bytes.parse().ok()?);
        Some(Table { name: (*name).to_owned(), live, dead, bytes })
    };
    Sample { after, memory, tables: cluster.query(tables).await.iter().filter_map(table).collect() }
}

impl Sample {
    fn told(&self) -> String {
        let memory: Vec<String> =
            self.memory.iter().map(|(id, kib)| format!("{id} {:.1} MiB", *kib as f64 / 1024.0)).collect();
        let mut tables: Vec<&Table> = self.tables.iter().collect();
        tables.sort_by_key(|t| std::cmp::Reverse(t.bytes));
        let tables: Vec<String> = tables
            .iter()
            .take(4)
            .map(|t| format!("{} {} live {} dead {:.1} MiB", t.name, t.live, t.dead, mib(t.bytes)))
            .collect();
        format!("{:>5.0} s  {} | {}", self.after.as_secs_f64(), memory.join(", "), tables.join(", "))
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// The last samples beside the first ones after the warm-up.
fn memory(samples: &[Sample], bounds: Bounds, warm_up: Duration, report: &mut Report) -> Vec<String> {
    let warm: Vec<&Sample> = samples.iter().filter(|s| s.after >= warm_up).collect();
    let ids: std::collections::BTreeSet<&String> = warm.iter().flat_map(|s| s.memory.keys()).collect();
    let mut grown = Vec::new();
    for id in ids {
        let of_it: Vec<u64> = warm.iter().filter_map(|s| s.memory.get(id).copied()).collect();
        let first = median(of_it.iter().copied().take(SAMPLES).collect());
        let last = median(of_it.iter().copied().rev().take(SAMPLES).collect());
        let (Some(first), Some(last)) = (first, last) else { continue };
        let bound = first + first * bounds.memory_percent / 100 + bounds.memory_kib;
        let figures = [first, last, bound].map(|kib| format!("{:.1}", kib as f64 / 1024.0));
        let [first_mib, last_mib, bound_mib] = figures;
        report.line(
            format!("memory of {id}: after warm-up, at the end, bound"),
            format!("{first_mib}, {last_mib}, {bound_mib} MiB"),
        );
        if last > bound {
            grown.push(format!("memory of {id}: {first_mib} MiB after warm-up, {last_mib} MiB at the end"));
        }
    }
    grown
}

/// The most dead rows of each table after the warm-up.
fn dead_rows(samples: &[Sample], bounds: Bounds, warm_up: Duration, report: &mut Report) -> Vec<String> {
    let mut most: BTreeMap<&str, &Table> = BTreeMap::new();
    for table in samples.iter().filter(|s| s.after >= warm_up).flat_map(|s| &s.tables) {
        let known = most.entry(&table.name).or_insert(table);
        if table.dead > known.dead {
            *known = table;
        }
    }
    let mut grown = Vec::new();
    for (name, table) in most {
        let bound = bounds.dead_rows + table.live * bounds.dead_percent / 100;
        let figures = format!("{} dead beside {} live, bound {bound}", table.dead, table.live);
        if table.dead > bound {
            grown.push(format!("rows of {name}: {figures}"));
        }
        report.line(format!("most dead rows of {name}"), figures);
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Fn(u64) -> u64, dead: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |minute: u64| Sample {
            after: Duration::from_mins(minute),
            memory: BTreeMap::from([("a".to_owned(), memory(minute) * 1024)]),
            tables: vec![Table { name: "jobs".into(), live: 1_000, dead: dead(minute), bytes: 0 }],
        };
        (0..60).map(sample).collect()
    }

    #[test]
    fn growth_is_found_and_warm_up_is_not_growth() {
        let (bounds, warm_up) = (Bounds::default(), Duration::from_mins(15));
        let steady = samples(|minute| 100 + minute.min(15), |_| 20_000);
        let mut report = Report::default();
        assert_eq!(memory(&steady, bounds, warm_up, &mut report), Vec::<String>::new());
        assert_eq!(dead_rows(&steady, bounds, warm_up, &mut report), Vec::<String>::new());
        let growing = samples(|minute| 100 + minute * 2, |minute| minute * 1_000);
        assert_eq!(memory(&growing, bounds, warm_up, &mut report).len(), 1);
        assert_eq!(dead_rows(&growing, bounds, warm_up, &mut report).len(), 1);
    }
}
