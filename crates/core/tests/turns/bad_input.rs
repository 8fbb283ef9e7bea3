//! What nobody wants, and everybody gets.

use libra_core::simulate::Dice;
use libra_core::time::Timestamp;
use libra_core::turn::{
    Candidate, Demand, Elsewhere, Exceeded, Executors, Limits, Policy, Position, Quota, Resources, Scheduler,
    Why,
};

use crate::world::{self, SECOND, World, host, id, job, seed_or};

fn scheduler(policy: Policy, cores: u64) -> Scheduler {
    Scheduler::new(policy, &host(cores), Timestamp(0))
}

#[test]
fn a_quota_of_nothing_lets_nothing_run_and_says_so() {
    let quota = Quota { jobs: Some(0), ..Quota::default() };
    let nobody = Limits { running: quota, ..Limits::default() };
    let mut s = scheduler(Policy { user_default: nobody, ..Policy::default() }, 4);
    s.queued(&job(1, "ann", 1, 10));
    assert_eq!(s.pass(Timestamp(10)), []);
    let e = s.explain(id(1)).unwrap();
    let blocked = e.blocked.unwrap();
    assert_eq!(blocked.limit, "libra.quotas.users.default.running-jobs");
    assert_eq!(blocked.message, "the jobs of the user ann are limited to none at once");
    assert!(blocked.never && e.start.at.is_none(), "{:?}", e.start);
}

#[test]
fn one_job_larger_than_everything_holds_up_nobody() {
    let mut s = scheduler(Policy::default(), 4);
    s.queued(&job(1, "ann", 5, 10));
    s.queued(&job(2, "ann", 4, 10));
    let started = s.pass(Timestamp(10));
    assert_eq!(started.iter().map(|d| d.job).collect::<Vec<_>>(), [id(2)]);
    let e = s.explain(id(1)).unwrap();
    assert_eq!(e.position, None);
    let blocked = e.blocked.unwrap();
    assert_eq!(blocked.limit, "libra.resources.limits.cpu-cores");
    assert_eq!(blocked.message, "needs 5 cores on one host; jobs may use 4");
}

#[test]
fn capacity_that_shrinks_kills_nothing_and_admits_nothing() {
    let mut s = scheduler(Policy::default(), 8);
    for n in 1..=3 {
        s.queued(&job(n, "ann", 4, 100));
    }
    assert_eq!(s.pass(Timestamp(0)).len(), 2);
    assert_eq!(s.exceeded(), []);
    s.set_pools(host(4), Timestamp(SECOND));
    assert_eq!((s.pass(Timestamp(SECOND)).len(), s.running_jobs()), (0, 2));
    let Exceeded { key, text, .. } = s.exceeded().into_iter().next().unwrap();
    assert_eq!(
        (key.as_str(), text.as_str()),
        ("libra.resources.limits.cpu-cores", "8 cores of 4 are held on hosts")
    );
    s.ended(id(1));
    assert_eq!(s.pass(Timestamp(2 * SECOND)), [], "four of four are held");
    s.ended(id(2));
    let decisions = s.pass(Timestamp(3 * SECOND));
    assert_eq!((decisions.len(), decisions[0].why), (1, Why::Reserved));
    s.set_pools(Vec::new(), Timestamp(4 * SECOND));
    assert_eq!((s.running_jobs(), s.audit()), (1, Vec::new()), "its host is gone, and it goes on");
    assert_eq!(s.exceeded()[0].text, "1 jobs run on nodes that are gone");
}

#[test]
fn a_thousand_jobs_alike_are_one_shape() {
    let mut s = scheduler(Policy::default(), 10);
    for n in 0..1_000 {
        s.queued(&job(n, "ann", 1, 10));
    }
    assert_eq!(s.pass(Timestamp(0)).len(), 10);
    let place = |s: &Scheduler, n| s.explain(id(n)).unwrap().position.unwrap();
    assert_eq!((place(&s, 10), place(&s, 500)), (Position::Exactly(1), Position::Exactly(491)));
    for n in 1_000..3_000 {
        s.queued(&job(n, "ann", 1, 10));
    }
    assert_eq!(place(&s, 2_999), Position::AtLeast(1_001));
}

#[test]
fn drivers_never_take_the_room_of_their_executors() {
    let executors = Executors { each: Resources::new(3, 0), min: 0, max: 10 };
    let demand = Demand { driver: Resources::new(1, 0), executors, elsewhere: None };
    let mut s = scheduler(Policy::default(), 10);
    for n in 0..10 {
        s.queued(&Candidate { demand: demand.clone(), ..job(n, "ann", 1, 10) });
    }
    assert_eq!(s.pass(Timestamp(0)).len(), 2, "two drivers with an executor each, and not ten drivers");
    s.grown(id(0), 2);
    assert_eq!(s.standing()[0].held.cores, 11, "what it grew to counts");
    assert_eq!(s.exceeded().len(), 1);
    s.grown(id(0), 0);
    assert_eq!(s.standing()[0].held.cores, 8, "its reserve stays");
    assert_eq!(s.audit(), Vec::<String>::new());
}

#[test]
fn executors_on_another_cluster_count_there_and_for_their_user() {
    let executors = Executors { each: Resources::new(2, 0), min: 1, max: 4 };
    let elsewhere = Some(Elsewhere { cluster: "east".into(), executors });
    let demand = Demand { elsewhere, ..Demand::on_one_node(Resources::new(1, 0)) };
    let mut policy = Policy::default();
    policy.clusters.insert("east".into(), Quota { cores: Some(6), ..Quota::default() });
    policy.users.insert(
        "ann".into(),
        Limits { running: Quota { cores: Some(8), ..Quota::default() }, ..Limits::default() },
    );
    let mut s = scheduler(policy, 100);
    let wants = |n, user: &str| Candidate { demand: demand.clone(), ..job(n, user, 1, 10) };
    s.queued(&wants(0, "ann"));
    s.queued(&wants(1, "ann"));
    assert_eq!(s.pass(Timestamp(0)).len(), 2);
    assert_eq!(s.may_grow(), [id(0), id(1)]);
    s.grown(id(0), 2);
    s.queued(&wants(2, "bob"));
    assert_eq!(s.pass(Timestamp(1)).len(), 0, "three executors of two cores each");
    let blocked = s.explain(id(2)).unwrap().blocked.unwrap();
    assert_eq!(
        (blocked.limit.as_str(), blocked.used, blocked.capacity),
        ("libra.clusters.east.limits.cores", 6, 6)
    );
    s.grown(id(0), 4);
    let over: Vec<String> = s.exceeded().into_iter().map(|e| e.key).collect();
    assert_eq!(over, ["libra.quotas.users.ann.cores", "libra.clusters.east.limits.cores"]);
    let again = Scheduler::rebuild(&s.snapshot(), Timestamp(1));
    assert_eq!(again.exceeded().len(), 2, "who takes over knows of it");
    s.grown(id(0), 0);
    assert_eq!(s.pass(Timestamp(2)).len(), 1, "its reserve stays, and no more");
    assert_eq!(s.audit(), Vec::<String>::new());
}

#[test]
fn a_reservation_moves_when_jobs_overrun_and_keeps_its_holder() {
    let mut s = scheduler(Policy::default(), 4);
    s.queued(&job(1, "ann", 4, 100));
    s.pass(Timestamp(0));
    s.queued(&job(2, "bob", 4, 100));
    s.pass(Timestamp(SECOND));
    let at = |s: &Scheduler| s.reservations()[0].1.at.0 / SECOND;
    assert_eq!(at(&s), 100);
    s.pass(Timestamp(150 * SECOND));
    assert_eq!(at(&s), 200, "it has overrun, and is expected to take twice as long");
    s.queued(&job(3, "cy", 1, 10));
    s.pass(Timestamp(151 * SECOND));
    s.ended(id(1));
    let order: Vec<_> = s.pass(Timestamp(160 * SECOND)).into_iter().map(|d| d.job).collect();
    assert_eq!(order, [id(2)]);
}

#[test]
fn what_has_no_end_reserves_nothing() {
    let mut s = scheduler(Policy::default(), 4);
    s.queued(&Candidate { run_time: libra_core::turn::RunTime::default(), ..job(1, "ann", 2, 1) });
    s.queued(&job(2, "bob", 4, 100));
    s.queued(&job(3, "cy", 2, 100));
    let order: Vec<_> = s.pass(Timestamp(10)).into_iter().map(|d| d.job).collect();
    assert_eq!((order, s.reservations()), (vec![id(1), id(3)], Vec::new()));
    let start = s.explain(id(2)).unwrap().start;
    assert_eq!((start.at, start.basis.as_str()), (None, "it waits for a job whose end is not known"));
}

/// Capacity, rules and clock change under way; jobs grow.
fn shocks(seed: u64) {
    let mut world = World::new(seed);
    let mut dice = Dice::new(!seed);
    for step in 0..100 {
        world.step();
        match dice.below(12) {
            0 => {
                world.pools = world::pools(&mut dice);
                world.scheduler.set_pools(world.pools.clone(), world.now);
            }
            1 => {
                world.policy = world::policy(&mut dice);
                world.scheduler.set_policy(world.policy.clone(), world.now);
            }
            2 => world.now = world.now.plus_seconds(-i64::try_from(dice.below(100_000)).unwrap()),
            3 => world.now = world.now.plus_seconds(i64::try_from(dice.below(1_000_000)).unwrap()),
            4 => {
                let n = usize::try_from(dice.below(20)).unwrap();
                let executors = u32::try_from(dice.below(6)).unwrap();
                if let Some(id) = world.running.keys().nth(n).copied() {
                    world.scheduler.grown(id, executors);
                    world.scheduler.grown(id, 0);
                    // The books keep what is reserved; where it lies after that, nobody says.
                    if world.running[&id].job.demand.executors.max > 0 {
                        world.end(id);
                    }
                }
            }
            _ => {}
        }
        let decisions = world.pass();
        assert_eq!(world.scheduler.audit(), Vec::<String>::new(), "seed {seed}, step {step}");
        world.check_limits(&decisions);
        for id in world.waiting.keys().take(2).filter(|_| step % 10 == 0) {
            assert!(world.scheduler.explain(*id).is_some(), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn the_ends_of_time_are_survived() {
    let mut s = scheduler(Policy::default(), 4);
    for (n, now) in [0, i64::MAX, i64::MIN, 5, i64::MAX - 1, -5].into_iter().enumerate() {
        s.queued(&job(n as u64, "ann", 3, i64::MAX / SECOND));
        s.pass(Timestamp(now));
        s.explain(id(n as u64));
        assert_eq!(s.audit(), Vec::<String>::new());
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
    fn shocks_break_no_limit_and_lose_no_job(seed: u64) {
        shocks(seed_or(seed));
    }
}
