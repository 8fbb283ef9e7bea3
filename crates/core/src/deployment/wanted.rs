//! What the reconciler needs to know of a normal form.

use super::normal::Normal;
use super::packing::Packing;
use super::reconcile::{Alert, Kind, Stability, Upgrade, Version};
use super::spec::{JobType, UpgradeMode};
use crate::time::MICROS_PER_SECOND;

impl Normal {
    /// The generation `generation` as the reconciler sees it; `digest` names what Flink is given:
    /// see [`super::declared::Generation::upload_name`].
    pub fn version(&self, generation: u64, digest: String) -> Version {
        Version {
            generation,
            digest,
            kind: match self.job_type {
                JobType::Stream => Kind::Streaming,
                JobType::Batch => Kind::Batch,
            },
            upgrade: match self.upgrade_mode {
                UpgradeMode::Savepoint => Upgrade::Savepoint,
                UpgradeMode::LastState => Upgrade::LastCheckpoint,
                UpgradeMode::Stateless => Upgrade::Stateless,
            },
            alone: self.packing() == Packing::Python,
            allow_non_restored_state: self.allow_non_restored_state,
            job: Some(self.job_key()),
            parallelism: self.deployment.parallelism,
            shape: (self.job_type == JobType::Stream).then(|| self.shape_key()),
        }
    }

    /// What of this form makes the job in Flink the job that it is. Forms with one key need no job to be stopped or
    /// started between them. The runs of a batch job with a schedule are one after the other anyway.
    pub fn job_key(&self) -> String {
        super::plan::job_key(self)
    }

    /// The same without the number of subtasks: between forms with one key only that has to change.
    pub fn shape_key(&self) -> String {
        super::plan::shape_key(self)
    }

    /// Whether its webhook hears of this: of failures unless that is refused, of backpressure only where it is asked for.
    pub fn wants(&self, alert: Alert) -> bool {
        match alert {
            Alert::Failure => self.monitoring.alert_on_failure != Some(false),
            Alert::Backpressure => self.monitoring.alert_on_backpressure == Some(true),
        }
    }

    /// When this form counts as stable.
    pub fn stable_when(&self) -> Stability {
        let micros =
            |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(MICROS_PER_SECOND);
        Stability {
            checkpoints: self.stability.checkpoints.into(),
            window: micros(self.stability.window_seconds),
            max_restarts: self.stability.max_restarts.into(),
            within: micros(self.stability.timeout_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reconciler_is_told_what_the_specification_says() {
        let normal = |text: &str| Normal::of(&serde_json::from_str(text).unwrap(), None);
        let stream = normal(
            r#"{"job_id": "a", "job_type": "stream", "artifact_path": "a.jar", "upgrade_mode": "last-state",
                "allow_non_restored_state": true, "stability": {"checkpoints": 3, "window_seconds": 5, "max_restarts": 4}}"#,
        );
        let version = stream.version(4, "ab".into());
        assert_eq!((version.kind, version.upgrade), (Kind::Streaming, Upgrade::LastCheckpoint));
        assert!(version.allow_non_restored_state);
        let stable = stream.stable_when();
        assert_eq!((stable.checkpoints, stable.window, stable.within), (3, 5_000_000, 600_000_000));
        assert_eq!(stable.max_restarts, 4);
        let mut wider = stream.clone();
        wider.deployment.parallelism = 2;
        let wider = wider.version(5, "ab".into());
        assert_eq!((&wider.shape, wider.parallelism), (&version.shape, 2));
        assert_ne!(wider.job, version.job, "its job is another one all the same");
        let batch = normal(r#"{"job_id": "a", "job_type": "batch", "artifact_path": "a.jar"}"#);
        let version = batch.version(1, "ab".into());
        assert_eq!((version.kind, version.upgrade), (Kind::Batch, Upgrade::Stateless));
        assert_eq!(version.shape, None, "each of its runs begins anew");
        assert_eq!(batch.stable_when().checkpoints, 0);
    }
}
