//! How many more jobs may wait, exactly, with several replicas and without counting the queue each time.
//!
//! Every job draws a ticket from a sequence before it enters the queue. Whoever counts the queue keeps everybody
//! else from entering meanwhile (an advisory lock, taken shared by those who enter) and remembers the newest ticket.
//! From then on at most as many jobs have entered as tickets were drawn, whoever drew them: while a ticket is not
//! greater than `newest ticket + bound − counted`, there is room for its job. Jobs that leave only make more room, so
//! what a replica remembers stays true; when it is used up, the queue is counted again.

use std::sync::{Mutex, PoisonError};

use crate::postgres::connection::{Connection, Failure};

/// Held shared while jobs enter the queue, alone while it is counted: an advisory lock of the database.
pub(super) const LOCK: i64 = 0x4c69_6272_6102;

/// The queue as it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Jobs that waited, counted no further than the greatest bound asked for.
    pub(super) queued: u64,
    /// How far it was counted.
    most: u64,
    /// The newest ticket at that time.
    ticket: i64,
}

/// What this replica knows of the queue.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Option<Counted>>);

impl Known {
    /// The greatest ticket for which there is certainly room under each of these bounds; None when it is not known, or
    /// when there were no tickets left for so many `jobs` even when the queue was counted.
    pub(super) fn until(&self, bounds: impl Iterator<Item = u64>, jobs: usize) -> Option<i64> {
        let known = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let (mut least, mut greatest) = (u64::MAX, 0);
        for bound in bounds {
            least = least.min(bound);
            greatest = greatest.max(bound);
        }
        // Counted to a smaller bound, there may have been more.
        if known.queued >= known.most && greatest > known.most {
            return None;
        }
        let room = least.checked_sub(known.queued).filter(|room| *room >= jobs as u64)?;
        Some(known.ticket.saturating_add(i64::try_from(room).unwrap_or(i64::MAX)))
    }

    pub(super) fn counted(&self, counted: Counted) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(counted);
    }
}

/// Draws `count` tickets, after making sure that nobody counts; answers the greatest.
pub(super) async fn draw(connection: &mut Connection, count: usize) -> Result<i64, Failure> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let sql = "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared($1)) \
               SELECT MAX(nextval('queue_tickets')) FROM gate CROSS JOIN generate_series(1, $2::bigint)";
    let drawn = connection.query(sql, &[&LOCK, &count]).await?;
    Ok(drawn.first().and_then(|row| row.get::<_, Option<i64>>(0)).unwrap_or(i64::MAX))
}

/// Counts the queue, no further than `most`. Until the end of the transaction nobody else enters it.
pub(super) async fn count(connection: &mut Connection, most: u64) -> Result<Counted, Failure> {
    connection.query("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    // By statements of their own, after the lock was granted: they see what those before it have committed.
    let newest = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM queue_tickets";
    let newest = connection.query(newest, &[]).await?;
    let bound = i64::try_from(most).unwrap_or(i64::MAX);
    let counting = "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE state = 'QUEUED' LIMIT $1) counted";
    let counted = connection.query(counting, &[&bound]).await?;
    let number = |rows: &[tokio_postgres::Row]| rows.first().map_or(0, |row| row.get::<_, i64>(0));
    let queued = u64::try_from(number(&counted)).unwrap_or(0);
    Ok(Counted { queued, most, ticket: number(&newest) })
}
