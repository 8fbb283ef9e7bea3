//! One look at a deployment, and what follows from it: [`reconcile`].
//!
//! # The log
//! A [`Row`] is a write-ahead log. Everything that is asked of Flink has an id of ours (a job id or a trigger id), and
//! stands in the row before it is sent: the caller stores [`Step::row`], then performs [`Step::effects`]. So it may die
//! anywhere. What was asked twice under one id is done once, because Flink refuses a job id that it has seen and knows
//! a trigger id again; what was asked and not heard of is looked for.
//!
//! # One live job
//! A run is settled before anything else is begun: its job is seen, or refused with no earlier request open, or the
//! time is over in which `main()` could still start it. A job that the cluster no longer lists may have tasks that go
//! on until their heartbeat times out; nothing takes its place earlier. The same holds for every run after the
//! JobManager was restarted. Requests are repeated under the same id only within one life of the JobManager.
//!
//! # State
//! The next run begins with the newest snapshot of the run before it. Only the automatic rollback goes back further: to
//! the state with which the last stable generation ended, because what a version that was found bad has made of it
//! is not to be trusted. State is left behind only when the spec of a new generation says so.
//!
//! # Generations
//! A new generation whose [`Version::job`] is that of the one before takes its job over as it is: nothing is stopped
//! for a change that Flink has no part in. One that differs in the number of subtasks alone takes it over while it
//! runs, where the cluster can rescale.
//!
//! Invariant: a cluster that does not answer changes nothing but the note that it does not.

mod adopt;
mod breaker;
mod desired;
mod effect;
mod fared;
mod flink_id;
mod follow;
mod leave;
mod observed;
mod pages;
mod pass;
mod rescale;
mod retention;
mod row;
mod start;
mod tend;
mod timing;
mod trouble;
mod watch;

pub use breaker::{Breaker, Circuit, FAILURES_TO_OPEN, PAUSE_MOST, PROBE_PATIENCE};
pub use desired::{Desired, Given, Kind, Mode, Stability, Upgrade, Version};
pub use effect::{Alert, Ask, Effect, Event};
pub use fared::{Fared, fared};
pub use flink_id::{FlinkId, NotAFlinkId};
pub use observed::{
    Answer, Cluster, Disk, Job, JobState, Kept, Observed, Open, Part, Pressure, Refusal, Reply, Trigger,
};
pub use pages::{needs_pages, pages_do_for};
pub use rescale::{LEAST_RESCALED, may_rescale};
pub use row::{
    Act, Counted, End, Fate, Heard, MOST_PAST, Operation, Phase, Proof, Refused, Row, Run, Savepoint, Saving,
    Sent, Stable, State, Upload, Wish,
};
pub use start::upload_key;
pub use timing::{
    AILING_GRACE, BACKOFF_FIRST, BACKOFF_MOST, END_GRACE, MAIN_BUDGET, MAX_SAVEPOINT_TRIES, MAX_SENDS,
    MAX_TRIES, PAGES_MOST, POLL_EVERY, POLL_FIRST, RESCALE_WITHIN, RESEND_AFTER, SAVEPOINT_WITHIN, Timing,
    USUAL, ZOMBIE_WINDOW,
};
pub use trouble::{MOST_WORDS, Trouble};
pub use watch::{Noticed, PRESSED_FOR, Pressed, RESTARTS_EVERY};

pub use super::retention::Retention;
pub(in crate::deployment) use pass::{Goal, goal, is_completed};

use crate::time::Timestamp;

/// The time of a step, and random numbers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// For new ids: never the same number twice, from a good source.
    pub fresh: u128,
    /// For backoff: any number.
    pub jitter: u64,
}

/// A step taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The row afterwards. To be stored before any effect is performed, where it differs from the one that was read.
    pub row: Row,
    /// What to do, in order.
    pub effects: Vec<Effect>,
}

/// What follows from a look at `observed`, taken after every effect of the step that led to `row` was performed or
/// lost. It neither reads a clock nor draws a number; the same arguments always give the same step.
pub fn reconcile(desired: &Desired, row: &Row, observed: &Observed, moment: Moment) -> Step {
    match observed {
        Observed::Unreachable(why) => pass::unreachable(desired, row, why, moment),
        Observed::Reachable(cluster) => pass::Pass::new(desired, cluster, row, moment).play(),
    }
}
