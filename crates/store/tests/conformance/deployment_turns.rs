//! A step of a deployment and what it means for the jobs of its runs: all or nothing.

use libra_core::deployment::agenda::Agenda;
use libra_core::deployment::declared::Declared;
use libra_core::deployment::reconcile::{Phase, Row};
use libra_core::deployment::turns::Turn;
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::lifecycle::{self, Event};
use libra_core::mode::Mode;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::{Fence, Submission};
use libra_store::tables::deployment_history::{Happening, StoredGeneration};
use libra_store::tables::deployment_turns::{self, JobWrite, Standing};
use libra_store::tables::deployments::{self, Deployment, Name, Stepped, Written};
use libra_store::tables::{attempts, jobs, leases, transitions};

use crate::given::{Store, admit, change, get, new_job};
use crate::on_every_store;

on_every_store!(
    a_job_is_stored_with_the_step_that_asks_for_it,
    a_job_that_has_moved_on_keeps_the_step_from_being_stored,
    nobody_claims_the_run_of_a_deployment,
);

fn name() -> Name {
    Name { tenant: "t".into(), id: "etl".into() }
}

fn happening() -> Happening {
    Happening { kind: "phase".into(), message: "it waits".into() }
}

async fn begin(s: &Store) -> Fence {
    let deployment = Deployment {
        name: name(),
        user: "ada".into(),
        cluster: "main".into(),
        version: 1,
        wish: Declared::first(),
        log: Row::default(),
        agenda: Agenda::default(),
        created_at: Timestamp(5),
        updated_at: Timestamp(5),
    };
    let generation = StoredGeneration {
        signature: None,
        signed_by: None,
        generation: 1,
        spec: "{}".into(),
        digest: "ab".into(),
        applied_at: Timestamp(5),
        applied_by: "ada".into(),
    };
    s.db.write(move |tx| {
        deployments::create(tx, &deployment, &generation, &happening())?;
        let epoch = leases::take(tx, "leader", "a", 60_000_000, true)?;
        Ok(Fence { lease: "leader".into(), epoch: epoch.unwrap_or_default() })
    })
    .await
    .unwrap()
}

/// A step that notes this job.
fn stepped(from: u64, job: &Job) -> Stepped {
    let turn = Turn { job: job.id, generation: 1, nonce: 0, run: None };
    Stepped {
        name: name(),
        version: 1,
        from,
        log: Row { revision: from + 1, phase: Phase::Waiting, turn: Some(turn), ..Row::default() },
        begins_alone_until: None,
        generation: 1,
        what: vec![happening()],
        fared: Vec::new(),
        at: Timestamp(9),
    }
}

fn new(n: u32) -> (Job, JobWrite) {
    let Submission { job, log, origin, outbox, .. } = new_job(n);
    let job = Job { mode: Mode::Flink, ..job };
    (job.clone(), JobWrite::New { job: Box::new(job), log, origin, outbox })
}

async fn step(
    s: &Store,
    fence: &Fence,
    stepped: Stepped,
    writes: Vec<JobWrite>,
) -> Result<Written, StoreError> {
    let fence = fence.clone();
    s.db.write(move |tx| deployment_turns::step(tx, &fence, &stepped, &writes)).await
}

async fn noted(s: &Store) -> Option<Turn> {
    s.db.read(|tx| deployments::get(tx, &name())).await.unwrap().unwrap().log.turn
}

async fn a_job_is_stored_with_the_step_that_asks_for_it(s: Store) {
    let fence = begin(&s).await;
    let (first, write) = new(1);
    assert_eq!(step(&s, &fence, stepped(0, &first), vec![write]).await.unwrap(), Written::Done);
    assert_eq!(noted(&s).await.unwrap().job, first.id);
    assert_eq!((get(&s.db, first.id).await, first.state), (first.clone(), State::Queued));
    let id = first.id;
    let log = s.db.read(move |tx| transitions::of_job(tx, id)).await.unwrap();
    assert_eq!(log.len(), 3, "{log:?}");

    // Another step was faster: the job that this one makes is not stored either.
    let (second, write) = new(2);
    assert!(matches!(
        step(&s, &fence, stepped(0, &second), vec![write.clone()]).await,
        Err(StoreError::Constraint(_))
    ));
    let former = Fence { epoch: fence.epoch - 1, ..fence.clone() };
    assert_eq!(step(&s, &former, stepped(1, &second), vec![write]).await.unwrap(), Written::Stale);
    let id = second.id;
    assert_eq!(s.db.read(move |tx| jobs::get(tx, id)).await.unwrap(), None);
    assert_eq!(noted(&s).await.unwrap().job, first.id);
}

async fn a_job_that_has_moved_on_keeps_the_step_from_being_stored(s: Store) {
    let fence = begin(&s).await;
    let (first, write) = new(1);
    step(&s, &fence, stepped(0, &first), vec![write]).await.unwrap();
    s.db.apply(admit(&first, None)).await.unwrap();
    let ends = |job: &Job| {
        let withdrawn = lifecycle::step(job, Event::Withdrawn("suspended".into()), Timestamp(9)).unwrap();
        JobWrite::Step(Box::new(change(job, withdrawn, Vec::new(), Some(fence.clone()))))
    };
    let (second, write) = new(2);
    let late = vec![ends(&first), write];
    assert_eq!(step(&s, &fence, stepped(1, &second), late).await.unwrap(), Written::Stale);
    let now = get(&s.db, first.id).await;
    assert_eq!((now.state, noted(&s).await.unwrap().job), (State::Scheduled, first.id));
    let (second, write) = new(2);
    let writes = vec![ends(&now), write];
    assert_eq!(step(&s, &fence, stepped(1, &second), writes).await.unwrap(), Written::Done);
    assert_eq!(get(&s.db, first.id).await.state, State::Cancelled);
    assert_eq!(noted(&s).await.unwrap().job, second.id);
}

async fn nobody_claims_the_run_of_a_deployment(s: Store) {
    let fence = begin(&s).await;
    let (job, write) = new(1);
    step(&s, &fence, stepped(0, &job), vec![write]).await.unwrap();
    s.db.apply(admit(&job, None)).await.unwrap();
    let named = JobWrite::Name { job: job.id, attempt: 1, application_id: "abc".into() };
    step(&s, &fence, stepped(1, &job), vec![named]).await.unwrap();
    let id = job.id;
    let (open, unclaimed, attempt) =
        s.db.read(move |tx| Ok((attempts::open(tx)?, attempts::unclaimed(tx)?, attempts::get(tx, id, 1)?)))
            .await
            .unwrap();
    assert_eq!((open, unclaimed), (Vec::new(), Vec::new()));
    assert_eq!(attempt.unwrap().application_id.as_deref(), Some("abc"));
    let standing = |id| s.db.read(move |tx| deployment_turns::standing(tx, id));
    let stands = Standing { state: State::Scheduled, cancel_requested: false };
    assert_eq!(standing(id).await.unwrap(), Some(stands));
    assert_eq!(standing(new(9).0.id).await.unwrap(), None);
    // More than one statement asks for.
    let other = |n: i64| JobId::new(Timestamp(n * 1_000_000), [9; 10]);
    let ids: Vec<JobId> = (0..1_200).map(|n| if n == 700 { id } else { other(n) }).collect();
    let all = s.db.read(move |tx| deployment_turns::standings(tx, &ids)).await.unwrap();
    assert_eq!((all.len(), all[&id]), (1_200, Some(stands)));
    assert_eq!(all.values().filter(|standing| standing.is_some()).count(), 1);
}
