//! What is asked of Flink: one effect, one call, and what came back on it.

use libra_core::artifact::Digest;
use libra_core::deployment::flink_config::flink_configuration;
use libra_core::deployment::packing::Packing;
use libra_core::deployment::reconcile::{Answer, Effect, Event, FlinkId, Refusal, Reply, Savepoint, Trigger};
use libra_engines::flink::{Error, Flink, RunRequest};
use libra_store::tables::deployment_history::Happening;

use super::attend::Told;
use crate::flink::FlinkCluster;
use crate::runner;
use crate::service::Service;

/// Removals of savepoints under way: ours, and Flink's own id of the request, for it takes none of ours.
#[derive(Clone, Debug, Default)]
pub(super) struct Removals(Vec<(FlinkId, FlinkId)>);

impl Removals {
    /// What the cluster says of each. One that can't be asked about is left out, and asked about again.
    pub(super) async fn answers(&self, flink: &Flink) -> Vec<(FlinkId, Trigger)> {
        let mut answers = Vec::with_capacity(self.0.len());
        for (ours, request) in &self.0 {
            if let Ok(trigger) = flink.poll_disposal(*request).await {
                answers.push((*ours, trigger));
            }
        }
        answers
    }

    /// Forgets those of savepoints that are gone.
    pub(super) fn retain(&mut self, savepoints: &[Savepoint]) {
        self.0.retain(|(ours, _)| {
            savepoints.iter().any(|savepoint| savepoint.removal.as_ref().is_some_and(|(id, _)| id == ours))
        });
    }

    fn began(&mut self, ours: FlinkId, request: FlinkId) {
        self.0.retain(|(id, _)| *id != ours);
        self.0.push((ours, request));
    }
}

/// What is told of a step.
pub(super) fn happening(effect: &Effect) -> Option<Happening> {
    let Effect::Emit(event) = effect else { return None };
    Some(Happening { kind: kind(event).to_owned(), message: event.to_string() })
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Phase(_) => "phase",
        Event::Starts { .. } => "starts",
        Event::Ended { .. } => "ended",
        Event::SavepointMade(_) => "savepoint_made",
        Event::SavepointFailed(_) => "savepoint_failed",
        Event::SavepointRemoved(_) => "savepoint_removed",
        Event::Unreachable(_) => "unreachable",
        Event::ReachableAgain => "reachable_again",
        Event::JobManagerRestarted => "jobmanager_restarted",
        Event::JobVanished(_) => "job_vanished",
        Event::StrayFound(_) => "stray_found",
        Event::EndedFromOutside(_) => "ended_from_outside",
        Event::RolledBack { .. } => "rolled_back",
        Event::GivenUp(_) => "given_up",
        Event::TriesAgain { .. } => "tries_again",
        Event::NotStable(_) => "not_stable",
    }
}

/// The name of what is asked of Flink, for the points at which a test lets the process die; None for what asks nothing.
pub(super) fn point(effect: &Effect) -> Option<&'static str> {
    match effect {
        Effect::Upload { .. } => Some("upload"),
        Effect::Run { .. } => Some("run"),
        Effect::Stop { .. } => Some("stop"),
        Effect::Savepoint { .. } => Some("savepoint"),
        Effect::Cancel { .. } => Some("cancel"),
        Effect::Dispose { .. } => Some("dispose"),
        Effect::Poll { .. } | Effect::Emit(_) | Effect::WaitUntil(_) => None,
    }
}

/// Asks. Answers what came back, where the reconciler waits for a reply.
pub(super) async fn perform(
    service: &Service,
    cluster: &FlinkCluster,
    told: &Told<'_>,
    effect: &Effect,
    removals: &mut Removals,
) -> Option<Reply> {
    let flink = &cluster.flink;
    match effect {
        Effect::Upload { digest } => {
            if let Err(error) = upload(service, flink, told, digest).await {
                tracing::warn!(deployment = told.deployment.name.id, %error, "a program could not be uploaded");
            }
            None
        }
        Effect::Run { job, send, generation, jar, from, allow_non_restored_state } => {
            let answer = match request(told, cluster, *generation, *job, jar) {
                Some(Ok((request, alone))) => {
                    let request = RunRequest {
                        job_id: Some(*job),
                        savepoint_path: from.clone(),
                        allow_non_restored_state: *allow_non_restored_state,
                        ..request
                    };
                    said(cluster.run(jar, &request, alone).await)
                }
                Some(Err(why)) => Answer::Refused(Refusal::Other(why)),
                None => Answer::Refused(Refusal::Other("the generation is not stored".to_owned())),
            };
            Some(Reply { key: *job, send: *send, answer })
        }
        Effect::Stop { trigger, send, .. } | Effect::Savepoint { trigger, send, .. } if !has_place(told) => {
            let why = "nobody has said where savepoints go; set deployment.savepoint_path, or savepoint-directory of the \
                       cluster";
            let answer = Answer::Refused(Refusal::Other(why.to_owned()));
            Some(Reply { key: *trigger, send: *send, answer })
        }
        Effect::Stop { job, trigger, send, directory } => {
            let answer = said(flink.stop(*job, *trigger, directory, false).await);
            Some(Reply { key: *trigger, send: *send, answer })
        }
        Effect::Savepoint { job, trigger, send, directory } => {
            let answer = said(flink.savepoint(*job, *trigger, directory).await);
            Some(Reply { key: *trigger, send: *send, answer })
        }
        Effect::Cancel { job } => {
            // Its end is seen in the list; a job that is gone needs no end.
            if let Err(error) = flink.cancel(*job).await {
                tracing::debug!(%job, %error, "a job could not be cancelled; it is asked again");
            }
            None
        }
        Effect::Dispose { path, trigger } => {
            match flink.dispose(path).await {
                Ok(request) => removals.began(*trigger, request),
                Err(error) => tracing::debug!(path, %error, "a savepoint could not be removed"),
            }
            None
        }
        Effect::Poll { .. } | Effect::Emit(_) | Effect::WaitUntil(_) => None,
    }
}

/// True when savepoints of the wanted generation have a directory.
fn has_place(told: &Told<'_>) -> bool {
    let target = told.deployment.wish.target();
    let found = told.generations.iter().find(|of| of.number == target);
    found.is_some_and(|of| told.facts.savepoints_of(&of.normal).is_some())
}

/// What a run is told, but for its id and its state, and whether it begins alone; None when the generation is not stored, an error in words when the
/// cluster can't be told.
fn request(
    told: &Told<'_>,
    cluster: &FlinkCluster,
    generation: u64,
    job: FlinkId,
    jar: &str,
) -> Option<Result<(RunRequest, bool), String>> {
    let found = told.generations.iter().find(|of| of.number == generation)?;
    let normal = &found.normal;
    let mut settings = flink_configuration(normal);
    if let Some(directory) = told.facts.savepoints_of(normal) {
        settings.insert("execution.checkpointing.savepoint-dir".to_owned(), directory);
    }
    let run = match runner::told(
        normal,
        &job.to_string(),
        jar,
        cluster.uploads().as_deref(),
        cluster.python.as_deref(),
    ) {
        Ok(run) => run,
        Err(why) => return Some(Err(why)),
    };
    settings.extend(run.settings);
    let request = RunRequest {
        entry_class: run.entry_class,
        program_args_list: run.args,
        parallelism: Some(normal.deployment.parallelism),
        flink_configuration: settings,
        ..RunRequest::default()
    };
    Some(Ok((request, normal.packing() == Packing::Python)))
}

fn said(result: Result<FlinkId, Error>) -> Answer {
    match result {
        Ok(_) => Answer::Accepted,
        Err(error) => error.answer(),
    }
}

/// Uploads a program whose bytes were checked just before, under the name that its generation gives it.
async fn upload(service: &Service, flink: &Flink, told: &Told<'_>, name: &str) -> Result<(), String> {
    let found = told.generations.iter().find(|of| of.upload_name() == name);
    let of = found.ok_or("no generation that is stored has it")?;
    let named = Digest::of_hex(&of.digest).ok_or("its digest is none")?;
    let programs = service.programs.clone();
    let checked = tokio::task::spawn_blocking(move || programs.checked(&named)).await;
    let path = checked.map_err(|e| e.to_string())?.map_err(|e| format!("its file: {e}"))?;
    let packed = service.packed(of.normal.packing(), path).await?;
    flink.upload(&packed.file, name).await.map(drop).map_err(|e| e.to_string())
}
