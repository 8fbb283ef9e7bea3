//! What Flink is told about a job: the `flinkConfiguration` of `POST /jars/{id}/run`.
//!
//! Keys are those of Flink 2.x, from its reference of the configuration ("Checkpointing", "Fault Tolerance",
//! "Class Loading", "Pipeline"). Flink ignores a key that it does not know and refuses a value that it can't read with
//! 400, so every value here is made from a checked number. A key is written also where the value is Flink's default:
//! what counts for the job must not depend on the cluster's own file. What `main` sets by itself outranks all this.
//!
//! Left out on purpose: `execution.checkpointing.num-retained` is ignored for a single job; parallelism, arguments and the
//! state to start from are fields of the request.

use std::collections::BTreeMap;

use super::normal::{Deployment, Normal};
use super::spec::{JobType, Millis, RestartStrategy};

/// The longest wait of `exponential-delay`: Flink's default.
const LONGEST_DELAY: Millis = Millis::seconds(60);
/// The shortest wait of `exponential-delay`, whose waits grow by a factor: Flink refuses 0.
const LEAST_GROWING_DELAY: Millis = Millis(1);
/// No checkpoints by themselves: the one interval that Flink takes as none. It refuses 0, and without an interval that
/// of the cluster's file would count.
const NEVER: &str = "9223372036854775807 ms";
/// The least interval in which `failure-rate` counts: Flink's default.
const LEAST_RATE_INTERVAL: Millis = Millis::seconds(60);

/// Flink's settings for a job. `savepoints` is where its savepoints go
/// ([`super::declared::ClusterFacts::savepoints_of`]): every request of Libra's for one names a directory, so it counts for
/// those that somebody else makes.
pub fn flink_configuration(normal: &Normal, savepoints: Option<String>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut set = |key: &str, value: String| {
        settings.insert(key.to_owned(), value);
    };
    // The name of a job whose program gives it none, as all SQL does.
    set("pipeline.name", normal.job_id.clone());
    match normal.job_type {
        JobType::Stream => checkpointing(normal, &mut set),
        // "BATCH" has no checkpoints, and a program with an input that calls itself unbounded is refused.
        JobType::Batch => set("execution.runtime-mode", "BATCH".to_owned()),
    }
    if let Some(directory) = savepoints {
        set("execution.checkpointing.savepoint-dir", directory);
    }
    restarts(&normal.deployment, &mut set);
    if let Some(order) = normal.advanced.classloader_resolve_order {
        set("classloader.resolve-order", order.as_str().to_owned());
    }
    if let Some(timeout) = normal.advanced.network_buffer_timeout {
        // 0 sends every record at once.
        set("execution.buffer-timeout.interval", millis(timeout));
    }
    settings
}

fn checkpointing(normal: &Normal, set: &mut impl FnMut(&str, String)) {
    let interval = match normal.deployment.checkpoint_interval {
        Millis(0) => NEVER.to_owned(),
        interval => millis(interval),
    };
    set("execution.checkpointing.interval", interval);
    // Else a cancelled job takes its last checkpoint along. Also without an interval: `main` may have one.
    set("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION".to_owned());
    if let Some(stream) = &normal.stream_config {
        set("execution.checkpointing.timeout", millis(stream.checkpoint_timeout));
        set("execution.checkpointing.min-pause", millis(stream.min_pause_between_checkpoints));
        let most = stream.max_concurrent_checkpoints.to_string();
        set("execution.checkpointing.max-concurrent-checkpoints", most);
    }
}

fn restarts(deployment: &Deployment, set: &mut impl FnMut(&str, String)) {
    let (strategy, delay) = (deployment.restart_strategy, deployment.restart_delay);
    let attempts = deployment.max_restart_attempts;
    if attempts == Some(0) {
        // The strategies with a number refuse 0.
        set("restart-strategy.type", "none".to_owned());
        return;
    }
    set("restart-strategy.type", strategy.as_str().to_owned());
    match strategy {
        RestartStrategy::FixedDelay => {
            if let Some(attempts) = attempts {
                set("restart-strategy.fixed-delay.attempts", attempts.to_string());
            }
            set("restart-strategy.fixed-delay.delay", millis(delay));
        }
        RestartStrategy::ExponentialDelay => {
            if let Some(attempts) = attempts {
                let key = "restart-strategy.exponential-delay.attempts-before-reset-backoff";
                set(key, attempts.to_string());
            }
            let delay = delay.max(LEAST_GROWING_DELAY);
            set("restart-strategy.exponential-delay.initial-backoff", millis(delay));
            // Flink refuses a longest wait that is shorter than the first one.
            set("restart-strategy.exponential-delay.max-backoff", millis(delay.max(LONGEST_DELAY)));
        }
        RestartStrategy::FailureRate => {
            let attempts = attempts.unwrap_or(1);
            set("restart-strategy.failure-rate.max-failures-per-interval", attempts.to_string());
            // The reference has no field for it. Twice the time that so many waits take: in a shorter interval there
            // could never be so many failures.
            let waits = delay.0.saturating_mul(u64::from(attempts).saturating_mul(2));
            let interval = Millis(waits).max(LEAST_RATE_INTERVAL);
            set("restart-strategy.failure-rate.failure-rate-interval", millis(interval));
            set("restart-strategy.failure-rate.delay", millis(delay));
        }
    }
}

/// A length of time as Flink reads it.
fn millis(length: Millis) -> String {
    format!("{} ms", length.0)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn settings(rest: &str) -> BTreeMap<String, String> {
        let text = format!(r#"{{"job_id": "etl", "artifact_path": "etl.jar", {rest}}}"#);
        flink_configuration(&Normal::of(&serde_json::from_str(&text).unwrap(), None), None)
    }

    #[test]
    fn savepoints_of_others_go_where_libra_s_own_go() {
        let normal = Normal::of(
            &serde_json::from_str(r#"{"job_id": "etl", "job_type": "stream", "artifact_path": "a.jar"}"#)
                .unwrap(),
            None,
        );
        let told = flink_configuration(&normal, Some("s3://b/sp/etl".to_owned()));
        assert_eq!(told["execution.checkpointing.savepoint-dir"], "s3://b/sp/etl");
        let others = flink_configuration(&normal, None);
        assert!(!others.contains_key("execution.checkpointing.savepoint-dir"));
        assert_eq!(told.len(), others.len() + 1, "nothing else hangs on it");
    }

    #[test]
    fn flink_is_told_everything() {
        let mut told = String::new();
        for rest in [
            r#""job_type": "stream""#,
            r#""job_type": "batch", "deployment": {"checkpoint_interval": 1000, "max_restart_attempts": 0}"#,
            r#""job_type": "stream", "deployment": {"checkpoint_interval": 0, "restart_strategy": "fixed-delay",
                "max_restart_attempts": 5, "restart_delay": 1000},
                "advanced": {"classloader_resolve_order": "parent-first", "network_buffer_timeout": 0}"#,
            r#""job_type": "stream", "deployment": {"checkpoint_interval": "2s", "restart_strategy": "failure-rate",
                "max_restart_attempts": 4, "restart_delay": "1m"}, "stream_config": {"checkpoint_timeout": 60000,
                "min_pause_between_checkpoints": 10000, "max_concurrent_checkpoints": 2}"#,
            r#""job_type": "stream", "deployment": {"restart_strategy": "exponential-delay",
                "max_restart_attempts": 7, "restart_delay": "5m"}"#,
            r#""job_type": "stream", "deployment": {"restart_delay": 0}"#,
        ] {
            writeln!(told, "# {}", rest.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap();
            for (key, value) in settings(rest) {
                writeln!(told, "{key}: {value}").unwrap();
            }
        }
        insta::assert_snapshot!(told);
    }

    #[test]
    fn what_only_libra_does_is_not_told() {
        let plain = settings(r#""job_type": "stream""#);
        for rest in [
            r#""job_type": "stream", "monitoring": {"alert_on_backpressure": true}"#,
            r#""job_type": "stream", "deployment": {"savepoint_path": "/savepoints"}"#,
            r#""job_type": "stream", "stream_config": {"savepoint_trigger_interval": "@hourly"}"#,
            r#""job_type": "stream", "deployment": {"parallelism": 4}"#,
        ] {
            assert_eq!(settings(rest), plain, "{rest}");
        }
    }
}
