//! Waiting until what was applied runs well, or does not.

use std::time::Duration;

use libra_api::client::Client;
use libra_api::deployments::{AppliedView, DeploymentView};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::patience::Patience;

/// Between two looks at the same deployment.
const PAUSE: Duration = Duration::from_millis(500);
/// The trouble of a job that runs on without ever having been well.
const NOT_STABLE: &str = "not_stable";

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    generation: u64,
    version: u64,
    desired: String,
    /// True when a job of this generation has to come; else the deployment counts as it is.
    starts: bool,
}

impl Aim {
    /// What is to come of `applied`.
    pub(crate) fn of(applied: &AppliedView) -> Self {
        let view = &applied.deployment;
        Self {
            generation: view.generation,
            version: view.version,
            desired: view.desired.clone(),
            starts: applied.plan.kind != "none",
        }
    }
}

/// What a look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Not settled yet.
    Wait,
    /// It is as it should be.
    Well,
    /// Given up; nothing runs, or what ran before runs on.
    Failed,
    /// Somebody else has to do something first.
    Blocked,
    /// An older generation runs instead.
    RolledBack,
    /// It runs and was not found well in time.
    Unwell,
    /// Something else is wanted of it by now.
    Overtaken,
}

/// What `view` says about the aim.
pub(crate) fn look(view: &DeploymentView, aim: &Aim) -> Look {
    if view.generation != aim.generation || view.desired != aim.desired {
        return Look::Overtaken;
    }
    match view.desired.as_str() {
        "running" => {}
        // It has nothing to come.
        "suspended" => return Look::Well,
        _ => return Look::Overtaken,
    }
    // What a silent cluster does is not known.
    if view.unreachable_since.is_some() {
        return Look::Wait;
    }
    let ours = view.running_generation == Some(aim.generation);
    // An end that was there before is no answer to what was applied.
    let answers = !aim.starts || view.taken_up;
    let instead = view.trouble.is_some() && view.running_generation.is_some() && !ours;
    match view.state.as_str() {
        "stable" if instead && answers => Look::RolledBack,
        "stable" if view.stable && (ours || !aim.starts) => Look::Well,
        // Stable, but not this generation: somebody went back to another one.
        "stable" if view.stable && !instead && view.version != aim.version => Look::Overtaken,
        "completed" if ours || !aim.starts => Look::Well,
        "proving" if ours && answers && is_not_stable(view) => Look::Unwell,
        "failed" if answers => Look::Failed,
        "blocked" if answers => Look::Blocked,
        // A state of a later Libra is none of these either.
        _ => Look::Wait,
    }
}

fn is_not_stable(view: &DeploymentView) -> bool {
    view.trouble.as_ref().is_some_and(|trouble| trouble.reason == NOT_STABLE)
}

/// Why a look is a failure; None when it is none.
pub(crate) fn complaint(view: &DeploymentView, look: Look) -> Option<Failure> {
    let (id, generation) = (&view.id, view.generation);
    let happened = match look {
        Look::Wait | Look::Well => return None,
        Look::Failed => format!("{id}: generation {generation} failed"),
        Look::Blocked => format!("{id}: generation {generation} can't start"),
        Look::RolledBack => {
            let instead =
                view.running_generation.map_or_else(|| "an older one".to_owned(), |g| g.to_string());
            format!("{id}: generation {generation} was given up, and generation {instead} runs again")
        }
        Look::Unwell => format!("{id}: generation {generation} runs and is not stable"),
        Look::Overtaken => {
            return Some(
                Failure::new(Exit::Failed, format!("{id} was changed again by somebody else")).hint(format!(
                    "`libra deployment {id}` shows how it is, `libra history {id}` what happened"
                )),
            );
        }
    };
    let failure = match &view.trouble {
        Some(trouble) => Failure::new(Exit::Failed, format!("{happened}: {}", trouble.message))
            .hint(output::one_line(&trouble.hint)),
        None => Failure::new(Exit::Failed, happened),
    };
    Some(failure.hint(format!("`libra history {id}` shows what happened")))
}

/// One that is waited for.
struct Pending {
    applied: AppliedView,
    aim: Aim,
    told: String,
}

impl Pending {
    fn new(applied: AppliedView) -> Self {
        Self { aim: Aim::of(&applied), applied, told: String::new() }
    }

    /// Takes a look, and says how far it is when that has changed.
    fn look(&mut self, view: &DeploymentView) -> Look {
        let look = look(view, &self.aim);
        let line = progress(view);
        // The end is told by those who asked.
        if look == Look::Wait && line != self.told {
            output::say(&line);
            self.told = line;
        }
        look
    }
}

/// Waits until every one of `applied` is settled; `settled` is told of each with its last view, as they end.
pub(crate) async fn until_settled(
    client: &Client,
    applied: Vec<AppliedView>,
    settled: impl FnMut(AppliedView, Look) -> Result<(), Failure>,
) -> Result<(), Failure> {
    tokio::select! {
        ended = watch(client, applied, settled) => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "no longer waiting")
            .hint("what was applied goes on: `libra deployments` shows how it is")),
    }
}

async fn watch(
    client: &Client,
    applied: Vec<AppliedView>,
    mut settled: impl FnMut(AppliedView, Look) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut patience = Patience::answered();
    let mut pending: Vec<Pending> = applied.into_iter().map(Pending::new).collect();
    loop {
        let mut left = Vec::with_capacity(pending.len());
        for mut one in pending {
            let view = patience.call(|| client.deployment(&one.applied.deployment.id)).await?;
            match one.look(&view) {
                Look::Wait => left.push(one),
                end @ (Look::Well
                | Look::Failed
                | Look::Blocked
                | Look::RolledBack
                | Look::Unwell
                | Look::Overtaken) => settled(AppliedView { plan: one.applied.plan, deployment: view }, end)?,
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        pending = left;
        tokio::time::sleep(PAUSE).await;
    }
}

/// One line on how far it is.
pub(crate) fn progress(view: &DeploymentView) -> String {
    let running = match view.running_generation {
        Some(running) if running != view.generation => format!("; Flink has generation {running}"),
        Some(_) | None => String::new(),
    };
    let silent = if view.unreachable_since.is_some() { "; the cluster does not answer" } else { "" };
    output::one_line(&format!("{} generation {}: {}{running}{silent}", view.id, view.generation, view.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment_page::samples;
    use serde_json::{Value, json};

    const LATER: &str = "2026-01-31T08:00:05.000Z";

    fn applied(kind: &str) -> AppliedView {
        AppliedView {
            plan: samples::plan("orders", kind, Some(5), &[], &json!([])),
            deployment: samples::view(json!({"version": 6, "runningGeneration": 2})),
        }
    }

    /// The aim is generation 3 of version 6.
    fn look_at(kind: &str, more: Value) -> Look {
        let mut all = json!({"version": 6});
        let Value::Object(more) = more else { panic!("an object") };
        all.as_object_mut().unwrap().extend(more);
        look(&samples::view(all), &Aim::of(&applied(kind)))
    }

    #[test]
    fn each_look_has_its_meaning() {
        let trouble = json!({"reason": "job_failed", "message": "m", "hint": "h"});
        let slow = json!({"reason": "not_stable", "message": "m", "hint": "h"});
        let redeploy = "savepoint-redeploy";
        #[rustfmt::skip]
        let table = [
            ("stable at last", redeploy, json!({}), Look::Well),
            ("the old job is still stable", redeploy, json!({"runningGeneration": 2, "takenUp": false}), Look::Wait),
            ("the same for long", redeploy, json!({"runningGeneration": 2, "stable": false}), Look::Wait),
            ("stopping", redeploy, json!({"state": "stopping", "stable": false, "runningGeneration": 2}), Look::Wait),
            ("starting after a failed try", redeploy, json!({"state": "starting", "stable": false, "trouble": trouble}), Look::Wait),
            ("proving", redeploy, json!({"state": "proving", "stable": false}), Look::Wait),
            ("proving, with trouble of an earlier try", redeploy, json!({"state": "proving", "stable": false, "trouble": trouble}), Look::Wait),
            ("never well, and left running", redeploy, json!({"state": "proving", "stable": false, "trouble": slow}), Look::Unwell),
            ("never well, the older one proves itself", redeploy, json!({"state": "proving", "stable": false, "trouble": slow, "runningGeneration": 2}), Look::Wait),
            ("a batch job has ended", "first-deploy", json!({"state": "completed", "stable": false}), Look::Well),
            ("the run before has ended", "stateless-redeploy", json!({"state": "completed", "stable": false, "runningGeneration": 2}), Look::Wait),
            ("rolled back", redeploy, json!({"stable": false, "trouble": trouble, "runningGeneration": 2}), Look::RolledBack),
            ("rolled back, and that counts as stable", redeploy, json!({"trouble": trouble, "runningGeneration": 2}), Look::RolledBack),
            ("the generation before was rolled back", redeploy, json!({"trouble": trouble, "runningGeneration": 1, "takenUp": false}), Look::Wait),
            ("failed", redeploy, json!({"state": "failed", "stable": false, "trouble": trouble}), Look::Failed),
            ("the generation before failed", redeploy, json!({"state": "failed", "stable": false, "trouble": trouble, "takenUp": false}), Look::Wait),
            ("blocked", "first-deploy", json!({"state": "blocked", "stable": false, "trouble": trouble}), Look::Blocked),
            ("the cluster is silent", redeploy, json!({"state": "failed", "stable": false, "unreachableSince": LATER}), Look::Wait),
            ("stable when last heard of", redeploy, json!({"unreachableSince": LATER}), Look::Wait),
            ("a newer generation", redeploy, json!({"generation": 4}), Look::Overtaken),
            ("suspended by somebody", redeploy, json!({"desired": "suspended"}), Look::Overtaken),
            ("somebody went back", redeploy, json!({"version": 7, "runningGeneration": 2}), Look::Overtaken),
            ("a savepoint was asked for", redeploy, json!({"version": 7}), Look::Well),
            ("a state of a later Libra", redeploy, json!({"state": "moving", "stable": false}), Look::Wait),
            ("nothing changes, and it is stable", "none", json!({"takenUp": false}), Look::Well),
            ("nothing changes, an older one is wanted", "none", json!({"runningGeneration": 2, "takenUp": false}), Look::Well),
            ("nothing changes, and it was rolled back", "none", json!({"stable": false, "trouble": trouble, "runningGeneration": 2, "takenUp": false}), Look::RolledBack),
            ("nothing changes, and it has failed", "none", json!({"state": "failed", "stable": false, "takenUp": false}), Look::Failed),
            ("nothing changes, it is not stable yet", "none", json!({"state": "proving", "stable": false, "takenUp": false}), Look::Wait),
            ("the next run is of the new version", "none", json!({"state": "completed", "stable": false, "runningGeneration": 2}), Look::Well),
        ];
        for (name, kind, view, says) in table {
            assert_eq!(look_at(kind, view), says, "{name}");
        }
    }

    #[test]
    fn what_stays_suspended_is_not_waited_for() {
        let mut applied = applied("none");
        applied.deployment =
            samples::view(json!({"state": "suspended", "desired": "suspended", "stable": false}));
        assert_eq!(look(&applied.deployment, &Aim::of(&applied)), Look::Well);
        applied.deployment.desired = "deleted".to_owned();
        assert_eq!(look(&applied.deployment, &Aim::of(&applied)), Look::Overtaken);
    }

    #[test]
    fn a_failure_names_the_trouble_and_the_way_out() {
        let view = samples::rolled_back();
        let looks = [Look::Failed, Look::Blocked, Look::RolledBack, Look::Unwell, Look::Overtaken];
        let text: Vec<String> =
            looks.iter().map(|look| complaint(&view, *look).unwrap().render(false)).collect();
        insta::assert_snapshot!("complaints", text.join("\n"));
        assert_eq!((complaint(&view, Look::Well), complaint(&view, Look::Wait)), (None, None));
        let silent = complaint(&samples::view(json!({})), Look::Failed).unwrap();
        assert_eq!(silent.message(), "orders: generation 3 failed");
    }

    #[test]
    fn a_line_says_how_far_it_is() {
        let view =
            samples::view(json!({"status": "stopping", "runningGeneration": 2, "unreachableSince": LATER}));
        assert_eq!(
            progress(&view),
            "orders generation 3: stopping; Flink has generation 2; the cluster does not answer"
        );
    }
}
