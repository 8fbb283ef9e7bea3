//! What people want of a deployment, beside its specifications; and all of it put together for the reconciler.

use serde::{Deserialize, Serialize};

use super::normal::Normal;
use super::reconcile::{Act, Desired, Given, Mode, Retention, Row, Timing};
use super::retention;
use crate::time::MICROS_PER_SECOND;

/// The wish: changed by people, and by what is due at a certain time. The reconciler never changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Whether it runs.
    pub mode: Mode,
    /// The newest generation.
    pub generation: u64,
    /// The older one that somebody asked to go back to.
    pub rollback_to: Option<u64>,
    /// Raised with each wish for another try.
    pub nonce: u64,
    /// Raised with each wish for a savepoint.
    pub savepoint_nonce: u64,
    /// The state that somebody named for the next run.
    pub given: Option<Given>,
}

/// Why a wish can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// It is being deleted.
    #[error("it is being deleted")]
    Leaving,
    /// There is no such generation.
    #[error("it has no such generation")]
    NoSuchGeneration,
}

impl Declared {
    /// The wish of a first specification.
    pub fn first() -> Self {
        Self {
            mode: Mode::Running,
            generation: 1,
            rollback_to: None,
            nonce: 0,
            savepoint_nonce: 0,
            given: None,
        }
    }

    /// The generation that should run.
    pub fn target(&self) -> u64 {
        self.rollback_to.unwrap_or(self.generation)
    }

    /// The generations that the reconciler has to know: the wanted one, that of the present run, the stable one, the
    /// one that runs instead, and the one that has its turn or waits for it.
    pub fn generations(&self, row: &Row) -> Vec<u64> {
        let run = row.run.as_ref().map(|run| run.generation);
        let stable = row.stable.as_ref().map(|stable| stable.generation);
        let instead = row.refused.as_ref().and_then(|refused| refused.instead);
        let turn = row.turn.map(|turn| turn.generation);
        // What its job is about to become counts before what is wanted by now.
        let rescaled = row.operation.as_ref().and_then(|operation| match operation.act {
            Act::Rescale { generation, .. } => Some(generation),
            Act::Stop(_) | Act::Savepoint(_) | Act::Cancel { discard: _ } => None,
        });
        let mut all: Vec<u64> =
            [Some(self.target()), Some(self.generation), run, stable, instead, turn, rescaled]
                .into_iter()
                .flatten()
                .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// A new specification. It ends an earlier wish to go back; one that is suspended stays so.
    ///
    /// # Errors
    /// While it is being deleted.
    pub fn apply(&mut self) -> Result<u64, NotNow> {
        self.stays()?;
        self.generation += 1;
        self.rollback_to = None;
        self.given = None;
        Ok(self.generation)
    }

    /// Back to an older generation.
    ///
    /// # Errors
    /// While it is being deleted, and for a generation that there is not.
    pub fn roll_back(&mut self, to: u64) -> Result<(), NotNow> {
        self.stays()?;
        if to == 0 || to > self.generation {
            return Err(NotNow::NoSuchGeneration);
        }
        self.rollback_to = (to != self.generation).then_some(to);
        self.given = None;
        self.nonce += 1;
        Ok(())
    }

    /// It shall not run; its state is kept. Asked for again, it is tried again where that was given up.
    ///
    /// # Errors
    /// While it is being deleted.
    pub fn suspend(&mut self) -> Result<(), NotNow> {
        self.stays()?;
        if self.mode == Mode::Suspended {
            self.nonce += 1;
        }
        self.mode = Mode::Suspended;
        Ok(())
    }

    /// It shall run: after it was suspended, was given up, or has ended. With `from`, it begins with that state.
    ///
    /// # Errors
    /// While it is being deleted.
    pub fn resume(&mut self, from: Option<String>) -> Result<(), NotNow> {
        self.stays()?;
        self.mode = Mode::Running;
        self.nonce += 1;
        // One that was named for an earlier wish counts no more.
        self.given = from.map(|path| Given { nonce: self.nonce, path });
        Ok(())
    }

    /// A savepoint, now.
    ///
    /// # Errors
    /// While it is being deleted.
    pub fn savepoint(&mut self) -> Result<(), NotNow> {
        self.stays()?;
        self.savepoint_nonce += 1;
        Ok(())
    }

    /// It shall be gone; with `savepoint` its state is saved once more. May be asked again without a savepoint, when none
    /// can be made.
    pub fn delete(&mut self, savepoint: bool) {
        self.mode = Mode::Deleted { savepoint };
        self.nonce += 1;
    }

    fn stays(&self) -> Result<(), NotNow> {
        match self.mode {
            Mode::Running | Mode::Suspended => Ok(()),
            Mode::Deleted { savepoint: _ } => Err(NotNow::Leaving),
        }
    }
}

/// A generation as it was stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// Its normal form.
    pub normal: Normal,
    /// The sha256 of its artifact, in hexadecimal; of what runs its statements where it has no artifact.
    pub digest: String,
}

/// What of the cluster's own configuration counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Where savepoints go, as Flink writes it, when the specification does not say.
    pub savepoint_directory: Option<String>,
    /// How long tasks go on without their JobManager, milliseconds.
    pub heartbeat_timeout_ms: Option<u64>,
}

impl ClusterFacts {
    /// The directory for savepoints of a deployment with this normal form; None when nobody has named one.
    pub fn savepoints_of(&self, normal: &Normal) -> Option<String> {
        let named = normal.deployment.savepoint_path.as_ref().or(self.savepoint_directory.as_ref())?;
        Some(format!("{}/{}", named.trim_end_matches('/'), normal.job_id))
    }
}

/// Everything that the reconciler is told of a deployment. None when the wanted generation is not among `generations`.
/// `end_run` is the agenda's.
pub fn desired(
    declared: &Declared,
    end_run: Option<u64>,
    generations: &[Generation],
    facts: &ClusterFacts,
) -> Option<Desired> {
    let target = generations.iter().find(|generation| generation.number == declared.target())?;
    let defaults = Timing::default();
    let zombie_window = facts
        .heartbeat_timeout_ms
        .and_then(|ms| i64::try_from(ms).ok())
        .map_or(defaults.zombie_window, |ms| ms.saturating_mul(MICROS_PER_SECOND / 1_000));
    Some(Desired {
        name: target.normal.job_id.clone(),
        mode: declared.mode,
        generation: declared.generation,
        rollback_to: declared.rollback_to,
        nonce: declared.nonce,
        savepoint_nonce: declared.savepoint_nonce,
        end_run,
        waits: false,
        another_begins: false,
        watches_pressure: target.normal.monitoring.alert_on_backpressure == Some(true),
        given: declared.given.clone(),
        savepoint_directory: facts.savepoints_of(&target.normal),
        versions: generations.iter().map(|of| of.normal.version(of.number, of.upload_name())).collect(),
        stability: target.normal.stable_when(),
        retention: Retention { count: retention::COUNT, age: retention::AGE },
        timing: Timing { zombie_window, ..defaults },
    })
}

#[cfg(test)]
mod tests {
    use super::super::reconcile::{FlinkId, Operation};
    use super::*;
    use crate::time::Timestamp;

    fn generation(number: u64, rest: &str) -> Generation {
        let text = format!(r#"{{"job_id": "etl", "job_type": "stream", "artifact_path": "a.jar"{rest}}}"#);
        let normal = Normal::of(&serde_json::from_str(&text).unwrap(), None);
        Generation { number, normal, digest: format!("{number:064x}") }
    }

    #[test]
    fn wishes_follow_each_other() {
        let mut wish = Declared::first();
        assert_eq!(wish.apply(), Ok(2));
        wish.roll_back(1).unwrap();
        assert_eq!((wish.target(), wish.nonce), (1, 1));
        assert_eq!(wish.roll_back(3), Err(NotNow::NoSuchGeneration));
        wish.suspend().unwrap();
        assert_eq!(wish.apply(), Ok(3));
        assert_eq!(
            (wish.mode, wish.target()),
            (Mode::Suspended, 3),
            "it stays suspended, and goes on with the new one"
        );
        wish.resume(Some("file:/s/1".to_owned())).unwrap();
        wish.resume(Some("file:/s/2".to_owned())).unwrap();
        assert_eq!(wish.given, Some(Given { nonce: 3, path: "file:/s/2".to_owned() }), "nonces only grow");
        assert_eq!(wish.apply(), Ok(4));
        assert_eq!(wish.given, None, "it was meant for the wish before");
        wish.roll_back(4).unwrap();
        assert_eq!(wish.rollback_to, None, "the newest is no older one");
        wish.delete(true);
        assert_eq!(wish.suspend(), Err(NotNow::Leaving));
        assert_eq!(wish.resume(None), Err(NotNow::Leaving));
        wish.delete(false);
        assert_eq!(wish.mode, Mode::Deleted { savepoint: false });
    }

    #[test]
    fn the_target_says_how_and_the_cluster_where() {
        let mut wish = Declared::first();
        wish.apply().unwrap();
        let generations = [
            generation(1, r#", "stability": {"window_seconds": 5}"#),
            generation(2, r#", "deployment": {"savepoint_path": "s3://b/sp/"}"#),
        ];
        let facts = ClusterFacts {
            savepoint_directory: Some("file:///var/sp".to_owned()),
            heartbeat_timeout_ms: Some(8_000),
        };
        let newest = desired(&wish, None, &generations, &facts).unwrap();
        assert_eq!(newest.savepoint_directory.as_deref(), Some("s3://b/sp/etl"));
        assert_eq!((newest.versions.len(), newest.timing.zombie_window), (2, 8_000_000));
        wish.roll_back(1).unwrap();
        let older = desired(&wish, None, &generations, &facts).unwrap();
        assert_eq!(
            (older.savepoint_directory.as_deref(), older.stability.window),
            (Some("file:///var/sp/etl"), 5_000_000)
        );
        assert_eq!(desired(&wish, None, &generations[1..], &facts), None, "it is not stored");
        let placeless = desired(&wish, None, &generations, &ClusterFacts::default()).unwrap();
        assert_eq!(placeless.savepoint_directory, None, "nobody has said where they go");
    }

    /// Somebody wants generation 3 while the job of 1 is on its way to 2.
    #[test]
    fn what_a_job_is_about_to_become_has_to_be_known() {
        let wish = Declared { generation: 3, ..Declared::first() };
        let at = Timestamp(0);
        let act = Act::Rescale { generation: 2, from: 2, to: 4 };
        let operation = Operation { act, job: FlinkId(1), since: at, sends: 1, sent_at: at };
        let row = Row { operation: Some(operation), ..Row::default() };
        assert_eq!(wish.generations(&row), [2, 3]);
        assert_eq!(wish.generations(&Row::default()), [3]);
    }
}
