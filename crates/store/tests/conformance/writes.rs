//! Submissions, steps of the lifecycle, notes, and what a failed one leaves: nothing.

use libra_core::attempt::{Attempt, Exit, Handle, Links, Outcome as Ended, Progress, Usage};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::lifecycle::{self, Event};
use libra_core::spec::Source;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::{
    AttemptNote, AttemptWrite, Idempotency, Note, OutboxRow, Outcome, Seen, Submission, Submitted,
};
use libra_store::tables::jobs::{Filter, PageAt, Total};
use libra_store::tables::{attempts, idempotency, jobs, leases, outbox, transitions};

use crate::given::{Store, admit, change, get, holder, new_job};
use crate::on_every_store;

on_every_store!(
    a_job_reads_back_as_it_was_written,
    a_large_program_is_kept_and_lists_do_without_it,
    a_stale_write_changes_nothing,
    a_whole_life_is_written,
    a_change_with_many_parts_is_written_whole,
    a_look_goes_along_with_a_step,
    attempts_are_claimed_noted_and_taken_over,
    the_same_key_gives_the_first_answer_and_another_body_is_refused,
    a_refused_submission_keeps_no_answer,
    the_queue_has_an_end,
    those_who_leave_make_room,
    one_failed_submission_does_not_take_its_neighbours_along,
    a_failing_closure_leaves_nothing,
    many_at_once_get_their_own_answers,
);

async fn a_job_reads_back_as_it_was_written(s: Store) {
    let new = new_job(1);
    assert_eq!(s.db.submit(new.clone()).await.unwrap(), Submitted::Stored);
    assert_eq!(get(&s.db, new.job.id).await, new.job);
    let id = new.job.id;
    let log = s.db.read(move |tx| transitions::of_job(tx, id)).await.unwrap();
    assert_eq!(log.iter().map(|r| r.transition.clone()).collect::<Vec<_>>(), new.log);
    assert_eq!(s.db.read(move |tx| outbox::of_job(tx, id)).await.unwrap(), new.outbox);
}

async fn a_large_program_is_kept_and_lists_do_without_it(s: Store) {
    let mut new = new_job(1);
    new.job.spec.source = Source::Code("-- 'a' ? ?1 \\ \u{1f980}\n".repeat(80_000));
    s.db.submit(new.clone()).await.unwrap();
    assert_eq!(get(&s.db, new.job.id).await, new.job);
    let page = s.db.read(|tx| jobs::list(tx, &Filter::default(), &PageAt::first(10))).await.unwrap();
    assert_eq!(page.jobs[0].spec.source, Source::Code(String::new()));
    assert_eq!(page.jobs[0].spec.name, new.job.spec.name);
}

async fn a_stale_write_changes_nothing(s: Store) {
    // contract: L2
    let new = new_job(1);
    s.db.submit(new.clone()).await.unwrap();
    let first = admit(&new.job, None);
    assert_eq!(s.db.apply(first.clone()).await.unwrap(), Outcome::Updated);
    assert_eq!(s.db.apply(first.clone()).await.unwrap(), Outcome::Stale, "the same write again");
    assert_eq!(s.db.apply(admit(&new_job(9).job, None)).await.unwrap(), Outcome::Absent);
    let id = new.job.id;
    let log = s.db.read(move |tx| transitions::of_job(tx, id)).await.unwrap();
    assert_eq!(log.len(), 4, "no row of the refused write");
    assert_eq!(s.db.read(move |tx| attempts::of_job(tx, id)).await.unwrap().len(), 1);
}

fn message(topic: &str) -> OutboxRow {
    OutboxRow { topic: topic.into(), target: "https://example.org".into(), payload: "{\"a\":1}".into() }
}

/// Started and ended in one step, failed and retried: two log rows, one attempt written at both ends.
async fn a_whole_life_is_written(s: Store) {
    let new = new_job(1);
    let id = new.job.id;
    s.db.submit(new.clone()).await.unwrap();
    let admitted = admit(&new.job, None);
    s.db.apply(admitted.clone()).await.unwrap();
    assert_eq!(get(&s.db, id).await, admitted.job);

    let failure = Failure::new(ErrorClass::Infrastructure, "lost", "the host is gone");
    let failed = lifecycle::step(&admitted.job, Event::Failed { failure, jitter: 7 }, Timestamp(9)).unwrap();
    let close = AttemptWrite::Close { number: 1, at: Timestamp(9), exit: None };
    let mut retried = change(&admitted.job, failed, vec![close], None);
    retried.origin.metadata = Some("{}".into());
    retried.outbox = vec![message("FAILED"), message("RETRYING")];
    assert_eq!(s.db.apply(retried.clone()).await.unwrap(), Outcome::Updated);
    assert_eq!(get(&s.db, id).await, retried.job);

    let queued = lifecycle::step(&retried.job, Event::BackoffElapsed, Timestamp(10)).unwrap();
    let queued = change(&retried.job, queued, Vec::new(), None);
    s.db.apply(queued.clone()).await.unwrap();
    let again = admit(&queued.job, None);
    s.db.apply(again.clone()).await.unwrap();

    let done = lifecycle::step(&again.job, Event::Succeeded, Timestamp(20)).unwrap();
    let handle: Handle = serde_json::from_str("{\"kind\":\"process\"}").unwrap();
    let exit =
        Exit { outcome: Ended::Succeeded, exit_code: Some(0), signal: None, began: None, at: Timestamp(20) };
    let writes = vec![
        AttemptWrite::Start { number: 2, at: Timestamp(19), handle: Some(handle.clone()) },
        AttemptWrite::Close { number: 2, at: Timestamp(20), exit: Some(exit.clone()) },
    ];
    let done = change(&again.job, done, writes, None);
    assert_eq!(s.db.apply(done.clone()).await.unwrap(), Outcome::Updated);
    assert_eq!(get(&s.db, id).await, done.job);

    let seen = s.db.read(move |tx| attempts::of_job(tx, id)).await.unwrap();
    let ends: Vec<_> = seen.iter().map(|a| (a.number, a.started_at, a.ended_at)).collect();
    assert_eq!(ends, [(1, None, Some(Timestamp(9))), (2, Some(Timestamp(19)), Some(Timestamp(20)))]);
    assert_eq!((seen[1].handle.as_ref(), seen[1].exit.as_ref()), (Some(&handle), Some(&exit)));
    let log = s.db.read(move |tx| transitions::of_job(tx, id)).await.unwrap();
    let expected: Vec<_> = [&new.log, &admitted.log, &retried.log, &queued.log, &again.log, &done.log]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    assert_eq!(log.iter().map(|r| r.transition.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(log[4].metadata.as_deref(), Some("{}"));
    let told = s.db.read(move |tx| outbox::of_job(tx, id)).await.unwrap();
    assert_eq!(told[1..], retried.outbox);
}

/// More log rows and messages than a step of the lifecycle ever has.
async fn a_change_with_many_parts_is_written_whole(s: Store) {
    let new = new_job(1);
    let id = new.job.id;
    s.db.submit(new.clone()).await.unwrap();
    let mut admitted = admit(&new.job, None);
    admitted.log = vec![admitted.log[0].clone(); 5];
    admitted.outbox = ["a", "b", "c", "d"].map(message).to_vec();
    assert_eq!(s.db.apply(admitted.clone()).await.unwrap(), Outcome::Updated);
    assert_eq!(s.db.apply(admitted.clone()).await.unwrap(), Outcome::Stale);
    assert_eq!(s.db.read(move |tx| transitions::of_job(tx, id)).await.unwrap().len(), 8);
    assert_eq!(s.db.read(move |tx| outbox::of_job(tx, id)).await.unwrap()[1..], admitted.outbox);
}

/// What was seen of an attempt goes along with the step that it led to, unless something newer is stored.
async fn a_look_goes_along_with_a_step(s: Store) {
    let new = new_job(1);
    let id = new.job.id;
    s.db.submit(new.clone()).await.unwrap();
    let admitted = admit(&new.job, None);
    s.db.apply(admitted.clone()).await.unwrap();

    let usage = |cpu_millis| Some(Usage { cpu_millis, ..Usage::default() });
    let links = |at: &str| Links { spark_ui: Some(at.into()), ..Links::default() };
    let seen = Seen {
        after: 0,
        progress: Some(Progress { percentage: 40, ..Progress::default() }),
        usage: usage(7),
        application_id: Some("app-1".into()),
        links: links("http://127.0.0.1:4040"),
        began: None,
    };
    let started = lifecycle::step(&admitted.job, Event::Started, Timestamp(9)).unwrap();
    let writes = vec![
        AttemptWrite::Look { number: 1, seen: seen.clone() },
        AttemptWrite::Start { number: 1, at: Timestamp(8), handle: None },
    ];
    let started = change(&admitted.job, started, writes, None);
    assert_eq!(s.db.apply(started.clone()).await.unwrap(), Outcome::Updated);
    let now = s.db.read(move |tx| attempts::get(tx, id, 1)).await.unwrap().unwrap();
    assert_eq!((now.started_at, now.looks), (Some(Timestamp(8)), 1));
    assert_eq!((now.progress.as_ref(), now.usage), (seen.progress.as_ref(), seen.usage));
    assert_eq!((now.application_id.as_deref(), &now.links), (Some("app-1"), &seen.links));

    let done = lifecycle::step(&started.job, Event::Succeeded, Timestamp(20)).unwrap();
    // It was made before the other was stored: the attempt is closed all the same.
    let late = Seen {
        usage: usage(3),
        links: links("http://127.0.0.1:1"),
        began: Some(Timestamp(1)),
        ..seen.clone()
    };
    let writes = |seen| {
        vec![
            AttemptWrite::Look { number: 1, seen },
            AttemptWrite::Close { number: 1, at: Timestamp(20), exit: None },
        ]
    };
    let done = change(&started.job, done, writes(late), None);
    assert_eq!(s.db.apply(done.clone()).await.unwrap(), Outcome::Updated);
    let ended = s.db.read(move |tx| attempts::get(tx, id, 1)).await.unwrap().unwrap();
    assert_eq!(ended, Attempt { ended_at: Some(Timestamp(20)), ..now });

    // The last look comes with the end; what it does not know stays as it was.
    let new = new_job(2);
    let id = new.job.id;
    s.db.submit(new.clone()).await.unwrap();
    let admitted = admit(&new.job, None);
    s.db.apply(admitted.clone()).await.unwrap();
    let claim = Note::Claim { at: Timestamp(5), host: "m/b".into() };
    let by = holder("a", 1);
    for what in [claim, Note::Seen(seen.clone())] {
        let note = AttemptNote { job_id: id, number: 1, by: by.clone(), what };
        assert_eq!(s.db.note(note).await.unwrap(), Outcome::Updated);
    }
    let done = lifecycle::step(&admitted.job, Event::Succeeded, Timestamp(20)).unwrap();
    let last = Seen {
        after: 1,
        progress: None,
        usage: usage(9),
        application_id: None,
        began: Some(Timestamp(5)),
        ..seen.clone()
    };
    s.db.apply(change(&admitted.job, done, writes(last), None)).await.unwrap();
    let ended = s.db.read(move |tx| attempts::get(tx, id, 1)).await.unwrap().unwrap();
    assert_eq!((ended.progress, ended.application_id), (seen.progress, seen.application_id));
    assert_eq!((ended.usage, ended.links, ended.looks), (usage(9), seen.links, 2));
    assert_eq!((ended.started_at, ended.ended_at), (Some(Timestamp(5)), Some(Timestamp(20))));
}

async fn attempts_are_claimed_noted_and_taken_over(s: Store) {
    let new = new_job(1);
    let id = new.job.id;
    s.db.submit(new.clone()).await.unwrap();
    s.db.apply(admit(&new.job, None)).await.unwrap();
    let opened = s.db.read(move |tx| attempts::get(tx, id, 1)).await.unwrap().unwrap();
    assert_eq!((opened.holder, opened.launched_at, opened.storage.as_str()), (None, None, "s"));
    let note = |by: (&str, i64), number, what: &Note| {
        s.db.note(AttemptNote { job_id: id, number, by: holder(by.0, by.1), what: what.clone() })
    };
    let claim = Note::Claim { at: Timestamp(5), host: "m/b".into() };
    assert_eq!(note(("a", 1), 2, &claim).await.unwrap(), Outcome::Absent);
    let (first, second) = tokio::join!(note(("a", 1), 1, &claim), note(("b", 4), 1, &claim));
    let outcomes = [first.unwrap(), second.unwrap()];
    assert_eq!(outcomes.iter().filter(|o| **o == Outcome::Updated).count(), 1, "one of them: {outcomes:?}");
    let by = if outcomes[0] == Outcome::Updated { ("a", 1) } else { ("b", 4) };

    let usage = Usage { cpu_millis: 7, peak_memory_bytes: 9, ..Usage::default() };
    let seen_after = |after, application_id: Option<&str>, progress| {
        Note::Seen(Seen {
            after,
            usage: application_id.map(|_| usage),
            progress,
            application_id: application_id.map(Into::into),
            links: Links::default(),
            began: application_id.map(|_| Timestamp(1_234)),
        })
    };
    let seen = |application_id: Option<&str>, progress| seen_after(0, application_id, progress);
    assert_eq!(note((by.0, by.1 + 1), 1, &seen(None, None)).await.unwrap(), Outcome::Stale, "another epoch");
    assert_eq!(note(by, 1, &seen(Some("app-1"), Some(Progress::default()))).await.unwrap(), Outcome::Updated);
    assert_eq!(note(by, 1, &seen(Some("app-0"), None)).await.unwrap(), Outcome::Stale, "it comes too late");
    assert_eq!(note(by, 1, &seen_after(1, None, None)).await.unwrap(), Outcome::Updated);
    let handle: Handle = serde_json::from_str("{\"kind\":\"process\"}").unwrap();
    assert_eq!(note(by, 1, &Note::Handle(handle.clone())).await.unwrap(), Outcome::Updated);

    let from = holder(by.0, by.1);
    assert_eq!(note(("c", 9), 1, &Note::TakeOver { from: holder("x", 1) }).await.unwrap(), Outcome::Stale);
    assert_eq!(note(("c", 9), 1, &Note::TakeOver { from }).await.unwrap(), Outcome::Updated);
    assert_eq!(
        note(by, 1, &seen_after(2, None, None)).await.unwrap(),
        Outcome::Stale,
        "no longer its holder"
    );
    let intent = Note::Intent { at: Timestamp(6), host: "m/b2".into() };
    assert_eq!(note(("c", 9), 1, &intent).await.unwrap(), Outcome::Updated);
    let held = s.db.read(|tx| attempts::open(tx)).await.unwrap();
    assert_eq!((held.len(), held[0].holder.clone()), (1, Some(holder("c", 9))));
    let now = s.db.read(move |tx| attempts::get(tx, id, 1)).await.unwrap().unwrap();
    assert_eq!((now.launched_at, now.host.as_str()), (Some(Timestamp(6)), "m/b2"));
    assert_eq!((now.application_id.as_deref(), now.handle), (Some("app-1"), Some(handle)));
    assert!(now.progress.is_some() && now.looks == 2);
    assert_eq!(now.usage, Some(usage), "a look without it leaves it as it was");
    assert_eq!(now.started_at, Some(Timestamp(1_234)), "its engine has begun it anew");

    let job = get(&s.db, id).await;
    let done = lifecycle::step(&job, Event::Succeeded, Timestamp(9)).unwrap();
    let close = AttemptWrite::Close { number: 1, at: Timestamp(9), exit: None };
    s.db.apply(change(&job, done, vec![close], None)).await.unwrap();
    assert_eq!(note(("c", 9), 1, &seen_after(2, None, None)).await.unwrap(), Outcome::Stale, "it is closed");
    assert_eq!(s.db.read(|tx| attempts::open(tx)).await.unwrap(), []);
}

pub(crate) fn keyed(n: u32, hash: &str) -> Submission {
    Submission {
        idempotency: Some(Idempotency {
            scope: "ada POST /jobs".into(),
            key: "k".into(),
            body_hash: hash.into(),
            status: 202,
            response: format!("{{\"n\":{n}}}"),
        }),
        ..new_job(n)
    }
}

async fn the_same_key_gives_the_first_answer_and_another_body_is_refused(s: Store) {
    // contract: A5
    assert_eq!(s.db.submit(keyed(1, "h")).await.unwrap(), Submitted::Stored);
    let replay = Submitted::Replayed { status: 202, response: "{\"n\":1}".into() };
    assert_eq!(s.db.submit(keyed(2, "h")).await.unwrap(), replay);
    assert_eq!(s.db.submit(keyed(3, "other")).await.unwrap(), Submitted::KeyReused);
    let page = s.db.read(|tx| jobs::list(tx, &Filter::default(), &PageAt::first(10))).await.unwrap();
    assert_eq!(page.total, Total::Exactly(1), "nothing else was stored");
}

async fn a_refused_submission_keeps_no_answer(s: Store) {
    let full = Submission { max_queued: 0, ..keyed(1, "h") };
    assert_eq!(s.db.submit(full).await.unwrap(), Submitted::QueueFull);
    let kept = s.db.read(|tx| idempotency::get(tx, "ada POST /jobs", "k")).await.unwrap();
    assert_eq!(kept, None);
    assert_eq!(s.db.submit(keyed(2, "h")).await.unwrap(), Submitted::Stored);
}

async fn the_queue_has_an_end(s: Store) {
    // contract: R3
    let bounded = |n| s.db.submit(Submission { max_queued: 2, ..new_job(n) });
    let five = tokio::join!(bounded(1), bounded(2), bounded(3), bounded(4), bounded(5));
    let outcomes = [five.0, five.1, five.2, five.3, five.4].map(Result::unwrap);
    assert_eq!(outcomes.iter().filter(|o| **o == Submitted::Stored).count(), 2);
    assert_eq!(outcomes.iter().filter(|o| **o == Submitted::QueueFull).count(), 3);
    let wider = Submission { max_queued: 3, ..new_job(6) };
    assert_eq!(s.db.submit(wider).await.unwrap(), Submitted::Stored, "a wider bound is another bound");
    assert_eq!(bounded(7).await.unwrap(), Submitted::QueueFull);
}

async fn those_who_leave_make_room(s: Store) {
    let bounded = |n| s.db.submit(Submission { max_queued: 2, ..new_job(n) });
    for n in 1..=2 {
        assert_eq!(bounded(n).await.unwrap(), Submitted::Stored);
    }
    for n in 3..=8 {
        assert_eq!(bounded(n).await.unwrap(), Submitted::QueueFull);
        let job = get(&s.db, new_job(n - 2).job.id).await;
        s.db.apply(admit(&job, None)).await.unwrap();
        assert_eq!(bounded(n).await.unwrap(), Submitted::Stored, "{n}");
    }
}

async fn one_failed_submission_does_not_take_its_neighbours_along(s: Store) {
    s.db.submit(new_job(1)).await.unwrap();
    let (a, b, c) = tokio::join!(s.db.submit(new_job(2)), s.db.submit(new_job(1)), s.db.submit(new_job(3)));
    assert_eq!(a.unwrap(), Submitted::Stored);
    assert!(matches!(b, Err(StoreError::Constraint(_))), "the same id twice: {b:?}");
    assert_eq!(c.unwrap(), Submitted::Stored);
}

async fn a_failing_closure_leaves_nothing(s: Store) {
    let take = |holder: &'static str| s.db.write(move |tx| leases::take(tx, "l", holder, 60_000_000, true));
    let failed: Result<(), StoreError> =
        s.db.write(|tx| {
            leases::take(tx, "l", "a", 60_000_000, true)?;
            Err(StoreError::Closed)
        })
        .await;
    assert_eq!(failed, Err(StoreError::Closed));
    assert_eq!(take("b").await.unwrap(), Some(1));
}

async fn many_at_once_get_their_own_answers(s: Store) {
    let mut all = tokio::task::JoinSet::new();
    for n in 1..=400 {
        let db = s.db.clone();
        all.spawn(async move {
            let new = new_job(n);
            assert_eq!(db.submit(new.clone()).await.unwrap(), Submitted::Stored);
            let first = admit(&new.job, None);
            // Both are sent at once, so one of them finds the other's work.
            let (a, b) = tokio::join!(db.apply(first.clone()), db.apply(first.clone()));
            let outcomes = [a.unwrap(), b.unwrap()];
            assert!(
                outcomes.contains(&Outcome::Updated) && outcomes.contains(&Outcome::Stale),
                "{outcomes:?}"
            );
            assert_eq!(get(&db, new.job.id).await, first.job);
        });
    }
    while let Some(one) = all.join_next().await {
        one.unwrap();
    }
}
