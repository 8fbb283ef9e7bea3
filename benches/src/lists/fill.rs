//! Filling a store quickly, past Libra.

use std::path::Path;

use bytes::Bytes;
use futures::SinkExt as _;
use libra_testkit::Postgres;
use rusqlite::Connection as Sqlite;
use rusqlite::types::Value;
use tokio_postgres::NoTls;

use super::jobs::{Field, Jobs, TABLES};
use crate::Outcome;

/// Rows are sent to PostgreSQL in pieces of about so many bytes.
const PIECE: usize = 256 * 1024;

/// Fills the tables of a SQLite database that Libra has made.
pub(super) fn sqlite(path: &Path, jobs: Jobs) -> Outcome<()> {
    let conn = Sqlite::open(path)?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    conn.pragma_update(None, "cache_size", -500_000)?;
    // Indexes are made at the end: far quicker than row by row.
    let sql = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
    let indexes: Vec<(String, String)> =
        conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    conn.execute_batch("BEGIN")?;
    for (name, _) in &indexes {
        conn.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    for (table, (name, columns)) in TABLES.iter().enumerate() {
        let places = vec!["?"; columns.len()].join(", ");
        let mut insert =
            conn.prepare(&format!("INSERT INTO {name} ({}) VALUES ({places})", columns.join(", ")))?;
        for n in 0..jobs.count {
            for row in jobs.rows(table, n)? {
                let values = row.into_iter().map(|field| match field {
                    Field::None => Value::Null,
                    Field::Int(n) => Value::Integer(n),
                    Field::Text(text) => Value::Text(text),
                });
                insert.execute(rusqlite::params_from_iter(values))?;
            }
        }
    }
    for (_, sql) in &indexes {
        conn.execute_batch(sql)?;
    }
    conn.execute_batch("COMMIT")?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// Fills the tables of a PostgreSQL database that Libra has made.
pub(super) async fn postgres(server: &Postgres, url: &str, jobs: Jobs) -> Outcome<()> {
    let copies = (0..TABLES.len()).map(|table| tokio::spawn(copy(url.to_owned(), table, jobs)));
    for copied in futures::future::join_all(copies).await {
        copied??;
    }
    // As autovacuum does it by itself after a while.
    server.query(url, "VACUUM ANALYZE");
    server.query(url, "CHECKPOINT");
    Ok(())
}

async fn copy(url: String, table: usize, jobs: Jobs) -> Outcome<()> {
    let (client, driver) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(driver);
    let (name, columns) = TABLES[table];
    let sink =
        client.copy_in::<_, Bytes>(&format!("COPY {name} ({}) FROM STDIN", columns.join(", "))).await?;
    let mut sink = std::pin::pin!(sink);
    let mut piece = String::with_capacity(PIECE);
    for n in 0..jobs.count {
        for row in jobs.rows(table, n)? {
            for (n, field) in row.into_iter().enumerate() {
                if n > 0 {
                    piece.push('\t');
                }
                match field {
                    Field::None => piece.push_str("\\N"),
                    Field::Int(n) => piece.push_str(&n.to_string()),
                    Field::Text(text) => piece.push_str(&text.replace('\\', "\\\\")),
                }
            }
            piece.push('\n');
        }
        if piece.len() >= PIECE {
            sink.send(Bytes::from(std::mem::take(&mut piece))).await?;
        }
    }
    sink.send(Bytes::from(piece)).await?;
    sink.finish().await?;
    Ok(())
}
