//! The `deployments` table: what is wanted of each, and the reconciler's write-ahead log.
//!
//! Two writers, two numbers: people change the wish and name the version that they saw; the reconciler changes its row
//! and names the revision that it read, and the version of the wish that it goes by, under the fence of the leader.
//! Neither waits for the other.

use libra_core::deployment::agenda::Agenda;
use libra_core::deployment::declared::Declared;
use libra_core::deployment::reconcile::{Fared, Row as Log};
use libra_core::time::Timestamp;

use super::deployment_history::{
    Happening, StoredGeneration, add_generation, has_fared, stored, tell, was_told,
};
use super::{feed, from_json, json};
use crate::error::StoreError;
use crate::lane::Fence;
use crate::tx::{Arg, Row, Tx, all, first};

/// Which deployment: names are unique within a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The tenant.
    pub tenant: String,
    /// The `job_id` of its specification.
    pub id: String,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Which.
    pub name: Name,
    /// Who applied it first: its owner.
    pub user: String,
    /// The configured cluster.
    pub cluster: String,
    /// Raised by each change of the wish.
    pub version: i64,
    /// What is wanted.
    pub wish: Declared,
    /// The reconciler's row.
    pub log: Log,
    /// What is remembered of its times.
    pub agenda: Agenda,
    /// When it was first applied.
    pub created_at: Timestamp,
    /// When the wish or the log last changed.
    pub updated_at: Timestamp,
}

/// What became of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It took effect.
    Done,
    /// Somebody else was faster, or the writer's lease is another's: nothing was changed.
    Stale,
}

const COLUMNS: &str = "tenant, id, user_id, cluster, version, wish, state, agenda, created_at, updated_at";

fn read(row: &dyn Row) -> Result<Deployment, StoreError> {
    Ok(Deployment {
        name: Name { tenant: row.text(0)?, id: row.text(1)? },
        user: row.text(2)?,
        cluster: row.text(3)?,
        version: row.int(4)?,
        wish: from_json("wish of a deployment", &row.text(5)?)?,
        log: from_json("state of a deployment", &row.text(6)?)?,
        agenda: from_json("agenda of a deployment", &row.text(7)?)?,
        created_at: Timestamp(row.int(8)?),
        updated_at: Timestamp(row.int(9)?),
    })
}

/// One deployment.
pub fn get(tx: &mut dyn Tx, name: &Name) -> Result<Option<Deployment>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM deployments WHERE tenant = ?1 AND id = ?2");
    first(tx, &sql, &[(&name.tenant).into(), (&name.id).into()], read)
}

/// All deployments of a tenant, by name.
pub fn list(tx: &mut dyn Tx, tenant: &str) -> Result<Vec<Deployment>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM deployments WHERE tenant = ?1 ORDER BY id");
    all(tx, &sql, &[tenant.into()], read)
}

/// The numbers of a deployment: enough to see whether it has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Raised by each change of the wish.
    pub version: i64,
    /// Raised by each step of the reconciler.
    pub revision: i64,
}

/// The numbers of all deployments on a cluster.
pub fn heads(tx: &mut dyn Tx, cluster: &str) -> Result<Vec<(Name, Head)>, StoreError> {
    let sql = "SELECT tenant, id, version, revision FROM deployments WHERE cluster = ?1";
    all(tx, sql, &[cluster.into()], |row| {
        let head = Head { version: row.int(2)?, revision: row.int(3)? };
        Ok((Name { tenant: row.text(0)?, id: row.text(1)? }, head))
    })
}

/// The numbers of one deployment on a cluster.
pub fn head(tx: &mut dyn Tx, cluster: &str, name: &Name) -> Result<Option<Head>, StoreError> {
    let sql = "SELECT version, revision FROM deployments WHERE tenant = ?1 AND id = ?2 AND cluster = ?3";
    let of = [(&name.tenant).into(), (&name.id).into(), cluster.into()];
    first(tx, sql, &of, |row| Ok(Head { version: row.int(0)?, revision: row.int(1)? }))
}

/// True while a program of another deployment on the same cluster may be beginning that has to begin alone.
pub fn another_begins(tx: &mut dyn Tx, name: &Name, now: Timestamp) -> Result<bool, StoreError> {
    // Names are unique on a cluster.
    let sql = "SELECT 1 FROM deployments AS own JOIN deployments AS other ON other.cluster = own.cluster AND other.id <> own.id \
               WHERE own.tenant = ?1 AND own.id = ?2 AND other.begins_alone_until > ?3 LIMIT 1";
    let of = [(&name.tenant).into(), (&name.id).into(), now.0.into()];
    Ok(first(tx, sql, &of, |_| Ok(()))?.is_some())
}

/// Until when a program of a deployment may be beginning that has to begin alone, as it is stored.
fn begins_until(tx: &mut dyn Tx, name: &Name) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT begins_alone_until FROM deployments WHERE tenant = ?1 AND id = ?2";
    let found = first(tx, sql, &[(&name.tenant).into(), (&name.id).into()], |row| row.opt_int(0))?;
    Ok(found.flatten())
}

/// Stores a new deployment with its first generation; [`Written::Stale`] when there is one of that name, or
/// another tenant has one of that name on the same cluster: their jobs would take each other's place.
pub fn create(
    tx: &mut dyn Tx,
    deployment: &Deployment,
    generation: &StoredGeneration,
    what: &Happening,
) -> Result<Written, StoreError> {
    let wish = json("wish of a deployment", &deployment.wish)?;
    let log = json("state of a deployment", &deployment.log)?;
    let agenda = json("agenda of a deployment", &deployment.agenda)?;
    let changed = tx.execute(
        "INSERT INTO deployments (tenant, id, user_id, cluster, version, wish, revision, state, agenda, events, created_at, \
         updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?10, 0, ?9, ?9) ON CONFLICT DO NOTHING",
        &[
            (&deployment.name.tenant).into(),
            (&deployment.name.id).into(),
            (&deployment.user).into(),
            (&deployment.cluster).into(),
            deployment.version.into(),
            (&wish).into(),
            stored("revision", deployment.log.revision)?.into(),
            (&log).into(),
            deployment.created_at.0.into(),
            (&agenda).into(),
        ],
    )?;
    if changed == 0 {
        return Ok(Written::Stale);
    }
    add_generation(tx, &deployment.name, generation)?;
    tell(
        tx,
        &deployment.name,
        deployment.created_at,
        deployment.wish.generation,
        std::slice::from_ref(what),
    )?;
    Ok(Written::Done)
}

/// A change of the wish.
#[derive(Clone, Debug)]
pub struct Wished {
    /// Whose.
    pub name: Name,
    /// The version that was seen.
    pub version: i64,
    /// The revision of the row that was seen, where the wish is about what the reconciler has done.
    pub revision: Option<u64>,
    /// What is wanted now.
    pub wish: Declared,
    /// The new generation, where there is one.
    pub generation: Option<StoredGeneration>,
    /// What is told.
    pub what: Happening,
    /// When.
    pub at: Timestamp,
}

/// Stores a change of the wish, unless somebody else has changed it since it was seen, or what it is about.
pub fn wish(tx: &mut dyn Tx, wished: &Wished) -> Result<Written, StoreError> {
    let Wished { name, version, revision, wish, generation, what, at } = wished;
    let text = json("wish of a deployment", wish)?;
    let changed = tx.execute(
        "UPDATE deployments SET wish = ?4, version = version + 1, updated_at = ?5 \
         WHERE tenant = ?1 AND id = ?2 AND version = ?3 AND revision = COALESCE(?6, revision)",
        &[
            (&name.tenant).into(),
            (&name.id).into(),
            (*version).into(),
            (&text).into(),
            at.0.into(),
            revision.map(|seen| stored("revision", seen)).transpose()?.into(),
        ],
    )?;
    if changed == 0 {
        return Ok(Written::Stale);
    }
    if let Some(generation) = generation {
        add_generation(tx, name, generation)?;
    }
    tell(tx, name, *at, wish.generation, std::slice::from_ref(what))?;
    Ok(Written::Done)
}

/// What time has asked for.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Whose.
    pub name: Name,
    /// The version that was read.
    pub version: i64,
    /// The agenda afterwards.
    pub agenda: Agenda,
    /// The wish afterwards, where it changes.
    pub wish: Option<Declared>,
    /// The generation that was wanted.
    pub generation: u64,
    /// What is told.
    pub what: Vec<Happening>,
    /// When.
    pub at: Timestamp,
}

/// Stores what time has asked for together with the wish that it changes, unless somebody else has changed that since, or
/// the leader's lease is another's. Only a changed wish has another version.
pub fn time(tx: &mut dyn Tx, fence: &Fence, timed: &Timed) -> Result<Written, StoreError> {
    let Timed { name, version, agenda, wish, generation, what, at } = timed;
    if !feed::holds(tx, fence)? {
        return Ok(Written::Stale);
    }
    let text = json("agenda of a deployment", agenda)?;
    let of = [(&name.tenant).into(), (&name.id).into(), (*version).into(), (&text).into(), at.0.into()];
    let changed = match wish {
        None => tx.execute(
            "UPDATE deployments SET agenda = ?4, updated_at = ?5 WHERE tenant = ?1 AND id = ?2 AND version = ?3",
            &of,
        )?,
        Some(wish) => {
            let wish = json("wish of a deployment", wish)?;
            let all: Vec<Arg<'_>> = of.into_iter().chain([(&wish).into()]).collect();
            tx.execute(
                "UPDATE deployments SET agenda = ?4, wish = ?6, version = version + 1, updated_at = ?5 \
                 WHERE tenant = ?1 AND id = ?2 AND version = ?3",
                &all,
            )?
        }
    };
    if changed == 0 {
        return Ok(Written::Stale);
    }
    tell(tx, name, *at, *generation, what)?;
    Ok(Written::Done)
}

/// A step of the reconciler.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// Whose.
    pub name: Name,
    /// The version of the wish that it follows from.
    pub version: i64,
    /// The revision that was read.
    pub from: u64,
    /// The row afterwards.
    pub log: Log,
    /// Until when a program of it may be beginning that has to begin alone.
    pub begins_alone_until: Option<Timestamp>,
    /// The generation that was wanted.
    pub generation: u64,
    /// What was found out of generations.
    pub fared: Vec<(u64, Fared)>,
    /// What is told.
    pub what: Vec<Happening>,
    /// When.
    pub at: Timestamp,
}

/// Stores a step, unless another one was faster, something else is wanted by now, the leader's lease is another's, or a
/// program begins with it that has to begin alone, and another one may be beginning.
pub fn step(tx: &mut dyn Tx, fence: &Fence, stepped: &Stepped) -> Result<Written, StoreError> {
    let Stepped { name, version, from, log, begins_alone_until, generation, fared, what, at } = stepped;
    if !feed::holds(tx, fence)? {
        return Ok(Written::Stale);
    }
    // It is asked once for each beginning, not again while that goes on.
    if let Some(until) = begins_alone_until
        && begins_until(tx, name)? != Some(until.0)
        && another_begins(tx, name, *at)?
    {
        return Ok(Written::Stale);
    }
    let text = json("state of a deployment", log)?;
    let changed = tx.execute(
        "UPDATE deployments SET state = ?4, revision = ?5, updated_at = ?6, begins_alone_until = ?8 \
         WHERE tenant = ?1 AND id = ?2 AND revision = ?3 AND version = ?7",
        &[
            (&name.tenant).into(),
            (&name.id).into(),
            stored("revision", *from)?.into(),
            (&text).into(),
            stored("revision", log.revision)?.into(),
            at.0.into(),
            (*version).into(),
            begins_alone_until.map(|at| at.0).into(),
        ],
    )?;
    if changed == 0 {
        return Ok(Written::Stale);
    }
    for (generation, fared) in fared {
        has_fared(tx, name, *generation, *fared, *at)?;
    }
    tell(tx, name, *at, *generation, what)?;
    Ok(Written::Done)
}

/// Something that is told of a deployment without a change of it.
#[derive(Clone, Debug)]
pub struct Remark {
    /// Of which.
    pub name: Name,
    /// The generation that it is about.
    pub generation: u64,
    /// What is told.
    pub what: Happening,
    /// When.
    pub at: Timestamp,
}

/// Tells it, unless the same was told of this generation before; not when the deployment is gone or the leader's lease
/// is another's.
pub fn remark(tx: &mut dyn Tx, fence: &Fence, remark: &Remark) -> Result<Written, StoreError> {
    let Remark { name, generation, what, at } = remark;
    if !feed::holds(tx, fence)? {
        return Ok(Written::Stale);
    }
    if was_told(tx, name, *generation, what)? {
        return Ok(Written::Done);
    }
    let changed = tx.execute(
        "UPDATE deployments SET updated_at = ?3 WHERE tenant = ?1 AND id = ?2",
        &[(&name.tenant).into(), (&name.id).into(), at.0.into()],
    )?;
    if changed == 0 {
        return Ok(Written::Stale);
    }
    tell(tx, name, *at, *generation, std::slice::from_ref(what))?;
    Ok(Written::Done)
}

/// Forgets a deployment whose row still has the revision `from`, with everything that belongs to it.
pub fn forget(tx: &mut dyn Tx, fence: &Fence, name: &Name, from: u64) -> Result<Written, StoreError> {
    if !feed::holds(tx, fence)? {
        return Ok(Written::Stale);
    }
    let changed = tx.execute(
        "DELETE FROM deployments WHERE tenant = ?1 AND id = ?2 AND revision = ?3",
        &[(&name.tenant).into(), (&name.id).into(), stored("revision", from)?.into()],
    )?;
    if changed == 0 {
        return Ok(Written::Stale);
    }
    for table in ["deployment_generations", "deployment_events"] {
        let sql = format!("DELETE FROM {table} WHERE tenant = ?1 AND deployment = ?2");
        tx.execute(&sql, &[(&name.tenant).into(), (&name.id).into()])?;
    }
    Ok(Written::Done)
}
