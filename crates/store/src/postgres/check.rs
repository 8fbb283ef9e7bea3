//! Looking at a database without changing it, and bringing it up to date.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::sleep;

use super::connection::{Connection, Connector};
use super::migrate::{MIGRATIONS, server, version};
use super::tx::NOW;
use crate::backend::Kind;
use crate::error::StoreError;
use crate::url::PgUrl;

/// A server that is only just starting is waited for this long.
const START_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// What there is to know about a store before it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckReport {
    /// Which database it is.
    pub kind: Kind,
    /// Where it is; no password.
    pub url: String,
    /// The server's version: `15.20`; SQLite's own.
    pub version: String,
    /// The version of its schema; 0 where there is none.
    pub schema_found: i64,
    /// The version that this Libra knows.
    pub schema_known: i64,
    /// How long it takes to be answered.
    pub latency: Duration,
    /// How far the store's clock is ahead of this machine's, in microseconds; negative when it is behind.
    pub clock_ahead_micros: i64,
    /// Connections that may be open, and that are in use now by everybody; None for SQLite.
    pub connections: Option<(i64, i64)>,
    /// False when nothing can be written.
    pub writable: bool,
}

/// Connects, looks at the server, and migrates.
pub(super) async fn ready(connector: &Connector) -> Result<i64, StoreError> {
    let mut connection = first(connector).await?;
    let server = server(&mut connection).await?;
    let found = version(&mut connection).await?;
    if server.read_only {
        return Err(StoreError::ReadOnly(connector.url().to_string()));
    }
    if found > newest() {
        return Err(StoreError::TooNew { found, known: newest() });
    }
    super::migrate::migrate(&mut connection, MIGRATIONS).await
}

fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

async fn first(connector: &Connector) -> Result<Connection, StoreError> {
    let until = Instant::now() + START_LIMIT;
    loop {
        match connector.open().await {
            Err(StoreError::Unreachable(why)) if Instant::now() < until => {
                tracing::warn!(%why, "the database can't be reached yet");
                sleep(PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// Migrates; says from which version to which.
pub(crate) async fn migrate(url: PgUrl) -> Result<(i64, i64), StoreError> {
    let connector = Connector::new(url)?;
    Ok((ready(&connector).await?, newest()))
}

/// Looks at the database; changes nothing.
pub(crate) async fn check(url: PgUrl) -> Result<CheckReport, StoreError> {
    let connector = Connector::new(url)?;
    let mut connection = connector.open().await?;
    let server = server(&mut connection).await?;
    let schema_found = version(&mut connection).await?;
    connection.prepare(NOW).await?;
    let (before, asked) = (SystemTime::now(), Instant::now());
    let rows = connection.query(NOW, &[]).await?;
    let latency = asked.elapsed();
    let theirs: i64 = rows.first().map_or(0, |row| row.get(0));
    // Theirs was read about halfway through.
    let ours = (before + latency / 2).duration_since(UNIX_EPOCH).unwrap_or_default();
    let ours = i64::try_from(ours.as_micros()).unwrap_or(i64::MAX);
    let sql = "SELECT current_setting('max_connections')::bigint, \
               (SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend')";
    let rows = connection.query(sql, &[]).await?;
    Ok(CheckReport {
        kind: Kind::Postgres,
        url: connector.url().to_string(),
        version: server.version,
        schema_found,
        schema_known: newest(),
        latency,
        clock_ahead_micros: theirs.saturating_sub(ours),
        connections: rows.first().map(|row| (row.get(0), row.get(1))),
        writable: !server.read_only,
    })
}
