//! What follows from a read of everything that a scheduler knows: who has to be asked for, and who is forgotten.

use std::collections::BTreeSet;

use super::job::HpcJob;
use super::record::Record;
use crate::time::{MICROS_PER_SECOND, Timestamp};

/// Of a job that neither the scheduler nor its accounting knows nobody will ever tell more, once this long nobody has
/// known it, in microseconds: what has just been submitted or has just ended is on its way between the two.
pub const FORGOTTEN_AFTER: i64 = 120 * MICROS_PER_SECOND;
/// A scheduler may have forgotten jobs that ended longer ago than this, in microseconds: half of Slurm's usual `MinJobAge`.
pub const GAP: i64 = 150 * MICROS_PER_SECOND;

/// The pause before a job is asked for a second time, in microseconds; it doubles with each question.
const FIRST_PAUSE: i64 = 5 * MICROS_PER_SECOND;
/// It doubles so often, at most: 160 s, after which whoever nobody knows is forgotten.
const MOST_DOUBLED: u32 = 5;

/// How a job that is in no list was asked for until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// How often.
    pub times: u32,
    /// Not again before this.
    pub next: Timestamp,
}

impl Asked {
    /// Not yet.
    pub const NEVER: Self = Self { times: 0, next: Timestamp(i64::MIN) };

    /// The same after one more question at `now`.
    #[must_use]
    pub fn once_more(self, now: Timestamp) -> Self {
        let pause = FIRST_PAUSE << self.times.min(MOST_DOUBLED);
        Self { times: self.times.saturating_add(1), next: now.plus_micros(pause) }
    }
}

/// True for what can be the number of a job with a scheduler: hooks and people may have told of others, and nobody knows
/// those.
pub fn is_number(external_id: &str) -> bool {
    !external_id.is_empty() && external_id.bytes().all(|b| b.is_ascii_digit())
}

/// Those of the records that are of this cluster: one accounting may keep several, and the same number on each. `own` is the
/// scheduler's name for itself, where it has told it.
pub fn of_cluster(records: Vec<Record>, own: Option<&str>) -> Vec<Record> {
    let is_own =
        |record: &Record| own.is_none() || record.cluster.is_none() || record.cluster.as_deref() == own;
    records.into_iter().filter(is_own).collect()
}

/// The jobs that have not ended and are not in a list that was asked for at `asked_at`: each has to be asked for by
/// itself. What was heard of since is in no list yet.
pub fn unlisted<'j>(open: &'j [HpcJob], listed: &BTreeSet<String>, asked_at: Timestamp) -> Vec<&'j HpcJob> {
    open.iter().filter(|job| !listed.contains(&job.record.external_id) && job.updated_at < asked_at).collect()
}

/// True once a job that nobody knows, since `missed`, is forgotten.
pub fn is_forgotten(missed: Timestamp, now: Timestamp) -> bool {
    now.0.saturating_sub(missed.0) >= FORGOTTEN_AFTER
}

/// From when on accounting has to be asked for what has ended unseen; None where nothing can have. `looked_at` is the
/// last read of everything, if there ever was one.
pub fn unseen_since(looked_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    looked_at.filter(|at| now.0.saturating_sub(at.0) > GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_for_in_vain_is_asked_for_less_often() {
        let mut asked = Asked::NEVER;
        let mut now = Timestamp(0);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            asked = asked.once_more(now);
            pauses.push((asked.next.0 - now.0) / MICROS_PER_SECOND);
            now = asked.next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 160, 160]);
    }

    #[test]
    fn another_clusters_job_of_the_same_number_is_not_ours() {
        let of = |cluster: Option<&str>| Record { cluster: cluster.map(str::to_owned), ..Record::default() };
        let all = vec![of(Some("a")), of(Some("b")), of(None)];
        assert_eq!(of_cluster(all.clone(), Some("a")), [of(Some("a")), of(None)]);
        assert_eq!(of_cluster(all.clone(), None), all);
        for (id, is) in [("12", true), ("", false), ("12_3", false), ("job-1", false)] {
            assert_eq!(is_number(id), is, "{id}");
        }
    }
}
