//! Numbering the feed, in one statement: rows get numbers after their commit, without gaps, from the leader alone.

use std::sync::Arc;

use crate::error::StoreError;
use crate::lane::Fence;
use crate::postgres::pool::Pool;

/// Rows numbered in one statement, at most.
const MAX_NUMBERED: i64 = 1_000;

/// The lease's row is held until the commit, so that whoever takes the lease sees every number that was given under
/// the former epoch.
const SQL: &str = "WITH fence AS MATERIALIZED ( \
       SELECT 1 FROM leases WHERE name = $1 AND epoch = $2 FOR KEY SHARE), \
     base AS MATERIALIZED ( \
       SELECT GREATEST( \
         COALESCE((SELECT MAX(feed_seq) FROM transitions WHERE feed_seq IS NOT NULL), 0), \
         COALESCE((SELECT CAST(value AS BIGINT) FROM facts WHERE name = 'feed_begins_after'), 0)) AS seq FROM fence), \
     waiting AS MATERIALIZED ( \
       SELECT id FROM transitions WHERE feed_seq IS NULL AND EXISTS (SELECT 1 FROM fence) ORDER BY id LIMIT $3), \
     numbered AS MATERIALIZED ( \
       SELECT waiting.id, base.seq + ROW_NUMBER() OVER (ORDER BY waiting.id) AS seq FROM waiting CROSS JOIN base) \
     UPDATE transitions t SET feed_seq = numbered.seq FROM numbered WHERE t.id = numbered.id";

/// Numbers committed rows, if the fence still holds; says how many.
pub(in crate::postgres) async fn number(pool: &Arc<Pool>, fence: &Fence) -> Result<usize, StoreError> {
    let mut connection = pool.get().await?;
    let numbered = connection.execute(SQL, &[&fence.lease, &fence.epoch, &MAX_NUMBERED]).await?;
    Ok(usize::try_from(numbered).unwrap_or(usize::MAX))
}
