//! Transactions of closures: synchronous on a blocking thread, as the tables want them.

use std::sync::Arc;

use libra_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::connection::{Connection, Failure};
use super::pool::{Pool, Pooled};
use super::rows::storable;
use crate::backend::Work;
use crate::error::StoreError;
use crate::tx::{Arg, Row, Tx};

/// How a transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// Every statement sees what was committed before it; rows that it changes are locked.
    Write,
    /// All statements see the same.
    Read,
}

impl Begin {
    fn sql(self) -> &'static str {
        match self {
            Self::Write => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            Self::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// Connections that are tried for one transaction.
const MAX_BEGINS: u32 = 4;

/// Begins a transaction. A connection that was lost while nobody used it is replaced: nothing has happened yet.
pub(super) async fn begin(pool: &Arc<Pool>, how: Begin) -> Result<Pooled, StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut held = pool.get().await?;
        held.set_clean(false);
        match held.batch(how.sql()).await {
            Ok(()) => return Ok(held),
            Err(failure) if failure.is_lost() && tries < MAX_BEGINS => {
                drop(held);
                pool.forget_idle();
            }
            Err(failure) => {
                return Err(match StoreError::from(failure) {
                    StoreError::Interrupted(why) => StoreError::Unreachable(why),
                    other => other,
                });
            }
        }
    }
}

/// Runs `work` in a transaction of its own, to the end also when nobody waits for it any more.
pub(super) async fn run(pool: Arc<Pool>, how: Begin, work: Work) -> Result<(), StoreError> {
    let all = tokio::spawn(async move {
        let mut held = begin(&pool, how).await?;
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let mut tx = PgTx { connection: &mut held, runtime: &runtime, failed: None };
            let mut done = work(&mut tx);
            // PostgreSQL undoes all of a transaction in which a statement failed, whatever the closure made of it.
            if let (Ok(()), Some(failed)) = (&done, tx.failed) {
                done = Err(failed);
            }
            let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
            let ended = runtime.block_on(held.batch(end));
            held.set_clean(ended.is_ok());
            match (done, ended) {
                (Ok(()), Err(failure)) => Err(failure.into()),
                (done, _) => done,
            }
        })
        .await
        .map_err(|e| StoreError::Database(format!("a transaction was interrupted: {e}")))?
    });
    all.await.map_err(|e| StoreError::Database(format!("a transaction was interrupted: {e}")))?
}

/// A transaction on a connection.
struct PgTx<'c> {
    connection: &'c mut Connection,
    runtime: &'c Handle,
    failed: Option<StoreError>,
}

impl PgTx<'_> {
    fn remember<T>(&mut self, answer: Result<T, Failure>) -> Result<T, StoreError> {
        answer.map_err(|failure| {
            // Before the commit nothing has taken effect, so the outcome is known.
            let error = match StoreError::from(failure) {
                StoreError::Interrupted(why) => StoreError::Unreachable(why),
                other => other,
            };
            self.failed.get_or_insert_with(|| error.clone());
            error
        })
    }
}

impl Tx for PgTx<'_> {
    fn now(&mut self) -> Result<Timestamp, StoreError> {
        let mut now = Timestamp(0);
        self.query(NOW, &[], &mut |row| {
            now = Timestamp(row.int(0)?);
            Ok(())
        })?;
        Ok(now)
    }

    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        let args = references(args);
        let done = self.runtime.block_on(self.connection.execute(sql, &args));
        self.remember(done)
    }

    fn query(
        &mut self,
        sql: &str,
        args: &[Arg<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let args = references(args);
        let rows = self.runtime.block_on(self.connection.query(sql, &args));
        for row in self.remember(rows)? {
            each(&row)?;
        }
        Ok(())
    }

    fn hold(&self) -> &'static str {
        " FOR KEY SHARE"
    }

    fn elements(&self) -> &'static str {
        "jsonb_array_elements(CAST(CAST(?1 AS TEXT) AS JSONB))"
    }

    fn ids_may_appear_late(&self) -> bool {
        true
    }
}

/// The server's clock, in microseconds; it goes on within a transaction.
pub(super) const NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

fn references<'a>(args: &'a [Arg<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    args.iter().map(|arg| arg as &(dyn ToSql + Sync)).collect()
}

/// An argument takes the type that the server expects in its place.
impl ToSql for Arg<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, ty) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(n), &Type::INT8) => n.to_sql(ty, out),
            (Self::Int(n), &Type::INT4) => i32::try_from(*n)?.to_sql(ty, out),
            (Self::Int(n), &Type::INT2) => i16::try_from(*n)?.to_sql(ty, out),
            (Self::Int(n), &Type::BOOL) => (*n != 0).to_sql(ty, out),
            (Self::Text(text), _) if <&str as ToSql>::accepts(ty) => storable(text).to_sql(ty, out),
            (Self::Int(_) | Self::Text(_), _) => Err(format!("{self:?} is no {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Row for tokio_postgres::Row {
    fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        let bad = |e: tokio_postgres::Error| StoreError::unreadable("number", e);
        match self.columns().get(column).map(tokio_postgres::Column::type_) {
            Some(&Type::INT4) => Ok(self.try_get::<_, Option<i32>>(column).map_err(bad)?.map(i64::from)),
            Some(&Type::BOOL) => Ok(self.try_get::<_, Option<bool>>(column).map_err(bad)?.map(i64::from)),
            Some(_) | None => self.try_get(column).map_err(bad),
        }
    }

    fn opt_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        self.try_get(column).map_err(|e| StoreError::unreadable("text", e))
    }
}
