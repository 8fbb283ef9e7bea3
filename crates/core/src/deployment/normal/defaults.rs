//! What holds where a specification says nothing.

use super::{BatchConfig, Deployment, Stability, StreamConfig};
use crate::deployment::spec::{
    DeploymentSpec, JobType, Millis, Monitoring, RestartStrategy, Stability as Written,
};

/// Time between checkpoints of a stream job that names none. Flink makes none then; without any, a crash loses all.
pub const CHECKPOINT_INTERVAL: Millis = Millis::seconds(60);
/// How long a checkpoint may take: Flink's default.
pub const CHECKPOINT_TIMEOUT: Millis = Millis::seconds(600);
/// Restarts of `fixed-delay` and `failure-rate`: the reference's number.
pub const RESTARTS: u32 = 3;
/// The wait of `fixed-delay` and `failure-rate`: the reference's.
pub const FIXED_DELAY: Millis = Millis::seconds(10);
/// The first wait of `exponential-delay`: Flink's default.
pub const GROWING_DELAY: Millis = Millis::seconds(1);
/// Checkpoints that a new version of a stream job has to complete: the second one was begun by it alone.
pub const STABLE_CHECKPOINTS: u32 = 2;
/// Seconds that a new version has to run without a restart.
pub const STABLE_WINDOW_SECONDS: u64 = 60;
/// Restarts of a new version that are forgiven: slots may come late.
pub const STABLE_RESTARTS: u32 = 1;
/// The least time in which a version has to become stable, seconds. It is longer where checkpoints are far apart.
pub const STABLE_TIMEOUT_SECONDS: u64 = 600;
/// How many times the least time that stability needs it gets.
const PATIENCE: u64 = 3;

/// Time between checkpoints; 0 = none.
pub(in crate::deployment) fn checkpoint_interval(spec: &DeploymentSpec) -> Millis {
    match spec.job_type {
        JobType::Batch => Millis(0),
        JobType::Stream => {
            spec.deployment.as_ref().and_then(|d| d.checkpoint_interval).unwrap_or(CHECKPOINT_INTERVAL)
        }
    }
}

/// The least time in which a version can become stable: the window, and the checkpoints one after the other.
pub(in crate::deployment) fn least_stability_time(spec: &DeploymentSpec) -> Millis {
    let written = spec.stability.clone().unwrap_or_default();
    let window = written.window_seconds.unwrap_or(STABLE_WINDOW_SECONDS);
    let interval = checkpoint_interval(spec);
    let checkpoints = interval.0.saturating_mul(stable_checkpoints(spec, &written).into());
    Millis::seconds(window).max(Millis(checkpoints))
}

fn stable_checkpoints(spec: &DeploymentSpec, written: &Written) -> u32 {
    if checkpoint_interval(spec) == Millis(0) { 0 } else { written.checkpoints.unwrap_or(STABLE_CHECKPOINTS) }
}

pub(super) fn stability(spec: &DeploymentSpec) -> Stability {
    let written = spec.stability.clone().unwrap_or_default();
    let least = least_stability_time(spec).0.div_ceil(1_000);
    let timeout = STABLE_TIMEOUT_SECONDS.max(least.saturating_mul(PATIENCE));
    Stability {
        checkpoints: stable_checkpoints(spec, &written),
        window_seconds: written.window_seconds.unwrap_or(STABLE_WINDOW_SECONDS),
        max_restarts: written.max_restarts.unwrap_or(STABLE_RESTARTS),
        timeout_seconds: written.timeout_seconds.unwrap_or(timeout),
    }
}

pub(super) fn deployment(spec: &DeploymentSpec) -> Deployment {
    let written = spec.deployment.clone().unwrap_or_default();
    let strategy = match (written.restart_strategy, written.max_restart_attempts) {
        (Some(strategy), _) => strategy,
        // A number of attempts without a name: the one strategy that is a number of attempts.
        (None, Some(_)) => RestartStrategy::FixedDelay,
        (None, None) => RestartStrategy::ExponentialDelay,
    };
    let (attempts, delay) = match strategy {
        RestartStrategy::FixedDelay | RestartStrategy::FailureRate => (Some(RESTARTS), FIXED_DELAY),
        RestartStrategy::ExponentialDelay => (None, GROWING_DELAY),
    };
    let stream = spec.job_type == JobType::Stream;
    Deployment {
        parallelism: written.parallelism.unwrap_or(1),
        checkpoint_interval: checkpoint_interval(spec),
        savepoint_path: written.savepoint_path.filter(|_| stream),
        restart_strategy: strategy,
        max_restart_attempts: written.max_restart_attempts.or(attempts),
        restart_delay: written.restart_delay.unwrap_or(delay),
    }
}

pub(super) fn monitoring(spec: &DeploymentSpec) -> Monitoring {
    let written = spec.monitoring.clone().unwrap_or_default();
    Monitoring {
        alert_on_failure: written.alert_on_failure.or(Some(true)),
        alert_on_backpressure: written.alert_on_backpressure.or(Some(false)),
        ..written
    }
}

pub(super) fn batch(spec: &DeploymentSpec) -> BatchConfig {
    let written = spec.batch_config.clone().unwrap_or_default();
    BatchConfig {
        // One space between fields, small letters: another way to write it is no change.
        cron: written.cron.map(|c| c.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase()),
        timezone: written.timezone.unwrap_or_else(|| "UTC".to_owned()),
        overlap: written.overlap.unwrap_or_default(),
        max_runs: written.max_runs,
        ttl_seconds: written.ttl_seconds,
        cleanup_on_completion: written.cleanup_on_completion.unwrap_or(true),
    }
}

pub(super) fn stream(spec: &DeploymentSpec) -> StreamConfig {
    let written = spec.stream_config.clone().unwrap_or_default();
    StreamConfig {
        savepoint_trigger_interval: written.savepoint_trigger_interval.filter(|every| !every.is_never()),
        checkpoint_timeout: written.checkpoint_timeout.unwrap_or(CHECKPOINT_TIMEOUT),
        min_pause_between_checkpoints: written.min_pause_between_checkpoints.unwrap_or_default(),
        max_concurrent_checkpoints: written.max_concurrent_checkpoints.unwrap_or(1),
    }
}
