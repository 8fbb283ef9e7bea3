//! What holds in every history, and a twin in which it does not.

use super::controller::Order;
use super::history::History;

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// One live job at most, no state lost, an intent before every effect, and in the end what is wanted.
#[test]
fn every_history_ends_well() {
    let first = 1_000;
    let histories = number_of("LIBRA_DEPLOYMENTS_HISTORIES").unwrap_or(150);
    let alone = number_of("LIBRA_DEPLOYMENTS_SEED");
    let seeds = alone.map_or(first..first + histories, |seed| seed..seed + 1);
    for seed in seeds {
        let mut history = History::new(seed, Order::StoreThenSend);
        let broken = history.play();
        if alone.is_some() {
            println!("{}", history.controller.story);
        }
        assert!(broken.is_empty(), "LIBRA_DEPLOYMENTS_SEED={seed}: {broken:#?}");
    }
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
        (0..60).any(|seed| {
            let mut twin = History::new(seed, Order::SendThenStore).without_intent_checks();
            twin.cluster.named = named;
            twin.play().iter().any(|text| text.contains("several live jobs"))
        })
    };
    assert!(doubled(false), "none of the twins had two live jobs");
    // What it forgot looks like somebody else's job, if it is known by its name: it is not started again beside it.
    assert!(!doubled(true), "a job of the same name was not seen");
}
