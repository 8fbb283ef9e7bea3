//! Observed jobs, their audit and what they use.

use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::{Fresh, Means, Outcome as Observed, Word, observe};
use libra_core::hpc::raw_state::HpcState;
use libra_core::hpc::record::{ArrayTask, Record};
use libra_core::hpc::usage::Sample;
use libra_core::id::{JobId, Token};
use libra_core::job::State;
use libra_core::time::{MICROS_PER_SECOND, Timestamp};
use libra_store::StoreError;
use libra_store::db::Db;
use libra_store::lane::{Fence, Outcome};
use libra_store::tables::hpc::audit::{self, Author, ChangeType};
use libra_store::tables::hpc::jobs;
use libra_store::tables::hpc::list::{self, Filter};
use libra_store::tables::hpc::once::{Answer, Key, Once, once};
use libra_store::tables::hpc::own;
use libra_store::tables::hpc::rollups::{self, HOUR, MINUTE};
use libra_store::tables::hpc::samples::{self, Batch};
use libra_store::tables::hpc::writes::{Told, Write, apply};
use libra_store::tables::hpc::{figures, retention, verdicts};
use libra_store::tables::{leases, transitions};
use libra_store::tx::Tx;

use crate::given::Store;
use crate::on_every_store;

on_every_store!(
    an_observed_job_is_written_once_with_its_log_and_its_audit,
    many_are_stored_together_and_each_has_its_own_answer,
    a_number_is_one_job_at_a_time_and_lists_find_it,
    what_was_submitted_as_one_is_found_as_one,
    samples_are_counted_once_however_often_and_late_they_come,
    long_ranges_are_rolled_up_and_what_comes_late_is_in_them,
    what_is_old_is_forgotten_and_long_ranges_stay,
    a_job_that_is_removed_leaves_its_audit,
    what_is_asked_for_under_a_key_is_done_once,
);

fn at(second: i64) -> Timestamp {
    Timestamp(0).plus_seconds(1_700_000_000 + second)
}

fn author(change_type: ChangeType) -> Author {
    let (changed_by, source) = ("slurm-prolog".to_owned(), "slurm".to_owned());
    Author { change_type, changed_by, source, correlation_id: "c-1".to_owned() }
}

fn record(number: &str, state: &str, node: &str) -> Record {
    let ended = (state == "COMPLETED").then(|| at(9));
    Record {
        external_id: number.into(),
        raw_state: state.into(),
        user: Some("ann".into()),
        account: Some("physics".into()),
        nodes: vec![node.into()],
        submitted: Some(at(-5)),
        started: Some(at(0)),
        ended,
        ..Record::default()
    }
}

/// What a scheduler's word makes of `before`.
fn said(before: Option<&HpcJob>, record: Record, made: u8) -> Write {
    let id = JobId::new(at(i64::from(made)), [made; 10]);
    let fresh = Fresh { id, tenant: "t".into(), cluster: "c".into(), correlation_id: "c-1".into() };
    let word = Word::Record(Box::new(record), at(10));
    let (change, new) = match observe(before, word, Means { asks: true }, fresh, at(10)) {
        Observed::New(change) => (change, true),
        Observed::Changed(change) => (change, false),
        Observed::Unchanged => panic!("it changes something"),
    };
    let told = Told::here(author(ChangeType::Upsert), change.log);
    Write { job: change.job, new, at: at(10), told: Some(told) }
}

async fn write(db: &Db, writes: Vec<Write>) -> Vec<Outcome> {
    db.write(move |tx| apply(tx, &writes)).await.unwrap()
}

async fn led(db: &Db) -> Fence {
    let epoch = db.write(|tx| leases::take(tx, "leader", "a", 60_000_000, true)).await.unwrap();
    Fence { lease: "leader".into(), epoch: epoch.unwrap() }
}

/// Jobs of observed clusters that run on some nodes, for those who look at plans.
pub(crate) async fn many(db: &Db, jobs: u32) {
    let writes = (0..jobs).map(|n| {
        let mut write = said(None, record(&n.to_string(), "RUNNING", &format!("n{}", n % 50)), 1);
        let mut entropy = [0; 10];
        entropy[..4].copy_from_slice(&n.to_be_bytes());
        write.job.id = JobId::new(at(i64::from(n)), entropy);
        write
    });
    let writes: Vec<Write> = writes.collect();
    let batches = writes.iter().map(|write| Batch {
        job: write.job.id,
        node: write.job.record.nodes[0].clone(),
        samples: vec![sample(5, 1, 1)],
    });
    let batches: Vec<Batch> = batches.collect();
    db.write(move |tx| apply(tx, &writes)).await.unwrap();
    db.write(move |tx| samples::record(tx, batches)).await.unwrap();
}

/// What is asked of observed jobs again and again.
pub(crate) fn reads(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let of = || Filter { tenant: "t".into(), ..Filter::default() };
    for filter in [
        of(),
        Filter { state: Some(HpcState::Running), ..of() },
        Filter { user: Some("ann".into()), ..of() },
        Filter { node: Some("n7".into()), ..of() },
        Filter { account: Some("physics".into()), ..of() },
        Filter { partition: Some("gpu".into()), ..of() },
    ] {
        list::list(tx, &filter, 0, 50)?;
    }
    let id = JobId::new(at(7), [0; 10]);
    jobs::newest(tx, "c", "7")?;
    list::newest_of(tx, &[("c", "7"), ("c", "8")])?;
    samples::of_jobs(tx, &[id])?;
    own::with_tokens(tx, &[Token::new(at(7), [0; 10]), Token::new(at(8), [0; 10])])?;
    own::kept(tx, vec![Batch { job: id, node: "n7".into(), samples: Vec::new() }])?;
    figures::running(tx, "")?;
    figures::pending(tx)?;
    figures::nodes(tx, at(0), 10)?;
    verdicts::running(tx, "", 10)?;
    verdicts::of_jobs(tx, &[id])?;
    let of = verdicts::Of { tenant: "t".into(), user: Some("ann".into()), account: None };
    verdicts::begun(tx, &of, at(100), 10)?;
    audit::removed(tx, "t", "mine")?;
    Ok(())
}

/// What is changed in them again and again.
pub(crate) fn writes(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let before = jobs::newest(tx, "c", "7")?;
    let ended = said(before.as_ref(), record("7", "COMPLETED", "n7"), 9);
    assert_eq!(apply(tx, &[ended])?, [Outcome::Updated]);
    Ok(())
}

async fn runs(db: &Db, number: &str, node: &str, made: u8) -> HpcJob {
    let new = said(None, record(number, "RUNNING", node), made);
    assert_eq!(write(db, vec![new.clone()]).await, [Outcome::Updated]);
    new.job
}

async fn an_observed_job_is_written_once_with_its_log_and_its_audit(store: Store) {
    // contract: H2, L2
    let db = store.db;
    let job = runs(&db, "7", "n1", 1).await;
    let again = said(None, record("7", "RUNNING", "n1"), 2);
    assert_eq!(write(&db, vec![again]).await, [Outcome::Stale], "there is one with this number");
    let ended = said(Some(&job), record("7", "COMPLETED", "n1"), 3);
    assert_eq!(write(&db, vec![ended.clone(), ended.clone()]).await, [Outcome::Updated, Outcome::Stale]);
    let (found, log, audited) = db
        .read(move |tx| {
            let found = jobs::newest(tx, "c", "7")?;
            Ok((found, transitions::of_job(tx, job.id)?, audit::of_job(tx, job.id)?))
        })
        .await
        .unwrap();
    assert_eq!(found, Some(ended.job));
    let states: Vec<State> = log.iter().map(|row| row.transition.to).collect();
    assert_eq!(states, [State::Running, State::Succeeded]);
    assert_eq!(audited.len(), 2);
    assert_eq!((audited[0].changed_by.as_str(), audited[0].correlation_id.as_str()), ("slurm-prolog", "c-1"));
    let last: serde_json::Value = serde_json::from_str(&audited[1].job_snapshot).unwrap();
    assert_eq!((&last["state"], &last["record"]["raw_state"]), (&"completed".into(), &"COMPLETED".into()));
}

async fn many_are_stored_together_and_each_has_its_own_answer(store: Store) {
    // contract: H1, H2
    let db = store.db;
    let (one, other) = (runs(&db, "1", "n1", 1).await, runs(&db, "2", "n1", 2).await);
    let ended = said(Some(&one), record("1", "COMPLETED", "n1"), 3);
    let stale = said(Some(&HpcJob { revision: 8, ..other.clone() }), record("2", "COMPLETED", "n1"), 4);
    let mut quiet = said(Some(&other), Record { priority: Some(7), ..record("2", "RUNNING", "n1") }, 5);
    quiet.told = None;
    let texts = Record {
        name: Some("it's \"50 %\",\n\\u0041 – ?1 $1".into()),
        user: Some("o'hara".into()),
        account: None,
        partition: Some("a,b".into()),
        nodes: vec!["n1".into(), "n2".into()],
        submitted: Some(Timestamp(i64::MAX / 2)),
        ..record("3", "PENDING", "n1")
    };
    let new = said(None, Record { started: None, ..texts }, 6);
    let taken = said(None, record("1", "RUNNING", "n1"), 7);
    let all = vec![ended.clone(), stale, new.clone(), taken, ended.clone()];
    let (updated, late) = (Outcome::Updated, Outcome::Stale);
    assert_eq!(write(&db, all).await, [updated, late, updated, late, late]);
    assert_eq!(write(&db, vec![quiet.clone()]).await, [updated]);
    let ids = [one.id, other.id, new.job.id];
    let found = db
        .read(move |tx| {
            let mut found = Vec::new();
            for id in ids {
                let (log, audited) = (transitions::of_job(tx, id)?, audit::of_job(tx, id)?);
                found.push((jobs::get(tx, id)?, log.len(), audited.len()));
            }
            Ok(found)
        })
        .await
        .unwrap();
    let expected = [(Some(ended.job), 2, 2), (Some(quiet.job), 1, 1), (Some(new.job.clone()), 1, 1)];
    assert_eq!(found, expected);
    let on_n2 = Filter { tenant: "t".into(), node: Some("n2".into()), ..Filter::default() };
    let page = db.read(move |tx| list::list(tx, &on_n2, 0, 10)).await.unwrap();
    assert_eq!(page.jobs, [new.job]);
    assert_eq!(write(&db, Vec::new()).await, []);
}

async fn what_was_submitted_as_one_is_found_as_one(store: Store) {
    // contract: H6
    let db = store.db;
    let task = |number: &str, task: u64| {
        let array = Some(ArrayTask { job: 8, task });
        Record { array, ..record(number, "RUNNING", "n1") }
    };
    let part = Record { het_job: Some(20), ..record("21", "RUNNING", "n1") };
    let records = [task("8", 1), task("9", 0), part, record("30", "RUNNING", "n1")];
    let writes = records.into_iter().zip(1u8..).map(|(record, made)| said(None, record, made)).collect();
    assert_eq!(write(&db, writes).await, [Outcome::Updated; 4]);
    let numbers = async |whole: &'static str| -> Vec<String> {
        let found = db.read(move |tx| jobs::as_a_whole(tx, "c", whole)).await.unwrap();
        found.into_iter().map(|job| job.record.external_id).collect()
    };
    assert_eq!(numbers("8").await, ["8", "9"]);
    assert_eq!(numbers("20").await, ["21"]);
    assert_eq!(numbers("30").await, ["30"]);
    assert_eq!(numbers("9").await, ["9"]);
    let elsewhere = db.read(|tx| jobs::as_a_whole(tx, "d", "8")).await.unwrap();
    assert_eq!(elsewhere, [], "another cluster has its own numbers");
}

async fn a_number_is_one_job_at_a_time_and_lists_find_it(store: Store) {
    // contract: H2, L9
    let db = store.db;
    let first = runs(&db, "7", "n1", 1).await;
    let ended = said(Some(&first), record("7", "COMPLETED", "n1"), 2);
    write(&db, vec![ended.clone()]).await;
    let later = Record { submitted: Some(at(10)), started: Some(at(11)), ..record("7", "RUNNING", "n2") };
    let second = said(Some(&ended.job), later, 3);
    assert_eq!((second.new, second.job.run), (true, 2));
    let twice =
        Write { job: HpcJob { id: JobId::new(at(5), [5; 10]), ..second.job.clone() }, ..second.clone() };
    assert_eq!(write(&db, vec![second.clone(), twice]).await, [Outcome::Updated, Outcome::Stale]);
    let second = second.job;
    let other = runs(&db, "8", "n2", 4).await;
    let find = async |filter: Filter| {
        let filter = Filter { tenant: "t".into(), ..filter };
        let page = db.read(move |tx| list::list(tx, &filter, 0, 10)).await.unwrap();
        assert_eq!(page.total, Some(page.jobs.len() as u64));
        page.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    let any = Filter::default;
    assert_eq!(find(any()).await, [other.id, second.id, first.id]);
    assert_eq!(find(Filter { node: Some("n2".into()), ..any() }).await, [other.id, second.id]);
    assert_eq!(find(Filter { state: Some(HpcState::Completed), ..any() }).await, [first.id]);
    assert_eq!(
        find(Filter { user: Some("ann".into()), before: Some(other.id), ..any() }).await,
        [second.id, first.id]
    );
    let none = Filter { account: Some("physics".into()), partition: Some("gpu".into()), ..any() };
    assert_eq!(find(none).await, []);
    let (open, newest, named, counts) = db
        .read(|tx| {
            let newest = list::newest_of(tx, &[("c", "7"), ("c", "9")])?;
            Ok((list::open(tx, "c")?, newest, jobs::with_number(tx, "t", "7")?, list::counts(tx)?))
        })
        .await
        .unwrap();
    assert_eq!(open.iter().map(|job| job.id).collect::<Vec<_>>(), [second.id, other.id]);
    assert_eq!((newest, named), (vec![second.clone()], vec![second]));
    let mut counts = counts;
    counts.sort();
    assert_eq!(counts, [(HpcState::Running, 2), (HpcState::Completed, 1)]);
}

fn sample(second: i64, cpu: i64, memory_mb: i64) -> Sample {
    Sample { cpu: Some(cpu), memory_mb: Some(memory_mb), ..Sample::at(at(second)) }
}

async fn samples_are_counted_once_however_often_and_late_they_come(store: Store) {
    // contract: H2, H3
    let db = store.db;
    let job = runs(&db, "7", "n1", 1).await.id;
    let send = async |samples: Vec<Sample>| {
        let batch = Batch { job, node: "n1".into(), samples };
        db.write(move |tx| samples::record(tx, vec![batch])).await.unwrap()
    };
    let many: Vec<Sample> = (0..600).map(|n| sample(30 * n, 1_000 * (n % 100), n)).collect();
    assert_eq!(send(many.clone()).await, 600);
    assert_eq!(send(many).await, 0, "the same again");
    assert_eq!(send(vec![sample(15, 500, 9_000), sample(30, 1, 1), sample(30 * 600, 7, 600)]).await, 2);
    let unknown = Sample { gpu: Some(20_000), ..Sample::at(at(30 * 601)) };
    assert_eq!(send(vec![unknown]).await, 1);
    let series = db.read(move |tx| samples::of_job(tx, job)).await.unwrap();
    let totals = &series[0].totals;
    assert_eq!((series.len(), totals.samples, totals.cpu.count), (1, 603, 602));
    assert_eq!((totals.first_at, totals.last_at), (Some(at(0)), Some(at(30 * 601))));
    assert_eq!((totals.memory_mb.max, totals.memory_mb.last), (Some(9_000), Some(600)));
    assert_eq!((totals.gpu.count, totals.gpu.max), (1, Some(20_000)));
    let id = series[0].id;
    let some = db.read(move |tx| samples::between(tx, id, (at(0), at(31)), 10)).await.unwrap();
    assert_eq!(some.iter().map(|one| one.cpu).collect::<Vec<_>>(), [Some(0), Some(500), Some(1_000)]);
}

async fn long_ranges_are_rolled_up_and_what_comes_late_is_in_them(store: Store) {
    // contract: H2
    let db = store.db;
    let job = runs(&db, "7", "n1", 1).await.id;
    // From the beginning of an hour on.
    let from = (HOUR - at(0).0.rem_euclid(HOUR)) / MICROS_PER_SECOND;
    let send = async |samples: Vec<Sample>| {
        let batch = Batch { job, node: "n1".into(), samples };
        db.write(move |tx| samples::record(tx, vec![batch])).await.unwrap()
    };
    let fence = led(&db).await;
    let roll = async |second: i64| {
        let fence = fence.clone();
        db.write(move |tx| rollups::roll(tx, &fence, at(second))).await.unwrap().unwrap()
    };
    send((0..240).map(|n| sample(from + 30 * n, 1_000 * n, n)).collect()).await;
    assert_eq!(roll(from).await, 0, "it is not due yet");
    let series = db.read(move |tx| samples::of_job(tx, job)).await.unwrap()[0].id;
    let range = (at(from), at(from + 7_200));
    let (fresh, few) = db
        .read(move |tx| {
            let of = |tx: &mut dyn Tx, most| rollups::fresh(tx, series, MINUTE, range, most);
            Ok((of(tx, 1_000)?, of(tx, 7)?))
        })
        .await
        .unwrap();
    assert_eq!(roll(from + 9_000).await, 1);
    assert_eq!(roll(from + 9_000).await, 0, "nothing is new");
    let read =
        async |step: i64| db.read(move |tx| rollups::between(tx, series, step, range, 1_000)).await.unwrap();
    let minutes = read(MINUTE).await;
    assert_eq!((minutes.len(), minutes[0].samples, minutes[0].cpu.sum), (120, 2, 1_000));
    assert_eq!((&fresh, &few[..]), (&minutes, &minutes[..7]), "summed up before it was rolled up");
    let hours = read(HOUR).await;
    assert_eq!((hours.len(), hours[1].samples, hours[1].memory_mb.max), (2, 120, Some(239)));
    assert_eq!(send(vec![sample(from + 45, 90_000, 5_000)]).await, 1);
    assert_eq!(roll(from + 20_000).await, 1);
    let (minutes, hours) = (read(MINUTE).await, read(HOUR).await);
    assert_eq!((minutes[0].samples, minutes[0].memory_mb.max, minutes.len()), (3, Some(5_000), 120));
    assert_eq!((hours[0].samples, hours[0].cpu.max), (121, Some(119_000)));
}

async fn what_is_old_is_forgotten_and_long_ranges_stay(store: Store) {
    // contract: H2, Q3
    let db = store.db;
    let fence = led(&db).await;
    let job = runs(&db, "7", "n1", 1).await;
    let other = runs(&db, "8", "n1", 2).await.id;
    let id = job.id;
    let batch =
        Batch { job: id, node: "n1".into(), samples: (0..100).map(|n| sample(30 * n, n, n)).collect() };
    db.write(move |tx| samples::record(tx, vec![batch])).await.unwrap();
    let of = fence.clone();
    let forget = async |second: i64| {
        let of = of.clone();
        db.write(move |tx| retention::forget_samples(tx, &of, at(second))).await.unwrap()
    };
    assert_eq!(forget(2_900).await, Some(0), "it is not rolled up yet");
    let by = fence.clone();
    db.write(move |tx| rollups::roll(tx, &by, at(9_000))).await.unwrap();
    assert_eq!(forget(2_700).await, Some(0), "an hour is forgotten as a whole");
    assert_eq!((forget(2_900).await, forget(2_900).await), (Some(1), Some(0)));
    // What comes late would be rolled up without the others of its hour.
    let late = Batch { job: id, node: "n1".into(), samples: vec![sample(45, 9, 9), sample(2_810, 100, 100)] };
    assert_eq!(db.write(move |tx| samples::record(tx, vec![late])).await.unwrap(), 1);
    let by = fence.clone();
    db.write(move |tx| rollups::roll(tx, &by, at(20_000))).await.unwrap();
    let (series, left, minutes) = db
        .read(move |tx| {
            let series = samples::of_job(tx, id)?.remove(0);
            let range = (at(-60), at(9_000));
            let left = samples::between(tx, series.id, range, 1_000)?;
            let minutes = rollups::between(tx, series.id, MINUTE, range, 1_000)?;
            Ok((series, left, minutes))
        })
        .await
        .unwrap();
    assert_eq!((left.len(), left[0].at, series.totals.samples), (7, at(2_810), 101));
    assert_eq!(minutes.iter().map(|minute| minute.samples).sum::<i64>(), 101);
    write(&db, vec![said(Some(&job), record("7", "COMPLETED", "n1"), 3)]).await;
    let by = fence.clone();
    let early = db.write(move |tx| retention::forget_jobs(tx, &by, at(11))).await.unwrap();
    assert_eq!(early, Some(0), "the feed has not told of it yet");
    assert_eq!(db.number_feed(fence.clone()).await.unwrap(), 3);
    let gone = db.write(move |tx| retention::forget_jobs(tx, &fence, at(11))).await.unwrap();
    assert_eq!(gone, Some(1));
    let stale = Fence { lease: "leader".into(), epoch: -1 };
    assert_eq!(db.write(move |tx| retention::forget_jobs(tx, &stale, at(11))).await.unwrap(), None);
    let (found, kept, audited) = db
        .read(move |tx| Ok((jobs::get(tx, id)?, jobs::get(tx, other)?, audit::of_job(tx, id)?)))
        .await
        .unwrap();
    assert!(found.is_none() && kept.is_some() && audited.is_empty());
}

async fn a_job_that_is_removed_leaves_its_audit(store: Store) {
    // contract: H2
    let db = store.db;
    let job = runs(&db, "7", "n1", 1).await;
    let id = job.id;
    let batch = Batch { job: id, node: "n1".into(), samples: vec![sample(1, 1, 1)] };
    db.write(move |tx| samples::record(tx, vec![batch])).await.unwrap();
    let stale = HpcJob { revision: 5, ..job.clone() };
    let remove = async |job: HpcJob| {
        db.write(move |tx| jobs::delete(tx, &job, &author(ChangeType::Delete), at(20))).await.unwrap()
    };
    assert!(!remove(stale).await);
    assert!(remove(job).await);
    let (found, series, audited) = db
        .read(move |tx| Ok((jobs::get(tx, id)?, samples::of_job(tx, id)?, audit::of_job(tx, id)?)))
        .await
        .unwrap();
    assert_eq!((found, series), (None, Vec::new()));
    assert_eq!(audited.iter().map(|row| row.change_type.as_str()).collect::<Vec<_>>(), ["upsert", "delete"]);
    // It is found by Libra's id, and by the one that its maker gave it.
    let mut named = said(None, record("8", "RUNNING", "n1"), 8);
    named.job.client_id = Some("mine".into());
    let second = named.job.clone();
    assert_eq!(write(&db, vec![named]).await, [Outcome::Updated]);
    assert!(remove(second.clone()).await);
    let removed = async |tenant: &'static str, name: String| {
        db.read(move |tx| audit::removed(tx, tenant, &name)).await.unwrap().map(|it| (it.job, it.owner))
    };
    assert_eq!(removed("t", "mine".into()).await, Some((second.id, "ann".into())));
    assert_eq!(removed("t", id.to_string()).await, Some((id, "ann".into())));
    assert_eq!(removed("u", "mine".into()).await, None);
    runs(&db, "7", "n1", 9).await;
}

async fn what_is_asked_for_under_a_key_is_done_once(store: Store) {
    // contract: A5
    let db = store.db;
    let job = runs(&db, "7", "n1", 1).await;
    let under = async |body: &str, second: i64| {
        let key = Key { scope: "t\nann\nPOST /x".into(), key: "k".into(), body_hash: body.into() };
        let batch = Batch { job: job.id, node: "n1".into(), samples: vec![sample(second, 1, 1)] };
        let of = job.id;
        db.write(move |tx| {
            once(tx, Some(&key), at(9), |tx| {
                let new = samples::record(tx, vec![batch])?;
                Ok((new, Some(Answer { job: of, status: 201, response: "{}".into() })))
            })
        })
        .await
        .unwrap()
    };
    assert_eq!(under("a", 5).await, Once::Done(1));
    assert_eq!(under("a", 6).await, Once::Before { status: 201, response: "{}".into() });
    assert_eq!(under("b", 6).await, Once::Reused);
    let (of, kept) = (job.id, job.clone());
    let series = db.read(move |tx| samples::of_job(tx, of)).await.unwrap();
    assert_eq!(series[0].totals.samples, 1);
    let (found, none) = db
        .write(move |tx| Ok((samples::at(tx, of, "n1", at(5))?, samples::at(tx, of, "n1", at(6))?)))
        .await
        .unwrap();
    assert!(found.is_some() && none.is_none());
    // The answer goes with the job.
    db.write(move |tx| jobs::delete(tx, &kept, &author(ChangeType::Delete), at(20))).await.unwrap();
    assert_eq!(under("b", 7).await, Once::Done(1));
}
