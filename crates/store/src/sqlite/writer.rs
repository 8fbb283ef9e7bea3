//! The one writer. It drains what is waiting, runs each piece of work in a savepoint of its own, commits once
//! and only then answers: many durable writes for one sync of the disk.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connection::SqliteTx;
use crate::backend::Work;
use crate::error::StoreError;
use crate::lane::{Submission, Submitted};
use crate::tables::submissions::{self, QueueBound};

/// Pieces of work in one commit, at most.
const MAX_BATCH: usize = 256;
/// The write-ahead log is tidied when nothing was written for this long.
const IDLE: Duration = Duration::from_secs(30);

/// Whether a closure may put jobs into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queues {
    Perhaps,
    Never,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A piece of work: all or nothing.
pub(super) enum Job {
    /// Anything else; with whether it may put jobs into the queue.
    Closure { run: Work, queues: Queues, reply: Reply<()> },
    /// A new job; those that wait together are stored together.
    Submission(Box<Submission>, Reply<Submitted>),
}

/// What came of a piece of work, to be told after the commit.
enum Answer {
    Closure(Result<(), StoreError>, Reply<()>),
    Submission(Result<Submitted, StoreError>, Reply<Submitted>),
}

impl Answer {
    /// Sends the answer. The asker may have gone away; the write stands all the same.
    fn send(self, committed: &Result<(), StoreError>) {
        match self {
            Self::Closure(outcome, reply) => {
                let _ = reply.send(committed.clone().and(outcome));
            }
            Self::Submission(outcome, reply) => {
                let _ = reply.send(committed.clone().and(outcome));
            }
        }
    }
}

/// The writer's thread and its inbox.
pub(super) struct Writer {
    inbox: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(conn: Connection) -> Result<Self, StoreError> {
        let (inbox, work) = channel();
        let thread = std::thread::Builder::new()
            .name("libra-store-writer".into())
            .spawn(move || run(&conn, &work))
            .map_err(|e| StoreError::Database(format!("no writer thread: {e}")))?;
        Ok(Self { inbox: Some(inbox), thread: Some(thread) })
    }

    pub(super) fn send(&self, work: Job) -> Result<(), StoreError> {
        let inbox = self.inbox.as_ref().ok_or(StoreError::Closed)?;
        inbox.send(work).map_err(|_| StoreError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing the inbox lets the thread finish what is waiting, then end.
        self.inbox = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer ended abnormally");
        }
    }
}

fn run(conn: &Connection, inbox: &Receiver<Job>) {
    let mut bound = QueueBound::default();
    loop {
        let first = match inbox.recv_timeout(IDLE) {
            Ok(work) => work,
            Err(RecvTimeoutError::Timeout) => {
                if let Err(e) = conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE)") {
                    tracing::warn!(error = %e, "the write-ahead log could not be tidied");
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut batch = vec![first];
        batch.extend(inbox.try_iter().take(MAX_BATCH - 1));
        commit(conn, batch, &mut bound);
    }
}

fn commit(conn: &Connection, batch: Vec<Job>, bound: &mut QueueBound) {
    let begun = conn.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from);
    let mut answers = Vec::with_capacity(batch.len());
    let mut submissions = Vec::new();
    for work in batch {
        match work {
            Job::Submission(new, reply) => submissions.push((*new, reply)),
            Job::Closure { run, queues, reply } => {
                // What came before a closure is there when it runs.
                store(conn, std::mem::take(&mut submissions), bound, &mut answers);
                let outcome = savepoint(conn, || run(&mut SqliteTx::new(conn)));
                answers.push(Answer::Closure(outcome, reply));
                if queues == Queues::Perhaps {
                    bound.forget();
                }
            }
        }
    }
    store(conn, submissions, bound, &mut answers);
    // SQLite may have rolled back by itself, on a full disk for one: then nothing of the batch took effect.
    let whole = in_transaction(conn);
    let committed = begun.and(whole).and_then(|()| conn.execute_batch("COMMIT").map_err(StoreError::from));
    if committed.is_err() {
        bound.forget();
        if !conn.is_autocommit()
            && let Err(e) = conn.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %e, "a failed commit could not be rolled back");
        }
    }
    for answer in answers {
        answer.send(&committed);
    }
}

fn in_transaction(conn: &Connection) -> Result<(), StoreError> {
    if conn.is_autocommit() {
        return Err(StoreError::Database("the transaction could not begin, or was rolled back".into()));
    }
    Ok(())
}

/// Stores submissions together; when that fails, one by one, so that each gets its own answer.
fn store(
    conn: &Connection,
    submissions: Vec<(Submission, Reply<Submitted>)>,
    bound: &mut QueueBound,
    answers: &mut Vec<Answer>,
) {
    if submissions.is_empty() {
        return;
    }
    let (new, replies): (Vec<_>, Vec<_>) = submissions.into_iter().unzip();
    let together = savepoint(conn, || submissions::insert(&mut SqliteTx::new(conn), &new, bound));
    let outcomes: Vec<Result<Submitted, StoreError>> = match together {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(_) => new
            .chunks(1)
            .map(|one| {
                let outcomes = savepoint(conn, || submissions::insert(&mut SqliteTx::new(conn), one, bound));
                let none = || StoreError::Database("no outcome of a submission".into());
                outcomes.and_then(|mut outcomes| outcomes.pop().ok_or_else(none))
            })
            .collect(),
    };
    answers
        .extend(outcomes.into_iter().zip(replies).map(|(outcome, reply)| Answer::Submission(outcome, reply)));
}

fn run_cached(conn: &Connection, sql: &str) -> Result<(), StoreError> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Runs `f` so that its failure undoes only itself. Where there is no transaction it does not run: outside of one
/// its savepoint would commit by itself.
fn savepoint<T>(conn: &Connection, f: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    in_transaction(conn)?;
    run_cached(conn, "SAVEPOINT w")?;
    let outcome = f();
    if outcome.is_err() {
        run_cached(conn, "ROLLBACK TO w")?;
    }
    run_cached(conn, "RELEASE w")?;
    outcome
}
