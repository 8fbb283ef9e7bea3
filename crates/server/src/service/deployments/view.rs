//! Deployments as they are shown.

use libra_api::deployments::{DeploymentEventView, DeploymentView, GenerationView, PlanView, TroubleView};
use libra_core::deployment::plan::Plan;
use libra_core::deployment::reconcile::{Mode, Phase, Trouble, Wish};
use libra_store::tables::deployment_history::{Record, StoredEvent, StoredGeneration};
use libra_store::tables::deployments::Deployment;
use serde::Serialize;
use serde_json::Value;

use crate::flink::FlinkClusters;

/// A deployment without its specification. Nobody looks after one whose cluster is not among those that are configured.
pub(super) fn deployment(of: &Deployment, clusters: &FlinkClusters) -> DeploymentView {
    let kept = clusters.named(Some(&of.cluster)).is_some();
    let (wish, log) = (&of.wish, &of.log);
    let running = log.run.as_ref().map(|run| run.generation);
    let job = log.run.as_ref().filter(|run| run.may_live()).map(|run| run.id.to_string());
    DeploymentView {
        id: of.name.id.clone(),
        cluster: of.cluster.clone(),
        state: word(&log.phase),
        status: log.phase.words().to_owned(),
        taken_up: log.wish == Some(Wish { mode: wish.mode, generation: wish.target(), nonce: wish.nonce }),
        desired: match wish.mode {
            Mode::Running => "running",
            Mode::Suspended => "suspended",
            Mode::Deleted { savepoint: _ } => "deleted",
        }
        .to_owned(),
        generation: wish.generation,
        running_generation: running,
        // Of a cluster that does not answer nobody knows.
        stable: log.phase == Phase::Stable
            && running == Some(wish.target())
            && kept
            && log.unreachable_since.is_none(),
        stable_generation: log.stable.as_ref().map(|stable| stable.generation),
        job_id: job,
        run: log.turn.map(|turn| turn.job.to_string()),
        waits_for: None,
        last_savepoint: log.savepoints.last().map(|savepoint| savepoint.path.clone()),
        trouble: if kept { log.trouble.as_ref().map(trouble) } else { Some(cluster_gone(&of.cluster)) },
        unreachable_since: log.unreachable_since.map(libra_core::time::Timestamp::rfc3339),
        created_at: of.created_at.rfc3339(),
        updated_at: of.updated_at.rfc3339(),
        version: u64::try_from(of.version).unwrap_or_default(),
        spec: None,
    }
}

fn cluster_gone(cluster: &str) -> TroubleView {
    TroubleView {
        reason: "cluster_not_configured".to_owned(),
        message: format!(
            "its cluster `{cluster}` is not in `libra.flink.clusters`: nobody looks after it, and this is how it was"
        ),
        hint: "put the cluster back and start Libra again; what was declared is kept".to_owned(),
    }
}

fn trouble(trouble: &Trouble) -> TroubleView {
    let json = serde_json::to_value(trouble).unwrap_or_default();
    TroubleView {
        reason: json.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned(),
        message: trouble.to_string(),
        hint: trouble.hint().to_owned(),
    }
}

/// A plan, and the version that it was made for.
pub(super) fn plan(plan: &Plan, before: Option<&Deployment>) -> PlanView {
    PlanView {
        id: plan.job_id.clone(),
        kind: plan.kind.as_str().to_owned(),
        lines: plan.words(),
        detail: serde_json::to_value(plan).unwrap_or_default(),
        version: before.and_then(|before| u64::try_from(before.version).ok()),
    }
}

/// A generation.
pub(super) fn generation(of: &Deployment, stored: StoredGeneration, record: Record) -> GenerationView {
    let is = |other: Option<u64>| other == Some(stored.generation);
    GenerationView {
        generation: stored.generation,
        applied_at: stored.applied_at.rfc3339(),
        stable: is(of.log.stable.as_ref().map(|stable| stable.generation)),
        running: is(of.log.run.as_ref().map(|run| run.generation)),
        stable_at: record.stable_at.map(libra_core::time::Timestamp::rfc3339),
        given_up_at: record.given_up_at.map(libra_core::time::Timestamp::rfc3339),
        applied_by: stored.applied_by,
        digest: stored.digest,
        signed_by: stored.signed_by,
        spec: serde_json::from_str(&stored.spec).unwrap_or_default(),
    }
}

/// An event.
pub(super) fn event(stored: StoredEvent) -> DeploymentEventView {
    DeploymentEventView {
        seq: stored.seq,
        at: stored.at.rfc3339(),
        kind: stored.what.kind,
        message: stored.what.message,
        generation: stored.generation,
    }
}

/// The spelling of a value that is a single word in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}
