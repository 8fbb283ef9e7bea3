//! A plan in words.

use serde_json::Value;

use crate::deployment::spec::Millis;
use crate::time::Timestamp;

use super::{Change, Drift, Kind, Loss, Needs, Obstacle, Plan, StateUse};

/// The longest value that is shown, in characters.
const MAX_SHOWN: usize = 60;
/// Fields that are milliseconds.
const MILLIS: [&str; 6] = [
    "/deployment/checkpoint_interval",
    "/deployment/restart_delay",
    "/stream_config/savepoint_trigger_interval",
    "/stream_config/checkpoint_timeout",
    "/stream_config/min_pause_between_checkpoints",
    "/advanced/network_buffer_timeout",
];

impl Plan {
    /// The plan for people, line by line: what happens, what has changed, what was found, what is lost, what stands in
    /// the way, what is worth knowing.
    pub fn words(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}", self.job_id, self.headline())];
        if self.kind.starts() {
            lines.push(format!("Job: {}", self.job));
        }
        lines.extend(self.state.words());
        lines.extend(self.changes.iter().map(|change| format!("  {}", change.words())));
        lines.extend(self.drift.iter().map(|drift| format!("Found: {}", drift.words())));
        lines.extend(self.lost.iter().map(Loss::words));
        lines.extend(self.obstacle.map(|obstacle| format!("Not now: {}", obstacle.words())));
        lines.extend(self.warnings.iter().map(|warning| format!("Warning: {warning}")));
        lines
    }

    fn headline(&self) -> &'static str {
        let most = self.changes.iter().map(|change| change.needs).max();
        if self.suspended {
            return match most {
                None => "suspended, and stays so",
                Some(_) => "suspended: what changes is stored and counts when it is resumed",
            };
        }
        match (self.kind, most) {
            (Kind::None, None) => "nothing changes",
            (Kind::None, Some(Needs::NextRun)) => "the next run is made of the new version",
            (Kind::None, Some(Needs::Nothing | Needs::Rescale | Needs::Redeploy)) => {
                "stored; nothing changes in Flink"
            }
            (Kind::InPlace, _) => "rescaled in place, without a stop",
            (Kind::SavepointRedeploy, _) => "redeployed: stopped with a savepoint and started from it",
            (Kind::CheckpointRedeploy, _) => "redeployed from the newest state that there is",
            (Kind::StatelessRedeploy, _) => "redeployed without state",
            (Kind::FirstDeploy, _) => "deployed for the first time",
            (Kind::Resume, _) => "resumed",
        }
    }
}

impl StateUse {
    fn words(&self) -> Option<String> {
        match self {
            Self::Kept => None,
            Self::NewSavepoint { directory: Some(directory) } => {
                Some(format!("State: a savepoint, made now in {directory}"))
            }
            Self::NewSavepoint { directory: None } => Some("State: a savepoint, made now".to_owned()),
            Self::LastCheckpoint => Some("State: the last checkpoint of the job".to_owned()),
            Self::Snapshot(snapshot) => {
                let what = if snapshot.savepoint { "savepoint" } else { "checkpoint" };
                let at = snapshot.at.map(|at| format!(", made {}", at.rfc3339())).unwrap_or_default();
                Some(format!("State: the {what} {}{at}", snapshot.path))
            }
            Self::Unknown => Some("State: not known".to_owned()),
            Self::Fresh => Some("State: none; it begins anew".to_owned()),
        }
    }
}

impl Change {
    /// The change on one line: `deployment.parallelism: 2 → 4 (another number of subtasks)`.
    pub fn words(&self) -> String {
        let field =
            self.pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
        let shown = |value: Option<&Value>| match value.and_then(Value::as_u64) {
            Some(millis) if MILLIS.contains(&self.pointer.as_str()) => Millis(millis).to_string(),
            Some(_) | None => shown(value),
        };
        let (from, to) = (shown(self.from.as_ref()), shown(self.to.as_ref()));
        let needs = self.needs.words();
        // Two values that look alike when shortened say nothing.
        if from == to {
            format!("{field}: changed ({needs})")
        } else {
            format!("{field}: {from} → {to} ({needs})")
        }
    }
}

/// A value on one line, shortened. A list is told by its length: arguments and SQL may hold what is not for a screen.
fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None => return "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.len() == 1 => return "1 item".to_owned(),
        Some(Value::Array(items)) => return format!("{} items", items.len()),
        Some(other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_))) => {
            other.to_string()
        }
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_SHOWN {
        return line;
    }
    let start: String = line.chars().take(MAX_SHOWN - 1).collect();
    format!("{start}…")
}

impl Drift {
    /// What was found.
    pub fn words(&self) -> String {
        match self {
            Self::Parallelism { is, deployed } => {
                format!("the job has parallelism {is}; {deployed} was deployed")
            }
            Self::Missing { job } => {
                format!(
                    "the cluster does not know the job {job}: it was started anew, or somebody removed the job"
                )
            }
            Self::Failed { job } => format!("the job {job} has failed for good"),
            Self::Cancelled { job } => format!("the job {job} was cancelled or stopped by somebody else"),
            Self::Several { jobs } => {
                format!("more jobs of this deployment are alive than one: {} are too many", jobs.join(", "))
            }
            Self::Foreign { jobs } => {
                format!("jobs with this name that are not Libra's: {}", jobs.join(", "))
            }
        }
    }
}

impl Loss {
    /// What is lost, or comes twice.
    pub fn words(&self) -> String {
        match self {
            Self::State => "Lost: all state of the job".to_owned(),
            Self::ReadAgain { since } => {
                let since = since.map_or_else(|| "the last checkpoint".to_owned(), Timestamp::rfc3339);
                format!(
                    "Read again: what came after {since}; results that are not written exactly once come twice"
                )
            }
            Self::Run => "Lost: what the run under way has done so far".to_owned(),
        }
    }
}

impl Obstacle {
    /// What stands in the way, and what to do about it.
    pub fn words(self) -> &'static str {
        match self {
            Self::ClusterSilent => {
                "the cluster does not answer; what happens is decided by what it says when it is back"
            }
            Self::ForeignJob => {
                "a job with this name is alive that Libra did not start; cancel it, or give the deployment another \
                 `job_id`"
            }
            Self::RunLost => {
                "the run is lost with its cluster, and nobody knows what it has done; it is not repeated by itself; ask \
                 for another run if it may be"
            }
            Self::StateUnknown => {
                "the job is down and no savepoint or checkpoint of it is known; say `upgrade_mode: stateless` in a new \
                 version to begin without state"
            }
        }
    }
}
