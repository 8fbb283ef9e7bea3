//! What is worth knowing about a plan before it is carried out.

use super::decide::{Decision, Verdict};
use super::live::{LiveJob, Newest};
use super::{Kind, StateUse};
use crate::deployment::packing::Packing;
use crate::deployment::spec::{ArtifactType, JobType, MAX_PARALLELISM, Millis, UpgradeMode, is_insert};

/// The least number of subtasks that keyed state can be spread over, unless the program says otherwise: Flink's.
const LEAST_MAX_PARALLELISM: u32 = 128;

impl Decision<'_> {
    /// The job in words: program, parallelism, cluster.
    pub(super) fn job(&self) -> String {
        let (new, cluster) = (self.new, &self.live.cluster.name);
        let program = match (new.artifact_type, new.sql.len(), &new.artifact_path) {
            (ArtifactType::Sql, 1, _) => "1 SQL statement".to_owned(),
            (ArtifactType::Sql, count @ 2.., _) => format!("{count} SQL statements"),
            (kind, _, Some(path)) => format!("{} {path}", kind.as_str()),
            (kind, _, None) => kind.as_str().to_owned(),
        };
        format!("{program}, parallelism {}, on the cluster {cluster}", new.deployment.parallelism)
    }

    fn other_file_of_statements(&self) -> bool {
        self.new.packing() == Packing::Statements && self.has("/artifact_signature")
    }

    fn has(&self, pointer: &str) -> bool {
        self.changes.iter().any(|change| change.pointer == pointer)
    }

    /// Sentences, the weightiest first.
    pub(super) fn warnings(&self, verdict: &Verdict) -> Vec<String> {
        let restored = match verdict.state {
            StateUse::NewSavepoint { .. }
            | StateUse::LastCheckpoint
            | StateUse::Snapshot(_)
            | StateUse::Unknown => true,
            StateUse::Kept | StateUse::Fresh => false,
        };
        let mut found = self.about_what_is_left(verdict);
        let mut say = |holds: bool, text: &str| {
            if holds {
                found.push(text.to_owned());
            }
        };
        say(
            matches!(verdict.state, StateUse::NewSavepoint { directory: None }),
            "`deployment.savepoint_path` is absent: the savepoint goes to the cluster's own directory, and there is \
             none if Flink has no `execution.checkpointing.savepoint-dir`",
        );
        say(
            self.new.upgrade_mode == UpgradeMode::LastState && verdict.kind == Kind::SavepointRedeploy,
            "it has no checkpoints to start from, so it is stopped with a savepoint",
        );
        say(
            restored && (self.has("/sql") || self.has("/artifact_type") || self.other_file_of_statements()),
            "another SQL statement may not be able to use the state; then Flink refuses it and the old version comes \
             back",
        );
        let inserts = self.new.sql.iter().filter(|statement| is_insert(statement)).count();
        say(
            inserts > 1 && verdict.kind.starts() && self.new.job_type == JobType::Batch,
            "its INSERTs are one job and run at once, so none may read what another one writes",
        );
        say(
            restored && self.new.allow_non_restored_state,
            "state of operators that are gone is left out (`allow_non_restored_state`)",
        );
        say(
            restored && self.has("/cluster"),
            "the new cluster has to be able to read the state from where the old one writes it",
        );
        found.extend(self.spread().filter(|_| restored || verdict.kind == Kind::InPlace));
        found.extend(self.slots(verdict));
        found
    }

    fn about_what_is_left(&self, verdict: &Verdict) -> Vec<String> {
        let mut found = Vec::new();
        let stream = self.new.job_type == JobType::Stream;
        let unwell = matches!(self.live.job, LiveJob::Alive { well: false, .. });
        if unwell
            && verdict.kind == Kind::CheckpointRedeploy
            && self.new.upgrade_mode == UpgradeMode::Savepoint
        {
            found.push(
                "the job is starting or restarting and can make no savepoint; if it runs by then, it makes one"
                    .to_owned(),
            );
        }
        let had_state = self.old.is_some_and(|old| old.job_type == JobType::Stream);
        if had_state && verdict.kind == Kind::StatelessRedeploy && self.live.newest == Newest::Never {
            found.push("it never completed a checkpoint, so there is no state to keep".to_owned());
        }
        if verdict.kind.starts() && stream && self.new.deployment.checkpoint_interval == Millis(0) {
            found.push("it makes no checkpoints: when it goes down, its state is lost".to_owned());
        }
        found
    }

    /// Keyed state is divided into as many parts as the first deployment could have had subtasks, for ever.
    fn spread(&self) -> Option<String> {
        let first = self.old?.deployment.parallelism;
        let half_more = first.saturating_add(first / 2).min(MAX_PARALLELISM);
        let most = half_more.next_power_of_two().max(LEAST_MAX_PARALLELISM);
        let wanted = self.new.deployment.parallelism;
        (wanted > most).then(|| {
            format!(
                "unless the program sets its maximum parallelism, state of a job with parallelism {first} can be \
                 spread over {most} subtasks at most, and {wanted} are asked for"
            )
        })
    }

    /// More subtasks than slots: Flink says RUNNING and waits for slots.
    fn slots(&self, verdict: &Verdict) -> Option<String> {
        let free = self.live.cluster.free_slots?;
        let needs = self.new.deployment.parallelism;
        let moves = self.old.is_some_and(|old| old.cluster != self.new.cluster);
        let gives_back = match self.live.job {
            LiveJob::Alive { parallelism, .. } if !moves => {
                parallelism.or(self.old.map(|old| old.deployment.parallelism)).unwrap_or(0)
            }
            LiveJob::Alive { .. }
            | LiveJob::Never
            | LiveJob::Ended { .. }
            | LiveJob::Missing { .. }
            | LiveJob::Unknown => 0,
        };
        let room = free.saturating_add(gives_back);
        (verdict.kind != Kind::None && needs > room).then(|| {
            format!(
                "it needs {needs} slots and the cluster {} has {room} for it: it waits for the rest",
                self.live.cluster.name
            )
        })
    }
}
