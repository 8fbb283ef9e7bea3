//! The one writer. It drains what is waiting, runs each piece of work in a savepoint of its own, commits once
//! and only then answers: many durable writes for one sync of the disk.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connection::SqliteTx;
use crate::error::StoreError;
use crate::lane::{Submission, Submitted};
use crate::tables::submissions::{self, QueueBound};
use crate::tx::{Arg, Row, Tx};

/// Pieces of work in one commit, at most.
const MAX_BATCH: usize = 256;
/// The write-ahead log is tidied when nothing was written for this long.
const IDLE: Duration = Duration::from_secs(30);

/// Told whether the commit that held the work took effect; sends the answer.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), &StoreError>) + Send>;

/// What a closure did: whether to keep it, and how to answer.
pub(crate) type Done = (Result<(), ()>, Answer);

/// A transaction of somebody's own.
pub(crate) type Closure = Box<dyn FnOnce(&mut dyn Tx) -> Done + Send>;

/// Whether a closure may put jobs into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queues {
    Perhaps,
    Never,
}

/// A piece of work: all or nothing.
pub(crate) enum Work {
    /// Anything else; with whether it may put jobs into the queue.
    Closure(Closure, Queues),
    /// A new job; those that wait together are stored together.
    Submission(Box<Submission>, oneshot::Sender<Result<Submitted, StoreError>>),
}

/// The writer's thread and its inbox.
pub(crate) struct Writer {
    inbox: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(conn: Connection) -> Result<Self, StoreError> {
        let (inbox, work) = channel();
        let thread = std::thread::Builder::new()
            .name("libra-store-writer".into())
            .spawn(move || run(&conn, &work))
            .map_err(|e| StoreError::Database(format!("no writer thread: {e}")))?;
        Ok(Self { inbox: Some(inbox), thread: Some(thread) })
    }

    pub(crate) fn send(&self, work: Work) -> Result<(), StoreError> {
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

fn run(conn: &Connection, inbox: &Receiver<Work>) {
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

fn commit(conn: &Connection, batch: Vec<Work>, bound: &mut QueueBound) {
    let begun = conn.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from);
    let mut answers: Vec<(Option<StoreError>, Answer)> = Vec::with_capacity(batch.len());
    let mut submissions = Vec::new();
    for work in batch {
        match work {
            Work::Submission(new, reply) => submissions.push((*new, reply)),
            Work::Closure(run, queues) => {
                // What came before a closure is there when it runs.
                store(conn, std::mem::take(&mut submissions), bound, &mut answers);
                answers.push(if conn.is_autocommit() { refuse(run) } else { in_savepoint(conn, run) });
                if queues == Queues::Perhaps {
                    bound.forget();
                }
            }
        }
    }
    store(conn, submissions, bound, &mut answers);
    // SQLite may have rolled back by itself, on a full disk for one: then nothing of the batch took effect.
    let whole = if conn.is_autocommit() { Err(no_transaction()) } else { Ok(()) };
    let committed = begun.and(whole).and_then(|()| conn.execute_batch("COMMIT").map_err(StoreError::from));
    if committed.is_err() {
        bound.forget();
        if !conn.is_autocommit()
            && let Err(e) = conn.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %e, "a failed commit could not be rolled back");
        }
    }
    for (own, answer) in answers {
        answer(own.as_ref().map_or(committed.as_ref().copied(), Err));
    }
}

fn no_transaction() -> StoreError {
    StoreError::Database("the transaction could not begin, or was rolled back".into())
}

/// A closure whose transaction is not there: it is shown a database that refuses everything, so that it can
/// answer, and touches nothing. Outside of a transaction its savepoint would commit by itself.
fn refuse(run: Closure) -> (Option<StoreError>, Answer) {
    struct Refusing;
    impl Tx for Refusing {
        fn execute(&mut self, _: &str, _: &[Arg<'_>]) -> Result<u64, StoreError> {
            Err(no_transaction())
        }
        fn query(
            &mut self,
            _: &str,
            _: &[Arg<'_>],
            _: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
        ) -> Result<(), StoreError> {
            Err(no_transaction())
        }
    }
    let (_, answer) = run(&mut Refusing);
    (Some(no_transaction()), answer)
}

/// Stores submissions together; when that fails, one by one, so that each gets its own answer.
fn store(
    conn: &Connection,
    submissions: Vec<(Submission, oneshot::Sender<Result<Submitted, StoreError>>)>,
    bound: &mut QueueBound,
    answers: &mut Vec<(Option<StoreError>, Answer)>,
) {
    if submissions.is_empty() {
        return;
    }
    if conn.is_autocommit() {
        for (_, reply) in submissions {
            // The asker may have gone away.
            let _ = reply.send(Err(no_transaction()));
        }
        return;
    }
    let (new, replies): (Vec<_>, Vec<_>) = submissions.into_iter().unzip();
    let together = savepoint(conn, || submissions::insert(&mut SqliteTx(conn), &new, bound));
    let outcomes: Vec<Result<Submitted, StoreError>> = match together {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(_) => new
            .chunks(1)
            .map(|one| {
                savepoint(conn, || submissions::insert(&mut SqliteTx(conn), one, bound)).and_then(
                    |mut outcomes| {
                        outcomes
                            .pop()
                            .ok_or_else(|| StoreError::Database("no outcome of a submission".into()))
                    },
                )
            })
            .collect(),
    };
    for (outcome, reply) in outcomes.into_iter().zip(replies) {
        let send = move |committed: Result<(), &StoreError>| {
            let failed = committed.err().map(|e| StoreError::Database(e.to_string()));
            // The asker may have gone away; the job is stored all the same.
            let _ = reply.send(failed.map_or(outcome, Err));
        };
        answers.push((None, Box::new(send)));
    }
}

fn run_cached(conn: &Connection, sql: &str) -> Result<(), StoreError> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Runs `f` so that its failure undoes only itself.
fn savepoint<T>(conn: &Connection, f: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    run_cached(conn, "SAVEPOINT w")?;
    let outcome = f();
    if outcome.is_err() {
        run_cached(conn, "ROLLBACK TO w")?;
    }
    run_cached(conn, "RELEASE w")?;
    outcome
}

/// Runs one closure; says what went wrong around it, and how to answer.
fn in_savepoint(conn: &Connection, run: Closure) -> (Option<StoreError>, Answer) {
    let begun = run_cached(conn, "SAVEPOINT w");
    let (kept, answer) = run(&mut SqliteTx(conn));
    let undone = if kept.is_err() { run_cached(conn, "ROLLBACK TO w") } else { Ok(()) };
    let ended = run_cached(conn, "RELEASE w");
    (begun.and(undone).and(ended).err(), answer)
}
