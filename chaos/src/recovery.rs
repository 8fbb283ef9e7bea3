//! How long things stood still after each fault.

use std::collections::BTreeMap;

use crate::clock::seconds;
use crate::faults::{Fault, Made, POSTGRES};

/// After a fault is mended, what stands still is still its doing for this long, microseconds.
const AFTERMATH: i64 = 1_500_000;

/// A replica that was started again serves after this long, microseconds.
const SETTLED: i64 = 1_500_000;

/// Figures of one kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Standstill {
    pub(crate) faults: usize,
    /// Of those, nothing else was broken at the same time.
    pub(crate) alone: usize,
    /// Half of those that came alone stopped everything for no longer, seconds.
    pub(crate) median: f64,
    /// The longest of those that came alone, seconds.
    pub(crate) longest: f64,
}

/// For each kind of fault: the longest time without any transition of any job, from a fault's beginning to a while
/// after it was mended. `rows` are the times of all transitions, ascending.
pub(crate) fn standstills(faults: &[Made], rows: &[i64]) -> BTreeMap<Fault, Standstill> {
    let mut by_kind: BTreeMap<Fault, (usize, Vec<f64>)> = BTreeMap::new();
    for made in faults {
        let (count, times) = by_kind.entry(made.fault).or_default();
        *count += 1;
        if !is_disturbed(made, made.mended_at + AFTERMATH, faults) {
            times.push(standstill(made, rows));
        }
    }
    by_kind
        .into_iter()
        .map(|(fault, (faults, mut times))| {
            times.sort_by(f64::total_cmp);
            let median = times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_default();
            let longest = times.last().copied().unwrap_or_default();
            (fault, Standstill { faults, alone: times.len(), median, longest })
        })
        .collect()
}

/// True when something else was broken between the beginning of `made` and `until`. What touches neither replicas nor
/// the database is no excuse.
fn is_disturbed(made: &Made, until: i64, faults: &[Made]) -> bool {
    faults.iter().any(|other| {
        let innocent = matches!(other.fault, Fault::KillDriver | Fault::KillShim);
        other != made && !innocent && other.at < until && other.mended_at + SETTLED > made.at
    })
}

fn standstill(made: &Made, rows: &[i64]) -> f64 {
    let until = made.mended_at + AFTERMATH;
    let first = rows.partition_point(|at| *at < made.at);
    let mut last = made.at;
    let mut longest = 0.0_f64;
    for at in &rows[first..] {
        longest = longest.max(seconds(last, *at));
        last = *at;
        if *at > until {
            break;
        }
    }
    longest
}

/// How long after a fault of its replica, or of PostgreSQL, each attempt was taken over, in seconds; and how many were
/// taken over without any, because their replica was slower than its lease. `takeovers` are the times of all takeovers,
/// each with the replica that lost the attempt; `patience` is how long after its end a fault still has consequences.
pub(crate) fn takeovers(faults: &[Made], takeovers: &[(i64, String)], patience: i64) -> (Vec<f64>, usize) {
    let since = |(at, from): &(i64, String)| {
        let of_it = |made: &&Made| made.whom == *from || made.whom == POSTGRES;
        let struck = faults.iter().filter(of_it).filter(|m| m.at < *at && *at < m.mended_at + patience);
        Some(seconds(struck.map(|made| made.at).max()?, *at))
    };
    let times: Vec<f64> = takeovers.iter().filter_map(since).collect();
    let without = takeovers.len() - times.len();
    (times, without)
}

/// What followed the death of one leader.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Succession {
    /// From its death to the first job that a later leader scheduled, seconds.
    pub(crate) seconds: f64,
    /// Nothing else was broken meanwhile.
    pub(crate) alone: bool,
}

/// What followed each death of a leader. `scheduled` are the times and epochs of all SCHEDULED rows, in order.
pub(crate) fn successions(faults: &[Made], scheduled: &[(i64, i64)]) -> Vec<Succession> {
    let deaths = faults.iter().filter(|made| made.fault == Fault::KillLeader);
    deaths
        .filter_map(|death| {
            let epoch = death.epoch?;
            let (next, _) = scheduled.iter().find(|(at, e)| *at > death.at && *e > epoch)?;
            let alone = !is_disturbed(death, *next, faults);
            Some(Succession { seconds: seconds(death.at, *next), alone })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(fault: Fault, at: i64, mended_at: i64) -> Made {
        Made { fault, whom: String::new(), at, mended_at, epoch: Some(3) }
    }

    #[test]
    fn the_longest_gap_counts() {
        let rows = [0, 2_000_000, 4_000_000, 40_000_000, 43_000_000];
        let faults = [
            made(Fault::KillReplica, 2_500_000, 3_000_000),
            made(Fault::KillReplica, 41_000_000, 41_000_000),
            made(Fault::PostgresStop, 41_500_000, 41_600_000),
        ];
        let found = standstills(&faults, &rows)[&Fault::KillReplica];
        assert_eq!((found.faults, found.alone), (2, 1));
        // The gap that begins before the aftermath is over.
        assert!((found.longest - 36.0).abs() < 1e-9 && (found.median - 36.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_takeover_follows_the_last_fault_of_its_replica() {
        let mut faults = [made(Fault::KillReplica, 0, 1), made(Fault::PostgresStop, 1_000_000, 2_000_000)];
        faults[0].whom = "a".into();
        faults[1].whom = POSTGRES.into();
        let lost = [(900_000, "a".into()), (4_000_000, "b".into()), (9_000_000, "a".into())];
        let (times, without) = takeovers(&faults, &lost, 6_000_000);
        assert!((times[0] - 0.9).abs() < 1e-9 && (times[1] - 3.0).abs() < 1e-9);
        assert_eq!((times.len(), without), (2, 1));
    }

    #[test]
    fn the_next_leader_is_one_of_a_later_epoch() {
        let scheduled = [(1_000_000, 3), (2_100_000, 3), (5_000_000, 4)];
        let death = made(Fault::KillLeader, 2_000_000, 6_000_000);
        let found = successions(std::slice::from_ref(&death), &scheduled);
        assert_eq!(found, [Succession { seconds: 3.0, alone: true }]);
        let found = successions(&[death, made(Fault::PostgresStop, 3_000_000, 4_000_000)], &scheduled);
        assert!(!found[0].alone);
    }
}
