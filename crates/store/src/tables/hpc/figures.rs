//! What the exporter asks for: running jobs and what they use now, who waits, and whole nodes (contract H5).

use std::collections::BTreeMap;

use libra_core::hpc::figures::{NodeTotals, NodeUse, Pending, Running};
use libra_core::hpc::record::Amounts;
use libra_core::time::Timestamp;
use serde::Deserialize;

use crate::error::StoreError;
use crate::tables::from_json;
use crate::tx::{Arg, Tx, all};

/// Running jobs that are read at once.
pub const PAGE: u32 = 1_000;
/// Jobs whose usage is looked for in one statement.
const MOST_AT_ONCE: usize = 500;

/// What of a record is asked for here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Held {
    nodes: Vec<String>,
    allocated: Amounts,
}

/// Running jobs behind the id `after`, in the order in which they were seen, [`PAGE`] of them at most; and the id behind
/// which there may be more.
pub fn running(tx: &mut dyn Tx, after: &str) -> Result<(Vec<Running>, Option<String>), StoreError> {
    let sql = format!(
        "SELECT id, client_id, cluster, user_name, account, partition_name, start_time, record FROM hpc_jobs \
         WHERE hpc_state = 'running' AND id > ?1 ORDER BY id LIMIT {PAGE}"
    );
    let mut ids = Vec::new();
    let mut jobs = all(tx, &sql, &[after.into()], |row| {
        let id = row.text(0)?;
        let Held { nodes, allocated } = from_json("record of a job", &row.text(7)?)?;
        let job = Running {
            id: row.opt_text(1)?.unwrap_or_else(|| id.clone()),
            cluster: row.text(2)?,
            user: row.text(3)?,
            account: row.opt_text(4)?,
            partition: row.opt_text(5)?,
            started: row.opt_int(6)?.map(Timestamp),
            nodes,
            allocated,
            usage: Vec::new(),
        };
        ids.push(id);
        Ok(job)
    })?;
    let mut usage = usage_of(tx, &ids)?;
    for (id, job) in ids.iter().zip(&mut jobs) {
        job.usage = usage.remove(id).unwrap_or_default();
    }
    let next = ids.pop().filter(|_| jobs.len() >= PAGE as usize);
    Ok((jobs, next))
}

fn usage_of(tx: &mut dyn Tx, ids: &[String]) -> Result<BTreeMap<String, Vec<NodeUse>>, StoreError> {
    let mut found: BTreeMap<String, Vec<NodeUse>> = BTreeMap::new();
    for some in ids.chunks(MOST_AT_ONCE) {
        let places = crate::tables::places(0, some.len());
        let sql = format!(
            "SELECT job_id, node, last_at, cpu_last, memory_last, gpu_last FROM hpc_series WHERE job_id IN ({places})"
        );
        let args: Vec<Arg<'_>> = some.iter().map(Arg::from).collect();
        tx.query(&sql, &args, &mut |row| {
            found.entry(row.text(0)?).or_default().push(NodeUse {
                node: row.text(1)?,
                at: row.opt_int(2)?.map(Timestamp),
                cpu: row.opt_int(3)?,
                memory_mb: row.opt_int(4)?,
                gpu: row.opt_int(5)?,
            });
            Ok(())
        })?;
    }
    Ok(found)
}

/// Who waits, and how many jobs of each.
pub fn pending(tx: &mut dyn Tx) -> Result<Vec<Pending>, StoreError> {
    let sql = "SELECT user_name, account, partition_name, COUNT(*) FROM hpc_jobs WHERE hpc_state = 'pending' \
               GROUP BY user_name, account, partition_name";
    all(tx, sql, &[], |row| {
        Ok(Pending {
            user: row.text(0)?,
            account: row.opt_text(1)?,
            partition: row.opt_text(2)?,
            jobs: u64::try_from(row.int(3)?).unwrap_or(0),
        })
    })
}

/// Notes what a whole node used; what is older than what is known changes nothing.
pub fn tell_node(tx: &mut dyn Tx, totals: &NodeTotals) -> Result<(), StoreError> {
    let NodeTotals { cluster, node, at, cpu, cpus, memory_mb, memory_total_mb, gpu, gpus } = totals;
    let sql = "INSERT INTO hpc_nodes (cluster, node, at, cpu, cpus, memory_mb, memory_total_mb, gpu, gpus) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (cluster, node) DO UPDATE SET at = excluded.at, \
               cpu = excluded.cpu, cpus = excluded.cpus, memory_mb = excluded.memory_mb, \
               memory_total_mb = excluded.memory_total_mb, gpu = excluded.gpu, gpus = excluded.gpus \
               WHERE hpc_nodes.at < excluded.at";
    let figures = [cpu, cpus, memory_mb, memory_total_mb, gpu, gpus].map(|figure| Arg::from(*figure));
    let args: Vec<Arg<'_>> = [cluster.into(), node.into(), at.0.into()].into_iter().chain(figures).collect();
    tx.execute(sql, &args)?;
    Ok(())
}

/// The nodes that were told of since `since`, the newest first, `limit` of them at most.
pub fn nodes(tx: &mut dyn Tx, since: Timestamp, limit: usize) -> Result<Vec<NodeTotals>, StoreError> {
    let sql = format!(
        "SELECT cluster, node, at, cpu, cpus, memory_mb, memory_total_mb, gpu, gpus FROM hpc_nodes WHERE at >= ?1 \
         ORDER BY at DESC, cluster, node LIMIT {limit}"
    );
    all(tx, &sql, &[since.0.into()], |row| {
        Ok(NodeTotals {
            cluster: row.text(0)?,
            node: row.text(1)?,
            at: Timestamp(row.int(2)?),
            cpu: row.opt_int(3)?,
            cpus: row.opt_int(4)?,
            memory_mb: row.opt_int(5)?,
            memory_total_mb: row.opt_int(6)?,
            gpu: row.opt_int(7)?,
            gpus: row.opt_int(8)?,
        })
    })
}

/// Forgets nodes that were not told of since `before`.
pub fn forget_nodes(tx: &mut dyn Tx, before: Timestamp) -> Result<u64, StoreError> {
    tx.execute("DELETE FROM hpc_nodes WHERE at < ?1", &[before.0.into()])
}
