//! What time asks of a deployment, stored before the reconciler is asked (contract F4, F5).

use libra_core::deployment::agenda::{self, AgendaEvent, AgendaStep};
use libra_core::deployment::declared::Generation;
use libra_core::deployment::reconcile::Desired;
use libra_core::time::Timestamp;
use libra_engines::flink::Look;
use libra_store::StoreError;
use libra_store::tables::deployment_history::{self as history, Happening};
use libra_store::tables::deployments::{self, Deployment, Timed, Written};

use crate::flink::FlinkCluster;
use crate::service::Service;
use crate::service::standing::leader_fence;

/// What came of it.
pub(super) enum Taken {
    /// Everything is stored; time asks for something next at this time.
    Stored {
        look_at: Option<Timestamp>,
        /// What the last run has left in the cluster is to be removed.
        clean_up: bool,
    },
    /// Somebody else has changed the deployment meanwhile: it is to be looked at anew.
    Overtaken,
}

/// Asks the agenda, stores what it says, and brings `deployment` and `told` up to it. `ended` is the wish for a run of a
/// batch job that somebody has ended.
pub(super) async fn take(
    service: &Service,
    deployment: &mut Deployment,
    generations: &[Generation],
    told: &mut Desired,
    ended: Option<u64>,
    epoch: i64,
) -> Result<Taken, StoreError> {
    let Some(target) = generations.iter().find(|of| of.number == deployment.wish.target()) else {
        return Ok(Taken::Stored { look_at: None, clean_up: false });
    };
    let now = service.clock.now();
    let mut known = deployment.agenda.clone();
    known.end_run = known.end_run.max(ended);
    let by_hand = (known.end_run != deployment.agenda.end_run).then(|| Happening {
        kind: "run_cancelled".to_owned(),
        message: "its job was cancelled: the run is ended".to_owned(),
    });
    let step = agenda::step(&target.normal, told, &known, &deployment.log, now);
    let AgendaStep { agenda, nonce, savepoint_nonce, events, clean_up, look_at } = step;
    let wished = nonce != deployment.wish.nonce || savepoint_nonce != deployment.wish.savepoint_nonce;
    if agenda != deployment.agenda || wished {
        (deployment.wish.nonce, deployment.wish.savepoint_nonce) = (nonce, savepoint_nonce);
        let timed = Timed {
            name: deployment.name.clone(),
            version: deployment.version,
            agenda: agenda.clone(),
            wish: wished.then(|| deployment.wish.clone()),
            generation: deployment.wish.target(),
            what: by_hand.into_iter().chain(events.iter().map(happening)).collect(),
            at: now,
        };
        let fence = leader_fence(epoch);
        if service.db.write(move |tx| deployments::time(tx, &fence, &timed)).await? == Written::Stale {
            return Ok(Taken::Overtaken);
        }
        deployment.version += i64::from(wished);
        deployment.agenda = agenda;
    }
    (told.nonce, told.savepoint_nonce) = (nonce, savepoint_nonce);
    told.end_run = deployment.agenda.end_run;
    Ok(Taken::Stored { look_at, clean_up })
}

/// Removes what the last run has left in the cluster: its program, where no other deployment has the same.
pub(super) async fn clean_up(
    service: &Service,
    cluster: &FlinkCluster,
    look: &Look,
    deployment: &Deployment,
    generations: &[Generation],
    epoch: i64,
) -> Result<(), StoreError> {
    if let Some(of) = generations.iter().find(|of| of.number == deployment.wish.target()) {
        let (asked, own) = (of.digest.clone(), deployment.name.clone());
        let shared = service.db.read(move |tx| history::is_shared(tx, &own, &asked)).await?;
        if let Some(jar) = look.jar(&of.upload_name()).filter(|_| !shared)
            && let Err(error) = cluster.flink.delete_jar(jar).await
        {
            tracing::debug!(deployment = deployment.name.id, %error, "a program could not be removed from the cluster");
            return Ok(());
        }
    }
    let mut agenda = deployment.agenda.clone();
    agenda.cleaned_up();
    let timed = Timed {
        name: deployment.name.clone(),
        version: deployment.version,
        agenda,
        wish: None,
        generation: deployment.wish.target(),
        what: Vec::new(),
        at: service.clock.now(),
    };
    let fence = leader_fence(epoch);
    // Who was faster leads to another look, which asks again.
    service.db.write(move |tx| deployments::time(tx, &fence, &timed)).await.map(drop)
}

fn happening(event: &AgendaEvent) -> Happening {
    let kind = match event {
        AgendaEvent::Due(_) => "run_due",
        AgendaEvent::Missed { .. } => "runs_missed",
        AgendaEvent::Skipped(_) => "run_skipped",
        AgendaEvent::Queued(_) => "run_queued",
        AgendaEvent::Replaced(_) => "run_replaced",
        AgendaEvent::TimeOver(_) => "run_time_over",
        AgendaEvent::SeriesOver(_) => "series_over",
        AgendaEvent::NoMoreTimes => "no_more_times",
        AgendaEvent::Unreadable(_) => "schedule_unreadable",
        AgendaEvent::SavepointDue(_) => "savepoint_due",
        AgendaEvent::SavepointSkipped(_) => "savepoint_skipped",
    };
    Happening { kind: kind.to_owned(), message: event.to_string() }
}
