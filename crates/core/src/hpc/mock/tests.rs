use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::hpc::observe::{Fresh, Means, Outcome, Word, observe};
use crate::hpc::raw_state::{HpcState, Standing};
use crate::id::JobId;

/// Any moment of the ten years from its begin.
fn moments() -> impl Strategy<Value = i64> {
    BEGIN..BEGIN + 10 * 365 * 86_400
}

/// What a job uses on its nodes at a time.
fn used(cluster: &MockCluster, number: &str, at: i64) -> Vec<JobUse> {
    let all = cluster.uses(timestamp(at)).into_iter().flat_map(|node| node.jobs);
    all.filter(|job| job.external_id == number).collect()
}

/// The times at which something may happen to a job, and those beside them.
fn times(job: &Job) -> BTreeSet<i64> {
    let started = job.started.unwrap_or(job.submitted);
    let half = started + (job.ended - started) / 2;
    let marks = [job.submitted, started, half, job.ended, job.ended + KEPT];
    marks.into_iter().flat_map(|at| [at - 1, at, at + 1]).collect()
}

fn is_legal(cluster: &MockCluster, job: &Job) {
    let number = job.number.to_string();
    let (mut before, mut row, mut peak) = (None::<Record>, None, 0.0);
    for at in times(job) {
        let now = timestamp(at);
        let said = cluster.record(&number, now);
        let listed: Vec<Record> =
            cluster.records(now).into_iter().filter(|record| record.external_id == number).collect();
        let known = job.submitted <= at && at < job.ended + KEPT;
        assert_eq!(listed, said.iter().filter(|_| known).cloned().collect::<Vec<_>>(), "{number} at {at}");
        let using = used(cluster, &number, at);
        let Some(record) = said else {
            assert!(at < job.submitted && using.is_empty());
            continue;
        };
        let standing = Standing::of(&record.raw_state).unwrap();
        let state = standing.hpc_state();
        let runs = state == HpcState::Running;
        assert_eq!(using.len(), if runs { record.nodes.len() } else { 0 }, "{record:?}");
        assert!(!runs || !record.nodes.is_empty(), "{record:?}");
        let times = [record.submitted, record.started, record.ended, Some(now)];
        assert!(times.iter().flatten().is_sorted(), "{record:?}");
        assert_eq!(record.ended.is_some(), matches!(standing, Standing::Ended(_)), "{record:?}");
        assert_eq!(record.exit.is_some(), record.ended.is_some(), "{record:?}");
        let has_begun = record.started.is_some();
        assert_eq!((has_begun, has_begun), (!record.nodes.is_empty(), record.allocated.cpus.is_some()));
        assert!(!has_begun || record.allocated == record.requested, "{record:?}");
        if let (Some(started), Some(limit)) = (record.started, record.time_limit_minutes) {
            let ran = record.ended.unwrap_or(now).seconds_since(started);
            assert!(ran <= f64::from(limit) * 60.0, "{record:?}");
            assert!(
                standing != Standing::Ended(crate::hpc::end::End::Timeout) || ran >= f64::from(limit) * 60.0
            );
        }
        if let Some(before) = &before {
            let rank = |record: &Record| (record.started.is_some(), record.ended.is_some());
            assert!(rank(before) <= rank(&record), "{before:?} {record:?}");
            assert!(before.ended.is_none() || *before == record, "what has ended stays as it is");
            assert_eq!((&before.user, before.submitted), (&record.user, record.submitted));
        }
        for one in &using {
            let memory = record.allocated.memory_mb.unwrap() as f64 / record.nodes.len() as f64;
            assert!(
                (0.0..100.0).contains(&one.cpu_percent) && one.cores > 0.0,
                "it rises and falls: {one:?}"
            );
            assert!(one.memory_mb <= one.memory_peak_mb && one.memory_peak_mb <= memory, "{one:?}");
            assert!(one.memory_peak_mb >= peak, "it never falls");
            peak = one.memory_peak_mb;
            assert_eq!(one.gpu.is_some(), record.requested.gpus > Some(0));
        }
        row = heard(row, &record, now);
        before = Some(record);
    }
    let row = row.unwrap();
    assert_eq!((row.state, row.hpc_state()), (job.end.state(), job.end.hpc_state()));
    assert_eq!((row.record.ended, row.run), (Some(timestamp(job.ended)), 1));
}

/// The row of a job after a record of it.
fn heard(
    row: Option<crate::hpc::job::HpcJob>,
    record: &Record,
    now: Timestamp,
) -> Option<crate::hpc::job::HpcJob> {
    let id = JobId::new(now, [7; 10]);
    let fresh = Fresh { id, tenant: "t".into(), cluster: "demo".into(), correlation_id: "c".into() };
    let word = Word::Record(Box::new(record.clone()), now);
    match observe(row.as_ref(), word, Means { asks: true }, fresh, now) {
        Outcome::New(change) | Outcome::Changed(change) => {
            assert!(!change.again, "it is never another job");
            Some(change.job)
        }
        Outcome::Unchanged => row,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_job_tells_a_legal_story(seed: u64, nodes in 1_u32..12, at in moments()) {
        let cluster = MockCluster::new(seed, nodes);
        for job in cluster.jobs(at, at) {
            is_legal(&cluster, &job);
        }
    }

    #[test]
    fn no_node_gives_more_than_it_has(seed: u64, nodes in 1_u32..40, at in moments()) {
        let cluster = MockCluster::new(seed, nodes);
        let mut given: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        for job in cluster.jobs(at, at) {
            prop_assert!(numbers.insert(job.number), "two jobs have the number {}", job.number);
            prop_assert_eq!(Cell::of(job.number).unwrap().number(), job.number);
            for node in job.nodes.iter().filter(|_| job.runs(at)) {
                prop_assert!(*node < nodes);
                let has = given.entry(*node).or_default();
                *has = (has.0 + job.cpus, has.1 + job.memory_mb, has.2 + job.gpus);
            }
        }
        for (cpus, memory, gpus) in given.into_values() {
            prop_assert!(cpus <= NODE_CPUS && memory <= NODE_MEMORY_MB && gpus <= NODE_GPUS);
        }
        for node in cluster.uses(timestamp(at)) {
            prop_assert!((0.0..=100.0).contains(&node.cpu_percent), "{:?}", node);
            prop_assert!(node.memory_mb <= node.memory_total_mb);
            prop_assert!(node.gpu_percent.is_none_or(|gpu| (0.0..=100.0).contains(&gpu)));
        }
    }

    #[test]
    fn no_number_of_anybodys_makes_it_panic(seed: u64, number in "[0-9]{1,25}|.*", at: i64) {
        let cluster = MockCluster::new(seed, u32::MAX);
        let _ = cluster.record(&number, Timestamp(at));
        let small = MockCluster::new(seed, 2);
        small.records(Timestamp(at));
        small.uses(Timestamp(at));
        small.records_between((Timestamp(i64::MIN), Timestamp(at)), Timestamp(i64::MAX));
    }
}

#[test]
fn the_same_seed_tells_the_same_and_another_something_else() {
    let now = timestamp(BEGIN + 40 * 86_400);
    let tells = |seed| {
        let cluster = MockCluster::new(seed, 8);
        (cluster.records(now), cluster.uses(now))
    };
    assert_eq!(tells(1), tells(1));
    assert_ne!(tells(1).0, tells(2).0);
    assert_ne!(tells(1).1, MockCluster::new(1, 8).uses(now.plus_seconds(10)), "usage varies");
}

#[test]
fn a_day_of_it_has_every_end_and_a_moment_of_it_something_of_all() {
    let cluster = MockCluster::new(1, 8);
    let now = timestamp(BEGIN + 40 * 86_400);
    let day = cluster.records_between((now.plus_seconds(-90_000), now), now);
    let words: BTreeSet<&str> = day.iter().map(|record| record.raw_state.as_str()).collect();
    let ends = ["CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PENDING", "PREEMPTED"];
    assert!(words.is_superset(&BTreeSet::from(ends)) && words.contains("TIMEOUT"), "{words:?}");
    assert!(day.iter().any(|record| record.nodes.len() == 2), "some are on two nodes");
    assert!(day.len() < 4_000, "{} jobs", day.len());
    let states = cluster.records(now).into_iter().map(|record| record.raw_state);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for state in states {
        *counts.entry(state).or_default() += 1;
    }
    assert!(counts["RUNNING"] >= 8 && counts["PENDING"] >= 4, "{counts:?}");
}

#[test]
fn before_its_begin_there_is_nothing() {
    let cluster = MockCluster::new(1, 4);
    assert_eq!(cluster.records(timestamp(BEGIN - 86_400)), []);
    assert_eq!(cluster.record("0", timestamp(BEGIN)), None);
}
