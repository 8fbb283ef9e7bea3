//! What holds in every history, and a twin in which it does not.

use super::controller::Order;
use super::history::History;

pub fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// What is dealt with, as a story tells it: all of it has to happen in the histories that are played.
const MET: [&str; 29] = [
    "why: KeepsRestarting",
    "why: NotStable",
    "RolledBack",
    "JobVanished",
    "JobManagerRestarted",
    "SavepointMade",
    "SavepointFailed",
    "SavepointRemoved",
    "NotStable",
    "GivenUp",
    "TriesAgain",
    "NeverRan",
    "Phase(Blocked)",
    "send: 2",
    "act: Stop",
    "act: Rescale",
    "Emit(Rescaled",
    "Emit(RescaleWaits",
    "act: Cancel { discard: true }",
    "act: Cancel { discard: false }",
    "Ended(Vanished)",
    "LIBRA DIES",
    "Queue(",
    "Take(",
    "Again(",
    "End(Failed(",
    "End(Cancelled(\"replaced by generation",
    "End(Cancelled(\"replaced: generation",
    "End(Cancelled(\"suspended",
];

/// One live job at most, no state lost, an intent before every effect, and in the end what is wanted.
#[test]
fn every_history_ends_well() {
    let number = number_of("LIBRA_DEPLOYMENTS_HISTORIES");
    let named = number_of("LIBRA_DEPLOYMENTS_SEED");
    let first = named.unwrap_or(1_000);
    let alone = named.is_some() && number.is_none();
    let histories = if alone { 1 } else { number.unwrap_or(150) };
    let mut missing = MET.to_vec();
    for seed in first..first + histories {
        let mut history = History::new(seed, Order::StoreThenSend);
        let broken = history.play();
        if alone {
            println!("{}", history.controller.story);
        }
        assert!(broken.is_empty(), "LIBRA_DEPLOYMENTS_SEED={seed}: {broken:#?}");
        missing.retain(|words| !history.controller.story.contains(words));
    }
    assert!(alone || missing.is_empty(), "never met: {missing:?}");
}

/// Where the files can't be read, the cluster's own word has to do: still never two live jobs.
#[test]
fn without_files_there_is_still_one_live_job() {
    for seed in 0..40 {
        let mut history = History::new(seed, Order::StoreThenSend);
        history.cluster.readable = false;
        let broken = history.play();
        let two = broken.iter().any(|text| text.contains("several live jobs"));
        assert!(!two, "seed {seed}: {broken:#?}");
    }
}

/// The broken twin sends before it records. It is caught in the act, and by what comes of it.
#[test]
fn a_twin_that_sends_before_it_records_is_caught() {
    let caught = |history: History| !{ history }.play().is_empty();
    assert!((0..5).all(|seed| caught(History::new(seed, Order::SendThenStore))));
    let doubled = |named: bool| {
        let two = |seed: &u64| {
            let mut twin = History::new(*seed, Order::SendThenStore).without_intent_checks();
            twin.cluster.named = named;
            twin.play().iter().any(|text| text.contains("several live jobs"))
        };
        (0..60).filter(two).count()
    };
    let nameless = doubled(false);
    assert!(nameless > 0, "none of the twins had two live jobs");
    // What it forgot looks like somebody else's job, if it is known by its name: it is not started again beside it,
    // unless it comes late.
    let named = doubled(true);
    assert!(named * 4 <= nameless, "jobs of the same name were not seen: {named} beside {nameless}");
}

fn two_live_jobs(with: impl Fn(&mut History)) -> bool {
    (0..120).any(|seed| {
        let mut history = History::new(seed, Order::StoreThenSend);
        with(&mut history);
        history.play().iter().any(|text| text.contains("several live jobs"))
    })
}

/// A twin that begins before it is its turn is caught in the act.
#[test]
fn a_twin_that_does_not_wait_for_its_turn_is_caught() {
    let mut history = History::new(0, Order::StoreThenSend);
    history.controller.waits = false;
    let broken = history.play();
    assert!(broken.iter().any(|text| text.contains("a run begins although")), "{broken:?}");
}

/// What the waits are for: without them the promise does not hold, and the model notices.
#[test]
fn a_twin_that_does_not_wait_is_caught() {
    assert!(two_live_jobs(|h| h.desired.timing.zombie_window = 0), "tasks without a JobManager were not met");
    let impatient = |h: &mut History| {
        h.desired.timing.main_budget = 0;
        h.desired.timing.max_sends = 1;
    };
    assert!(two_live_jobs(impatient), "no late request was met");
}
