//! What became of a run: whether its job is there, how it ended, and which state it leaves.

use super::desired::Kind;
use super::effect::Event;
use super::observed::{Answer, Job, JobState, Kept, Refusal};
use super::pass::{Goal, Pass};
use super::row::{Act, End, Fate, Heard, Sent, State};
use super::trouble::{Trouble, shortened};
use crate::time::Timestamp;

impl Pass<'_> {
    pub(super) fn follow_run(&mut self) {
        let Some(run) = self.row.run.clone() else { return };
        match (self.own_job(), run.fate) {
            (Some(job), fate) => self.seen(job, &fate),
            (None, Fate::Sent(sent)) => self.follow_sent(sent),
            (None, Fate::Live) => self.absent(),
            (None, Fate::Ended(_)) => {}
        }
    }

    /// True while the present run is what is wanted: then its failures are trouble, else only its end counts.
    fn run_is_wanted(&self) -> bool {
        let Some(runs) = self.row.run.as_ref().map(|run| run.generation) else { return false };
        // One that was sent as an older spec says is not sent again: what it would leave behind may be wanted by now.
        let batch = self.run_kind() == Kind::Batch;
        let is = |wanted| wanted == runs || batch && self.desired.is_same_job(wanted, runs);
        matches!(self.goal(), Goal::Run(wanted) if is(wanted)) && !self.run_is_over()
    }

    fn run_has_spec(&self) -> bool {
        self.row.run.as_ref().is_some_and(|run| self.desired.version(run.generation).is_some())
    }

    fn seen(&mut self, job: &Job, fate: &Fate) {
        let alive = !job.state.is_terminal();
        if self.cluster.open.run && matches!(fate, Fate::Sent(_)) && job.state.is_undecided() {
            return self.poll();
        }
        // A run that Flink refuses may leave the ghost of a job: the answer says more than its end.
        if let (Fate::Sent(sent), JobState::Failed) = (fate, job.state) {
            let mut sent = sent.clone();
            self.hear(&mut sent);
            if let Some(Heard::Refused(refusal)) = sent.heard {
                return self.refused(refusal);
            }
        }
        let newest = newest([job.checkpoint.as_ref(), job.savepoint.as_ref()]);
        let by = self.now().plus_micros(self.desired.stability.within);
        let begins = matches!(fate, Fate::Sent(_));
        if let Some(run) = self.row.run.as_mut() {
            if begins {
                // Also one that somebody has named: from now on it is the state of this generation.
                self.row.state = run.from.clone().map(|from| State { generation: run.generation, ..from });
            }
            run.absent_since = None;
            if newest.is_some() {
                run.kept = newest;
            }
            if !run.proven && !matches!(fate, Fate::Live) {
                run.prove_by.get_or_insert(by);
            }
            match fate {
                Fate::Sent(_) => run.fate = Fate::Live,
                // One that was thought to be lost, and that a JobManager has taken up again.
                Fate::Ended(End::Vanished | End::NeverRan | End::Refused) if alive => run.fate = Fate::Live,
                Fate::Live | Fate::Ended(_) => {}
            }
        }
        if alive || !self.run_is(&Fate::Live) {
            return;
        }
        match self.row.operation.as_ref().map(|operation| &operation.act) {
            // The operation knows better how to end it.
            Some(Act::Stop(_) | Act::Cancel { .. }) => {}
            Some(Act::Savepoint(_) | Act::Rescale { .. }) | None => {
                self.take_unheard_savepoint();
                self.ended_by_itself(job);
            }
        }
    }

    /// The job is over, and it was not us.
    fn ended_by_itself(&mut self, job: &Job) {
        let wanted = self.run_is_wanted();
        let batch = self.run_kind() == Kind::Batch;
        match job.state {
            JobState::Finished => {
                // Who stops a job with a savepoint leaves it FINISHED too, and the savepoint newer than any checkpoint.
                let stopped = newest([job.checkpoint.as_ref(), job.savepoint.as_ref()])
                    .filter(|kept| job.savepoint.as_ref() == Some(kept) && !self.is_ours(&kept.path));
                if stopped.is_some() && !batch {
                    self.say(Event::EndedFromOutside(job.id));
                    self.end(End::Outside);
                } else {
                    self.end(End::Finished);
                }
            }
            JobState::Canceled => {
                self.say(Event::EndedFromOutside(job.id));
                self.end(End::Outside);
                if wanted {
                    self.try_again(Trouble::JobFailed("it was cancelled by somebody else".to_owned()));
                }
            }
            JobState::Failed => {
                self.end(End::Failed);
                let why =
                    job.failure.as_deref().map_or_else(|| "Flink gives no reason".to_owned(), shortened);
                if wanted {
                    self.failed(Trouble::JobFailed(why));
                }
            }
            JobState::Initializing
            | JobState::Created
            | JobState::Running
            | JobState::Failing
            | JobState::Cancelling
            | JobState::Restarting
            | JobState::Suspended
            | JobState::Reconciling => {}
        }
    }

    /// Flink restarts a job as often as its spec says; a new generation that fails beyond that is not tried again
    /// when there is one to go back to.
    fn failed(&mut self, why: Trouble) {
        let proven = self.row.run.as_ref().is_some_and(|run| run.proven);
        let new = match (&self.row.stable, &self.row.run) {
            (Some(stable), Some(run)) => stable.generation != run.generation,
            (Some(_) | None, _) => false,
        };
        if new && !proven { self.blame(why) } else { self.try_again(why) }
    }

    fn is_ours(&self, savepoint: &str) -> bool {
        self.row.savepoints.iter().any(|ours| ours.path == savepoint)
    }

    pub(super) fn run_kind(&self) -> Kind {
        let generation = self.row.run.as_ref().map(|run| run.generation);
        generation
            .and_then(|generation| self.desired.version(generation))
            .map_or(Kind::Streaming, |version| version.kind)
    }

    /// Notes that the cluster does not list the job, and answers since when.
    fn note_absent(&mut self) -> Option<Timestamp> {
        let now = self.now();
        let run = self.row.run.as_mut()?;
        let first = run.absent_since.is_none();
        let since = *run.absent_since.get_or_insert(now);
        let id = run.id;
        if first && run.fate == Fate::Live {
            self.say(Event::JobVanished(id));
        }
        Some(since)
    }

    /// A job that was there and is not listed: ended once its tasks must be over, wherever they ran.
    fn absent(&mut self) {
        let Some(since) = self.note_absent() else { return };
        let over = since.plus_micros(self.desired.timing.zombie_window);
        let over = self.quiet_from().map_or(over, |quiet| over.max(quiet));
        if self.now() < over {
            return self.wait_until(over);
        }
        let operation = self.row.operation.as_ref().map(|operation| &operation.act);
        let on_disk = self.savepoint_on_disk().filter(|savepoint| !self.has_newer_checkpoint(savepoint));
        match (operation, on_disk) {
            // It was stopped as asked, and only the answer is lost.
            (Some(Act::Stop(_)), Some(savepoint)) => self.stopped_with(savepoint.path),
            (Some(Act::Cancel { .. }), _) => self.end(End::Stopped),
            (Some(Act::Stop(_) | Act::Savepoint(_) | Act::Rescale { .. }) | None, _) => {
                self.take_unheard_savepoint();
                let wanted = self.run_is_wanted();
                self.end(End::Vanished);
                if wanted && self.run_kind() == Kind::Batch {
                    self.say(Event::GivenUp(Trouble::OutcomeUnknown));
                    self.give_up(Trouble::OutcomeUnknown, None, false);
                }
            }
        }
    }

    /// The savepoint in the operation's directory; with the number 0 where its own is not known.
    fn savepoint_on_disk(&self) -> Option<Kept> {
        let disk = self.cluster.disk.as_ref()?;
        let path = disk.savepoint.clone()?;
        Some(Kept { path, number: disk.savepoint_number.unwrap_or(0) })
    }

    /// A job that did not end as it was asked to may have gone on after its savepoint.
    fn has_newer_checkpoint(&self, savepoint: &Kept) -> bool {
        let on_disk = self.cluster.disk.as_ref().and_then(|disk| disk.checkpoint.as_ref());
        let seen = self.row.run.as_ref().and_then(|run| run.kept.as_ref());
        savepoint.number > 0 && newest([on_disk, seen]).is_some_and(|kept| kept.number > savepoint.number)
    }

    /// The run is over, and its savepoint was complete before that was heard: it may be the newest state that there is.
    fn take_unheard_savepoint(&mut self) {
        let Some(operation) = self.row.operation.clone() else { return };
        let Some(saving) = operation.saving() else { return };
        let listed = self.own_job().and_then(|job| job.savepoint.clone());
        let listed = listed.filter(|kept| kept.path.contains(&saving.trigger.to_string()));
        let Some(found) = newest([listed.as_ref(), self.savepoint_on_disk().as_ref()]) else { return };
        if matches!(operation.act, Act::Savepoint(_)) {
            self.row.savepoint_nonce = self.desired.savepoint_nonce;
        }
        self.savepoint_made(found);
    }

    /// A savepoint is complete, and the job was not stopped by it.
    pub(super) fn savepoint_made(&mut self, made: Kept) {
        let Some(run) = self.row.run.as_mut() else { return };
        let generation = run.generation;
        run.kept = newest([run.kept.as_ref(), Some(&made)]);
        self.keep_savepoint(made.path.clone(), generation);
        self.say(Event::SavepointMade(made.path));
    }

    /// A run of which nobody knows whether there is a job: none is listed.
    fn follow_sent(&mut self, mut sent: Sent) {
        self.hear(&mut sent);
        let timing = self.desired.timing;
        let now = self.now();
        let was_sent_to = sent.life.clone();
        let heard = sent.heard.clone();
        let last_open = sent.at.plus_micros(timing.main_budget);
        let earlier = sent.open_until;
        let (sends, at) = (sent.sends, sent.at);
        let mut alone = false;
        if let Some(run) = self.row.run.as_mut() {
            run.fate = Fate::Sent(sent);
            alone = run.alone;
        }
        // Whatever a former life of the JobManager took is over, once its tasks are.
        let reborn = was_sent_to.is_some() && was_sent_to != self.cluster.life;
        let has_run = self.cluster.disk.as_ref().is_some_and(|disk| disk.checkpoint.is_some());
        if reborn || has_run || heard == Some(Heard::Taken) {
            return self.absent();
        }
        // Its main() may be at work.
        if self.cluster.open.run {
            return self.poll();
        }
        match heard {
            Some(Heard::Refused(refusal)) => match earlier.filter(|until| now < *until) {
                Some(until) => self.wait_until(until),
                None => self.refused(refusal),
            },
            Some(Heard::Taken) | None => {
                // What has to begin alone must not begin beside itself either.
                let resend_at = if alone { last_open } else { at.plus_micros(timing.resend_after) };
                let resend_at = match (&self.cluster.life, self.note_absent()) {
                    // It can't be told whether this is the JobManager that was asked.
                    (None, Some(since)) => resend_at.max(since.plus_micros(timing.zombie_window)),
                    (Some(_), _) | (None, None) => resend_at,
                };
                let resend_at = self.quiet_from().map_or(resend_at, |quiet| resend_at.max(quiet));
                if sends < timing.max_sends && self.run_is_wanted() && self.run_has_spec() {
                    if now >= resend_at {
                        self.send_again();
                    } else {
                        self.wait_until(resend_at);
                    }
                    return;
                }
                let over = earlier.map_or(last_open, |until| until.max(last_open));
                if now < over {
                    return self.wait_until(over);
                }
                let wanted = self.run_is_wanted();
                self.end(End::NeverRan);
                if wanted {
                    self.try_again(Trouble::NeverRan);
                }
            }
        }
    }

    /// Takes the reply on the last request, if there is one.
    fn hear(&self, sent: &mut Sent) {
        let id = self.row.run.as_ref().map(|run| run.id);
        let Some(reply) = &self.cluster.reply else { return };
        if Some(reply.key) != id || reply.send != sent.sends || sent.heard.is_some() {
            return;
        }
        sent.heard = match &reply.answer {
            Answer::Accepted | Answer::Refused(Refusal::Duplicate) => Some(Heard::Taken),
            Answer::Refused(refusal) => Some(Heard::Refused(refusal.clone())),
            Answer::Unclear(_) => None,
        };
    }

    fn refused(&mut self, refusal: Refusal) {
        let wanted = self.run_is_wanted();
        let from = self.row.run.as_ref().and_then(|run| run.from.as_ref()).map(|from| from.path.clone());
        self.end(End::Refused);
        if !wanted {
            return;
        }
        match refusal {
            // Uploaded again as soon as the cluster's list shows that it is gone.
            Refusal::MissingJar => self.try_again(Trouble::Refused("the uploaded jar is gone".to_owned())),
            Refusal::BadProgram(why) => self.blame(Trouble::BadProgram(shortened(&why))),
            Refusal::ProgramRefused(why) => self.blame(Trouble::ProgramRefused(shortened(&why))),
            // It is there again once it is applied again.
            Refusal::ProgramUnread(why) => self.try_again(Trouble::ProgramRefused(shortened(&why))),
            Refusal::MainFailed(why) => self.blame(Trouble::MainFailed(shortened(&why))),
            Refusal::StateMismatch(why) => self.blame(Trouble::StateMismatch(shortened(&why))),
            // No generation can begin with it: going back would not help.
            Refusal::StateNotFound(why) => {
                let trouble = Trouble::StateGone(from.unwrap_or_else(|| shortened(&why)));
                self.say(Event::GivenUp(trouble.clone()));
                self.give_up(trouble, None, false);
            }
            Refusal::NoResources(why) => self.try_again(Trouble::NoResources(shortened(&why))),
            Refusal::Duplicate => self.try_again(Trouble::NeverRan),
            Refusal::UnknownJob => self.try_again(Trouble::Refused("the job is not known".to_owned())),
            Refusal::Other(why) => self.try_again(Trouble::Refused(shortened(&why))),
        }
    }

    /// The job was stopped, and this is its savepoint.
    pub(super) fn stopped_with(&mut self, path: String) {
        let generation = self.row.run.as_ref().map_or(0, |run| run.generation);
        self.keep_savepoint(path.clone(), generation);
        self.close(End::Stopped, Some(State { path, generation }));
    }

    /// Ends the run. Its newest snapshot is what the next one begins with; without any, that is what it began with.
    pub(super) fn end(&mut self, how: End) {
        let on_disk = self.cluster.disk.as_ref().and_then(|disk| disk.checkpoint.as_ref());
        let savepoint = self.own_job().and_then(|job| job.savepoint.as_ref());
        let Some(run) = &self.row.run else { return };
        let kept = match how {
            End::Stopped | End::Failed | End::Outside | End::Vanished => newest([run.kept.as_ref(), on_disk]),
            // Flink removes the checkpoints of what has finished.
            End::Finished => savepoint.cloned(),
            End::NeverRan | End::Refused => None,
        };
        let left = kept.map(|kept| State { path: kept.path, generation: run.generation });
        self.close(how, left);
    }

    fn close(&mut self, how: End, left: Option<State>) {
        let discard = self.is_distrusted()
            || self
                .row
                .operation
                .as_ref()
                .is_some_and(|operation| operation.act == Act::Cancel { discard: true });
        let Some(run) = self.row.run.as_mut() else { return };
        let (id, generation) = (run.id, run.generation);
        let was_seen = !matches!(run.fate, Fate::Sent(_));
        run.fate = Fate::Ended(how);
        self.row.ended = Some((id, how));
        run.prove_by = None;
        run.proof = None;
        let has_run = was_seen || left.is_some();
        let began = run.from.clone();
        if left.is_some() {
            self.row.state = left;
        }
        let desired = self.desired;
        match self.row.stable.as_mut() {
            // The stable job may have a newer generation's number by now than the run that went on with it.
            Some(stable) if desired.is_same_job(stable.generation, generation) => {
                let own = |state| State { generation: stable.generation, ..state };
                if has_run {
                    stable.state = self.row.state.clone().map(own);
                } else if how == End::Vanished && began.is_some() {
                    // Nobody has seen it, and it may have run: from what it was sent with, not from what lies there.
                    stable.state = began.map(own);
                }
            }
            Some(stable) if discard => self.row.state.clone_from(&stable.state),
            Some(_) | None => {}
        }
        self.row.operation = None;
        self.row.ailing_since = None;
        self.row.savepoint_tries = 0;
        self.say(Event::Ended { job: id, how: words(how).to_owned() });
    }
}

/// The newest of some snapshots.
pub(super) fn newest<const N: usize>(all: [Option<&Kept>; N]) -> Option<Kept> {
    all.into_iter().flatten().max_by_key(|kept| kept.number).cloned()
}

fn words(how: End) -> &'static str {
    match how {
        End::Stopped => "is stopped",
        End::Finished => "has finished",
        End::Failed => "has failed",
        End::Outside => "was ended by somebody else",
        End::Vanished => "is lost with its cluster",
        End::NeverRan => "never began",
        End::Refused => "was refused",
    }
}
