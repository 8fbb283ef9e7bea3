//! A connection and its transactions.

use std::path::Path;
use std::time::Duration;

use libra_core::time::Timestamp;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;
use crate::tx::{Arg, Row, Tx};

/// How long a connection waits for a lock that another process holds (a backup, a shell).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Prepared statements kept by each connection.
const STATEMENT_CACHE: usize = 128;
/// The write-ahead log is folded back after this many pages (4 KiB each).
const CHECKPOINT_PAGES: u32 = 4_000;
/// Pages that the writer keeps in memory, in KiB, taken as they are needed: rows are numbered for the feed soon
/// after they were written, and should not be read again for it.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenFor {
    Writing,
    Reading,
}

/// Opens the database file: WAL, durable commits (`synchronous=FULL`).
pub(crate) fn open(path: &Path, purpose: OpenFor) -> Result<Connection, StoreError> {
    let flags = match purpose {
        OpenFor::Writing => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        OpenFor::Reading => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    if purpose == OpenFor::Writing {
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        conn.pragma_update(None, "foreign_keys", "ON")?;
        conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        // What a savepoint would restore is kept in memory: larger batches made a file of it for every commit.
        conn.pragma_update(None, "temp_store", "MEMORY")?;
    }
    Ok(conn)
}

/// A clock that stands in for the machine's.
pub type Clock = dyn Fn() -> Timestamp + Send + Sync;

/// A transaction (or a read snapshot) on a SQLite connection. The owner begins and ends it.
pub struct SqliteTx<'c> {
    conn: &'c Connection,
    clock: Option<&'c Clock>,
}

impl<'c> SqliteTx<'c> {
    pub(crate) fn new(conn: &'c Connection) -> Self {
        Self { conn, clock: None }
    }

    pub(crate) fn with_clock(conn: &'c Connection, clock: &'c Clock) -> Self {
        Self { conn, clock: Some(clock) }
    }
}

impl ToSql for Arg<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(n) => ValueRef::Integer(*n),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Row for rusqlite::Row<'_> {
    fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.get(column)?)
    }
    fn opt_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(self.get(column)?)
    }
}

/// The clock of the machine, in microseconds: SQLite is embedded, so it has no other.
const NOW: &str = "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

impl Tx for SqliteTx<'_> {
    fn now(&mut self) -> Result<Timestamp, StoreError> {
        match self.clock {
            Some(clock) => Ok(clock()),
            None => Ok(Timestamp(self.conn.prepare_cached(NOW)?.query_row([], |row| row.get(0))?)),
        }
    }

    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let changed = statement.execute(rusqlite::params_from_iter(args))?;
        Ok(changed as u64)
    }

    fn query(
        &mut self,
        sql: &str,
        args: &[Arg<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(args))?;
        while let Some(row) = rows.next()? {
            each(row)?;
        }
        Ok(())
    }

    fn elements(&self) -> &'static str {
        // An element is read once, into the form in which its things are found without reading it again for each.
        "(WITH m AS MATERIALIZED (SELECT jsonb(e.value) AS value FROM json_each(?1) AS e) SELECT value FROM m)"
    }
}
