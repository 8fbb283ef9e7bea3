//! What follows from a read of everything that a scheduler knows: who has to be asked for, and who is forgotten.

use std::collections::BTreeSet;

use super::job::HpcJob;
use crate::time::{MICROS_PER_SECOND, Timestamp};

/// Of a job that neither the scheduler nor its accounting knows nobody will ever tell more, once this long nobody has
/// known it, in microseconds: what has just been submitted or has just ended is on its way between the two.
pub const FORGOTTEN_AFTER: i64 = 120 * MICROS_PER_SECOND;
/// A scheduler may have forgotten jobs that ended longer ago than this, in microseconds: half of Slurm's usual `MinJobAge`.
pub const GAP: i64 = 150 * MICROS_PER_SECOND;

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
