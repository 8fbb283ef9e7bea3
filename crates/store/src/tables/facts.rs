//! The `facts` table: what is known about the database itself, by name.

use crate::error::StoreError;
use crate::tx::{Tx, first};

/// A fact, if it was stored.
pub fn get(tx: &mut dyn Tx, name: &str) -> Result<Option<String>, StoreError> {
    first(tx, "SELECT value FROM facts WHERE name = ?1", &[name.into()], |row| row.text(0))
}

/// Stores a fact.
pub fn set(tx: &mut dyn Tx, name: &str, value: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[name.into(), value.into()],
    )?;
    Ok(())
}
