//! Lists, turns and deadlines.

use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::mode::Mode;
use libra_core::spec::Kind;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::tables::jobs::{self, Filter, Page, PageAt, Place, Total};

use crate::given::{Store, admit, get, new_job, submission};
use crate::on_every_store;

on_every_store!(
    lists_are_filtered_and_paged_newest_first,
    every_combination_of_conditions_finds_what_a_plain_look_finds,
    pages_that_are_ended_early_go_on_where_they_ended,
    where_a_page_ends_names_no_job_that_is_not_on_it,
    totals_end_where_they_are_exact,
    turns_and_deadlines_are_found,
);

fn names(page: &Page) -> Vec<String> {
    page.jobs.iter().filter_map(|j| j.spec.name.clone()).collect()
}

fn ids(page: &Page) -> Vec<JobId> {
    page.jobs.iter().map(|job| job.id).collect()
}

async fn page(s: &Store, filter: &Filter, at: PageAt) -> Result<Page, StoreError> {
    let filter = filter.clone();
    s.db.read(move |tx| jobs::list(tx, &filter, &at)).await
}

async fn lists_are_filtered_and_paged_newest_first(s: Store) {
    // contract: A3
    for n in 1..=5 {
        s.db.submit(new_job(n)).await.unwrap();
    }
    let list = async |filter: Filter, from, limit, offset| {
        page(&s, &filter, PageAt { from, offset, ..PageAt::first(limit) }).await
    };
    let first = list(Filter::default(), None, 2, 0).await.unwrap();
    let next = Place { before: new_job(4).job.id, listed: 2, total: Total::Exactly(5) };
    assert_eq!(
        (names(&first), first.total, first.next),
        (vec!["job 5".into(), "job 4".into()], Total::Exactly(5), Some(next))
    );
    let place = Place { before: new_job(2).job.id, ..next };
    let last = list(Filter::default(), Some(place), 2, 0).await.unwrap();
    assert_eq!((names(&last), last.next), (vec!["job 1".to_owned()], None));
    assert_eq!(names(&list(Filter::default(), None, 2, 3).await.unwrap()), ["job 2", "job 1"]);

    let even = Filter { labels: vec![("team".into(), "even".into())], ..Filter::default() };
    assert_eq!(names(&list(even, None, 10, 0).await.unwrap()), ["job 4", "job 2"]);
    let none = Filter { states: vec![State::Running, State::Failed], ..Filter::default() };
    assert_eq!(list(none, None, 10, 0).await.unwrap().total, Total::Exactly(0));
    let nowhere = Filter { engine: Some("flink".into()), ..Filter::default() };
    assert_eq!(list(nowhere, None, 10, 0).await.unwrap().total, Total::Exactly(0));
    let several = Filter {
        states: vec![State::Queued],
        user: Some("ada".into()),
        kind: Some(Kind::Sql),
        mode: Some(Mode::InCluster),
        engine: Some("spark".into()),
        since: Some(new_job(2).job.submitted_at),
        until: Some(new_job(4).job.submitted_at),
        ..Filter::default()
    };
    assert_eq!(names(&list(several, None, 10, 0).await.unwrap()), ["job 3", "job 2"]);
    let within = |since: i64, until: i64| Filter {
        since: Some(new_job(2).job.submitted_at.plus_micros(since)),
        until: Some(new_job(4).job.submitted_at.plus_micros(until)),
        ..Filter::default()
    };
    assert_eq!(names(&list(within(1, 1), None, 10, 0).await.unwrap()), ["job 4", "job 3"]);
    assert_eq!(names(&list(within(-1, -1), None, 10, 0).await.unwrap()), ["job 3", "job 2"]);
    let never = Filter { until: Some(Timestamp(i64::MIN)), ..Filter::default() };
    assert_eq!(list(never, None, 10, 0).await.unwrap().total, Total::Exactly(0));
}

/// Job `n` of a few dozen that differ in everything that lists look at; a few in each millisecond.
fn various(n: u32) -> Job {
    let mut job = new_job(n).job;
    job.submitted_at = Timestamp(1_000_000_000 + i64::from(n / 3) * 1_000 + i64::from(n % 3) * 300);
    let mut entropy = [0; 10];
    entropy[..4].copy_from_slice(&n.to_be_bytes());
    job.id = JobId::new(job.submitted_at, entropy);
    job.revision = 0;
    job.state = State::Submitted;
    job.queued_at = None;
    job.user = ["ada", "bob"][n as usize % 2].into();
    job.tenant = ["x", "y"][n as usize / 2 % 2].into();
    job.spec.kind = [Kind::Sql, Kind::Python, Kind::Jar][n as usize % 3];
    job.spec.name = (!n.is_multiple_of(4)).then(|| format!("name {}", n % 5));
    job.spec.queue = n.is_multiple_of(3).then(|| "fast".into());
    job.spec.cluster = n.is_multiple_of(7).then(|| "big".into());
    job.mode = if n.is_multiple_of(5) { Mode::SparkSubmit } else { Mode::InCluster };
    job.spec.labels = [("team", n % 3), ("tier", n % 2)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_string()))
        .collect();
    job
}

fn matches(job: &Job, f: &Filter) -> bool {
    let is = |wanted: &Option<String>, found: Option<&String>| wanted.is_none() || wanted.as_ref() == found;
    (f.states.is_empty() || f.states.contains(&job.state))
        && is(&f.user, Some(&job.user))
        && is(&f.tenant, Some(&job.tenant))
        && is(&f.name, job.spec.name.as_ref())
        && is(&f.queue, job.spec.queue.as_ref())
        && is(&f.cluster, job.spec.cluster.as_ref())
        && f.mode.is_none_or(|m| m == job.mode)
        && f.kind.is_none_or(|k| k == job.spec.kind)
        && f.labels.iter().all(|(key, value)| job.spec.labels.get(key) == Some(value))
        && f.since.is_none_or(|t| job.submitted_at >= t)
        && f.until.is_none_or(|t| job.submitted_at < t)
}

/// Stores them; answers them as they are then, the newest first.
async fn store_various(s: &Store) -> Vec<Job> {
    let mut all = Vec::new();
    for n in 1..=60 {
        let new = submission(various(n));
        s.db.submit(new.clone()).await.unwrap();
        let mut job = new.job;
        if n.is_multiple_of(4) {
            let admitted = admit(&job, None);
            s.db.apply(admitted.clone()).await.unwrap();
            job = admitted.job;
        }
        all.push(job);
    }
    all.reverse();
    all
}

/// All combinations of six conditions, with the others now and then.
fn combinations() -> Vec<Filter> {
    let text = |on: bool, value: &str| on.then(|| value.to_owned());
    let mut filters = Vec::new();
    // Each bit turns a condition on.
    for bits in 0..64_u32 {
        let on = |bit: u32| bits & (1 << bit) != 0;
        let mut states = Vec::new();
        if on(0) {
            states = vec![State::Queued, State::Scheduled];
            states.truncate(1 + bits as usize / 2 % 2);
        }
        filters.push(Filter {
            states,
            user: text(on(1), "bob"),
            tenant: text(on(2), "x"),
            mode: on(3).then_some(Mode::InCluster),
            engine: None,
            kind: on(4).then_some(Kind::Python),
            queue: text(bits % 5 == 4, "fast"),
            name: text(bits % 7 == 6, "name 1"),
            cluster: text(bits % 11 == 10, "big"),
            labels: if on(5) {
                vec![("team".into(), "1".into()), ("tier".into(), "1".into())][..=bits as usize % 2].to_vec()
            } else {
                Vec::new()
            },
            since: (bits % 3 == 2).then(|| various(10).submitted_at),
            until: (bits % 4 == 3).then(|| various(50).submitted_at.plus_micros(1)),
        });
    }
    filters
}

async fn every_combination_of_conditions_finds_what_a_plain_look_finds(s: Store) {
    let all = store_various(&s).await;
    for filter in combinations() {
        let expected: Vec<JobId> = all.iter().filter(|job| matches(job, &filter)).map(|job| job.id).collect();
        let total = Total::Exactly(expected.len() as u64);
        let mut found = Vec::new();
        let mut at = PageAt::first(7);
        loop {
            let page = page(&s, &filter, at).await.unwrap();
            found.extend(ids(&page));
            assert_eq!(page.total, total, "{filter:?}");
            assert!(page.next.is_none_or(|next| page.jobs.len() == 7 && next.listed == found.len() as u64));
            at.from = page.next;
            if at.from.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{filter:?}");
        let page = page(&s, &filter, PageAt { offset: 2, ..PageAt::first(3) }).await.unwrap();
        let skipped: Vec<JobId> = expected.iter().skip(2).take(3).copied().collect();
        assert_eq!((ids(&page), page.reached), (skipped, true), "{filter:?}");
    }
}

async fn pages_that_are_ended_early_go_on_where_they_ended(s: Store) {
    // contract: A3
    let all = store_various(&s).await;
    let (mut short, mut refused) = (0, 0);
    for (filter, lookups) in combinations().into_iter().flat_map(|f| [(f.clone(), 1), (f, 12)]) {
        let expected: Vec<JobId> = all.iter().filter(|job| matches(job, &filter)).map(|job| job.id).collect();
        let first = PageAt { lookups, ..PageAt::first(5) };
        for offset in [0, 4] {
            let mut at = PageAt { offset, ..first };
            let mut found = expected[..expected.len().min(offset as usize)].to_vec();
            // Every page goes on by one job at least, or to the millisecond of the next.
            for pages in 0.. {
                let page = page(&s, &filter, at).await.unwrap();
                if !page.reached {
                    assert!(page.jobs.is_empty() && page.next.is_some() && offset > 0);
                    refused += 1;
                    break;
                }
                found.extend(ids(&page));
                assert!(page.jobs.len() <= 5 && pages <= 2 * all.len(), "{filter:?}");
                match page.total {
                    Total::Exactly(total) => assert_eq!(total, expected.len() as u64, "{filter:?}"),
                    Total::AtLeast(some) => {
                        assert!((found.len()..=expected.len()).contains(&usize::try_from(some).unwrap()));
                    }
                }
                short += usize::from(page.jobs.len() < 5 && page.next.is_some());
                at = PageAt { from: page.next, offset: 0, ..first };
                if at.from.is_none() {
                    assert_eq!(found, expected, "{filter:?}, {lookups} lookups, offset {offset}");
                    break;
                }
            }
        }
    }
    assert!(short > 100 && refused > 10, "{short} short pages, {refused} with too great an offset");
}

async fn where_a_page_ends_names_no_job_that_is_not_on_it(s: Store) {
    for n in 1..=60 {
        let mut job = various(n);
        job.submitted_at = new_job(n).job.submitted_at;
        job.id = new_job(n).job.id;
        s.db.submit(submission(job)).await.unwrap();
    }
    let filter =
        Filter { user: Some("ada".into()), labels: vec![("team".into(), "1".into())], ..Filter::default() };
    let mut at = PageAt { lookups: 4, ..PageAt::first(5) };
    loop {
        let page = page(&s, &filter, at).await.unwrap();
        at.from = page.next;
        let Some(next) = page.next else { break };
        let known = s.db.read(move |tx| jobs::get(tx, next.before)).await.unwrap();
        assert!(known.is_none_or(|job| ids(&page).contains(&job.id)));
    }
}

async fn totals_end_where_they_are_exact(s: Store) {
    let mut all = tokio::task::JoinSet::new();
    for n in 1..=10_001 {
        let db = s.db.clone();
        all.spawn(async move { db.submit(new_job(n)).await.unwrap() });
    }
    while let Some(one) = all.join_next().await {
        one.unwrap();
    }
    let total = async |filter: Filter| page(&s, &filter, PageAt::first(1)).await.unwrap().total;
    assert_eq!(total(Filter::default()).await, Total::AtLeast(10_001));
    let since = Some(new_job(2).job.submitted_at);
    assert_eq!(total(Filter { since, ..Filter::default() }).await, Total::Exactly(10_000));
    // The tenant of a user's jobs is seen in their index.
    let ada = Filter { user: Some("ada".into()), tenant: Some("default".into()), ..Filter::default() };
    assert!(matches!(total(ada.clone()).await, Total::AtLeast(10_000..)));
    assert_eq!(total(Filter { since, ..ada }).await, Total::Exactly(10_000));
    let common = Filter { kind: Some(Kind::Sql), mode: Some(Mode::InCluster), ..Filter::default() };
    let some = total(common.clone()).await;
    assert!(matches!(some, Total::AtLeast(n) if (500..10_000).contains(&n)), "{some:?}");
    let since = Some(new_job(9_502).job.submitted_at);
    assert_eq!(total(Filter { since, ..common }).await, Total::Exactly(500));
}

async fn turns_and_deadlines_are_found(s: Store) {
    for n in 1..=3 {
        let mut new = new_job(n);
        new.job.spec.priority = if n == 2 { 9 } else { 5 };
        s.db.submit(new).await.unwrap();
    }
    let id = |n| new_job(n).job.id;
    let due = new_job(1).job.submitted_at.plus_seconds(1_800);
    assert_eq!(s.db.read(jobs::next_due).await.unwrap(), Some(due));
    assert_eq!(s.db.read(move |tx| jobs::due(tx, due, 10)).await.unwrap(), [id(1)]);
    s.db.apply(admit(&new_job(1).job, None)).await.unwrap();
    assert_eq!(s.db.read(move |tx| jobs::due(tx, due, 10)).await.unwrap(), []);
    let holding = s.db.read(jobs::holding).await.unwrap();
    assert_eq!(holding.iter().map(|h| (h.id, h.host.as_deref())).collect::<Vec<_>>(), [(id(1), Some("m"))]);
    let many = s.db.read(move |tx| jobs::get_many(tx, &[id(3), id(9), id(1)])).await.unwrap();
    assert_eq!(many.len(), 2);
    assert!(many.contains(&get(&s.db, id(3)).await));
    let queued = s.db.read(|tx| jobs::in_states(tx, &[State::Queued])).await.unwrap();
    assert_eq!(queued.iter().map(|j| j.id).collect::<Vec<_>>(), [id(2), id(3)]);
}
