//! Steps of the lifecycle through the lanes beside one bare statement for many: a conditional update with its log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libra_core::job::Job;
use libra_store::Db;
use libra_store::lane::{self, Change, Fence};
use libra_store::tables::leases;
use libra_testkit::Postgres;
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;

use super::{bare, open};
use crate::Outcome;
use crate::figures::{Table, aim};
use crate::jobs::{self, Leases};

/// Jobs taken from QUEUED to SUCCEEDED in each turn for every second of the measurement, in three steps each.
const JOBS_A_SECOND: u64 = 4_000;
/// Tasks that take steps at once.
const TASKS: usize = 512;
/// Connections on the bare side: as many as Libra has for steps.
const CONNECTIONS: usize = 4;
/// Steps in one bare statement.
const GROUPS: [usize; 2] = [64, 256];
/// Aimed at: this share of the bare rate.
const AIM: f64 = 0.5;
/// Longer than any measurement, in microseconds.
const LEASE: i64 = 3_600_000_000;

pub(super) async fn measure(server: &Postgres, time: Duration, table: &mut Table) -> Outcome<()> {
    let count = usize::try_from(JOBS_A_SECOND * time.as_secs().max(1))?;
    let libra = through_lanes(server, count).await?;
    for group in GROUPS {
        let bare = bare_statements(server, count, group).await?;
        let ratio = libra / bare;
        table.add(
            &format!("PostgreSQL: transitions, {group} to a bare statement"),
            &format!("{libra:.0} /s"),
            &format!("{bare:.0} /s"),
            &format!("{ratio:.2} of the bare statement"),
            &aim("≥ 0.5", ratio >= AIM),
        );
    }
    table.remark(format!(
        "PostgreSQL transitions: {count} jobs of a new database from QUEUED over SCHEDULED and RUNNING to SUCCEEDED, \
         by {TASKS} tasks at once, each waiting for its step. Bare: {CONNECTIONS} connections, as many as the lane \
         has, one statement for many jobs that updates `jobs` where the revision is as expected and inserts into \
         `transitions` (unnest), on the same tables and indexes. Libra writes more with a step: the attempt's row \
         (inserted, then updated twice), and it checks the lease."
    ));
    Ok(())
}

/// A new database with that many queued jobs.
async fn queued(server: &Postgres, count: usize) -> Outcome<(Db, String, Vec<Job>)> {
    let url = server.create_database();
    let db = open(&url).await?;
    let draft = Arc::new(jobs::draft()?);
    let mut tasks = JoinSet::new();
    for n in 0..TASKS {
        let (db, draft) = (db.clone(), Arc::clone(&draft));
        tasks.spawn(async move {
            let mut stored = Vec::new();
            for _ in (n..count).step_by(TASKS) {
                let submission = jobs::submission(&draft);
                stored.push(submission.job.clone());
                db.submit(submission).await?;
            }
            Outcome::Ok(stored)
        });
    }
    let mut stored = Vec::with_capacity(count);
    while let Some(ended) = tasks.join_next().await {
        stored.extend(ended??);
    }
    server.query(&url, "VACUUM ANALYZE");
    server.query(&url, "CHECKPOINT");
    Ok((db, url, stored))
}

async fn through_lanes(server: &Postgres, count: usize) -> Outcome<f64> {
    let (db, _, queued) = queued(server, count).await?;
    let leases = Leases { leader: lease(&db, "leader").await?, own: lease(&db, "replica:bench").await? };
    let mut shares: Vec<VecDeque<[Change; 3]>> = (0..TASKS).map(|_| VecDeque::new()).collect();
    for (n, job) in queued.iter().enumerate() {
        shares[n % TASKS].push_back(jobs::way(job, &leases)?);
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for share in shares {
        let db = db.clone();
        tasks.spawn(async move {
            for change in share.into_iter().flatten() {
                let outcome = db.apply(change).await?;
                if outcome != lane::Outcome::Updated {
                    return Err(format!("a step was answered by {outcome:?}").into());
                }
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(3.0 * count as f64 / began.elapsed().as_secs_f64())
}

async fn lease(db: &Db, name: &'static str) -> Outcome<Fence> {
    let epoch = db.write(move |tx| leases::take(tx, name, "bench", LEASE, true)).await?;
    Ok(Fence { lease: name.into(), epoch: epoch.ok_or("somebody else holds the lease")? })
}

/// What the bare statement writes, in the order of its places.
const STATEMENT: &str = "WITH updated AS ( \
       UPDATE jobs j SET revision = c.revision, state = c.state, attempt = c.attempt, host = c.host, due_at = NULL, \
         scheduled_at = COALESCE(c.scheduled_at, j.scheduled_at), started_at = COALESCE(c.started_at, j.started_at), \
         completed_at = COALESCE(c.completed_at, j.completed_at) \
       FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], \
         $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::text[]) \
         AS c(id, expected, revision, state, attempt, host, scheduled_at, started_at, completed_at, from_state, \
           reason, at, correlation_id, metadata) \
       WHERE j.id = c.id AND j.revision = c.expected \
       RETURNING c.id, c.revision, c.state, c.attempt, c.from_state, c.reason, c.at, c.correlation_id, c.metadata) \
     INSERT INTO transitions (job_id, revision, from_state, to_state, at, actor, reason, attempt, correlation_id, \
       metadata) \
     SELECT id, revision, from_state, state, at, 'libra', reason, attempt, correlation_id, metadata FROM updated";

/// The arguments of one bare statement.
#[derive(Default)]
struct Steps {
    id: Vec<String>,
    expected: Vec<i64>,
    revision: Vec<i64>,
    state: Vec<&'static str>,
    attempt: Vec<i64>,
    host: Vec<Option<String>>,
    scheduled_at: Vec<Option<i64>>,
    started_at: Vec<Option<i64>>,
    completed_at: Vec<Option<i64>>,
    from_state: Vec<Option<&'static str>>,
    reason: Vec<String>,
    at: Vec<i64>,
    correlation_id: Vec<String>,
    metadata: Vec<Option<String>>,
}

impl Steps {
    fn push(&mut self, change: &Change) {
        let Change { job, log, origin, .. } = change;
        self.id.push(job.id.to_string());
        self.expected.push(change.expected_revision);
        self.revision.push(job.revision);
        self.state.push(job.state.as_str());
        self.attempt.push(i64::from(job.attempt));
        self.host.push(job.host.clone());
        self.scheduled_at.push(job.scheduled_at.map(|t| t.0));
        self.started_at.push(job.started_at.map(|t| t.0));
        self.completed_at.push(job.completed_at.map(|t| t.0));
        self.from_state.push(log.first().and_then(|t| t.from).map(libra_core::job::State::as_str));
        self.reason.push(log.first().map(|t| t.reason.clone()).unwrap_or_default());
        self.at.push(origin.at.0);
        self.correlation_id.push(job.correlation_id.clone());
        self.metadata.push(origin.metadata.clone());
    }

    fn arguments(&self) -> [&(dyn ToSql + Sync); 14] {
        [
            &self.id,
            &self.expected,
            &self.revision,
            &self.state,
            &self.attempt,
            &self.host,
            &self.scheduled_at,
            &self.started_at,
            &self.completed_at,
            &self.from_state,
            &self.reason,
            &self.at,
            &self.correlation_id,
            &self.metadata,
        ]
    }
}

async fn bare_statements(server: &Postgres, count: usize, group: usize) -> Outcome<f64> {
    let (db, url, queued) = queued(server, count).await?;
    drop(db);
    let fence = Fence { lease: "replica:bench".into(), epoch: 1 };
    let leases = Leases { leader: fence.clone(), own: fence };
    let mut shares: Vec<Vec<Steps>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
    for (n, jobs) in queued.chunks(group).enumerate() {
        let mut steps: [Steps; 3] = Default::default();
        for job in jobs {
            for (steps, change) in steps.iter_mut().zip(&jobs::way(job, &leases)?) {
                steps.push(change);
            }
        }
        shares[n % CONNECTIONS].extend(steps);
    }
    let mut ready = Vec::new();
    for share in shares {
        let client = bare::connect(&url).await?;
        let statement = client.prepare(STATEMENT).await?;
        ready.push((client, statement, share));
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (client, statement, share) in ready {
        tasks.spawn(async move {
            let mut written = 0;
            for steps in &share {
                written += client.execute(&statement, &steps.arguments()).await?;
            }
            Outcome::Ok(written)
        });
    }
    let mut written = 0;
    while let Some(ended) = tasks.join_next().await {
        written += ended??;
    }
    let time = began.elapsed();
    if written != 3 * count as u64 {
        return Err(format!("the bare statements wrote {written} rows").into());
    }
    Ok(written as f64 / time.as_secs_f64())
}
