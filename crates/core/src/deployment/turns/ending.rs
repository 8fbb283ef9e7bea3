//! How a job ends, and why: in words for its history.

use super::super::reconcile::{End, Goal, Trouble, goal};
use super::{Ending, Settler, Turn, Wish};
use crate::failure::{ErrorClass, Failure};

impl Settler<'_> {
    /// Why a run that has not begun, or was stopped, is wanted no more.
    pub(super) fn why_not(&self, next: Option<Wish>) -> String {
        if let Some((generation, _)) = next {
            let refused = self.row.refused.as_ref().filter(|refused| refused.instead == Some(generation));
            return match (refused, self.turn) {
                (Some(refused), _) => {
                    format!("replaced: generation {generation} comes back, because {}", refused.why)
                }
                (None, Some(turn)) if turn.generation != generation => {
                    format!("replaced by generation {generation}")
                }
                (None, _) if self.is_batch(generation) => "replaced by the next run".to_owned(),
                (None, _) => "stopped; it begins again".to_owned(),
            };
        }
        match goal(self.desired, self.row) {
            Goal::Suspend => "suspended".to_owned(),
            Goal::Delete => "deleted".to_owned(),
            Goal::Idle | Goal::Run(_) => "this run is wanted no more".to_owned(),
            Goal::Rest => match &self.row.refused {
                Some(refused) => format!("given up: {}", refused.why),
                None => "given up".to_owned(),
            },
        }
    }

    /// The end of a job whose run ended so; `next` takes its place.
    pub(super) fn ending(&self, turn: &Turn, how: End, next: Option<Wish>) -> Ending {
        let goal = goal(self.desired, self.row);
        let batch = self.is_batch(turn.generation);
        match (how, goal) {
            (End::Failed, _) => Ending::Failed(self.failure(how)),
            (End::Finished, _) if batch => Ending::Succeeded,
            // Who stops a stream job leaves it finished too.
            (End::Finished, Goal::Run(_)) if next.is_none() => Ending::Succeeded,
            (_, Goal::Rest) | (End::Refused, Goal::Run(_)) => Ending::Failed(match &self.row.refused {
                Some(refused) => failure_of(&refused.why),
                None => self.failure(how),
            }),
            (End::Stopped, Goal::Idle) if self.timed_out(turn) => Ending::TimedOut,
            (End::Vanished, Goal::Idle) => Ending::Failed(self.failure(how).with_unknown_outcome()),
            (End::Outside, Goal::Idle) => Ending::Cancelled("ended by somebody else".to_owned()),
            (
                End::Stopped | End::Finished | End::Outside | End::Vanished | End::NeverRan | End::Refused,
                Goal::Idle | Goal::Run(_) | Goal::Suspend | Goal::Delete,
            ) => Ending::Cancelled(self.why_not(next)),
        }
    }

    fn timed_out(&self, turn: &Turn) -> bool {
        self.agenda.run.is_some_and(|asked| asked.nonce == turn.nonce && asked.timed_out)
    }

    /// What went wrong with a run that ended so.
    pub(super) fn failure(&self, how: End) -> Failure {
        match (how, &self.row.trouble) {
            (End::Outside, _) => Failure::new(
                ErrorClass::Infrastructure,
                "ended_from_outside",
                "somebody else has ended the job in Flink",
            ),
            (End::Vanished, _) => {
                Failure::new(ErrorClass::Infrastructure, "job_lost", "the cluster has lost the job")
            }
            (End::Failed | End::NeverRan | End::Refused | End::Stopped | End::Finished, Some(why)) => {
                failure_of(why)
            }
            (End::Failed | End::Stopped | End::Finished, None) => Failure::new(
                ErrorClass::User,
                "job_failed",
                "the job failed; its exceptions are kept with the deployment",
            ),
            (End::NeverRan | End::Refused, None) => {
                Failure::new(ErrorClass::Infrastructure, "never_ran", "the run never began")
            }
        }
    }
}

/// What is wrong with a deployment, as the failure of its job.
fn failure_of(why: &Trouble) -> Failure {
    let code = serde_json::to_value(why).ok();
    let code = code.as_ref().and_then(|code| code.get("reason")?.as_str()).unwrap_or("refused");
    let failure = Failure::new(class_of(why), code, format!("{why}; {}", why.hint()));
    if matches!(why, Trouble::OutcomeUnknown) { failure.with_unknown_outcome() } else { failure }
}

fn class_of(why: &Trouble) -> ErrorClass {
    match why {
        Trouble::BadProgram(_)
        | Trouble::ProgramRefused(_)
        | Trouble::MainFailed(_)
        | Trouble::StateGone(_)
        | Trouble::StateMismatch(_)
        | Trouble::JobFailed(_)
        | Trouble::NotStable
        | Trouble::KeepsRestarting(_) => ErrorClass::User,
        Trouble::NoResources(_) => ErrorClass::Resources,
        Trouble::SavepointLost(_)
        | Trouble::SavepointFails(_)
        | Trouble::NeverRan
        | Trouble::ForeignJob { .. }
        | Trouble::OutcomeUnknown
        | Trouble::GenerationGone(_)
        | Trouble::Refused(_) => ErrorClass::Infrastructure,
        Trouble::TooManyTries { tries: _, last } => class_of(last),
    }
}
