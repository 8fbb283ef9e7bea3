//! A run begins: artifact uploaded, name free, state chosen, recorded, sent.

use super::desired::{Kind, Upgrade, Version};
use super::effect::{Effect, Event};
use super::flink_id::FlinkId;
use super::observed::{Answer, Refusal};
use super::pass::{Pass, is_completed};
use super::row::{End, Fate, MOST_PAST, Phase, Run, Sent, State, Upload};
use super::trouble::{Trouble, shortened};

/// The time between two looks at something that somebody else has to change, in microseconds.
const BLOCKED_EVERY: i64 = 10 * crate::time::MICROS_PER_SECOND;
/// The time between two looks at whether another program has begun that must not begin beside this one, in microseconds.
const ALONE_AGAIN: i64 = crate::time::MICROS_PER_SECOND;

impl Pass<'_> {
    /// Nothing of ours lives: makes `generation` run.
    pub(super) fn start(&mut self, generation: u64) {
        if is_completed(self.desired, &self.row, generation) {
            return self.complete();
        }
        self.row.phase = Phase::Starting;
        let wait = [self.row.not_before, self.quiet_from()].into_iter().flatten().max();
        if let Some(at) = wait.filter(|at| self.now() < *at) {
            return self.wait_until(at);
        }
        let Some(version) = self.desired.version(generation).cloned() else {
            let gone = Trouble::GenerationGone(generation);
            self.say(Event::GivenUp(gone.clone()));
            return self.give_up(gone, None, false);
        };
        if let Some(id) = self.foreign_job() {
            self.row.phase = Phase::Blocked;
            self.row.trouble = Some(Trouble::ForeignJob { id });
            return self.wait_until(self.now().plus_micros(BLOCKED_EVERY));
        }
        if matches!(self.row.trouble, Some(Trouble::ForeignJob { .. })) {
            self.row.trouble = None;
        }
        if self.desired.waits {
            // Whoever gives turns says when it has come.
            self.row.phase = Phase::Waiting;
            return;
        }
        if let Some(jar) = self.jar(&version)
            && self.may_begin(&version)
        {
            self.send(&version, jar);
        }
    }

    /// False, and it is looked at again soon, while another program begins that has to be alone as this one has.
    fn may_begin(&mut self, version: &Version) -> bool {
        let waits = version.alone && self.desired.another_begins;
        if waits {
            self.wait_until(self.now().plus_micros(ALONE_AGAIN));
        }
        !waits
    }

    fn complete(&mut self) {
        self.row.phase = Phase::Completed;
        self.row.trouble = None;
        self.row.tries = 0;
        self.row.not_before = None;
        self.tidy_savepoints();
    }

    /// A living job of this name that we did not start.
    fn foreign_job(&self) -> Option<FlinkId> {
        let own = self.row.run.as_ref().map(|run| run.id);
        let foreign = self.cluster.jobs.iter().find(|job| {
            job.name == self.desired.name
                && !job.state.is_terminal()
                && Some(job.id) != own
                && !self.row.past.contains(&job.id)
        });
        foreign.map(|job| job.id)
    }

    /// Flink's id of the uploaded artifact; without one, an upload is recorded and asked for.
    fn jar(&mut self, version: &Version) -> Option<String> {
        let (generation, digest) = (version.generation, version.digest.as_str());
        let found = self.cluster.jars.iter().find(|(of, _)| of == digest).map(|(_, jar)| jar.clone());
        if found.is_some() {
            self.row.upload = None;
            return found;
        }
        if self.cluster.open.upload {
            self.poll();
            return None;
        }
        match self.refused_upload(digest) {
            // Until somebody signs it, no other try would end otherwise.
            Some(Refusal::ProgramRefused(why)) => {
                self.row.upload = None;
                self.blame_generation(Some(generation), Trouble::ProgramRefused(shortened(&why)));
                return None;
            }
            Some(Refusal::ProgramUnread(why)) => {
                self.row.trouble = Some(Trouble::ProgramRefused(shortened(&why)));
            }
            Some(_) | None => {}
        }
        let now = self.now();
        let sends = match self.row.upload.as_ref().filter(|upload| upload.digest == digest) {
            Some(upload) => {
                let again = upload.sent_at.plus_micros(self.desired.timing.resend_after);
                if now < again {
                    self.poll();
                    return None;
                }
                upload.sends
            }
            None => 0,
        };
        if sends >= self.desired.timing.max_tries {
            self.row.upload = None;
            self.row.tries = sends;
            let refused = |trouble: &Trouble| matches!(trouble, Trouble::ProgramRefused(_));
            let last = self.row.trouble.clone().filter(refused).map(Box::new);
            let last = last.unwrap_or_else(|| {
                Box::new(Trouble::BadProgram("the artifact can't be uploaded".to_owned()))
            });
            self.blame_generation(Some(generation), Trouble::TooManyTries { tries: sends, last });
            return None;
        }
        self.row.upload = Some(Upload { digest: digest.to_owned(), sent_at: now, sends: sends + 1 });
        self.effects.push(Effect::Upload { digest: digest.to_owned() });
        self.poll();
        None
    }

    /// Why the last upload of this program was not sent, where it was not.
    fn refused_upload(&self, digest: &str) -> Option<Refusal> {
        let reply = self.cluster.reply.as_ref().filter(|reply| reply.key == upload_key(digest))?;
        match &reply.answer {
            Answer::Refused(refusal) => Some(refusal.clone()),
            Answer::Accepted | Answer::Unclear(_) => None,
        }
    }

    fn send(&mut self, version: &Version, jar: String) {
        let given = self.desired.given.as_ref().filter(|given| given.nonce > self.row.given_nonce);
        let given = given.map(|given| (given.nonce, State { path: given.path.clone(), generation: 0 }));
        if let Some((nonce, _)) = &given {
            self.row.given_nonce = *nonce;
        }
        // The own state stays in the row until a job has begun with the one that was named.
        let named = given.map(|(_, state)| state).or_else(|| self.named_before());
        // A generation without state forgets what was before it; its own checkpoints count, and so does what its run
        // began with, even if nobody has seen that run.
        let own = |state: &State| {
            let last = self.row.run.as_ref().and_then(|run| run.from.as_ref());
            [0, version.generation].contains(&state.generation)
                || last.is_some_and(|from| from.path == state.path && from.generation == version.generation)
        };
        let leaves = match version.upgrade {
            Upgrade::Stateless => self.row.state.as_ref().is_some_and(|state| !own(state)),
            Upgrade::Savepoint | Upgrade::LastCheckpoint => false,
        };
        let id = self.fresh();
        if let Some(last) = self.row.run.take() {
            self.row.past.push(last.id);
            let over = self.row.past.len().saturating_sub(MOST_PAST);
            self.row.past.drain(..over);
        }
        // It stays in the row until the job is seen: a run that never begins has left nothing behind.
        let without = leaves || version.kind == Kind::Batch;
        let own = self.row.state.clone().filter(|_| !without);
        let own = own.map(|state| State { generation: version.generation, ..state });
        let from = named.or(own);
        let fate = Fate::Sent(Sent {
            sends: 1,
            at: self.now(),
            open_until: None,
            heard: None,
            life: self.cluster.life.clone(),
        });
        let run = Run::new(id, version.generation, self.desired.nonce, fate);
        self.row.run = Some(Run { from: from.clone(), alone: version.alone, ..run });
        self.say(Event::Starts { generation: version.generation, job: id, from: from.clone() });
        self.effects.push(run_effect(id, 1, version, jar, from));
        self.poll();
    }

    /// The state that somebody has named for a run that never began; the same wish tries again with it.
    fn named_before(&self) -> Option<State> {
        let last = self.row.run.as_ref().filter(|run| run.nonce == self.desired.nonce)?;
        let never = match last.fate {
            Fate::Ended(End::NeverRan | End::Refused) => true,
            Fate::Ended(End::Stopped | End::Finished | End::Failed | End::Outside | End::Vanished)
            | Fate::Sent(_)
            | Fate::Live => false,
        };
        last.from.clone().filter(|from| never && from.generation == 0)
    }

    /// The same request with the same id: Flink refuses the second of two that it got.
    pub(super) fn send_again(&mut self) {
        let Some(run) = self.row.run.clone() else { return };
        let Some(version) = self.desired.version(run.generation).cloned() else { return };
        let Some(jar) = self.jar(&version) else { return };
        if !self.may_begin(&version) {
            return;
        }
        let budget = self.desired.timing.main_budget;
        let (now, life) = (self.now(), self.cluster.life.clone());
        let Some(Fate::Sent(sent)) = self.row.run.as_mut().map(|run| &mut run.fate) else { return };
        // The earlier request has not been heard of, so its main() may still be at work.
        let open = sent.at.plus_micros(budget);
        sent.open_until = Some(sent.open_until.map_or(open, |until| until.max(open)));
        sent.sends += 1;
        sent.at = now;
        sent.heard = None;
        sent.life = life;
        let sends = sent.sends;
        self.effects.push(run_effect(run.id, sends, &version, jar, run.from));
        self.poll();
    }
}

/// The key of the reply on an upload, which has no id of its own: the first half of what is uploaded's digest.
pub fn upload_key(digest: &str) -> FlinkId {
    FlinkId(digest.get(..32).and_then(|half| u128::from_str_radix(half, 16).ok()).unwrap_or(0))
}

fn run_effect(job: FlinkId, send: u32, version: &Version, jar: String, from: Option<State>) -> Effect {
    Effect::Run {
        job,
        send,
        generation: version.generation,
        jar,
        from: from.map(|state| state.path),
        allow_non_restored_state: version.allow_non_restored_state,
    }
}
