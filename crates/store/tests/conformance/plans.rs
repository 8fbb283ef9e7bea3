//! No hot query reads a whole table: what each database says of its plan, and what PostgreSQL counted while the lanes
//! were at work.

use std::time::Duration;

use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::lifecycle::{self, Event};
use libra_core::mode::Mode;
use libra_core::spec::Kind;
use libra_core::time::Timestamp;
use libra_store::lane::{AttemptNote, AttemptWrite, Fence, Note, Outcome, Submitted};
use libra_store::tables::deliveries::{self, DeliveryFilter, Standing};
use libra_store::tables::feed::FeedFilter;
use libra_store::tables::jobs::{Filter, PageAt, Place, Total};
use libra_store::tables::turns::Submitter;
use libra_store::tables::{
    attempts, feed, idempotency, jobs, leases, outbox, replicas, retention, transitions, turns,
};
use libra_store::tx::{Arg, Row, Tx, all};
use libra_store::{Db, StoreError, backend};
use libra_testkit::Postgres;
use tokio::task::JoinSet;

use crate::given::{Store, admit, change, holder, new_job, open};

/// Runs every statement, after asking for its plan.
struct Explaining<'t> {
    tx: &'t mut dyn Tx,
    kind: backend::Kind,
    plans: Vec<(String, Vec<String>)>,
}

impl Explaining<'_> {
    fn explain(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<(), StoreError> {
        let plan = match self.kind {
            backend::Kind::Sqlite => {
                all(self.tx, &format!("EXPLAIN QUERY PLAN {sql}"), args, |row| row.text(3))?
            }
            backend::Kind::Postgres => all(self.tx, &format!("EXPLAIN {sql}"), args, |row| row.text(0))?,
        };
        self.plans.push((sql.to_owned(), plan));
        Ok(())
    }
}

impl Tx for Explaining<'_> {
    fn now(&mut self) -> Result<Timestamp, StoreError> {
        self.tx.now()
    }

    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        self.explain(sql, args)?;
        self.tx.execute(sql, args)
    }

    fn query(
        &mut self,
        sql: &str,
        args: &[Arg<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.explain(sql, args)?;
        self.tx.query(sql, args, each)
    }

    fn hold(&self) -> &'static str {
        self.tx.hold()
    }

    fn elements(&self) -> &'static str {
        self.tx.elements()
    }
}

/// Lists as people ask for them.
fn filters() -> Vec<Filter> {
    let plain = Filter::default;
    let since = Some(new_job(500).job.submitted_at);
    vec![
        plain(),
        Filter { states: vec![State::Queued], ..plain() },
        Filter { states: vec![State::Failed, State::Timeout], ..plain() },
        Filter { user: Some("ada".into()), tenant: Some("default".into()), ..plain() },
        Filter { user: Some("ada".into()), states: vec![State::Queued], ..plain() },
        Filter { tenant: Some("default".into()), ..plain() },
        Filter { name: Some("job 7".into()), ..plain() },
        Filter { name: Some("job 7".into()), states: vec![State::Queued, State::Running], ..plain() },
        Filter { queue: Some("fast".into()), ..plain() },
        Filter { cluster: Some("big".into()), ..plain() },
        Filter { mode: Some(Mode::SparkSubmit), ..plain() },
        Filter { engine: Some("spark".into()), ..plain() },
        Filter { engine: Some("flink".into()), states: vec![State::Running], ..plain() },
        Filter { kind: Some(Kind::Jar), ..plain() },
        Filter { labels: vec![("team".into(), "odd".into())], ..plain() },
        Filter { labels: vec![("team".into(), "odd".into())], states: vec![State::Queued], ..plain() },
        Filter { since, until: Some(new_job(600).job.submitted_at), ..plain() },
        Filter { since: since.map(|at| at.plus_micros(1)), ..plain() },
        Filter { labels: vec![("team".into(), "odd".into()), ("tier".into(), "gold".into())], ..plain() },
        Filter { labels: vec![("team".into(), "odd".into())], user: Some("ada".into()), ..plain() },
        Filter { mode: Some(Mode::InCluster), kind: Some(Kind::Sql), ..plain() },
        Filter { queue: Some("fast".into()), states: vec![State::Queued, State::Failed], ..plain() },
        Filter {
            user: Some("ada".into()),
            tenant: Some("default".into()),
            states: vec![State::Queued],
            kind: Some(Kind::Sql),
            name: Some("job 7".into()),
            labels: vec![("team".into(), "odd".into())],
            since,
            ..plain()
        },
    ]
}

fn reads(tx: &mut dyn Tx) -> Result<(), StoreError> {
    crate::hpc::reads(tx)?;
    let id = new_job(7).job.id;
    for filter in filters() {
        // The few lookups end these pages before they are full.
        for lookups in [750, 100] {
            let first = PageAt { lookups, ..PageAt::first(50) };
            jobs::list(tx, &filter, &first)?;
            let place = Place { before: new_job(900).job.id, listed: 50, total: Total::Exactly(60) };
            jobs::list(tx, &filter, &PageAt { from: Some(place), offset: 10, ..first })?;
        }
    }
    jobs::get(tx, id)?;
    jobs::get_many(tx, &[id, new_job(8).job.id])?;
    jobs::in_states(tx, &[State::Running])?;
    turns::waiting(tx)?;
    turns::holding(tx)?;
    turns::ended(tx, Timestamp(5), 100)?;
    turns::briefs(tx, &[id, new_job(8).job.id])?;
    turns::tally(tx)?;
    turns::Position::end(tx)?.changes(tx)?;
    turns::Position::default().changes(tx)?;
    let (user, tenant) = (Some("ada".to_owned()), Some("default".to_owned()));
    for who in [
        Submitter { tenant: tenant.clone(), ..Submitter::default() },
        Submitter { tenant, user, ..Submitter::default() },
        Submitter { queue: Some("fast".to_owned()), ..Submitter::default() },
    ] {
        who.queued(tx, 100)?;
        who.recent(tx, new_job(500).job.submitted_at, 100)?;
    }
    jobs::holding(tx)?;
    jobs::due(tx, Timestamp(5), 256)?;
    jobs::next_due(tx)?;
    jobs::count_in_state(tx, State::Queued, 1_000)?;
    attempts::get(tx, id, 1)?;
    attempts::of_job(tx, id)?;
    attempts::open(tx)?;
    attempts::unclaimed(tx)?;
    attempts::held_by(tx, "a")?;
    transitions::of_job(tx, id)?;
    feed::newest(tx)?;
    feed::page(tx, &feed::FeedFilter::default(), 5, 100)?;
    feed::page(tx, &feed::FeedFilter { job: Some(id), ..feed::FeedFilter::default() }, 5, 100)?;
    idempotency::get(tx, "scope", "key")?;
    outbox::of_job(tx, id)?;
    outbox::due(tx, 100)?;
    outbox::backlog(tx)?;
    messages(tx, id)?;
    replicas::replicas(tx)?;
    leases::leases(tx)?;
    Ok(())
}

/// The feed, the lists of webhooks and what retention looks for, as they are asked for.
fn messages(tx: &mut dyn Tx, id: JobId) -> Result<(), StoreError> {
    let feed = FeedFilter::default;
    let owner = Some(("ada".to_owned(), "default".to_owned()));
    for filter in [
        FeedFilter { owner: owner.clone(), ..feed() },
        FeedFilter { labels: vec![("team".into(), "odd".into())], ..feed() },
        FeedFilter { states: vec![State::Queued], ..feed() },
        FeedFilter { job: Some(id), states: vec![State::Queued], owner: owner.clone(), ..feed() },
    ] {
        feed::page(tx, &filter, 5, 100)?;
    }
    for standing in [None, Some(Standing::Pending), Some(Standing::Dead), Some(Standing::Delivered)] {
        for job in [None, Some(id)] {
            let filter = DeliveryFilter { standing, job, owner: owner.clone() };
            deliveries::list(tx, &filter, None, 50)?;
            deliveries::list(tx, &filter, Some((1_000, 1_000)), 50)?;
        }
    }
    deliveries::get(tx, 7)?;
    retention::too_many_before(tx, 1_000)?;
    retention::expired_until(tx)?;
    retention::ends(tx, &[id, new_job(8).job.id])?;
    retention::delivered_before(tx, 5, Timestamp(5), 100)?;
    Ok(())
}

fn writes(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let by = holder("a", 1);
    let note = |what| AttemptNote { job_id: new_job(7).job.id, number: 1, by: by.clone(), what };
    attempts::note(tx, &note(Note::Claim { at: Timestamp(1), host: "m/b".into() }))?;
    attempts::note(tx, &note(Note::TakeOver { from: holder("b", 2) }))?;
    leases::take(tx, "leader", "a", 1_000_000, true)?;
    leases::take(tx, "leader", "a", 1_000_000, false)?;
    leases::renew(tx, "leader", 1, 1_000_000)?;
    let mut fence = Fence { lease: "leader".into(), epoch: 1 };
    feed::number(tx, &fence)?;
    retention::forget_ended(tx, &fence, Timestamp(5))?;
    retention::forget_delivered(tx, &fence, &[1_000_000])?;
    outbox::claim(tx, &fence, &[(1_000_000, 0)], 1)?;
    deliveries::replay(tx, 1_000_000)?;
    deliveries::replay_dead(tx, &DeliveryFilter::default(), Timestamp(5), 100)?;
    fence.epoch = 9;
    outbox::record(tx, &fence, &[])?;
    outbox::postpone(tx, &fence, &[(1, Timestamp(5))], 1)?;
    crate::hpc::writes(tx)?;
    Ok(())
}

async fn plans(db: &Db) -> Vec<(String, Vec<String>)> {
    let kind = db.kind();
    let explain = move |tx: &mut dyn Tx, f: fn(&mut dyn Tx) -> Result<(), StoreError>| {
        let mut explaining = Explaining { tx, kind, plans: Vec::new() };
        f(&mut explaining)?;
        Ok(explaining.plans)
    };
    let mut plans = db.read(move |tx| explain(tx, reads)).await.unwrap();
    plans.extend(db.write(move |tx| explain(tx, writes)).await.unwrap());
    plans
}

/// Jobs that are there already.
const JOBS: u32 = 3_000;

async fn fill(db: &Db) {
    let mut all = JoinSet::new();
    for n in 1..=JOBS {
        let db = db.clone();
        all.spawn(async move { assert_eq!(db.submit(new_job(n)).await.unwrap(), Submitted::Stored) });
    }
    all.join_all().await;
    crate::hpc::many(db, 1_000).await;
}

/// Tables of a handful of rows, which may be read whole.
const SMALL: [&str; 5] = ["leases", "replicas", "facts", "hpc_nodes", "hpc_verdicts"];

/// True when a statement is no list of jobs, or one that may sort: the few that a page looked at, or those of several
/// states, of each of which there are no more than fit on a page.
fn may_sort(sql: &str) -> bool {
    let of_jobs = [" FROM jobs d WHERE", " FROM job_specs d WHERE", " FROM job_labels d WHERE"];
    !of_jobs.iter().any(|from| sql.contains(from))
        || sql.contains("WITH matched")
        || sql.contains("UNION ALL")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_queries_use_an_index_on_sqlite() {
    let s = Store::sqlite();
    fill(&s.db).await;
    for (sql, plan) in plans(&s.db).await {
        let sorted = may_sort(&sql) || !plan.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(
            sorted,
            "{sql}
{plan:#?}"
        );
        for step in &plan {
            // What a statement was given, derived tables and constants are named in brackets or by a letter; their rows were found by an index.
            let whole = step.strip_prefix("SCAN ").filter(|rest| *rest != "CONSTANT ROW");
            let whole = whole.and_then(|rest| rest.split(' ').next());
            let small = |table: &&str| {
                SMALL.contains(table)
                    || ["e", "m", "p", "one", "every", "found", "matched", "counted", "waiting", "numbered"]
                        .contains(table)
            };
            let bad =
                whole.filter(|table| !small(table) && !table.starts_with('(') && !step.contains("USING"));
            // Without a condition the rows are read in the order of their keys, as many as there are on a page.
            let bad =
                bad.filter(|_| !sql.contains("FROM job_specs d WHERE 1 = 1 ORDER BY d.job_id DESC LIMIT 5"));
            assert!(bad.is_none() && !step.contains("AUTOMATIC"), "{sql}\n{plan:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_queries_use_an_index_on_postgres() {
    let url = Postgres::shared().create_database();
    let db = open(&url).await;
    fill(&db).await;
    Postgres::shared().query(&url, "ANALYZE");
    for (sql, plan) in plans(&db).await {
        let sorted = may_sort(&sql) || !plan.iter().any(|step| step.contains("Sort"));
        assert!(
            sorted,
            "{sql}
{}",
            plan.join(
                "
"
            )
        );
        for step in &plan {
            let small = SMALL.iter().any(|table| step.contains(&format!("Seq Scan on {table}")));
            assert!(!step.contains("Seq Scan") || small, "{sql}\n{}", plan.join("\n"));
        }
    }
}

/// What was read of the tables that grow, in rows: whole tables, and through indexes.
fn read_rows(url: &str) -> (u64, u64) {
    let sql = "SELECT SUM(seq_tup_read), (SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes \
               WHERE relname NOT IN ('leases', 'facts', 'libra_schema')) \
               FROM pg_stat_user_tables WHERE relname NOT IN ('leases', 'facts', 'libra_schema')";
    let found = Postgres::shared().query(url, sql);
    let (whole, indexed) = found.split_once('|').unwrap();
    (whole.parse().unwrap_or(0), indexed.parse().unwrap_or(0))
}

/// Waits until the sessions of a closed handle are gone, and with them what they counted is there.
async fn until_alone(url: &str) {
    let sql = "SELECT COUNT(*) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name = 'libra'";
    for _ in 0..200 {
        if Postgres::shared().query(url, sql) == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("sessions stay open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lanes_read_no_more_than_they_write() {
    const WORK: u32 = 300;
    let url = Postgres::shared().create_database();
    let db = open(&url).await;
    fill(&db).await;
    drop(db);
    until_alone(&url).await;
    let before = read_rows(&url);

    let db = open(&url).await;
    let epoch = db.write(|tx| leases::take(tx, "leader", "a", 60_000_000, true)).await.unwrap().unwrap();
    let fence = Fence { lease: "leader".into(), epoch };
    let mut all = JoinSet::new();
    for n in JOBS + 1..=JOBS + WORK {
        let (db, fence) = (db.clone(), fence.clone());
        all.spawn(async move {
            let new = new_job(n);
            db.submit(new.clone()).await.unwrap();
            let admitted = admit(&new.job, Some(fence.clone()));
            assert_eq!(db.apply(admitted.clone()).await.unwrap(), Outcome::Updated);
            let what = Note::Claim { at: Timestamp(1), host: "m/b".into() };
            let id: JobId = new.job.id;
            let note = AttemptNote { job_id: id, number: 1, by: holder("a", 1), what };
            assert_eq!(db.note(note).await.unwrap(), Outcome::Updated);
            let done = lifecycle::step(&admitted.job, Event::Succeeded, Timestamp(9)).unwrap();
            let close = AttemptWrite::Close { number: 1, at: Timestamp(9), exit: None };
            let done = change(&admitted.job, done, vec![close], Some(fence));
            assert_eq!(db.apply(done).await.unwrap(), Outcome::Updated);
        });
    }
    all.join_all().await;
    // The feed has the rows of the jobs from before to number as well.
    let mut numbered = 0;
    loop {
        match db.number_feed(fence.clone()).await.unwrap() {
            0 => break,
            some => numbered += some as u64,
        }
    }
    drop(db);
    until_alone(&url).await;
    let after = read_rows(&url);
    // By counting the queue once, and by looking each row up a few times.
    let fair = u64::from(JOBS + WORK) + u64::from(WORK) * 30 + numbered * 4;
    let sql = "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes ORDER BY 2 DESC LIMIT 6";
    let most = Postgres::shared().query(&url, sql);
    assert_eq!(after.0 - before.0, 0, "rows of tables that were read whole");
    assert!(
        after.1 - before.1 < fair,
        "{} rows through indexes, {fair} are enough:\n{most}",
        after.1 - before.1
    );
}
