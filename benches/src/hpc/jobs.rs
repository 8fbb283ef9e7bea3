//! Observed jobs that run.

use libra_core::hpc::observe::{Fresh, Means, Outcome as Observed, Word, observe};
use libra_core::hpc::record::{Amounts, Record};
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_store::Db;
use libra_store::tables::hpc::audit::{Author, ChangeType};
use libra_store::tables::hpc::writes::{Told, Write, apply};

use crate::Outcome;

/// Jobs that are stored in one transaction.
const AT_ONCE: u32 = 1_000;
/// Nodes that they run on.
const NODES: u32 = 500;
/// Their users.
const USERS: u32 = 300;

/// The node of the job of a number.
pub(super) fn node(n: u32) -> String {
    format!("node-{:04}", n % NODES)
}

/// Stores jobs that run since an hour; answers their ids in order.
pub(super) async fn run(db: &Db, count: u32) -> Outcome<Vec<JobId>> {
    let now = crate::jobs::now();
    let mut ids = Vec::new();
    for from in (0..count).step_by(AT_ONCE as usize) {
        let writes = (from..count.min(from + AT_ONCE)).map(|n| write(n, now)).collect::<Outcome<Vec<_>>>()?;
        ids.extend(writes.iter().map(|write| write.job.id));
        db.write(move |tx| apply(tx, &writes)).await?;
    }
    Ok(ids)
}

fn write(n: u32, now: Timestamp) -> Outcome<Write> {
    let record = Record {
        external_id: (100_000 + n).to_string(),
        raw_state: "RUNNING".into(),
        name: Some("simulation".into()),
        user: Some(format!("user-{:03}", n % USERS)),
        account: Some(format!("account-{:02}", n % 40)),
        partition: Some("batch".into()),
        started: Some(now.plus_seconds(-3_600)),
        nodes: vec![node(n)],
        node_count: Some(1),
        requested: Amounts { cpus: Some(8), memory_mb: Some(16_000), gpus: None },
        allocated: Amounts { cpus: Some(8), memory_mb: Some(16_000), gpus: None },
        ..Record::default()
    };
    let fresh = Fresh {
        id: JobId::new(now, rand::random()),
        tenant: "default".into(),
        cluster: "main".into(),
        correlation_id: "bench".into(),
    };
    let word = Word::Record(Box::new(record), now);
    let Observed::New(change) = observe(None, word, Means { asks: true }, fresh, now) else {
        return Err("a job that is new was taken for another".into());
    };
    let author = Author {
        change_type: ChangeType::Upsert,
        changed_by: "collector".into(),
        source: "slurm".into(),
        correlation_id: "bench".into(),
    };
    Ok(Write { job: change.job, new: true, at: now, told: Some(Told::here(author, change.log)) })
}
