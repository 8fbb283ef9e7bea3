//! The decision itself.

use super::change::{self, Change, Needs};
use super::drift::{self, Drift};
use super::live::{Ending, Live, LiveJob, Newest, Wanted};
use super::{Kind, Loss, Obstacle, Plan, StateUse};
use crate::deployment::normal::Normal;
use crate::deployment::reconcile::LEAST_RESCALED;
use crate::deployment::spec::{JobType, Millis, UpgradeMode};

/// What happens, with which state, and what is lost by it.
pub(super) struct Verdict {
    pub(super) kind: Kind,
    pub(super) state: StateUse,
    lost: Vec<Loss>,
    obstacle: Option<Obstacle>,
}

impl Verdict {
    fn nothing() -> Self {
        Self::of(Kind::None, StateUse::Kept)
    }

    fn of(kind: Kind, state: StateUse) -> Self {
        Self { kind, state, lost: Vec::new(), obstacle: None }
    }

    fn losing(mut self, loss: Loss) -> Self {
        self.lost.push(loss);
        self
    }
}

/// A plan in the making.
pub(super) struct Decision<'a> {
    pub(super) old: Option<&'a Normal>,
    pub(super) new: &'a Normal,
    pub(super) live: &'a Live,
    pub(super) changes: Vec<Change>,
    drift: Vec<Drift>,
    needs: Needs,
}

impl<'a> Decision<'a> {
    pub(super) fn new(old: Option<&'a Normal>, new: &'a Normal, live: &'a Live) -> Self {
        let changes = old.map(|old| change::changes(old, new)).unwrap_or_default();
        let needs = changes.iter().map(|change| change.needs).max().unwrap_or(Needs::Nothing);
        Self { old, new, live, changes, drift: drift::drift(old, live), needs }
    }

    pub(super) fn plan(self) -> Plan {
        let mut verdict = self.verdict();
        if verdict.kind.starts() && !self.live.foreign.is_empty() {
            verdict.obstacle.get_or_insert(Obstacle::ForeignJob);
        }
        let warnings = self.warnings(&verdict);
        Plan {
            job_id: self.new.job_id.clone(),
            job: self.job(),
            kind: verdict.kind,
            changes: self.changes,
            drift: self.drift,
            state: verdict.state,
            lost: verdict.lost,
            obstacle: verdict.obstacle,
            warnings,
            suspended: self.live.wanted == Wanted::Suspend,
        }
    }

    fn verdict(&self) -> Verdict {
        let old = match (self.live.wanted, self.old) {
            (Wanted::Suspend, _) => return Verdict::nothing(),
            (Wanted::Run, None) => {
                let silent = self.live.job == LiveJob::Unknown;
                let obstacle = silent.then_some(Obstacle::ClusterSilent);
                return Verdict { obstacle, ..Verdict::of(Kind::FirstDeploy, StateUse::Fresh) };
            }
            (Wanted::Run, Some(old)) => old,
        };
        if old.job_type != self.new.job_type {
            return self.other_type(old);
        }
        match self.new.job_type {
            JobType::Batch => self.batch(),
            JobType::Stream => self.stream(old),
        }
    }

    /// Whether a job has to be started for what has changed.
    fn is_changed(&self) -> bool {
        self.needs >= Needs::Rescale
    }

    fn is_alive(&self) -> bool {
        matches!(self.live.job, LiveJob::Alive { .. })
    }

    /// A batch job has no state, so none can be carried from or to one.
    fn other_type(&self, old: &Normal) -> Verdict {
        let verdict = Verdict::of(Kind::StatelessRedeploy, StateUse::Fresh);
        match (old.job_type, &self.live.job) {
            (_, LiveJob::Unknown) => Verdict { obstacle: Some(Obstacle::ClusterSilent), ..verdict },
            (_, LiveJob::Never) => Verdict::of(Kind::FirstDeploy, StateUse::Fresh),
            (JobType::Stream, _) if self.live.newest == Newest::Never && !self.is_alive() => verdict,
            (JobType::Stream, _) => verdict.losing(Loss::State),
            (JobType::Batch, LiveJob::Alive { .. }) => verdict.losing(Loss::Run),
            (JobType::Batch, LiveJob::Ended { .. } | LiveJob::Missing { .. }) => verdict,
        }
    }

    fn batch(&self) -> Verdict {
        let again = || Verdict::of(Kind::StatelessRedeploy, StateUse::Fresh);
        match &self.live.job {
            LiveJob::Never => Verdict::of(Kind::FirstDeploy, StateUse::Fresh),
            LiveJob::Unknown if self.is_changed() => {
                Verdict { obstacle: Some(Obstacle::ClusterSilent), ..again() }
            }
            LiveJob::Alive { .. } if self.is_changed() => again().losing(Loss::Run),
            LiveJob::Ended { how: Ending::Suspended, .. } => Verdict::of(Kind::Resume, StateUse::Fresh),
            LiveJob::Ended { .. } | LiveJob::Missing { .. } if self.is_changed() => again(),
            LiveJob::Missing { .. } => Verdict { obstacle: Some(Obstacle::RunLost), ..Verdict::nothing() },
            LiveJob::Unknown | LiveJob::Alive { .. } | LiveJob::Ended { .. } => Verdict::nothing(),
        }
    }

    fn stream(&self, old: &Normal) -> Verdict {
        match &self.live.job {
            LiveJob::Never => Verdict::of(Kind::FirstDeploy, StateUse::Fresh),
            LiveJob::Unknown if self.is_changed() => {
                Verdict { obstacle: Some(Obstacle::ClusterSilent), ..self.redeploy(old, true) }
            }
            LiveJob::Unknown => Verdict { obstacle: Some(Obstacle::ClusterSilent), ..Verdict::nothing() },
            LiveJob::Alive { well, .. } => self.alive(old, *well),
            LiveJob::Ended { how: Ending::Suspended, .. } => {
                let verdict = self.down();
                Verdict { kind: Kind::Resume, ..verdict }
            }
            LiveJob::Ended { how: Ending::Finished, .. } if !self.is_changed() => Verdict::nothing(),
            LiveJob::Ended { .. } | LiveJob::Missing { .. } => self.down(),
        }
    }

    fn alive(&self, old: &Normal, well: bool) -> Verdict {
        let drifted = self.drift.iter().any(|drift| matches!(drift, Drift::Parallelism { .. }));
        match self.needs {
            Needs::Nothing | Needs::NextRun if !drifted => Verdict::nothing(),
            Needs::Nothing | Needs::NextRun | Needs::Rescale
                if self.live.cluster.rescale && well && old.deployment.parallelism >= LEAST_RESCALED =>
            {
                Verdict::of(Kind::InPlace, StateUse::Kept)
            }
            Needs::Nothing | Needs::NextRun | Needs::Rescale | Needs::Redeploy => self.redeploy(old, well),
        }
    }

    /// The spec says so, and there is a new version that it can say it of.
    fn leaves_state(&self) -> bool {
        self.new.upgrade_mode == UpgradeMode::Stateless && self.is_changed()
    }

    /// The job is alive and has to be started again.
    fn redeploy(&self, old: &Normal, well: bool) -> Verdict {
        if self.leaves_state() {
            return Verdict::of(Kind::StatelessRedeploy, StateUse::Fresh).losing(Loss::State);
        }
        // The job that runs has the checkpoints of the old specification.
        let has_checkpoints = old.deployment.checkpoint_interval != Millis(0);
        match self.new.upgrade_mode {
            UpgradeMode::LastState if has_checkpoints && self.live.newest != Newest::Never => {
                Verdict::of(Kind::CheckpointRedeploy, StateUse::LastCheckpoint)
                    .losing(Loss::ReadAgain { since: None })
            }
            UpgradeMode::Savepoint | UpgradeMode::LastState | UpgradeMode::Stateless if well => {
                let directory = self.new.deployment.savepoint_path.clone();
                Verdict::of(Kind::SavepointRedeploy, StateUse::NewSavepoint { directory })
            }
            UpgradeMode::Savepoint | UpgradeMode::LastState | UpgradeMode::Stateless => self.down(),
        }
    }

    /// Nothing can be asked of the job any more.
    fn down(&self) -> Verdict {
        let fresh = || Verdict::of(Kind::StatelessRedeploy, StateUse::Fresh);
        match &self.live.newest {
            Newest::Never => fresh(),
            Newest::Snapshot(_) | Newest::Unknown if self.leaves_state() => fresh().losing(Loss::State),
            Newest::Snapshot(snapshot) => {
                let verdict = Verdict::of(Kind::CheckpointRedeploy, StateUse::Snapshot(snapshot.clone()));
                // The savepoint that a job was suspended with holds everything.
                let suspended = matches!(&self.live.job, LiveJob::Ended { how: Ending::Suspended, .. });
                if suspended && snapshot.savepoint {
                    verdict
                } else {
                    verdict.losing(Loss::ReadAgain { since: snapshot.at })
                }
            }
            Newest::Unknown => {
                let verdict = Verdict::of(Kind::CheckpointRedeploy, StateUse::Unknown);
                Verdict { obstacle: Some(Obstacle::StateUnknown), ..verdict }
            }
        }
    }
}
