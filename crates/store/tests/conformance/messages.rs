//! The feed's readers, the outbox, and forgetting.

use libra_core::hpc::usage::Sample;
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::lifecycle::{self, Event};
use libra_core::time::Timestamp;
use libra_store::lane::{Change, Fence, Idempotency, Origin, OutboxRow, Submission};
use libra_store::tables::deliveries::{self, DeliveryFilter, Standing};
use libra_store::tables::feed::{self, FeedFilter};
use libra_store::tables::hpc::own;
use libra_store::tables::hpc::samples::{self, Batch};
use libra_store::tables::outbox::{self, Report, Verdict};
use libra_store::tables::{idempotency, jobs, leases, retention, transitions};
use libra_store::tx::Tx;
use libra_store::{Db, StoreError};

use crate::given::{Store, new_job};
use crate::on_every_store;

on_every_store!(
    readers_of_the_feed_get_their_rows_in_order,
    messages_about_a_job_go_out_in_order_and_jobs_do_not_wait_for_each_other,
    those_behind_another_step_aside_until_their_turn,
    a_claim_that_has_run_out_is_due_again_and_one_that_is_too_late_takes_nothing,
    nothing_is_recorded_under_a_lease_that_is_over,
    dead_letters_are_listed_and_replayed_before_what_came_after_them,
    ended_jobs_are_forgotten_with_everything_of_theirs_and_leave_their_traces,
    numbers_of_the_feed_are_never_given_twice,
    the_oldest_ended_jobs_are_too_many,
    delivered_messages_are_found_by_their_age,
);

const HERE: &str = "https://here.example/hook";
const THERE: &str = "https://there.example/hook";

/// A store whose leader is the test.
struct Given {
    db: Db,
    fence: Fence,
    /// Kept while the test runs.
    _store: Store,
}

impl Given {
    async fn new(store: Store) -> Self {
        let take = |tx: &mut dyn Tx| leases::take(tx, "leader", "a", 1_000_000_000, false);
        let epoch = store.db.write(take).await.unwrap().unwrap();
        Self { db: store.db.clone(), fence: Fence { lease: "leader".into(), epoch }, _store: store }
    }

    /// Runs `f` in a transaction, with the fence.
    async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx, &Fence) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        let fence = self.fence.clone();
        self.db.write(move |tx| f(tx, &fence)).await.unwrap()
    }

    /// Submits job `n` of `user` with one message to each of `targets`.
    async fn submit(&self, n: u8, user: &str, targets: &[&str]) -> Job {
        let mut job = new_job(u32::from(n)).job;
        let now = made(n);
        job = Job {
            id: JobId::new(now, [n; 10]),
            revision: 0,
            state: State::Submitted,
            submitted_at: now,
            queued_at: None,
            user: user.into(),
            ..job
        };
        let step = lifecycle::submit(job, now);
        let submission = Submission {
            job: step.job.clone(),
            log: step.log,
            origin: Origin { at: now, actor: user.into(), metadata: Some("{\"n\":1}".into()) },
            outbox: targets.iter().map(|t| message("QUEUED", t)).collect(),
            idempotency: Some(Idempotency {
                scope: "s".into(),
                key: format!("{n}"),
                body_hash: "h".into(),
                status: 202,
                response: "{}".into(),
            }),
            max_queued: 1_000,
        };
        self.db.submit(submission).await.unwrap();
        step.job
    }

    /// Cancels a job that waits, `seconds` after it was made, with one message to each of `targets`.
    async fn cancel(&self, job: &Job, seconds: i64, targets: &[&str]) -> Job {
        let at = job.submitted_at.plus_seconds(seconds);
        let step = lifecycle::step(job, Event::CancelRequested, at).unwrap();
        let change = Change {
            expected_revision: job.revision,
            origin: Origin { at, actor: job.user.clone(), metadata: None },
            job: step.job.clone(),
            log: step.log,
            attempts: Vec::new(),
            outbox: targets.iter().map(|t| message("CANCELLED", t)).collect(),
            fence: None,
        };
        self.db.apply(change).await.unwrap();
        step.job
    }

    async fn number(&self) {
        self.write(feed::number).await;
    }

    async fn page(&self, filter: FeedFilter, after: i64, limit: u32) -> feed::FeedPage {
        self.db.read(move |tx| feed::page(tx, &filter, after, limit)).await.unwrap()
    }

    /// Those whose turn it is.
    async fn due(&self) -> Vec<outbox::Due> {
        let mut due = self.db.read(|tx| outbox::due(tx, 100)).await.unwrap();
        due.retain(|d| d.behind.is_none());
        due
    }

    async fn claim(&self, micros: i64) -> Vec<outbox::Due> {
        let due = self.due().await;
        let messages: Vec<(i64, u32)> = due.iter().map(|d| (d.id, d.tries)).collect();
        let claimed = self.write(move |tx, fence| outbox::claim(tx, fence, &messages, micros)).await;
        due.into_iter().filter(|d| claimed.contains(&d.id)).collect()
    }

    async fn report(&self, of: &outbox::Due, verdict: Verdict) -> bool {
        let report = Report { id: of.id, job_id: of.job_id, target: of.target.clone(), verdict };
        self.write(move |tx, fence| outbox::record(tx, fence, &[report])).await
    }

    async fn list(&self, filter: DeliveryFilter) -> Vec<deliveries::Delivery> {
        self.db.read(move |tx| deliveries::list(tx, &filter, None, 100)).await.unwrap().0
    }
}

fn made(n: u8) -> Timestamp {
    Timestamp(1_000_000_000 + i64::from(n) * 1_000_000)
}

fn message(topic: &str, target: &str) -> OutboxRow {
    OutboxRow { topic: topic.into(), target: target.into(), payload: "{}".into() }
}

fn seqs(page: &feed::FeedPage) -> Vec<i64> {
    page.rows.iter().map(|r| r.seq).collect()
}

async fn readers_of_the_feed_get_their_rows_in_order(s: Store) {
    // contract: A10
    let s = Given::new(s).await;
    for n in 1..=4 {
        s.submit(n, if n < 4 { "ada" } else { "bob" }, &[]).await;
    }
    assert_eq!(s.page(FeedFilter::default(), 0, 100).await.rows, [], "nothing is numbered yet");
    s.number().await;
    let all = s.page(FeedFilter::default(), 0, 100).await;
    assert_eq!(seqs(&all), (1..=12).collect::<Vec<_>>(), "three rows a job");
    assert_eq!((all.next_after, all.newest, all.begins_after), (12, 12, 0));
    assert_eq!(all.rows[0].labels["team"], "odd");
    assert_eq!((all.rows[0].user.as_str(), all.rows[11].user.as_str()), ("ada", "bob"));
    assert_eq!(all.rows[0].log.metadata.as_deref(), Some("{\"n\":1}"));

    let page = s.page(FeedFilter::default(), 4, 3).await;
    assert_eq!((seqs(&page), page.next_after), (vec![5, 6, 7], 7));
    let bob = FeedFilter { owner: Some(("bob".into(), "default".into())), ..FeedFilter::default() };
    assert_eq!(seqs(&s.page(bob, 0, 100).await), [10, 11, 12]);
    let other = FeedFilter { owner: Some(("bob".into(), "other".into())), ..FeedFilter::default() };
    let page = s.page(other, 0, 100).await;
    assert_eq!((seqs(&page), page.next_after), (vec![], 12), "what was looked at is not looked at again");
    let even = FeedFilter { labels: vec![("team".into(), "even".into())], ..FeedFilter::default() };
    assert_eq!(seqs(&s.page(even.clone(), 0, 100).await), [4, 5, 6, 10, 11, 12]);
    let queued = FeedFilter { states: vec![State::Queued, State::Failed], ..even };
    assert_eq!(seqs(&s.page(queued, 0, 100).await), [6, 12]);
    let job = FeedFilter { job: Some(all.rows[3].job_id), ..FeedFilter::default() };
    let page = s.page(job, 4, 1).await;
    assert_eq!((seqs(&page), page.next_after), (vec![5], 5));
}

async fn messages_about_a_job_go_out_in_order_and_jobs_do_not_wait_for_each_other(s: Store) {
    // contract: A12
    let s = Given::new(s).await;
    let one = s.submit(1, "ada", &[HERE, THERE]).await;
    s.submit(2, "ada", &[HERE]).await;
    s.cancel(&one, 1, &[HERE]).await;
    let first = s.claim(60_000_000).await;
    let of: Vec<_> = first.iter().map(|d| (d.correlation_id.as_str(), d.target.as_str(), d.tries)).collect();
    assert_eq!(of, [("c-1", HERE, 0), ("c-1", THERE, 0), ("c-2", HERE, 0)], "one for each job and target");
    assert_eq!(s.due().await, [], "they are claimed, and the fourth waits for the first");

    assert!(s.report(&first[0], Verdict::Again { error: "500".into(), micros: 0 }).await);
    let again = s.claim(60_000_000).await;
    assert_eq!(again.iter().map(|d| (d.id, d.tries)).collect::<Vec<_>>(), [(first[0].id, 1)]);
    assert!(s.report(&again[0], Verdict::Delivered).await);
    let next = s.due().await;
    assert_eq!(next.iter().map(|d| d.target.as_str()).collect::<Vec<_>>(), [HERE], "now the fourth is due");
    assert!(next[0].id > first[2].id);
    let stored = s.db.read(move |tx| deliveries::get(tx, again[0].id)).await.unwrap().unwrap();
    assert_eq!((stored.standing(), stored.tries, stored.last_error), (Standing::Delivered, 2, None));
}

async fn those_behind_another_step_aside_until_their_turn(s: Store) {
    // contract: A12
    let s = Given::new(s).await;
    let job = s.submit(1, "ada", &[HERE, THERE]).await;
    s.cancel(&job, 1, &[HERE]).await;
    let first = s.claim(60_000_000).await;
    assert!(s.report(&first[0], Verdict::Again { error: "500".into(), micros: 60_000_000 }).await);
    let all = s.db.read(|tx| outbox::due(tx, 100)).await.unwrap();
    let pending = DeliveryFilter { standing: Some(Standing::Pending), ..DeliveryFilter::default() };
    let list = s.list(pending.clone()).await;
    let head = list.iter().find(|d| d.id == first[0].id).unwrap();
    assert_eq!(head.last_error.as_deref(), Some("500"));
    assert_eq!(all.iter().map(|d| d.behind).collect::<Vec<_>>(), [Some(head.next_at)], "the one behind it");
    let aside: Vec<(i64, Timestamp)> = all.iter().map(|d| (d.id, d.behind.unwrap())).collect();
    let behind = aside[0].0;
    s.write(move |tx, fence| outbox::postpone(tx, fence, &aside, 1)).await;
    assert_eq!(
        s.db.read(|tx| outbox::due(tx, 100)).await.unwrap(),
        [],
        "it is not looked at again until then"
    );
    s.write(move |tx, fence| outbox::postpone(tx, fence, &[(behind, Timestamp(0))], 60_000_000)).await;
    assert_eq!(s.due().await, [], "for as long as that, at least");

    assert!(s.report(&first[1], Verdict::Delivered).await);
    assert_eq!(s.due().await, [], "another target's");
    assert!(s.report(&first[0], Verdict::Dead { error: "410".into() }).await);
    assert_eq!(s.due().await.iter().map(|d| d.id).collect::<Vec<_>>(), [behind], "its turn has come");
}

async fn a_claim_that_has_run_out_is_due_again_and_one_that_is_too_late_takes_nothing(s: Store) {
    // contract: A12
    let s = Given::new(s).await;
    s.submit(1, "ada", &[HERE]).await;
    let due = s.due().await;
    assert_eq!(s.claim(0).await.len(), 1);
    let late = vec![(due[0].id, due[0].tries)];
    let taken = s.write(move |tx, fence| outbox::claim(tx, fence, &late, 60_000_000)).await;
    assert_eq!(taken, Vec::<i64>::new(), "another has sent it since");
    assert_eq!(s.due().await[0].tries, 1);
}

async fn nothing_is_recorded_under_a_lease_that_is_over(s: Store) {
    // contract: A12
    let mut s = Given::new(s).await;
    s.submit(1, "ada", &[HERE]).await;
    let due = s.due().await;
    s.fence.epoch += 1;
    assert_eq!(s.claim(0).await, []);
    assert!(!s.report(&due[0], Verdict::Delivered).await);
    assert_eq!(s.write(|tx, fence| retention::forget_ended(tx, fence, Timestamp(i64::MAX))).await, None);
    assert!(!s.write(|tx, fence| retention::forget_delivered(tx, fence, &[1])).await);
    s.write(|tx, fence| outbox::postpone(tx, fence, &[(1, Timestamp(i64::MAX))], 60_000_000)).await;
    assert_eq!(s.due().await, due);
}

async fn dead_letters_are_listed_and_replayed_before_what_came_after_them(s: Store) {
    // contract: A12
    let s = Given::new(s).await;
    let (one, two) = (s.submit(1, "ada", &[HERE]).await, s.submit(2, "bob", &[HERE]).await);
    s.cancel(&one, 1, &[HERE]).await;
    for dead in s.claim(60_000_000).await {
        assert!(s.report(&dead, Verdict::Dead { error: "410".into() }).await);
    }
    let dead = DeliveryFilter { standing: Some(Standing::Dead), ..DeliveryFilter::default() };
    let jobs: Vec<_> = s.list(dead.clone()).await.into_iter().map(|d| (d.job_id, d.last_error)).collect();
    assert_eq!(jobs, [(two.id, Some("410".into())), (one.id, Some("410".into()))]);
    let ada = DeliveryFilter { owner: Some(("ada".into(), "default".into())), ..dead.clone() };
    assert_eq!(s.list(ada.clone()).await.len(), 1);
    let backlog = s.db.read(outbox::backlog).await.unwrap();
    assert_eq!((backlog.pending, backlog.dead), (1, 2));
    assert_eq!(backlog.oldest, Some(made(1).plus_seconds(1)));
    assert_eq!(s.due().await.len(), 1, "the message after the dead one goes on");

    let mut pages = Vec::new();
    let mut from = None;
    loop {
        let dead = dead.clone();
        let (page, next) = s.db.read(move |tx| deliveries::list(tx, &dead, from, 1)).await.unwrap();
        pages.extend(page.iter().map(|d| d.job_id));
        match next {
            Some(_) => from = next,
            None => break,
        }
    }
    assert_eq!(pages, [two.id, one.id]);

    assert_eq!(s.write(move |tx, _| deliveries::replay_dead(tx, &ada, Timestamp(i64::MAX), 100)).await, 1);
    let due = s.due().await;
    assert_eq!(due.iter().map(|d| (d.job_id, d.tries)).collect::<Vec<_>>(), [(one.id, 0)], "in order again");
    let bobs = s.list(dead).await[0].id;
    assert!(s.write(move |tx, _| deliveries::replay(tx, bobs)).await);
    for d in s.claim(60_000_000).await {
        assert!(s.report(&d, Verdict::Delivered).await);
    }
    assert!(!s.write(move |tx, _| deliveries::replay(tx, bobs)).await, "it was delivered");
}

async fn ended_jobs_are_forgotten_with_everything_of_theirs_and_leave_their_traces(s: Store) {
    // contract: Q3
    let s = Given::new(s).await;
    let one = s.submit(1, "ada", &[HERE]).await;
    let two = s.submit(2, "ada", &[]).await;
    let three = s.submit(3, "ada", &[]).await;
    let (one, two) = (s.cancel(&one, 10, &[]).await, s.cancel(&two, 10, &[]).await);
    let before = one.completed_at.unwrap().plus_micros(1);
    let forget = move |tx: &mut dyn Tx, fence: &Fence| retention::forget_ended(tx, fence, before);
    assert_eq!(s.write(forget).await, Some(0), "its message is not delivered, its rows are not numbered");
    s.number().await;
    assert_eq!(s.write(forget).await, Some(0), "its message is not delivered");
    for d in s.claim(60_000_000).await {
        s.report(&d, Verdict::Delivered).await;
    }
    assert_eq!(s.db.read(retention::expired_until).await.unwrap(), None);
    let (gone, kept) = (one.id, two.id);
    let used = [gone, kept].map(|job| Batch { job, node: "n".into(), samples: vec![Sample::at(made(1))] });
    let used = used.to_vec();
    let again = used.clone();
    let record = |tx: &mut dyn Tx, used: Vec<Batch>| {
        let used = own::kept(tx, used)?;
        samples::record(tx, used)
    };
    assert_eq!(s.write(move |tx, _| record(tx, used)).await, 2);
    assert_eq!(s.write(forget).await, Some(1));
    assert_eq!(s.write(move |tx, _| record(tx, again)).await, 0, "nothing is kept of what is forgotten");
    assert_eq!(s.db.read(move |tx| samples::of_job(tx, gone)).await.unwrap(), []);
    let of_kept = s.db.read(move |tx| samples::of_job(tx, kept)).await.unwrap();
    let (series, range) = (of_kept[0].id, (Timestamp(0), Timestamp(i64::MAX)));
    assert_eq!(s.db.read(move |tx| samples::between(tx, series, range, 9)).await.unwrap().len(), 1);

    assert!(s.db.read(move |tx| jobs::get(tx, gone)).await.unwrap().is_none());
    assert!(s.db.read(move |tx| jobs::get(tx, kept)).await.unwrap().is_some());
    assert_eq!(s.db.read(move |tx| transitions::of_job(tx, gone)).await.unwrap(), []);
    assert_eq!(s.db.read(|tx| idempotency::get(tx, "s", "1")).await.unwrap(), None);
    assert!(s.db.read(|tx| idempotency::get(tx, "s", "2")).await.unwrap().is_some());
    assert_eq!(s.list(DeliveryFilter::default()).await, []);
    assert_eq!(s.db.read(retention::expired_until).await.unwrap(), Some(made(1)));
    let ids = [gone, kept, three.id];
    let ends = s.db.read(move |tx| retention::ends(tx, &ids)).await.unwrap();
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), [(two.id, two.completed_at), (three.id, None)]);

    let page = s.page(FeedFilter::default(), 0, 100).await;
    assert!(page.begins_after > 0 && page.begins_after <= page.newest);
    assert!(page.rows.iter().all(|r| r.job_id != gone));
}

async fn numbers_of_the_feed_are_never_given_twice(s: Store) {
    // contract: A10, Q3
    let s = Given::new(s).await;
    let one = s.submit(1, "ada", &[]).await;
    s.cancel(&one, 1, &[]).await;
    s.number().await;
    let newest = s.db.read(feed::newest).await.unwrap();
    let all = Timestamp(i64::MAX);
    assert_eq!(s.write(move |tx, fence| retention::forget_ended(tx, fence, all)).await, Some(1));
    assert_eq!(s.db.read(feed::newest).await.unwrap(), newest, "although no row is left");
    s.submit(2, "ada", &[]).await;
    s.number().await;
    assert_eq!(seqs(&s.page(FeedFilter::default(), newest, 100).await)[0], newest + 1);
}

async fn the_oldest_ended_jobs_are_too_many(s: Store) {
    // contract: Q3
    let s = Given::new(s).await;
    for n in 1..=3 {
        let job = s.submit(n, "ada", &[]).await;
        s.cancel(&job, 1, &[]).await;
    }
    s.submit(4, "ada", &[]).await;
    let cut = |most| s.db.read(move |tx| retention::too_many_before(tx, most));
    assert_eq!(cut(3).await.unwrap(), None);
    assert_eq!(cut(2).await.unwrap(), Some(made(1).plus_seconds(1).plus_micros(1)));
    assert_eq!(cut(0).await.unwrap(), Some(made(3).plus_seconds(1).plus_micros(1)));
}

async fn delivered_messages_are_found_by_their_age(s: Store) {
    // contract: Q3
    let s = Given::new(s).await;
    for n in 1..=5 {
        s.submit(n, "ada", &[HERE]).await;
    }
    for d in s.claim(60_000_000).await.iter().filter(|d| d.id != 2) {
        s.report(d, Verdict::Delivered).await;
    }
    let later = Timestamp(i64::MAX);
    let look =
        |after, before, limit| s.db.read(move |tx| retention::delivered_before(tx, after, before, limit));
    let looked = look(0, later, 3).await.unwrap();
    assert_eq!((looked.old, looked.next), (vec![1, 3], Some(3)));
    let looked = look(3, later, 3).await.unwrap();
    assert_eq!((looked.old, looked.next), (vec![4, 5], None));
    let looked = look(0, made(2), 2).await.unwrap();
    assert_eq!(
        (looked.old, looked.next),
        (vec![], None),
        "written before, delivered just now; then younger ones"
    );
    assert!(s.write(|tx, fence| retention::forget_delivered(tx, fence, &[1, 2])).await);
    let left: Vec<i64> = s.list(DeliveryFilter::default()).await.into_iter().map(|d| d.id).collect();
    assert_eq!(left, [5, 4, 3, 2], "what waits is not forgotten");
}
