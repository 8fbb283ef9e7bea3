//! What is said about a waiting job is what happens.

use libra_core::id::JobId;
use libra_core::simulate::Dice;
use libra_core::time::Timestamp;
use libra_core::turn::{Candidate, Limits, Policy, Position, Quota, RESERVATION, Scheduler};

use crate::world::{SECOND, host, id, job, seed_or};

fn scheduler(policy: Policy) -> Scheduler {
    Scheduler::new(policy, &host(8), Timestamp(0))
}

#[test]
fn the_first_limit_is_named_with_figures_and_holders() {
    let quota = Quota { cores: Some(4), ..Quota::default() };
    let users = Limits { running: quota, ..Limits::default() };
    let mut s = scheduler(Policy { user_default: users, ..Policy::default() });
    s.queued(&job(1, "ann", 3, 100));
    s.queued(&job(2, "ann", 2, 100));
    s.queued(&job(3, "bob", 4, 100));
    s.queued(&job(4, "cy", 4, 100));
    assert_eq!(s.pass(Timestamp(10)).len(), 2);
    let ann = s.explain(id(2)).unwrap();
    let blocked = ann.blocked.unwrap();
    assert_eq!(blocked.limit, "libra.quotas.users.default.cores");
    assert_eq!(blocked.message, "needs 2 cores; the jobs of the user ann hold 3 of 4");
    assert_eq!((blocked.used, blocked.requested, blocked.capacity), (3, 2, 4));
    assert_eq!((blocked.holders, blocked.holders_count), (vec![id(1)], 1));
    let cy = s.explain(id(4)).unwrap();
    let blocked = cy.blocked.unwrap();
    assert_eq!(blocked.limit, "libra.resources.limits.cpu-cores");
    assert_eq!(blocked.message, "needs 4 cores; 7 of 8 are in use");
    assert_eq!((blocked.holders, blocked.holders_count), (vec![id(1), id(3)], 2));
    assert_eq!(cy.position, Some(Position::Exactly(1)));
    assert_eq!(cy.start.at, Some(Timestamp(100 * SECOND + 10)));
    assert_eq!(cy.start.basis, "played forward with expected run times: 1 job ends and 0 start before it");
}

#[test]
fn a_reservation_is_told_with_whom_it_is_for() {
    let mut s = scheduler(Policy::default());
    s.queued(&job(1, "ann", 5, 100));
    s.pass(Timestamp(0));
    s.queued(&job(2, "bob", 8, 100));
    s.queued(&job(3, "cy", 2, 300));
    s.pass(Timestamp(1));
    let blocked = s.blocked(id(3)).unwrap();
    assert_eq!(blocked.limit, RESERVATION);
    let text = "room in the pool hosts is kept for another job, which starts by 1970-01-01T00:01:40.000Z; this job may run for 5 min";
    assert_eq!((blocked.message.as_str(), blocked.holders), (text, vec![id(2)]));
}

#[test]
fn a_job_that_would_be_submitted_is_explained_and_leaves_no_trace() {
    let mut s = scheduler(Policy::default());
    let now = Timestamp(5);
    let e = s.explain_candidate(&job(1, "ann", 8, 60), now).unwrap();
    assert_eq!((e.position, e.blocked, e.start.at), (Some(Position::Exactly(1)), None, Some(now)));
    assert_eq!((s.waiting_jobs(), s.audit()), (0, Vec::new()));
    s.queued(&job(1, "ann", 8, 60));
    s.pass(now);
    let e = s.explain_candidate(&job(2, "ann", 1, 60), now).unwrap();
    assert_eq!(e.start.at, Some(now.plus_seconds(60)));
}

/// What is estimated happens, if nobody else comes and jobs take as long as expected.
fn estimates(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut s = Scheduler::new(Policy::default(), &host(16), Timestamp(0));
    let mut lengths = std::collections::BTreeMap::new();
    let mut now = Timestamp(0);
    for n in 0..60 {
        now = now.plus_seconds(i64::try_from(dice.below(5)).unwrap());
        let seconds = 30 + i64::try_from(dice.below(600)).unwrap();
        let user = ["ann", "bob", "cy"][usize::try_from(dice.below(3)).unwrap()];
        let job = Candidate { since: now, ..job(n, user, 1 + dice.below(12), seconds) };
        lengths.insert(job.id, seconds);
        s.queued(&job);
    }
    let mut ends: std::collections::BTreeSet<(Timestamp, JobId)> = std::collections::BTreeSet::new();
    let begin = now;
    let mut told = std::collections::BTreeMap::new();
    loop {
        for d in s.pass(now) {
            ends.insert((now.plus_seconds(lengths[&d.job]), d.job));
            if now > begin {
                assert_eq!(told[&d.job], Some(now), "seed {seed}: {}", d.job);
            }
        }
        if told.is_empty() {
            told = lengths
                .keys()
                .filter(|id| s.is_waiting(**id))
                .map(|id| (*id, s.explain(*id).unwrap().start.at))
                .collect();
        }
        let Some((end, gone)) = ends.pop_first() else { break };
        now = end;
        s.advance(now);
        s.ended(gone);
    }
    assert_eq!(s.waiting_jobs(), 0);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(15),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Default::default()
    })]
    #[test]
    fn an_estimate_comes_true_when_nobody_else_comes(seed: u64) {
        estimates(seed_or(seed));
    }
}
