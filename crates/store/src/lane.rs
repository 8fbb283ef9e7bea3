//! Hot writes as data: each carries everything that must be atomic, and gets its own answer.

use libra_core::attempt::{Attempt, Exit, Handle, Holder, Links, Progress, Usage};
use libra_core::id::JobId;
use libra_core::job::Job;
use libra_core::lifecycle::Transition;
use libra_core::time::Timestamp;

/// Who writes, under which lease: a write whose epoch is not the lease's present one is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lease.
    pub lease: String,
    /// Its epoch when the writer took it.
    pub epoch: i64,
}

/// A message for somebody outside, stored with the state it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// What it is about: the state's name.
    pub topic: String,
    /// Where it goes: an address.
    pub target: String,
    /// JSON.
    pub payload: String,
}

/// The first answer to a creating request, kept to be given again (contract A5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Principal, method and path.
    pub scope: String,
    /// The client's key.
    pub key: String,
    /// SHA-256 of the body, in hex.
    pub body_hash: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The answer, JSON.
    pub response: String,
}

/// Where a log row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// When.
    pub at: Timestamp,
    /// Who: a user, or `libra`.
    pub actor: String,
    /// JSON with what else is known, or None.
    pub metadata: Option<String>,
}

/// A new job.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The job as it is after its first step.
    pub job: Job,
    /// Its first log rows.
    pub log: Vec<Transition>,
    /// Where they come from.
    pub origin: Origin,
    /// Messages.
    pub outbox: Vec<OutboxRow>,
    /// The answer to keep.
    pub idempotency: Option<Idempotency>,
    /// Jobs that may wait at once; one more is refused.
    pub max_queued: u64,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Stored.
    Stored,
    /// The same request came before: its answer.
    Replayed {
        /// HTTP status.
        status: u16,
        /// JSON.
        response: String,
    },
    /// The key came before with another body.
    KeyReused,
    /// Too many jobs wait.
    QueueFull,
}

/// What a change of state does to an attempt, in the same transaction.
#[derive(Clone, Debug)]
pub enum AttemptWrite {
    /// A new attempt.
    Open(Box<Attempt>),
    /// It runs.
    Start {
        /// Which.
        number: u32,
        /// Since when.
        at: Timestamp,
        /// The engine's handle, where it is not stored yet.
        handle: Option<Handle>,
    },
    /// It is over.
    Close {
        /// Which.
        number: u32,
        /// When it ended.
        at: Timestamp,
        /// How, where the engine said.
        exit: Option<Exit>,
    },
    /// It was looked at: the first of the writes of that attempt in one change.
    Look {
        /// Which.
        number: u32,
        /// What the look brought.
        seen: Seen,
    },
}

/// What a look at an open attempt brought, besides its state.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How many of these had been stored when this one was made: one that comes too late takes no effect.
    pub after: i64,
    /// How far; None leaves it as it was, like all that follows.
    pub progress: Option<Progress>,
    /// What its own processes have used.
    pub usage: Option<Usage>,
    /// The engine's id.
    pub application_id: Option<String>,
    /// Addresses. These are always set.
    pub links: Links,
    /// When its present run began, where the engine itself has begun it anew.
    pub began: Option<Timestamp>,
}

/// A step of a stored job.
#[derive(Clone, Debug)]
pub struct Change {
    /// The revision that was read.
    pub expected_revision: i64,
    /// The job afterwards.
    pub job: Job,
    /// Log rows.
    pub log: Vec<Transition>,
    /// Where they come from.
    pub origin: Origin,
    /// Attempts.
    pub attempts: Vec<AttemptWrite>,
    /// Messages.
    pub outbox: Vec<OutboxRow>,
    /// Under which lease, for workers; None for a user's request, which the revision alone guards.
    pub fence: Option<Fence>,
}

/// What became of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Updated,
    /// The row has moved on, or the writer's lease has: read again.
    Stale,
    /// There is no such row.
    Absent,
}

/// Something to remember about an open attempt. Written only while the attempt is open and as the note expects it.
#[derive(Clone, Debug)]
pub struct AttemptNote {
    /// The job.
    pub job_id: JobId,
    /// Which attempt.
    pub number: u32,
    /// Who writes.
    pub by: Holder,
    /// What.
    pub what: Note,
}

/// What can be noted.
#[derive(Clone, Debug)]
pub enum Note {
    /// The writer becomes the holder of an attempt that nobody holds, and is about to launch it: from here on the
    /// outcome has to be looked up.
    Claim {
        /// When.
        at: Timestamp,
        /// The boot of the host on which it is made.
        host: String,
    },
    /// The holder's launch is about to be made, of an attempt that it took over before anybody had.
    Intent {
        /// When.
        at: Timestamp,
        /// The boot of the host on which it is made.
        host: String,
    },
    /// The engine's handle.
    Handle(Handle),
    /// What a look brought.
    Seen(Seen),
    /// The writer becomes the holder in place of one whose lease is over.
    TakeOver {
        /// Who held it.
        from: Holder,
    },
}
