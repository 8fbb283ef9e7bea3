//! Cron with time zones: when does it come next?
//!
//! Clocks are put forward and back. A schedule that names times of the day keeps to *every day once*: a time that is
//! skipped comes once, just after the gap; a time that is there twice counts the first time. A schedule for every hour
//! (`*/15 * * * *`, `@hourly`) follows the clock instead: nothing comes late, and the repeated hour is an hour like
//! any other. This is how cron itself does it.

mod cron;
mod runs;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::time::Timestamp;
use cron::Cron;

pub use runs::{GRACE, Run, Runs, Turn, TurnOver, over, turn};

/// A cron text in a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a text is no schedule. Reads on after the field's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// The cron text.
    #[error("{0}")]
    Cron(String),
    /// The zone.
    #[error("has no zone `{0}`; write a name like `Europe/Berlin`, or leave it out for UTC")]
    Zone(String),
}

impl BadSchedule {
    /// True when the zone is what is wrong.
    pub fn is_zone(&self) -> bool {
        matches!(self, Self::Zone(_))
    }
}

impl Schedule {
    /// Reads a cron text of five fields or a nickname, and the name of a zone; UTC when there is none.
    ///
    /// The rules of a zone come from the machine's tz database, which jiff keeps: like a locale, they are no argument.
    ///
    /// # Errors
    /// Which of both is wrong, and how.
    pub fn parse(cron: &str, zone: Option<&str>) -> Result<Self, BadSchedule> {
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| BadSchedule::Zone(name.to_owned()))?,
        };
        Ok(Self { cron: Cron::parse(cron).map_err(BadSchedule::Cron)?, zone })
    }

    /// The first time after `after`; None when time ends before it.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_microsecond(after.0).ok()?;
        let found = if self.cron.is_every_hour() { self.by_the_clock(after) } else { self.once_a_day(after) };
        found.map(|at| Timestamp(at.as_microsecond()))
    }

    /// The latest time of the schedule from `first`, which is one, up to `now`. Steps get longer, so that a year of
    /// minutes is not counted one by one.
    pub fn latest(&self, first: Timestamp, now: Timestamp) -> Timestamp {
        let mut found = first;
        let mut step = now.0.saturating_sub(first.0);
        while step > 0 {
            let probe = now.plus_micros(-step).max(found);
            if let Some(at) = self.next(probe).filter(|at| *at <= now) {
                found = at;
            }
            step /= 2;
        }
        while let Some(at) = self.next(found).filter(|at| *at <= now) {
            found = at;
        }
        found
    }

    /// Every reading of the clock that is meant, each time that the clock shows it.
    fn by_the_clock(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut from = after.checked_add(jiff::SignedDuration::from_micros(1)).ok()?;
        loop {
            let offset = self.zone.to_offset(from);
            let found = offset.to_timestamp(self.cron.next(offset.to_datetime(from))?).ok()?;
            // The reading is right only up to the next change of the clock.
            match self.zone.following(from).next().map(|t| t.timestamp()) {
                Some(change) if change <= found => from = change,
                Some(_) | None => return Some(found),
            }
        }
    }

    /// Every time of the day that is meant, once.
    fn once_a_day(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut from = self.zone.to_datetime(after);
        loop {
            let meant = self.cron.next(from)?;
            let at = self.instant(meant)?;
            if at > after {
                return Some(at);
            }
            from = meant.checked_add(jiff::SignedDuration::from_mins(1)).ok()?;
        }
    }

    /// When it is `local`: the first time, or the end of the gap that it falls into. Never goes back as `local` goes on.
    fn instant(&self, local: DateTime) -> Option<jiff::Timestamp> {
        let at = |offset: Offset| offset.to_timestamp(local).ok();
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            AmbiguousOffset::Fold { before, .. } => at(before),
            AmbiguousOffset::Gap { before, after } => {
                let (early, late) = (at(after)?, at(before)?);
                let change = self.zone.following(early).find(|t| t.offset() == after);
                Some(change.map_or(late, |t| t.timestamp()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
