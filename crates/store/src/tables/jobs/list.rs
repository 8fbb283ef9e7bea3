//! Lists of jobs (contract A3), newest first.
//!
//! A list with one condition is a walk along that condition's index, which tells the total up to 10,000 as well. With
//! several conditions one leads, and each job that it leads to is looked up in the lists of the others. That is done
//! for a limited number of jobs only (docs/decisions/0005): a page may end before it is full, and the next one goes on
//! where it ended.

mod conditions;
mod statements;

use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::mode::Mode;
use libra_core::spec::Kind;
use libra_core::time::Timestamp;

use crate::error::StoreError;
use crate::tx::Tx;
use conditions::{Condition, Conditions, Range, first_after};
use statements::{Walk, reaches};

/// Which jobs to list (contract A3). All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these states; empty = any.
    pub states: Vec<State>,
    /// Submitted by.
    pub user: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// In this mode.
    pub mode: Option<Mode>,
    /// On this engine.
    pub engine: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this queue.
    pub queue: Option<String>,
    /// With this name.
    pub name: Option<String>,
    /// On this cluster.
    pub cluster: Option<String>,
    /// With these labels.
    pub labels: Vec<(String, String)>,
    /// Submitted at or after.
    pub since: Option<Timestamp>,
    /// Submitted before.
    pub until: Option<Timestamp>,
}

/// Which page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageAt {
    /// Where an earlier page ended; None = from the newest.
    pub from: Option<Place>,
    /// Jobs to skip before the first.
    pub offset: u32,
    /// Jobs on it, at most.
    pub limit: u32,
    /// Where several conditions are combined, the lists of the others are looked into no more often than this.
    pub lookups: u32,
}

impl PageAt {
    /// The first page.
    pub fn first(limit: u32) -> Self {
        Self { from: None, offset: 0, limit, lookups: LOOKUPS }
    }
}

/// Where a page ends and the next one goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// It goes on with jobs older than this id, which need not be a job's.
    pub before: JobId,
    /// Jobs that were listed or skipped until here.
    pub listed: u64,
    /// How many the whole list has, as it was counted for the first page.
    pub total: Total,
}

/// A page of jobs.
#[derive(Clone, Debug)]
pub struct Page {
    /// Newest first. Without their programs, which may be large: `spec.source` is empty.
    pub jobs: Vec<Job>,
    /// How many there are in the whole list.
    pub total: Total,
    /// Where to go on; None on the last page. A page with a next one is short, or empty, where [`PageAt::lookups`]
    /// ended it.
    pub next: Option<Place>,
    /// False when [`PageAt::lookups`] ended the page before all of [`PageAt::offset`] was skipped.
    pub reached: bool,
}

/// How many jobs a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// So many, and no more than [`COUNTED_AT_MOST`].
    Exactly(u64),
    /// So many were found, and there may be more.
    AtLeast(u64),
}

/// Totals are exact up to this number (contract A3).
pub const COUNTED_AT_MOST: u64 = 10_000;
/// A page looks into other lists no more often than this. A look takes up to 2 µs on PostgreSQL, and half of that on
/// SQLite.
const LOOKUPS: u32 = 750;

/// Lists jobs, newest first.
pub fn list(tx: &mut dyn Tx, filter: &Filter, at: &PageAt) -> Result<Page, StoreError> {
    let Some(Conditions { all, range, moments }) = Conditions::of(filter) else {
        return Ok(Page { jobs: Vec::new(), total: Total::Exactly(0), next: None, reached: true });
    };
    let mut range = range.before(at.from.map(|place| place.before));
    let (lead, others, last) = match all.as_slice() {
        // Every job that it leads to is one of the list: the walk ends with its page.
        [only] if only.within.is_none() => (only, Vec::new(), None),
        several => leading(tx, several, range, at.lookups)?,
    };
    let end = last.map(|last| end_of_page(last, range.before));
    range.least = end.or(range.least);
    let walk = Walk { lead, others, moments: &moments, range };

    let most = u64::from(at.limit) + 1;
    let of = |counted| match end {
        None if counted <= COUNTED_AT_MOST => Total::Exactly(counted),
        None | Some(_) => Total::AtLeast(counted),
    };
    let (mut jobs, total) = match at.from {
        Some(place) => (walk.page(tx, at.offset, most)?, place.total),
        None if walk.others.is_empty() => {
            let counted = walk.count(tx, COUNTED_AT_MOST + 1)?;
            (walk.page(tx, at.offset, most)?, of(counted))
        }
        None => {
            let (jobs, counted) = walk.counted_page(tx, at.offset, most)?;
            (jobs, of(counted))
        }
    };
    let full = jobs.len() as u64 == most;
    jobs.truncate(at.limit as usize);
    let reached = end.is_none() || at.offset == 0 || !jobs.is_empty();

    let listed = at.from.map_or(0, |place| place.listed) + u64::from(at.offset) + jobs.len() as u64;
    let total = match total {
        Total::Exactly(all) => Total::Exactly(all),
        Total::AtLeast(some) => Total::AtLeast(some.max(listed)),
    };
    let next = if full { jobs.last().map(|job| job.id) } else { end };
    let next = next.map(|before| Place { before, listed, total });
    Ok(Page { jobs, total, next, reached })
}

/// The condition that leads, the others, and the last job that it leads to within `lookups`; None where it has no more
/// than that. The one that leads farthest back has the fewest jobs to look at.
fn leading<'c>(
    tx: &mut dyn Tx,
    all: &'c [Condition],
    range: Range,
    lookups: u32,
) -> Result<(&'c Condition, Vec<&'c Condition>, Option<JobId>), StoreError> {
    let each: u64 = all.iter().map(Condition::lookups).sum();
    let steps: Vec<(&Condition, u64)> = all
        .iter()
        .map(|condition| {
            let steps = match each - condition.lookups() {
                0 => COUNTED_AT_MOST + 1,
                each => u64::from(lookups) / each,
            };
            (condition, steps.max(1))
        })
        .collect();
    let mut found: Vec<(Option<JobId>, &Condition)> =
        reaches(tx, &steps, range)?.into_iter().zip(all).collect();
    // None comes first. The others follow in the order in which they rule most jobs out.
    found.sort_by_key(|(last, _)| *last);
    let others = found.iter().skip(1).map(|(_, condition)| *condition).collect();
    match found.first() {
        Some((last, lead)) => Ok((lead, others, *last)),
        None => Err(StoreError::unreadable("filter", "it has no condition")),
    }
}

/// The least id that a page covers which looks as far as `last`. That job may be another user's, so the id is that of
/// a moment where there is one between.
fn end_of_page(last: JobId, before: Option<JobId>) -> JobId {
    let moment = first_after(last);
    if before.is_none_or(|before| moment < before) { moment } else { last }
}
