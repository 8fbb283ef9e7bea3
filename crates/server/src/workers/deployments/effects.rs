//! What is asked of Flink: one effect, one call, and what came back on it.

use libra_core::deployment::declared::Generation;
use libra_core::deployment::flink_config::flink_configuration;
use libra_core::deployment::reconcile::{
    Answer, Ask, Effect, Event, FlinkId, Refusal, Reply, Savepoint, Saving, Trigger,
};
use libra_engines::flink::{Error, Flink, RunRequest};
use libra_store::tables::deployment_history::Happening;

use super::requests::{Program, Request};
use super::stored::Stored;
use crate::flink::FlinkCluster;
use crate::runner;

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

pub(super) fn kind(event: &Event) -> &'static str {
    match event {
        Event::Phase(_) => "phase",
        Event::Starts { .. } => "starts",
        Event::Ended { .. } => "ended",
        Event::SavepointMade(_) => "savepoint_made",
        Event::SavepointFailed(_) => "savepoint_failed",
        Event::SavepointRemoved(_) => "savepoint_removed",
        Event::Rescaled { .. } => "rescaled",
        Event::RescaleWaits(_) => "rescale_waits",
        Event::RescaleFailed => "rescale_failed",
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
        Event::Restarted { .. } => "restarted",
        Event::HeldBack { .. } => "held_back",
        Event::KeepsUp => "keeps_up",
    }
}

/// The name of what is asked, for the points at which a test lets the process die.
pub(super) fn point(ask: &Ask) -> &'static str {
    match ask {
        Ask::Stop { .. } => "stop",
        Ask::Savepoint { .. } => "savepoint",
        Ask::Rescale { .. } => "rescale",
        Ask::Cancel { .. } => "cancel",
        Ask::Dispose { .. } => "dispose",
    }
}

/// What is checked before a generation is uploaded or run.
fn program(stored: &Stored, of: &Generation) -> Program {
    let wanted = stored.deployment.wish.target();
    Program { digest: of.digest.clone(), generation: of.number, wanted }
}

/// The request of an effect that takes long, or the answer where it can't be made. With `no_code` statements that nobody
/// has signed bring no program along.
pub(super) fn request(
    cluster: &FlinkCluster,
    stored: &Stored,
    effect: &Effect,
    no_code: bool,
) -> Option<Result<Request, Reply>> {
    if let Effect::Upload { digest } = effect {
        let found = stored.generations.iter().find(|of| of.upload_name() == *digest)?;
        let (name, packing) = (digest.clone(), found.normal.packing());
        return Some(Ok(Request::Upload { program: program(stored, found), name, packing }));
    }
    let Effect::Run { job, send, generation, jar, from, allow_non_restored_state } = effect else {
        return None;
    };
    let found = stored.generations.iter().find(|of| of.number == *generation);
    let found = found.ok_or_else(|| "the generation is not stored".to_owned());
    let found = found.and_then(|found| Ok((found, run_request(stored, cluster, found, *job, jar, no_code)?)));
    let (found, what) = match found {
        Ok(found) => found,
        Err(why) => {
            let answer = Answer::Refused(Refusal::Other(why));
            return Some(Err(Reply { key: *job, send: *send, answer }));
        }
    };
    let what = Box::new(RunRequest {
        job_id: Some(*job),
        savepoint_path: from.clone(),
        allow_non_restored_state: *allow_non_restored_state,
        ..what
    });
    Some(Ok(Request::Run { program: program(stored, found), job: *job, send: *send, jar: jar.clone(), what }))
}

/// Asks what is answered at once. Answers what came back, where the reconciler waits for a reply.
pub(super) async fn perform(flink: &Flink, ask: &Ask, removals: &mut Removals) -> Option<Reply> {
    match ask {
        Ask::Stop { job, send, saving: Saving { trigger, directory } } => {
            let answer = said(flink.stop(*job, *trigger, directory, false).await);
            Some(Reply { key: *trigger, send: *send, answer })
        }
        Ask::Savepoint { job, send, saving: Saving { trigger, directory } } => {
            let answer = said(flink.savepoint(*job, *trigger, directory).await);
            Some(Reply { key: *trigger, send: *send, answer })
        }
        Ask::Rescale { job, parts, from, to } => {
            // What came of it is seen in the job's parts.
            if let Err(error) = flink.rescale(*job, parts, (*from, *to)).await {
                tracing::warn!(%job, %error, "the number of subtasks could not be changed; it is asked again");
            }
            None
        }
        Ask::Cancel { job } => {
            // Its end is seen in the list; a job that is gone needs no end.
            if let Err(error) = flink.cancel(*job).await {
                tracing::debug!(%job, %error, "a job could not be cancelled; it is asked again");
            }
            None
        }
        Ask::Dispose { path, trigger } => {
            match flink.dispose(path).await {
                Ok(request) => removals.began(*trigger, request),
                Err(error) => tracing::debug!(path, %error, "a savepoint could not be removed"),
            }
            None
        }
    }
}

/// What a run is told, but for its id and its state.
///
/// # Errors
/// In words, when the cluster can't be told.
fn run_request(
    stored: &Stored,
    cluster: &FlinkCluster,
    generation: &Generation,
    job: FlinkId,
    jar: &str,
    no_code: bool,
) -> Result<RunRequest, String> {
    let normal = &generation.normal;
    let mut settings = flink_configuration(normal, stored.facts.savepoints_of(normal));
    let (uploads, python) = (cluster.uploads(), cluster.python.as_deref());
    let place = runner::Place { jar, uploads: uploads.as_deref(), python, no_code };
    let run = runner::told(normal, &job.to_string(), &place)?;
    settings.extend(run.settings);
    Ok(RunRequest {
        entry_class: run.entry_class,
        program_args_list: run.args,
        parallelism: Some(normal.deployment.parallelism),
        flink_configuration: settings,
        ..RunRequest::default()
    })
}

pub(super) fn said(result: Result<FlinkId, Error>) -> Answer {
    match result {
        Ok(_) => Answer::Accepted,
        Err(error) => error.answer(),
    }
}
