//! What must hold at every instant of every history.

use std::collections::BTreeMap;

use libra_core::id::JobId;
use libra_core::simulate::{Recipe, Setting, generate, run_watched};
use libra_core::time::Timestamp;
use libra_core::turn::{Past, Policy, Pool, Resources, Scheduler, Snapshot, Why};

use crate::world::{World, seed_or};

/// Steps of one history.
const STEPS: usize = 100;

/// Only whole buckets and what is being filled, in one order.
fn buckets(snapshot: &Snapshot) -> BTreeMap<(String, String, String, String, i64), [u128; 4]> {
    let mut all = BTreeMap::new();
    for m in &snapshot.memory {
        let Past::Bucket { index, amount, .. } = m.past else { panic!("buckets are told of") };
        all.insert((m.pool.clone(), m.queue.clone(), m.tenant.clone(), m.user.clone(), index), amount);
    }
    all
}

fn kept(scheduler: &Scheduler) -> bool {
    !scheduler.reservations().is_empty() || scheduler.limits().iter().any(|l| l.kept_for.is_some())
}

fn history(seed: u64) {
    let mut world = World::new(seed);
    for step in 0..STEPS {
        world.step();
        // A new leader that knows the same decides the same.
        world.scheduler.advance(world.now);
        let mut rebuilt = Scheduler::rebuild(&world.scheduler.snapshot(), world.now);
        let mut from_store = Scheduler::rebuild(&world.store(), world.now);
        assert_eq!(buckets(&from_store.snapshot()), buckets(&world.scheduler.snapshot()), "step {step}");
        let decisions = world.pass();
        assert_eq!(rebuilt.pass(world.now), decisions, "step {step}: a rebuilt scheduler");
        assert_eq!(from_store.pass(world.now), decisions, "step {step}: one from the store");
        assert_eq!(rebuilt.reservations(), world.scheduler.reservations(), "step {step}");
        assert_eq!(world.scheduler.audit(), Vec::<String>::new(), "step {step}");
        world.check_limits(&decisions);
        assert_eq!(world.scheduler.pass(world.now), [], "step {step}: one pass starts all that may start");
        // Nobody waits without a reason; and without reservations the reason is a limit or room, by other books.
        for job in world.waiting.values() {
            let blocked = world.scheduler.blocked(job.id);
            assert!(
                blocked.is_some(),
                "step {step}: {job:?} waits for nothing; kept: {:?} {:?}",
                world.scheduler.reservations(),
                world.scheduler.limits(),
            );
            if !kept(&world.scheduler) && job.demand.executors.max == 0 {
                assert!(!world.fits(job), "step {step}: {} would fit: {blocked:?}", job.id);
            }
        }
    }
}

/// Plays a generated workload on one pool without limits, where run times are known exactly: whoever was promised room
/// by a time has started by then, and backfill took nothing of it.
fn promises(seed: u64) {
    let recipe = Recipe { jobs: 400, seed, cores: 32, load: 1.2, ..Recipe::default() };
    let mut workload = generate(&recipe);
    for task in &mut workload.tasks {
        task.limit = Some(task.runs);
    }
    let capacity = Resources::new(recipe.cores, recipe.memory);
    let setting =
        Setting { pools: vec![Pool::single("p", capacity)], policy: Policy::default(), learn: false };
    let mut promised: BTreeMap<JobId, Timestamp> = BTreeMap::new();
    let mut backfilled = 0;
    run_watched(&workload, &setting, |scheduler, decisions| {
        for d in decisions {
            backfilled += usize::from(matches!(d.why, Why::Backfill { .. }));
            promised.remove(&d.job);
        }
        for (_, kept) in scheduler.reservations() {
            let first = *promised.entry(kept.job).or_insert(kept.at);
            assert!(kept.at <= first, "seed {seed}: {} was promised {first:?}, now {:?}", kept.job, kept.at);
        }
    });
    assert!(promised.is_empty(), "seed {seed}: {promised:?} never started");
    assert!(backfilled > 0, "seed {seed}: nothing was put in between, so nothing was shown");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Default::default()
    })]
    #[test]
    fn limits_hold_and_nothing_is_idle_and_a_new_leader_decides_the_same(seed: u64) {
        history(seed_or(seed));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(10),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Default::default()
    })]
    #[test]
    fn backfill_never_delays_a_reservation(seed: u64) {
        promises(seed_or(seed));
    }
}
