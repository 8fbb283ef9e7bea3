//! The job that is wanted is there: is it stable, does somebody want a savepoint, can old ones go?

use super::desired::Kind;
use super::effect::Event;
use super::leave::is_well;
use super::observed::Job;
use super::pass::Pass;
use super::row::{Phase, Proof, Stable};
use super::trouble::Trouble;

impl Pass<'_> {
    pub(super) fn tend(&mut self) {
        self.row.ailing_since = None;
        self.row.upload = None;
        let proven = self.row.run.as_ref().is_some_and(|run| run.proven);
        self.row.phase = if proven { Phase::Stable } else { Phase::Proving };
        let Some(job) = self.own_job() else {
            // Its end is found out elsewhere.
            self.row.phase = Phase::Ailing;
            return;
        };
        self.watch(job);
        if self.run_kind() == Kind::Batch {
            // It proves itself by its end.
            self.row.phase = if is_well(job) { Phase::Stable } else { Phase::Proving };
            return;
        }
        if !proven {
            self.prove(job);
        } else if !is_well(job) {
            self.row.phase = Phase::Ailing;
        }
        if ![Phase::Proving, Phase::Stable, Phase::Ailing].contains(&self.row.phase) {
            return;
        }
        if self.desired.savepoint_nonce > self.row.savepoint_nonce {
            if is_well(job) {
                return self.save();
            }
            self.poll();
        }
        self.tidy_savepoints();
    }

    /// All tasks run, enough checkpoints are complete, and nothing was restarted or thrown for a while.
    /// Restarts before that are forgiven up to a number: slots may come late.
    pub(super) fn prove(&mut self, job: &Job) {
        let now = self.now();
        let stability = self.desired.stability;
        let Some(run) = self.row.run.as_mut() else { return };
        let restarts = job.restarts.saturating_sub(run.before.restarts);
        let checkpoints = job.checkpoints.saturating_sub(run.before.checkpoints);
        if run.prove_by.is_some() && restarts > stability.max_restarts {
            return self.not_stable(Trouble::KeepsRestarting(restarts));
        }
        if is_well(job) {
            let counted =
                |proof: &Proof| proof.restarts == job.restarts && proof.exceptions == job.exceptions;
            let since = match run.proof.filter(counted) {
                Some(proof) => proof.since,
                None => now,
            };
            run.proof = Some(Proof { since, restarts: job.restarts, exceptions: job.exceptions });
            let quiet_from = since.plus_micros(stability.window);
            if now >= quiet_from && checkpoints >= stability.checkpoints {
                return self.proven();
            }
            self.wait_until(if now < quiet_from {
                quiet_from
            } else {
                now.plus_micros(stability.window.max(1))
            });
        } else {
            run.proof = None;
            self.poll();
        }
        let Some((by, proof)) = self.row.run.as_ref().and_then(|run| Some((run.prove_by?, run.proof))) else {
            return;
        };
        if now < by {
            return self.wait_until(by);
        }
        // A window that began in time may end.
        if proof.is_some_and(|proof| proof.since < by && now < proof.since.plus_micros(stability.window)) {
            return;
        }
        self.not_stable(Trouble::NotStable);
    }

    /// The last stable generation comes back; without one, the job is let be.
    fn not_stable(&mut self, why: Trouble) {
        let Some(run) = self.row.run.as_mut() else { return };
        run.prove_by = None;
        let generation = run.generation;
        match &self.row.stable {
            Some(stable) if stable.generation != generation && generation == self.desired.target() => {
                self.blame(why);
                // Its end is begun at once.
                self.leave();
            }
            Some(_) | None => {
                self.row.trouble = Some(why);
                self.say(Event::NotStable(generation));
            }
        }
    }

    fn proven(&mut self) {
        let Some(run) = self.row.run.as_mut() else { return };
        run.proven = true;
        run.prove_by = None;
        run.proof = None;
        let (generation, state) = (run.generation, run.from.clone());
        self.row.stable = Some(Stable { generation, state });
        self.row.phase = Phase::Stable;
        self.row.trouble = self.row.refused.as_ref().map(|refused| refused.why.clone());
        self.row.tries = 0;
        self.row.not_before = None;
    }
}
