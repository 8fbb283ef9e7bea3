//! The queue in front of a statement.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::error::StoreError;

/// Commands in one statement, at most.
const MAX_BATCH: usize = 256;
/// Bytes in one statement, about: a single command may have more.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Commands that are looked at for one batch; among them are those that have to wait for another one.
const MAX_SCANNED: usize = 4 * MAX_BATCH;

/// Bytes that wait to be written, at most: while the database is away or slow, further ones are refused at once.
const MAX_WAITING_BYTES: usize = 256 * 1024 * 1024;

/// Something that is written together with others of its kind.
pub(in crate::postgres) trait Command: Send + Sync + Sized + 'static {
    /// What its sender is told.
    type Answer: Send + 'static;
    /// What writing takes.
    type Store: Send + Sync + 'static;

    /// What it writes: of those with equal keys, one is written after the other, in order.
    fn key(&self) -> impl Hash;

    /// How much it is, in bytes, about.
    fn bytes(&self) -> usize;

    /// Writes all of them; one answer for each.
    fn write(
        store: &Arc<Self::Store>,
        batch: Vec<Self>,
    ) -> impl Future<Output = Vec<Result<Self::Answer, StoreError>>> + Send;
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

struct Waiting<C: Command> {
    command: C,
    key: u64,
    bytes: usize,
    reply: Reply<C::Answer>,
}

/// A lane. What was sent is written also when the lane is dropped.
pub(in crate::postgres) struct Lane<C: Command> {
    inbox: mpsc::UnboundedSender<Waiting<C>>,
    /// Bytes that wait, about.
    load: Arc<AtomicUsize>,
}

impl<C: Command> Lane<C> {
    /// A lane that has up to `at_once` statements under way, each on a connection of its own.
    pub(in crate::postgres) fn start(store: Arc<C::Store>, at_once: usize) -> Self {
        let (inbox, commands) = mpsc::unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        tokio::spawn(run(store, at_once, commands, Arc::clone(&load)));
        Self { inbox, load }
    }

    /// Writes a command.
    ///
    /// # Errors
    /// Besides what the store says: [`StoreError::Unreachable`] while too much waits already.
    pub(in crate::postgres) async fn send(&self, command: C) -> Result<C::Answer, StoreError> {
        let mut hasher = DefaultHasher::new();
        command.key().hash(&mut hasher);
        let (reply, answer) = oneshot::channel();
        let bytes = command.bytes();
        if self.load.load(Ordering::Relaxed).saturating_add(bytes) > MAX_WAITING_BYTES {
            return Err(StoreError::Unreachable(
                "it does not keep up, and too much waits to be written".into(),
            ));
        }
        self.load.fetch_add(bytes, Ordering::Relaxed);
        let waiting = Waiting { command, key: hasher.finish(), bytes, reply };
        self.inbox.send(waiting).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

async fn run<C: Command>(
    store: Arc<C::Store>,
    at_once: usize,
    mut inbox: mpsc::UnboundedReceiver<Waiting<C>>,
    load: Arc<AtomicUsize>,
) {
    let mut waiting: VecDeque<Waiting<C>> = VecDeque::new();
    // Keys of what is being written. Two keys may look the same: then one waits in vain, for a moment.
    let mut busy: HashSet<u64> = HashSet::new();
    let mut under_way: JoinSet<Vec<u64>> = JoinSet::new();
    let mut arriving = Vec::with_capacity(MAX_BATCH);
    let mut open = true;
    loop {
        while under_way.len() < at_once
            && let Some(batch) = next(&mut waiting, &mut busy)
        {
            load.fetch_sub(batch.iter().map(|one| one.bytes).sum(), Ordering::Relaxed);
            under_way.spawn(write(Arc::clone(&store), batch));
        }
        if !open && waiting.is_empty() && under_way.is_empty() {
            return;
        }
        tokio::select! {
            came = inbox.recv_many(&mut arriving, MAX_BATCH), if open => {
                open = came > 0;
                waiting.extend(arriving.drain(..));
            }
            Some(written) = under_way.join_next() => {
                match written {
                    Ok(keys) => for key in keys { busy.remove(&key); },
                    // A panic: its senders were told when their replies were dropped; its keys are not known.
                    Err(_) => busy.clear(),
                }
            }
        }
    }
}

/// Takes what can be written together, in order.
fn next<C: Command>(waiting: &mut VecDeque<Waiting<C>>, busy: &mut HashSet<u64>) -> Option<Vec<Waiting<C>>> {
    let mut batch = Vec::new();
    let mut held = Vec::new();
    let mut bytes = 0;
    for _ in 0..MAX_SCANNED.min(waiting.len()) {
        if batch.len() >= MAX_BATCH || bytes >= MAX_BYTES {
            break;
        }
        let Some(one) = waiting.pop_front() else { break };
        if busy.insert(one.key) {
            bytes += one.bytes;
            batch.push(one);
        } else {
            held.push(one);
        }
    }
    for one in held.into_iter().rev() {
        waiting.push_front(one);
    }
    (!batch.is_empty()).then_some(batch)
}

async fn write<C: Command>(store: Arc<C::Store>, batch: Vec<Waiting<C>>) -> Vec<u64> {
    let mut keys = Vec::with_capacity(batch.len());
    let mut replies = Vec::with_capacity(batch.len());
    let mut commands = Vec::with_capacity(batch.len());
    for one in batch {
        keys.push(one.key);
        replies.push(one.reply);
        commands.push(one.command);
    }
    let answers = C::write(&store, commands).await;
    for (reply, answer) in replies.into_iter().zip(answers) {
        // The sender may have gone away; what is written stands all the same.
        let _ = reply.send(answer);
    }
    keys
}
