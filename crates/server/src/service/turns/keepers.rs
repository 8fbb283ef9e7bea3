//! The jobs that room is kept for, as the leader writes them down: the next leader keeps the same room, and the other
//! replicas tell of it.

use libra_core::id::JobId;
use libra_core::mode::Mode;
use libra_core::turn::{Keeper, Scope};
use libra_store::StoreError;
use libra_store::lane::Fence;
use libra_store::tables::{facts, feed};
use libra_store::tx::Tx;
use serde::{Deserialize, Serialize};

/// The fact that holds them.
const FACT: &str = "turn_keepers";

#[derive(Serialize, Deserialize)]
struct Written {
    job: String,
    number: u64,
    of_pool: bool,
    of_scopes: Vec<WrittenScope>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenScope {
    All,
    Mode(Mode),
    Cluster(String),
    Queue(String),
    Tenant(String),
    User(String, String),
}

impl From<&Scope> for WrittenScope {
    fn from(scope: &Scope) -> Self {
        match scope.clone() {
            Scope::All => Self::All,
            Scope::Mode(mode) => Self::Mode(mode),
            Scope::Cluster(name) => Self::Cluster(name),
            Scope::Queue(name) => Self::Queue(name),
            Scope::Tenant(name) => Self::Tenant(name),
            Scope::User(tenant, user) => Self::User(tenant, user),
        }
    }
}

impl From<WrittenScope> for Scope {
    fn from(scope: WrittenScope) -> Self {
        match scope {
            WrittenScope::All => Self::All,
            WrittenScope::Mode(mode) => Self::Mode(mode),
            WrittenScope::Cluster(name) => Self::Cluster(name),
            WrittenScope::Queue(name) => Self::Queue(name),
            WrittenScope::Tenant(name) => Self::Tenant(name),
            WrittenScope::User(tenant, user) => Self::User(tenant, user),
        }
    }
}

/// Those that were written down last. What can't be read is nobody: room is then kept anew.
pub(super) fn read(tx: &mut dyn Tx) -> Result<Vec<Keeper>, StoreError> {
    let Some(text) = facts::get(tx, FACT)? else { return Ok(Vec::new()) };
    let written: Vec<Written> = serde_json::from_str(&text).unwrap_or_default();
    let keeper = |w: Written| {
        let job: JobId = w.job.parse().ok()?;
        let of_scopes = w.of_scopes.into_iter().map(Scope::from).collect();
        Some(Keeper { job, number: w.number, of_pool: w.of_pool, of_scopes })
    };
    Ok(written.into_iter().filter_map(keeper).collect())
}

/// Writes them down, if the fence still holds.
pub(super) fn write(tx: &mut dyn Tx, fence: &Fence, keepers: &[Keeper]) -> Result<(), StoreError> {
    if !feed::holds(tx, fence)? {
        return Ok(());
    }
    let written: Vec<Written> = keepers
        .iter()
        .map(|keeper| Written {
            job: keeper.job.to_string(),
            number: keeper.number,
            of_pool: keeper.of_pool,
            of_scopes: keeper.of_scopes.iter().map(WrittenScope::from).collect(),
        })
        .collect();
    let text = serde_json::to_string(&written).map_err(|e| StoreError::unreadable("reservations", e))?;
    facts::set(tx, FACT, &text)
}
