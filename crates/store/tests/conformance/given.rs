//! Stores and jobs to begin with.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use libra_core::attempt::{Attempt, Holder, Links};
use libra_core::id::{JobId, Token};
use libra_core::job::{Draft, Job, TimeLimits};
use libra_core::lifecycle::{self, Event, Step};
use libra_core::mode::Mode;
use libra_core::requirement::Requirement;
use libra_core::spec::{JobSpec, Kind, Source};
use libra_core::time::Timestamp;
use libra_store::lane::{AttemptWrite, Change, Fence, Origin, OutboxRow, Submission};
use libra_store::sqlite::Inline;
use libra_store::tables::jobs;
use libra_store::{Db, PoolSettings, StoreUrl};
use libra_testkit::Postgres;

/// A store of a test's own.
pub(crate) struct Store {
    pub(crate) db: Db,
    /// Where the file is, for SQLite.
    pub(crate) dir: Option<tempfile::TempDir>,
}

impl Store {
    pub(crate) fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { db: Db::open_sqlite(&dir.path().join("libra.db")).unwrap(), dir: Some(dir) }
    }

    pub(crate) fn inline() -> Self {
        let now = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            Timestamp(i64::try_from(now.as_micros()).unwrap())
        };
        Self { db: Db::over(Arc::new(Inline::new(Arc::new(now)).unwrap())), dir: None }
    }

    pub(crate) async fn postgres() -> Self {
        Self { db: open(&Postgres::shared().create_database()).await, dir: None }
    }
}

pub(crate) fn url(text: &str) -> StoreUrl {
    StoreUrl::parse(text, std::path::Path::new("/nowhere")).unwrap()
}

/// A replica's handle on a database.
pub(crate) async fn open(text: &str) -> Db {
    let pool = PoolSettings { max: 12, min: 0, ..PoolSettings::default() };
    Db::open(&url(text), pool).await.unwrap()
}

pub(crate) fn origin(at: Timestamp) -> Origin {
    Origin { at, actor: "ada".into(), metadata: None }
}

/// Job `n`, made 1 ms after the one before.
pub(crate) fn new_job(n: u32) -> Submission {
    let now = Timestamp(1_000_000_000 + i64::from(n) * 1_000);
    let mut spec = JobSpec::new(Kind::Sql, Source::Code("SELECT 1".into()));
    spec.labels.insert("team".into(), if n.is_multiple_of(2) { "even" } else { "odd" }.into());
    spec.name = Some(format!("job {n}"));
    let mut entropy = [0; 10];
    entropy[..4].copy_from_slice(&n.to_be_bytes());
    let job = Job::received(Draft {
        id: JobId::new(now, entropy),
        submitted_at: now,
        user: "ada".into(),
        tenant: "default".into(),
        spec,
        mode: Mode::InCluster,
        requirement: Requirement::default(),
        limits: TimeLimits { queue_seconds: Some(1_800), run_seconds: None, launch_seconds: Some(600) },
        correlation_id: format!("c-{n}"),
    });
    submission(job)
}

pub(crate) fn submission(job: Job) -> Submission {
    let now = job.submitted_at;
    let step = lifecycle::submit(job, now);
    let outbox = vec![OutboxRow {
        topic: "QUEUED".into(),
        target: "https://example.org".into(),
        payload: "{}".into(),
    }];
    Submission {
        job: step.job,
        log: step.log,
        origin: origin(now),
        outbox,
        idempotency: None,
        max_queued: 100_000,
    }
}

pub(crate) fn change(before: &Job, step: Step, attempts: Vec<AttemptWrite>, fence: Option<Fence>) -> Change {
    Change {
        expected_revision: before.revision,
        origin: origin(before.submitted_at.plus_seconds(1)),
        job: step.job,
        log: step.log,
        attempts,
        outbox: Vec::new(),
        fence,
    }
}

pub(crate) fn holder(replica: &str, epoch: i64) -> Holder {
    Holder { replica: replica.into(), epoch }
}

/// Admits a queued job; nobody holds its attempt yet.
pub(crate) fn admit(job: &Job, fence: Option<Fence>) -> Change {
    let now = job.submitted_at.plus_seconds(1);
    let step = lifecycle::step(job, Event::Admitted("m".into()), now).unwrap();
    let mut entropy = [0; 10];
    entropy[0] = u8::try_from(step.job.attempt).unwrap();
    entropy[1..9].copy_from_slice(&job.submitted_at.0.to_be_bytes());
    let attempt = Attempt {
        job_id: job.id,
        number: step.job.attempt,
        token: Token::new(now, entropy),
        mode: job.mode,
        host: "m".into(),
        storage: "s".into(),
        holder: None,
        created_at: now,
        launched_at: None,
        started_at: None,
        ended_at: None,
        handle: None,
        exit: None,
        progress: None,
        usage: None,
        looks: 0,
        application_id: None,
        links: Links::default(),
    };
    change(job, step, vec![AttemptWrite::Open(Box::new(attempt))], fence)
}

pub(crate) async fn get(db: &Db, id: JobId) -> Job {
    db.read(move |tx| jobs::get(tx, id)).await.unwrap().unwrap()
}
