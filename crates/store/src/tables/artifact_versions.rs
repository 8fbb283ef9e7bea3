//! The `artifact_versions` table: uploads that have a name and a version.

use libra_core::time::Timestamp;

use crate::error::StoreError;
use crate::tx::{Row, Tx, all, first};

/// A version of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactVersion {
    /// Whose: names are unique within a tenant.
    pub tenant: String,
    /// The artifact.
    pub name: String,
    /// The version, unique within the artifact.
    pub version: String,
    /// The sha256 of its bytes, in hexadecimal.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// When it was uploaded under this name.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
}

const COLUMNS: &str = "tenant, name, version, digest, size, created_at, created_by";

fn read(row: &dyn Row) -> Result<ArtifactVersion, StoreError> {
    Ok(ArtifactVersion {
        tenant: row.text(0)?,
        name: row.text(1)?,
        version: row.text(2)?,
        digest: row.text(3)?,
        size: u64::try_from(row.int(4)?).map_err(|e| StoreError::unreadable("size", e))?,
        created_at: Timestamp(row.int(5)?),
        created_by: row.text(6)?,
    })
}

/// One version.
pub fn get(
    tx: &mut dyn Tx,
    tenant: &str,
    name: &str,
    version: &str,
) -> Result<Option<ArtifactVersion>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM artifact_versions WHERE tenant = ?1 AND name = ?2 AND version = ?3");
    first(tx, &sql, &[tenant.into(), name.into(), version.into()], read)
}

/// The newest `limit` versions of an artifact, newest first.
pub fn list(
    tx: &mut dyn Tx,
    tenant: &str,
    name: &str,
    limit: u32,
) -> Result<Vec<ArtifactVersion>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM artifact_versions WHERE tenant = ?1 AND name = ?2 \
         ORDER BY created_at DESC, version DESC LIMIT ?3"
    );
    all(tx, &sql, &[tenant.into(), name.into(), limit.into()], read)
}

/// Stores a version unless there is one: true when it was stored.
pub fn create(tx: &mut dyn Tx, new: &ArtifactVersion) -> Result<bool, StoreError> {
    let size = i64::try_from(new.size).map_err(|e| StoreError::unreadable("size", e))?;
    let changed = tx.execute(
        "INSERT INTO artifact_versions (tenant, name, version, digest, size, created_at, created_by) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        &[
            (&new.tenant).into(),
            (&new.name).into(),
            (&new.version).into(),
            (&new.digest).into(),
            size.into(),
            new.created_at.0.into(),
            (&new.created_by).into(),
        ],
    )?;
    Ok(changed == 1)
}

/// The bytes of all versions, which must be kept: tenant and digest.
pub fn digests(tx: &mut dyn Tx) -> Result<Vec<(String, String)>, StoreError> {
    let sql = "SELECT DISTINCT tenant, digest FROM artifact_versions";
    all(tx, sql, &[], |row| Ok((row.text(0)?, row.text(1)?)))
}
