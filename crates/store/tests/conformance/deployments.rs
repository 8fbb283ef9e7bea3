//! Deployments: two writers that name what they saw, generations, and events without gaps.

use libra_core::deployment::agenda::Agenda;
use libra_core::deployment::declared::Declared;
use libra_core::deployment::reconcile::{Fared, Phase, Row};
use libra_core::time::Timestamp;
use libra_store::lane::Fence;
use libra_store::tables::deployment_history::{self as history, Happening, StoredGeneration};
use libra_store::tables::deployments::{
    self, Deployment, Head, Name, Remark, Stepped, Timed, Wished, Written,
};
use libra_store::tables::leases;

use crate::given::Store;
use crate::on_every_store;

on_every_store!(
    a_deployment_is_created_once,
    a_program_that_has_to_begin_alone_does,
    a_wish_names_the_version_that_was_seen,
    a_step_names_its_revision_and_the_leader,
    how_generations_fared_tells_where_to_go_back_to,
    what_time_asks_for_is_stored_with_the_wish,
    what_is_forgotten_leaves_nothing,
    only_the_newest_events_are_kept,
    a_remark_is_told_once,
);

/// A minute, in microseconds.
const MINUTE: i64 = 60_000_000;

fn name(tenant: &str, id: &str) -> Name {
    Name { tenant: tenant.into(), id: id.into() }
}

fn happening(kind: &str) -> Happening {
    Happening { kind: kind.into(), message: format!("it is {kind}") }
}

fn generation(number: u64) -> StoredGeneration {
    StoredGeneration {
        generation: number,
        spec: "{}".into(),
        digest: format!("{number:064x}"),
        signature: (number > 1).then(|| "four lines".to_owned()),
        signed_by: (number > 1).then(|| "D9BB3F8EAAFDA69E".to_owned()),
        applied_at: Timestamp(5),
        applied_by: "ada".into(),
    }
}

fn new(tenant: &str, id: &str) -> Deployment {
    Deployment {
        name: name(tenant, id),
        user: "ada".into(),
        cluster: format!("of-{tenant}"),
        version: 1,
        wish: Declared::first(),
        log: Row::default(),
        agenda: Agenda::default(),
        created_at: Timestamp(5),
        updated_at: Timestamp(5),
    }
}

async fn create(s: &Store, tenant: &str, id: &str) -> Written {
    let new = new(tenant, id);
    s.db.write(move |tx| deployments::create(tx, &new, &generation(1), &happening("applied"))).await.unwrap()
}

async fn found(s: &Store, tenant: &str, id: &str) -> Option<Deployment> {
    let name = name(tenant, id);
    s.db.read(move |tx| deployments::get(tx, &name)).await.unwrap()
}

async fn kinds(s: &Store, tenant: &str, id: &str) -> Vec<(u64, String)> {
    let name = name(tenant, id);
    let events = s.db.read(move |tx| history::events(tx, &name, 0, 100)).await.unwrap();
    events.into_iter().map(|event| (event.seq, event.what.kind)).collect()
}

async fn leader(s: &Store) -> Fence {
    let epoch = s.db.write(|tx| leases::take(tx, "leader", "a", MINUTE, true)).await.unwrap();
    Fence { lease: "leader".into(), epoch: epoch.unwrap() }
}

fn stepped(from: u64, phase: Phase, what: &[&str]) -> Stepped {
    Stepped {
        name: name("t", "etl"),
        version: 1,
        from,
        log: Row { revision: from + 1, phase, ..Row::default() },
        begins_alone_until: None,
        generation: 1,
        fared: Vec::new(),
        what: what.iter().map(|kind| happening(kind)).collect(),
        at: Timestamp(9),
    }
}

async fn a_deployment_is_created_once(s: Store) {
    assert_eq!(create(&s, "t", "etl").await, Written::Done);
    assert_eq!(create(&s, "t", "etl").await, Written::Stale);
    assert_eq!(create(&s, "u", "etl").await, Written::Done, "another tenant's has nothing to do with it");
    assert_eq!(create(&s, "t", "a").await, Written::Done);
    assert_eq!(found(&s, "t", "etl").await, Some(new("t", "etl")));
    let taken = Deployment { cluster: "of-t".into(), ..new("v", "etl") };
    let taken =
        s.db.write(move |tx| deployments::create(tx, &taken, &generation(1), &happening("applied"))).await;
    assert_eq!(taken.unwrap(), Written::Stale, "the name is taken on that cluster");
    let ids = |found: Vec<Deployment>| found.into_iter().map(|d| d.name.id).collect::<Vec<_>>();
    assert_eq!(ids(s.db.read(|tx| deployments::list(tx, "t")).await.unwrap()), ["a", "etl"]);
    assert_eq!(ids(s.db.read(|tx| deployments::list(tx, "u")).await.unwrap()), ["etl"]);
    assert_eq!(kinds(&s, "t", "etl").await, [(1, "applied".to_owned())]);
}

async fn a_program_that_has_to_begin_alone_does(s: Store) {
    for (tenant, id) in [("t", "etl"), ("t", "b"), ("u", "elsewhere")] {
        create(&s, tenant, id).await;
    }
    let fence = leader(&s).await;
    let begins = async |tenant: &str, id: &str, from: u64, until: Option<i64>| {
        let step = Stepped {
            name: name(tenant, id),
            begins_alone_until: until.map(Timestamp),
            ..stepped(from, Phase::Starting, &[])
        };
        let fence = fence.clone();
        s.db.write(move |tx| deployments::step(tx, &fence, &step)).await.unwrap()
    };
    let another = async |id: &str, now: i64| {
        let name = name("t", id);
        s.db.read(move |tx| deployments::another_begins(tx, &name, Timestamp(now))).await.unwrap()
    };
    assert!(!another("b", 9).await);
    assert_eq!(begins("t", "etl", 0, Some(100)).await, Written::Done);
    assert!(another("b", 9).await && !another("b", 100).await && !another("etl", 9).await);
    assert_eq!(begins("t", "b", 0, Some(110)).await, Written::Stale, "the first may still be at work");
    assert_eq!(begins("u", "elsewhere", 0, Some(110)).await, Written::Done, "on another cluster");
    assert_eq!(begins("t", "b", 0, None).await, Written::Done, "what need not be alone");
    assert_eq!(begins("t", "etl", 1, Some(100)).await, Written::Done, "it goes on");
    assert_eq!(begins("t", "etl", 2, None).await, Written::Done);
    assert_eq!(begins("t", "b", 1, Some(120)).await, Written::Done);
}

async fn a_wish_names_the_version_that_was_seen(s: Store) {
    create(&s, "t", "etl").await;
    let mut wish = Declared::first();
    wish.apply().unwrap();
    let wished = Wished {
        name: name("t", "etl"),
        version: 1,
        revision: None,
        wish,
        generation: Some(generation(2)),
        what: happening("applied"),
        at: Timestamp(7),
    };
    let of_another_row = Wished { revision: Some(7), ..wished.clone() };
    assert_eq!(s.db.write(move |tx| deployments::wish(tx, &of_another_row)).await.unwrap(), Written::Stale);
    let again = wished.clone();
    let wished = Wished { revision: Some(0), ..wished };
    assert_eq!(s.db.write(move |tx| deployments::wish(tx, &wished)).await.unwrap(), Written::Done);
    assert_eq!(s.db.write(move |tx| deployments::wish(tx, &again)).await.unwrap(), Written::Stale);
    let now = found(&s, "t", "etl").await.unwrap();
    assert_eq!((now.version, now.wish.generation, now.updated_at), (2, 2, Timestamp(7)));
    let all = s.db.read(|tx| history::generations(tx, &name("t", "etl"))).await.unwrap();
    assert_eq!(all, [generation(2), generation(1)]);
    assert_eq!(kinds(&s, "t", "etl").await.len(), 2, "the refused one has told nothing");
    let newest = |digest: String| s.db.read(move |tx| history::newest_with(tx, &name("t", "etl"), &digest));
    assert_eq!(newest(generation(2).digest).await.unwrap(), Some(generation(2)));
    assert_eq!(newest(generation(3).digest).await.unwrap(), None);
    create(&s, "u", "etl").await;
    let mut digests = s.db.read(history::digests).await.unwrap();
    digests.sort();
    let of = |tenant: &str, number: u64| (tenant.to_owned(), generation(number).digest);
    assert_eq!(digests, [of("t", 1), of("t", 2), of("u", 1)]);
}

async fn a_step_names_its_revision_and_the_leader(s: Store) {
    create(&s, "t", "etl").await;
    let fence = leader(&s).await;
    let step = |fence: &Fence, stepped: Stepped| {
        let fence = fence.clone();
        s.db.write(move |tx| deployments::step(tx, &fence, &stepped))
    };
    assert_eq!(step(&fence, stepped(0, Phase::Starting, &["phase", "starts"])).await.unwrap(), Written::Done);
    assert_eq!(step(&fence, stepped(0, Phase::Failed, &["phase"])).await.unwrap(), Written::Stale);
    let next = leader(&s).await;
    assert_eq!(
        step(&fence, stepped(1, Phase::Failed, &["phase"])).await.unwrap(),
        Written::Stale,
        "of before"
    );
    let of_another_wish = Stepped { version: 2, ..stepped(1, Phase::Stable, &[]) };
    assert_eq!(step(&next, of_another_wish).await.unwrap(), Written::Stale);
    assert_eq!(step(&next, stepped(1, Phase::Stable, &[])).await.unwrap(), Written::Done);
    let now = found(&s, "t", "etl").await.unwrap();
    assert_eq!(
        (now.log.revision, now.log.phase, now.version),
        (2, Phase::Stable, 1),
        "the wish is untouched"
    );
    let kinds = kinds(&s, "t", "etl").await;
    let kinds: Vec<(u64, &str)> = kinds.iter().map(|(seq, kind)| (*seq, kind.as_str())).collect();
    assert_eq!(kinds, [(1, "applied"), (2, "phase"), (3, "starts")]);
    let head = Head { version: 1, revision: 2 };
    let heads = |cluster: &'static str| s.db.read(move |tx| deployments::heads(tx, cluster));
    assert_eq!(heads("of-t").await.unwrap(), [(name("t", "etl"), head)]);
    assert_eq!(heads("of-u").await.unwrap(), []);
    let one = |cluster: &'static str| s.db.read(move |tx| deployments::head(tx, cluster, &name("t", "etl")));
    assert_eq!((one("of-t").await.unwrap(), one("of-u").await.unwrap()), (Some(head), None));
}

async fn how_generations_fared_tells_where_to_go_back_to(s: Store) {
    create(&s, "t", "etl").await;
    let fence = leader(&s).await;
    let mut wish = Declared::first();
    for number in 2..=4 {
        wish.apply().unwrap();
        let wished = Wished {
            name: name("t", "etl"),
            version: i64::try_from(number).unwrap() - 1,
            revision: None,
            wish: wish.clone(),
            generation: Some(generation(number)),
            what: happening("applied"),
            at: Timestamp(7),
        };
        assert_eq!(s.db.write(move |tx| deployments::wish(tx, &wished)).await.unwrap(), Written::Done);
    }
    let fared =
        [(1, Fared::Well), (2, Fared::Well), (3, Fared::GivenUp), (2, Fared::GivenUp), (2, Fared::Well)];
    for (from, of) in (0..).zip(fared) {
        let at = Timestamp(10 + i64::try_from(from).unwrap());
        let step = Stepped { version: 4, fared: vec![of], at, ..stepped(from, Phase::Stable, &[]) };
        let fence = fence.clone();
        assert_eq!(s.db.write(move |tx| deployments::step(tx, &fence, &step)).await.unwrap(), Written::Done);
    }
    let before = async |number| {
        s.db.read(move |tx| history::stable_before(tx, &name("t", "etl"), number)).await.unwrap()
    };
    assert_eq!(before(4).await, Some(2), "the third was given up, and the second is well again");
    assert_eq!(before(2).await, Some(1));
    assert_eq!(before(1).await, None);
    let records = s.db.read(|tx| history::records(tx, &name("t", "etl"))).await.unwrap();
    let times =
        records.iter().map(|record| (record.stable_at.map(|at| at.0), record.given_up_at.map(|at| at.0)));
    let times: Vec<_> = times.collect();
    assert_eq!(times, [(None, None), (None, Some(12)), (Some(14), Some(13)), (Some(10), None)]);
}

async fn what_time_asks_for_is_stored_with_the_wish(s: Store) {
    create(&s, "t", "etl").await;
    let fence = leader(&s).await;
    let time = |fence: &Fence, version, agenda: Agenda, wish: Option<Declared>| {
        let timed = Timed {
            name: name("t", "etl"),
            version,
            agenda,
            wish,
            generation: 1,
            what: vec![happening("run_due")],
            at: Timestamp(8),
        };
        let fence = fence.clone();
        s.db.write(move |tx| deployments::time(tx, &fence, &timed))
    };
    let seen = Agenda { generation: 1, ..Agenda::default() };
    assert_eq!(time(&fence, 1, seen.clone(), None).await.unwrap(), Written::Done);
    assert_eq!(found(&s, "t", "etl").await.unwrap().version, 1, "the wish is as it was");
    let asked = Agenda { started: 1, ..seen };
    let wish = Declared { nonce: 1, ..Declared::first() };
    assert_eq!(time(&fence, 1, asked.clone(), Some(wish.clone())).await.unwrap(), Written::Done);
    assert_eq!(time(&fence, 1, Agenda::default(), Some(wish)).await.unwrap(), Written::Stale);
    let next = leader(&s).await;
    assert_eq!(time(&fence, 2, Agenda::default(), None).await.unwrap(), Written::Stale, "of before");
    assert_eq!(time(&next, 2, asked.clone(), None).await.unwrap(), Written::Done);
    let now = found(&s, "t", "etl").await.unwrap();
    assert_eq!((now.version, now.wish.nonce, now.agenda), (2, 1, asked));
    assert_eq!(kinds(&s, "t", "etl").await.len(), 4);
}

async fn what_is_forgotten_leaves_nothing(s: Store) {
    create(&s, "t", "etl").await;
    create(&s, "u", "etl").await;
    let fence = leader(&s).await;
    let forget = |from| {
        let fence = fence.clone();
        s.db.write(move |tx| deployments::forget(tx, &fence, &name("t", "etl"), from))
    };
    assert_eq!(forget(4).await.unwrap(), Written::Stale);
    assert_eq!(forget(0).await.unwrap(), Written::Done);
    assert_eq!(found(&s, "t", "etl").await, None);
    assert_eq!(kinds(&s, "t", "etl").await, []);
    assert!(found(&s, "u", "etl").await.is_some());
    assert_eq!(create(&s, "t", "etl").await, Written::Done, "the name is free");
    assert_eq!(kinds(&s, "t", "etl").await, [(1, "applied".to_owned())]);
}

async fn only_the_newest_events_are_kept(s: Store) {
    create(&s, "t", "etl").await;
    create(&s, "t", "short").await;
    let fence = leader(&s).await;
    for from in 0..4 {
        let (fence, stepped) = (fence.clone(), stepped(from, Phase::Starting, &["phase", "starts"]));
        s.db.write(move |tx| deployments::step(tx, &fence, &stepped)).await.unwrap();
    }
    let forget = |fence: &Fence, kept| {
        let fence = fence.clone();
        s.db.write(move |tx| history::forget_events(tx, &fence, kept, 10))
    };
    assert_eq!(forget(&fence, 20).await.unwrap(), Some(0), "there are not so many");
    assert_eq!(forget(&fence, 3).await.unwrap(), Some(1));
    assert_eq!(forget(&fence, 3).await.unwrap(), Some(0), "again");
    let numbers = |kinds: Vec<(u64, String)>| kinds.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>();
    assert_eq!(numbers(kinds(&s, "t", "etl").await), [7, 8, 9]);
    assert_eq!(numbers(kinds(&s, "t", "short").await), [1]);
    let next = leader(&s).await;
    assert_eq!(forget(&fence, 1).await.unwrap(), None, "another one leads");
    let (last, fence) = (stepped(4, Phase::Stable, &["phase"]), next);
    s.db.write(move |tx| deployments::step(tx, &fence, &last)).await.unwrap();
    assert_eq!(numbers(kinds(&s, "t", "etl").await), [7, 8, 9, 10], "numbers go on");
}

async fn a_remark_is_told_once(s: Store) {
    create(&s, "t", "etl").await;
    let fence = leader(&s).await;
    let remark = |fence: &Fence, id: &str, generation| {
        let remark = Remark { name: name("t", id), generation, what: happening("odd"), at: Timestamp(9) };
        let fence = fence.clone();
        s.db.write(move |tx| deployments::remark(tx, &fence, &remark))
    };
    assert_eq!(remark(&fence, "etl", 1).await.unwrap(), Written::Done);
    assert_eq!(remark(&fence, "etl", 1).await.unwrap(), Written::Done);
    assert_eq!(kinds(&s, "t", "etl").await.len(), 2, "once");
    assert_eq!(remark(&fence, "etl", 2).await.unwrap(), Written::Done);
    assert_eq!(kinds(&s, "t", "etl").await.len(), 3, "of another generation it is news");
    assert_eq!(remark(&fence, "none", 1).await.unwrap(), Written::Stale);
    let found = found(&s, "t", "etl").await.unwrap();
    assert_eq!((found.version, found.log.revision, found.updated_at), (1, 0, Timestamp(9)));
    leader(&s).await;
    assert_eq!(remark(&fence, "etl", 3).await.unwrap(), Written::Stale, "another one leads");
}
