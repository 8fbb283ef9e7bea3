//! A transaction as the tables see it: one small trait for every database.

use libra_core::time::Timestamp;

use crate::error::StoreError;

/// An argument of a statement.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// NULL.
    Null,
    /// A whole number.
    Int(i64),
    /// A text.
    Text(&'a str),
}

impl From<i64> for Arg<'_> {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}
impl From<u32> for Arg<'_> {
    fn from(n: u32) -> Self {
        Self::Int(i64::from(n))
    }
}
impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}
impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}
impl<'a, T> From<Option<T>> for Arg<'a>
where
    Arg<'a>: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

/// One row of an answer; columns count from 0.
pub trait Row {
    /// A number that may be NULL.
    fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError>;
    /// A text that may be NULL.
    fn opt_text(&self, column: usize) -> Result<Option<String>, StoreError>;

    /// A number.
    fn int(&self, column: usize) -> Result<i64, StoreError> {
        self.opt_int(column)?
            .ok_or_else(|| StoreError::unreadable("number", format!("column {column} is NULL")))
    }
    /// A text.
    fn text(&self, column: usize) -> Result<String, StoreError> {
        self.opt_text(column)?
            .ok_or_else(|| StoreError::unreadable("text", format!("column {column} is NULL")))
    }
}

/// A transaction. Parameters are written `?1`, `?2` …
pub trait Tx {
    /// The present moment by the store's clock: leases of several replicas are measured by one clock (design §4).
    fn now(&mut self) -> Result<Timestamp, StoreError>;

    /// Runs a statement; says how many rows it changed.
    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, StoreError>;

    /// Runs a query; hands every row to `each`.
    fn query(
        &mut self,
        sql: &str,
        args: &[Arg<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// What to append to a SELECT of one table so that its rows keep their keys until this transaction ends. With a
    /// single writer they do so anyway. On PostgreSQL an update of a lease's epoch waits for whoever holds the lease's
    /// row like this, and a renewal does not.
    fn hold(&self) -> &'static str {
        ""
    }

    /// SQL for the elements of the JSON list that is the first argument, in order, each in the column `value`: a statement
    /// is the same for any number of rows, and is prepared once. `value ->> 0` is the first thing of an element that is a
    /// list, as a text or, on SQLite, as a number.
    fn elements(&self) -> &'static str;

    /// True when a row may appear behind one with a greater id, and when an id may be left out: where several write at
    /// once, ids are given before the commit.
    fn ids_may_appear_late(&self) -> bool {
        false
    }
}

/// All rows of a query, each read by `read`.
pub fn all<T>(
    tx: &mut dyn Tx,
    sql: &str,
    args: &[Arg<'_>],
    mut read: impl FnMut(&dyn Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    tx.query(sql, args, &mut |row| {
        found.push(read(row)?);
        Ok(())
    })?;
    Ok(found)
}

/// The first row of a query, if there is one.
pub fn first<T>(
    tx: &mut dyn Tx,
    sql: &str,
    args: &[Arg<'_>],
    mut read: impl FnMut(&dyn Row) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut found = None;
    tx.query(sql, args, &mut |row| {
        if found.is_none() {
            found = Some(read(row)?);
        }
        Ok(())
    })?;
    Ok(found)
}
