//! What every engine can do (design §6).

use std::path::PathBuf;

use futures::future::BoxFuture;
use libra_core::attempt::{Exit, Handle, Links, Progress, Usage};
use libra_core::failure::Failure;
use libra_core::id::{JobId, Token};
use libra_core::spec::JobSpec;
use libra_core::time::Timestamp;
use tokio::time::Instant;

/// Everything that an engine is told about one attempt. The same value on every call about that attempt.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The job.
    pub job_id: JobId,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The attempt's name outside Libra; launching is idempotent by it.
    pub token: Token,
    /// What to run.
    pub spec: JobSpec,
    /// Who submitted it.
    pub user: String,
    /// Whose tenant.
    pub tenant: String,
    /// The attempt's own directory, made by the caller: logs, result, owner and exit files live here.
    pub dir: PathBuf,
    /// True when the intent was stored during the present boot of this machine. When false, a process or a
    /// file of that attempt may have been lost with the machine.
    pub same_boot: bool,
    /// Nothing may be started after this moment: others may have taken the attempt for lost by then. None where
    /// there are no others.
    pub until: Option<Instant>,
}

impl Launch {
    /// True when it is too late to start anything.
    pub fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// What a launch brought.
#[derive(Clone, Debug)]
pub struct Launched {
    /// How to find it again.
    pub handle: Handle,
    /// Since when it runs; None while it is still starting.
    pub running_since: Option<Timestamp>,
}

/// Why a launch brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Nothing ran and nothing will: the attempt failed for this reason.
    #[error("refused: {}", .0.message)]
    Refused(Failure),
    /// It may have been launched: ask [`Engine::find`].
    #[error("unknown outcome: {0}")]
    Unknown(String),
    /// Nothing was sent, because nobody is there to take it: try again.
    #[error("not now: {0}")]
    NotNow(String),
}

/// The engine did not answer; ask again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

/// What is known of a running attempt.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// Since when it runs.
    pub since: Option<Timestamp>,
    /// When its present run began, where the engine itself had put it back and has begun it anew.
    pub again: Option<Timestamp>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// What its own processes have used; None where it has none, as in a shared server.
    pub usage: Option<Usage>,
    /// The engine's application id.
    pub application_id: Option<String>,
    /// Addresses.
    pub links: Links,
}

/// What an engine sees when it looks at an attempt.
#[derive(Clone, Debug)]
pub enum Observation {
    /// Launched, not running yet.
    Starting,
    /// The engine has it, and it waits there for its turn, as long as that takes.
    Waiting(Running),
    /// Running.
    Running(Running),
    /// Over; nothing of it is alive. Logs and result, if any, are whole on disk.
    Ended(Exit),
    /// It never ran and never will, through no fault of its own: launch a new attempt.
    NeverRan(String),
    /// The engine can't tell at present; ask again.
    Unknown(String),
}

/// What a cancellation brought so far.
#[derive(Clone, Debug)]
pub enum CancelOutcome {
    /// Nothing of the attempt is alive. The exit says how it ended; [`libra_core::attempt::Outcome::Stopped`]
    /// when the cancellation ended it, another outcome when it had ended by itself before.
    Gone(Exit),
    /// Told, but not confirmed: ask again.
    Stopping,
}

/// An engine. All calls may be repeated; all are safe after a restart of Libra.
pub trait Engine: Send + Sync {
    /// Checks what only this engine knows, before the job is stored: (JSON pointer, reason) for each violation.
    fn validate(&self, spec: &JobSpec) -> Vec<(String, String)>;

    /// Launches, idempotent by `launch.token`.
    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Launched, LaunchError>>;

    /// Resolves an unknown outcome: the handle if it was launched; `None` if it was not, and then it never
    /// will be (a launch that is still under way is fenced off).
    fn find<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Option<Launched>, EngineError>>;

    /// Looks at attempts, one answer for each, in order.
    fn observe<'a>(&'a self, attempts: &'a [(Launch, Handle)]) -> BoxFuture<'a, Vec<Observation>>;

    /// What is known of an attempt besides its state, also after its end: application id and addresses. A short
    /// attempt may have ended before it was looked at while it ran.
    fn traces(&self, launch: &Launch) -> Running;

    /// Ends an attempt. Repeated by the caller until [`CancelOutcome::Gone`].
    fn cancel<'a>(
        &'a self,
        launch: &'a Launch,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<CancelOutcome, EngineError>>;

    /// Lets go of what the engine still holds for an ended attempt, after its end is durable in the store.
    fn release<'a>(&'a self, launch: &'a Launch, handle: &'a Handle) -> BoxFuture<'a, ()>;

    /// What keeps launched attempts from running at present, in words for their owners: a server that does not start,
    /// is away or is being replaced. None when nothing is known to.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// The same of what this job would use, where an engine has several.
    fn trouble_of(&self, _spec: &JobSpec) -> Option<String> {
        self.trouble()
    }

    /// Stops looking after an attempt that another replica looks after now: nothing is written about it any more,
    /// nothing of it is ended.
    fn leave(&self, token: Token);

    /// Waits until something about the attempt may have changed. Carries no data, may wake for nothing, and
    /// may miss: the caller also looks periodically.
    fn changed(&self, token: Token) -> BoxFuture<'_, ()>;
}
