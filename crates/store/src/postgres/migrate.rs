//! Forward-only migrations, applied at start. Replicas that start at once take turns.

use super::connection::{Connection, Failure};
use crate::error::StoreError;

/// The migrations, oldest first. An entry never changes once it was released; a change is a new entry.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_libra.sql"),
    include_str!("../../migrations/postgres/0002_feed_segments.sql"),
    include_str!("../../migrations/postgres/0003_usage.sql"),
    include_str!("../../migrations/postgres/0004_deployments.sql"),
    include_str!("../../migrations/postgres/0005_generations_fared.sql"),
    include_str!("../../migrations/postgres/0006_signatures.sql"),
    include_str!("../../migrations/postgres/0007_artifact_versions.sql"),
    include_str!("../../migrations/postgres/0008_begins_alone.sql"),
    include_str!("../../migrations/postgres/0009_hpc.sql"),
    include_str!("../../migrations/postgres/0010_hpc_whole.sql"),
    include_str!("../../migrations/postgres/0011_hpc_figures.sql"),
    include_str!("../../migrations/postgres/0012_hpc_removed.sql"),
];

/// Whoever migrates holds this advisory lock of the database.
const LOCK: i64 = 0x4c69_6272_6101;
/// Servers before this can't be used: `server_version_num`.
const OLDEST: i32 = 140_000;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// For people: `15.20`.
    pub(super) version: String,
    /// True when nothing can be written.
    pub(super) read_only: bool,
}

/// Looks at the server, and refuses one that is too old.
pub(super) async fn server(connection: &mut Connection) -> Result<Server, StoreError> {
    let sql = "SELECT current_setting('server_version'), current_setting('server_version_num')::int, \
               pg_is_in_recovery() OR current_setting('transaction_read_only')::bool";
    let rows = connection.query(sql, &[]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Database("the server says nothing of itself".into()))?;
    let version: String = row.get(0);
    if row.get::<_, i32>(1) < OLDEST {
        return Err(StoreError::setup(
            format!("this PostgreSQL is version {version}"),
            format!("Libra needs PostgreSQL {} or newer", super::OLDEST_SERVER),
        ));
    }
    Ok(Server { version, read_only: row.get(2) })
}

/// The version of the schema; 0 where there is none.
pub(super) async fn version(connection: &mut Connection) -> Result<i64, StoreError> {
    let there = connection.query("SELECT to_regclass('libra_schema') IS NOT NULL", &[]).await?;
    if !there.first().is_some_and(|row| row.get(0)) {
        return Ok(0);
    }
    let rows = connection.query("SELECT MAX(version) FROM libra_schema", &[]).await?;
    Ok(rows.first().and_then(|row| row.get::<_, Option<i64>>(0)).unwrap_or(0))
}

/// Brings the database to the newest of `migrations`; says from which version it came.
///
/// # Errors
/// [`StoreError::TooNew`] when a newer Libra wrote it; nothing is changed then.
pub(super) async fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<i64, StoreError> {
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let found = version(connection).await?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    if found == known {
        return Ok(found);
    }
    // The making of an index may take long, and so may the wait for another replica that does it.
    connection.batch("SET statement_timeout = 0; SET lock_timeout = 0").await?;
    connection.batch_unlimited(&format!("SELECT pg_advisory_lock({LOCK})")).await?;
    let done = in_turn(connection, migrations, known).await;
    connection.batch(&format!("SELECT pg_advisory_unlock({LOCK})")).await?;
    done
}

async fn in_turn(connection: &mut Connection, migrations: &[&str], known: i64) -> Result<i64, StoreError> {
    // Another replica may have migrated while this one waited.
    let found = version(connection).await?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for (version, sql) in (1i64..).zip(migrations) {
        if version > found {
            step(connection, version, sql).await.map_err(|failure| explained(failure, version))?;
            tracing::info!(version, "the database has a new schema version");
        }
    }
    Ok(found)
}

/// One migration: all of it, with its version, or nothing.
async fn step(connection: &mut Connection, version: i64, sql: &str) -> Result<(), Failure> {
    let whole = format!(
        "BEGIN; \
         CREATE TABLE IF NOT EXISTS libra_schema (version BIGINT NOT NULL PRIMARY KEY, at TIMESTAMPTZ NOT NULL); \
         {sql}; \
         INSERT INTO libra_schema (version, at) VALUES ({version}, now()); \
         COMMIT"
    );
    let done = connection.batch_unlimited(&whole).await;
    if done.is_err() {
        connection.batch("ROLLBACK").await?;
    }
    done
}

fn explained(failure: Failure, version: i64) -> StoreError {
    match StoreError::from(failure) {
        StoreError::Database(why) | StoreError::Constraint(why) => StoreError::setup(
            format!("the database could not be brought to schema version {version}: {why}"),
            "nothing of that version was kept; the user in libra.store.url has to own the tables and to have CREATE \
             on their schema",
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use libra_testkit::Postgres;

    use super::*;
    use crate::postgres::connection::Connector;
    use crate::url::PgUrl;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_migration_that_fails_leaves_the_version_before_it() {
        let server = Postgres::shared();
        let at = server.create_database();
        let connector = Connector::new(PgUrl::parse(&at).unwrap()).unwrap();
        let mut connection = connector.open().await.unwrap();
        let good = "CREATE TABLE one (a BIGINT)";
        let bad = "CREATE TABLE two (a BIGINT); INSERT INTO one VALUES (1); SELECT 1 / 0";
        let refused = migrate(&mut connection, &[good, bad]).await.unwrap_err();
        assert!(refused.to_string().contains("schema version 2") && refused.hint().is_some(), "{refused}");
        assert_eq!(version(&mut connection).await.unwrap(), 1);
        let left = "SELECT to_regclass('two') IS NULL, (SELECT COUNT(*) FROM one)";
        assert_eq!(server.query(&at, left), "t|0");
        // Mended, it goes on from there; and nobody holds the lock.
        let mut other = connector.open().await.unwrap();
        assert_eq!(migrate(&mut other, &[good, "CREATE TABLE two (a BIGINT)"]).await.unwrap(), 1);
        assert_eq!(version(&mut connection).await.unwrap(), 2);
    }
}
