//! How long things stood still after each fault.

use std::collections::BTreeMap;

use crate::clock::seconds;
use crate::faults::{Fault, Made};

/// After a fault is mended, what stands still is still its doing for this long, microseconds.
const AFTERMATH: i64 = 5_000_000;

/// A replica that was started again serves after this long, microseconds.
const SETTLED: i64 = 1_500_000;

/// Figures of one kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Standstill {
    pub(crate) faults: usize,
    /// Half of the faults stopped everything for no longer, seconds.
    pub(crate) median: f64,
    /// The longest, seconds.
    pub(crate) longest: f64,
}

/// For each kind of fault: the longest time without any transition of any job, from a fault's beginning to a while
/// after it was mended. `rows` are the times of all transitions, ascending.
pub(crate) fn standstills(faults: &[Made], rows: &[i64]) -> BTreeMap<Fault, Standstill> {
    let mut by_kind: BTreeMap<Fault, Vec<f64>> = BTreeMap::new();
    for made in faults {
        by_kind.entry(made.fault).or_default().push(standstill(made, rows));
    }
    by_kind
        .into_iter()
        .map(|(fault, mut times)| {
            times.sort_by(f64::total_cmp);
            let median = times[(times.len() - 1) / 2];
            let longest = times.last().copied().unwrap_or_default();
            (fault, Standstill { faults: times.len(), median, longest })
        })
        .collect()
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

/// How long after its last fault a replica's attempts were taken over, in seconds. `takeovers` are the times of all
/// takeovers, each with the replica that lost the attempt.
pub(crate) fn takeovers(faults: &[Made], takeovers: &[(i64, String)]) -> Vec<f64> {
    let since = |(at, from): &(i64, String)| {
        let struck = faults.iter().filter(|made| made.whom == *from && made.at < *at).map(|made| made.at);
        Some(seconds(struck.max()?, *at))
    };
    takeovers.iter().filter_map(since).collect()
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
            let meanwhile = |other: &&Made| {
                // What does not touch replicas or the database is no excuse.
                let innocent = matches!(other.fault, Fault::KillDriver | Fault::KillShim);
                *other != death && !innocent && other.at < *next && other.mended_at + SETTLED > death.at
            };
            let alone = !faults.iter().any(|other| meanwhile(&other));
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
        let rows = [0, 1_000_000, 2_000_000, 6_000_000, 7_000_000, 20_000_000];
        let faults =
            [made(Fault::KillReplica, 2_500_000, 3_000_000), made(Fault::KillReplica, 500_000, 600_000)];
        let found = standstills(&faults, &rows)[&Fault::KillReplica];
        assert_eq!(found.faults, 2);
        assert!(
            (found.longest - 13.0).abs() < 1e-9,
            "the last row before the aftermath ends is followed by a gap"
        );
        assert!((found.median - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_takeover_follows_the_last_fault_of_its_replica() {
        let mut faults = [made(Fault::KillReplica, 0, 1), made(Fault::FreezeReplica, 1_000_000, 2_000_000)];
        faults[0].whom = "a".into();
        faults[1].whom = "b".into();
        let found = takeovers(&faults, &[(4_000_000, "a".into()), (4_000_000, "b".into())]);
        assert!((found[0] - 4.0).abs() < 1e-9 && (found[1] - 3.0).abs() < 1e-9);
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
