//! Which row of the log has which number in the feed.
//!
//! Numbers are given after the commit, without gaps, by the leader alone. Ids are given before the commit: on
//! PostgreSQL a row may appear behind one with a greater id, and an id whose transaction failed never appears. Rows of
//! consecutive ids get consecutive numbers, so that a few segments say which row has which number, and the log itself
//! is only ever added to.
//!
//! ```text
//! ids      1 2 3 4 5 . 7 8 9        6 is missing: young, it is waited for; then it is passed over
//! numbers  1 2 3 4 5   6 7 8        and gets number 9, should it appear after all
//! ```

use super::facts;
use super::feed::holds;
use crate::error::StoreError;
use crate::lane::Fence;
use crate::tx::{Row, Tx, all, first};

/// Rows numbered in one transaction, at most.
pub const MAX_NUMBERED: i64 = 5_000;
/// A missing id is waited for while the row behind it is younger than this, microseconds: longer than a statement
/// usually takes.
const GAP_WAIT: i64 = 2_000_000;
/// So many of the newest segments are watched for rows that appear between them. A transaction of Libra ends within a
/// minute or so, by the limits of its session; it takes a failed one to make a segment.
const WATCHED: i64 = 200;
/// The fact that holds the greatest number whose row was removed.
const BEGINS_AFTER: &str = "feed_begins_after";

/// SQL: the number of the row of `transitions t`; NULL while it has none, and where its segment was removed.
pub const NUMBER: &str = "(SELECT CASE WHEN t.id < s.first_id + s.length THEN s.first_seq + t.id - s.first_id END \
     FROM feed_segments s WHERE s.first_id <= t.id ORDER BY s.first_id DESC LIMIT 1)";

/// Rows of consecutive ids that have consecutive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first_seq: i64,
    pub(super) first_id: i64,
    /// Never 0.
    pub(super) length: i64,
}

impl Segment {
    /// The number after the last one.
    pub(super) fn end_seq(self) -> i64 {
        self.first_seq.saturating_add(self.length)
    }

    /// The id after the last one.
    fn end_id(self) -> i64 {
        self.first_id.saturating_add(self.length)
    }

    /// The ids of its rows with numbers after `after` and up to `until`.
    pub(super) fn ids_between(self, after: i64, until: i64) -> (i64, i64) {
        let shift = self.first_seq - self.first_id;
        let first = self.first_seq.max(after.saturating_add(1));
        (first - shift, (self.end_seq() - 1).min(until) - shift)
    }

    fn read(row: &dyn Row) -> Result<Self, StoreError> {
        Ok(Self { first_seq: row.int(0)?, first_id: row.int(1)?, length: row.int(2)? })
    }
}

/// Numbers committed rows, if the fence still holds; says how many.
pub fn number(tx: &mut dyn Tx, fence: &Fence) -> Result<usize, StoreError> {
    if !holds(tx, fence)? {
        return Ok(0);
    }
    let Some(last) = newest_segment(tx)? else { return Ok(0) };
    let next_id = first(
        tx,
        "SELECT first_id + length FROM feed_segments ORDER BY first_id DESC LIMIT 1",
        &[],
        |row| row.int(0),
    )?;
    let next_id = next_id.unwrap_or_else(|| last.end_id());
    let rows = waiting(tx, next_id)?;
    if rows.is_empty() {
        return Ok(0);
    }
    let now = tx.now()?.0;
    let next_seq = last.end_seq().max(begins_after(tx)?.saturating_add(1));
    let mut added = segments(&rows, next_id, next_seq, now);
    let numbered: i64 = added.iter().map(|s| s.length).sum();
    if let Some(&one) = added.first()
        && (one.first_seq, one.first_id) == (last.end_seq(), last.end_id())
    {
        added.remove(0);
        let sql = "UPDATE feed_segments SET length = length + ?1 WHERE first_seq = ?2";
        tx.execute(sql, &[one.length.into(), last.first_seq.into()])?;
    }
    for one in added {
        let sql = "INSERT INTO feed_segments (first_seq, first_id, length) VALUES (?1, ?2, ?3)";
        tx.execute(sql, &[one.first_seq.into(), one.first_id.into(), one.length.into()])?;
    }
    Ok(usize::try_from(numbered).unwrap_or(usize::MAX))
}

/// Rows without a number, id and moment, by their ids: those that have appeared between segments, and those from
/// `next_id` on. One statement, hence one moment: of one job's rows, none is seen without those before it.
fn waiting(tx: &mut dyn Tx, next_id: i64) -> Result<Vec<(i64, i64)>, StoreError> {
    let newest =
        format!("SELECT t.id, t.at FROM transitions t WHERE t.id >= ?1 ORDER BY t.id LIMIT {MAX_NUMBERED}");
    let sql = if tx.ids_may_appear_late() {
        // LATERAL with a LIMIT, so that each hole is looked up in the index.
        format!(
            "SELECT late.id, late.at FROM ( \
               SELECT LAG(first_id + length) OVER (ORDER BY first_id) AS begins, first_id AS ends FROM ( \
                 SELECT first_id, length FROM feed_segments ORDER BY first_id DESC LIMIT {WATCHED}) recent) hole \
             CROSS JOIN LATERAL ( \
               SELECT t.id, t.at FROM transitions t WHERE t.id >= hole.begins AND t.id < hole.ends \
               ORDER BY t.id LIMIT {MAX_NUMBERED}) late \
             WHERE hole.begins < hole.ends \
             UNION ALL SELECT fresh.id, fresh.at FROM ({newest}) fresh ORDER BY 1"
        )
    } else {
        newest
    };
    all(tx, &sql, &[next_id.into()], |row| Ok((row.int(0)?, row.int(1)?)))
}

/// Numbers rows from `next_seq` on, up to the first young gap. Ids before `next_id` are late ones.
fn segments(rows: &[(i64, i64)], next_id: i64, next_seq: i64, now: i64) -> Vec<Segment> {
    let mut made: Vec<Segment> = Vec::new();
    let (mut expected, mut seq) = (next_id, next_seq);
    for &(id, at) in rows {
        if id >= next_id {
            if id > expected && now.saturating_sub(at).abs() < GAP_WAIT {
                break;
            }
            expected = id.saturating_add(1);
        }
        match made.last_mut() {
            Some(run) if run.end_id() == id => run.length += 1,
            _ => made.push(Segment { first_seq: seq, first_id: id, length: 1 }),
        }
        seq += 1;
    }
    made
}

/// The segment that was numbered last. The first one is made with the table.
fn newest_segment(tx: &mut dyn Tx) -> Result<Option<Segment>, StoreError> {
    let sql = "SELECT first_seq, first_id, length FROM feed_segments ORDER BY first_seq DESC LIMIT 1";
    first(tx, sql, &[], Segment::read)
}

/// The newest number given so far, whether its row is still kept or not; 0 before the first.
pub fn newest(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let newest = newest_segment(tx)?.map_or(0, |last| last.end_seq() - 1);
    Ok(newest.max(begins_after(tx)?))
}

/// The segments with numbers after `after` and up to `until`, in order.
pub(super) fn between(tx: &mut dyn Tx, after: i64, until: i64) -> Result<Vec<Segment>, StoreError> {
    let sql = "SELECT first_seq, first_id, length FROM feed_segments WHERE first_seq <= ?2 \
               AND first_seq >= COALESCE((SELECT MAX(first_seq) FROM feed_segments WHERE first_seq <= ?1), 0) \
               ORDER BY first_seq";
    all(tx, sql, &[after.saturating_add(1).into(), until.into()], Segment::read)
}

/// The feed is whole after this number; 0 while nothing was removed.
pub fn begins_after(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    match facts::get(tx, BEGINS_AFTER)? {
        None => Ok(0),
        Some(text) => text.parse().map_err(|e| StoreError::unreadable("feed position", e)),
    }
}

/// Remembers that the row of this number, and perhaps others before it, is gone; removes segments that nobody can ask
/// for any more, except those between which rows may still appear.
pub(crate) fn forget_until(tx: &mut dyn Tx, seq: i64) -> Result<(), StoreError> {
    if seq <= begins_after(tx)? {
        return Ok(());
    }
    facts::set(tx, BEGINS_AFTER, &seq.to_string())?;
    let sql = format!(
        "DELETE FROM feed_segments WHERE first_seq <= ?1 AND first_seq + length <= ?1 + 1 AND first_id < {}",
        first_watched()
    );
    tx.execute(&sql, &[seq.into()])?;
    Ok(())
}

/// SQL: the id with which the watched segments begin.
fn first_watched() -> String {
    format!(
        "(SELECT MIN(first_id) FROM (SELECT first_id FROM feed_segments ORDER BY first_id DESC LIMIT {WATCHED}) watched)"
    )
}

/// SQL: true while the row of `transitions t` waits for its number.
pub(super) fn is_waiting() -> String {
    format!("(t.id >= {} AND {NUMBER} IS NULL)", first_watched())
}

#[cfg(test)]
mod tests {
    use super::{GAP_WAIT, Segment, segments};

    const NOW: i64 = 1_000 * GAP_WAIT;

    fn made(rows: &[(i64, i64)]) -> Vec<(i64, i64, i64)> {
        let tuple = |s: Segment| (s.first_seq, s.first_id, s.length);
        segments(rows, 10, 100, NOW).into_iter().map(tuple).collect()
    }

    #[test]
    fn consecutive_ids_are_one_segment() {
        assert_eq!(made(&[]), []);
        assert_eq!(made(&[(10, NOW), (11, NOW), (12, NOW)]), [(100, 10, 3)]);
    }

    #[test]
    fn a_young_gap_is_waited_for_and_an_old_one_is_passed_over() {
        assert_eq!(made(&[(10, NOW), (12, NOW)]), [(100, 10, 1)]);
        assert_eq!(made(&[(12, NOW)]), []);
        let old = NOW - GAP_WAIT;
        assert_eq!(made(&[(10, old), (12, old), (13, NOW)]), [(100, 10, 1), (101, 12, 2)]);
        // A clock far ahead does not hold up the feed for ever.
        assert_eq!(made(&[(12, NOW + GAP_WAIT)]), [(100, 12, 1)]);
    }

    #[test]
    fn late_rows_are_numbered_before_newer_ones_of_the_same_moment() {
        assert_eq!(
            made(&[(4, NOW), (5, NOW), (8, NOW), (10, NOW)]),
            [(100, 4, 2), (102, 8, 1), (103, 10, 1)]
        );
    }
}
