//! Words about jobs of schedulers wait here, and are heard together: whoever has the turn hears all that have come while others
//! were being stored. Hooks of a whole cluster speak at the same time (contract H1).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use libra_api::problem::Code;
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::Word;
use libra_core::hpc::record::Record;
use libra_core::id::Token;
use libra_store::StoreError;
use libra_store::backend::Kind as StoreKind;
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{ByWhom, MOST_TRIES};
use crate::service::{Service, ServiceError};

/// Words that are stored in one transaction, at most.
const MOST_AT_ONCE: usize = 256;
/// Transactions that are under way at once on a server of databases: while one waits for the disk, the next is decided on. The
/// embedded database has one writer.
const TURNS_ON_A_SERVER: usize = 2;

/// Who says a word.
#[derive(Clone, Debug)]
pub(super) enum Speaker {
    /// The scheduler itself, as it was asked by Libra: its jobs are whose its cluster is.
    Scheduler,
    /// Whoever called, of jobs of the own tenant.
    Caller(ByWhom),
}

/// A word about the job with a number on a cluster.
#[derive(Clone, Debug)]
pub(super) struct Saying {
    pub(super) cluster: String,
    pub(super) number: String,
    pub(super) word: Word,
    pub(super) speaker: Speaker,
}

impl Saying {
    /// What tells jobs apart that run.
    pub(super) fn key(&self) -> Key {
        (self.cluster.clone(), self.number.clone())
    }

    /// What may be the token of the attempt that the job is, where the scheduler speaks.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> {
        let record = match (&self.word, &self.speaker) {
            (Word::Record(record, _), Speaker::Scheduler) => Some(record),
            (Word::Record(..) | Word::Started(_) | Word::Finished(_) | Word::Forgotten, _) => None,
        };
        record.into_iter().flat_map(|record| tokens_of(record))
    }
}

fn tokens_of(record: &Record) -> impl Iterator<Item = Token> {
    record.marks().filter_map(|mark| mark.parse().ok())
}

/// What has come of a word.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// It is stored, or was nothing new.
    Heard {
        /// The job, where there is one.
        job: Option<Box<HpcJob>>,
        /// Whether it is another than before.
        changed: bool,
        /// The word has closed the job before, and is of another one: it is to be heard once more.
        again: bool,
    },
    /// Somebody else has changed the job meanwhile: it is to be heard once more.
    Stale,
    /// The job is another tenant's than the speaker.
    OfAnotherTenant,
}

type Reply = oneshot::Sender<Result<Answer, StoreError>>;

/// A job with its scheduler: its cluster and its number.
type Key = (String, String);

/// Words that wait to be heard.
pub(in crate::service) struct Ear {
    inbox: Mutex<Inbox>,
    /// Who has one hears for all that wait.
    turns: Semaphore,
    /// Some jobs are in nobody's hand any more.
    freed: Notify,
}

#[derive(Default)]
struct Inbox {
    waiting: Vec<(Saying, Reply)>,
    /// Jobs whose words are being stored.
    in_hand: HashSet<Key>,
}

/// Words that were taken to be stored. Dropped, also on the way, it lets go of their jobs.
struct Taken<'e> {
    ear: &'e Ear,
    sayings: Vec<Saying>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut inbox = self.ear.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        for saying in &self.sayings {
            inbox.in_hand.remove(&saying.key());
        }
        drop(inbox);
        self.ear.freed.notify_waiters();
    }
}

impl Ear {
    pub(in crate::service) fn on(store: StoreKind) -> Self {
        let turns = match store {
            StoreKind::Sqlite => 1,
            StoreKind::Postgres => TURNS_ON_A_SERVER,
        };
        Self { inbox: Mutex::default(), turns: Semaphore::new(turns), freed: Notify::new() }
    }

    fn add(&self, saying: Saying) -> oneshot::Receiver<Result<Answer, StoreError>> {
        let (reply, answer) = oneshot::channel();
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).waiting.push((saying, reply));
        answer
    }

    /// The next words, one of each job that is in nobody's hand: what is said of a job is heard in the order in which it has
    /// come.
    fn take(&self) -> (Taken<'_>, Vec<Reply>) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let Inbox { waiting, in_hand } = &mut *inbox;
        let mut taken = 0;
        let (now, later): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|(saying, _)| {
            let next = taken < MOST_AT_ONCE && in_hand.insert(saying.key());
            taken += usize::from(next);
            next
        });
        *waiting = later;
        let (sayings, replies) = now.into_iter().unzip();
        (Taken { ear: self, sayings }, replies)
    }
}

impl Service {
    /// Hears a word about the job with a number on a cluster; says what the job is then, and whether that is new.
    pub(super) async fn hear(
        &self,
        by: &ByWhom,
        cluster: &str,
        number: &str,
        word: &Word,
    ) -> Result<(Option<HpcJob>, bool), ServiceError> {
        if let Some(tenant) = self.slurm.tenant(cluster)
            && tenant != by.who.tenant
        {
            let message =
                format!("the jobs of {cluster} are the tenant {tenant}'s; use a key of that tenant");
            return Err(ServiceError::new(Code::Forbidden, message));
        }
        let saying = Saying {
            cluster: cluster.to_owned(),
            number: number.to_owned(),
            word: word.clone(),
            speaker: Speaker::Caller(by.clone()),
        };
        for _ in 0..MOST_TRIES {
            match self.hear_with_others(saying.clone()).await? {
                Answer::Heard { again: true, .. } | Answer::Stale => {}
                Answer::Heard { job, changed, again: false } => {
                    return Ok((job.map(|job| *job), changed));
                }
                Answer::OfAnotherTenant => {
                    let message = format!("the job {number} on {cluster} is another tenant's");
                    return Err(ServiceError::new(Code::Forbidden, message));
                }
            }
        }
        Err(ServiceError::new(Code::Unavailable, "others change this job at the same time; try again")
            .retry_after(1))
    }

    /// Waits until it is heard by whoever has the turn, or hears all that wait.
    async fn hear_with_others(&self, saying: Saying) -> Result<Answer, StoreError> {
        let mut answer = self.ear.add(saying);
        loop {
            let turn = tokio::select! {
                biased;
                // Whoever had the turn has gone away, its caller with it: what was stored is stored, and is heard again.
                said = &mut answer => return said.unwrap_or(Ok(Answer::Stale)),
                turn = self.ear.turns.acquire() => turn,
            };
            if let Ok(said) = answer.try_recv() {
                return said;
            }
            let freed = self.ear.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let (taken, replies) = self.ear.take();
            if taken.sayings.is_empty() {
                // Another turn has an earlier word of the same job in hand, or this one itself.
                drop(turn);
                tokio::select! {
                    biased;
                    said = &mut answer => return said.unwrap_or(Ok(Answer::Stale)),
                    () = freed => {}
                }
                continue;
            }
            let answers = self.hear_each(&taken.sayings).await;
            drop(taken);
            drop(turn);
            for (reply, answer) in replies.into_iter().zip(answers) {
                // Who has asked may have gone away; what is stored stands all the same.
                let _ = reply.send(answer);
            }
        }
    }

    /// Hears words of different jobs together and, when that fails, one by one, so that each has its own answer.
    pub(super) async fn hear_each(&self, sayings: &[Saying]) -> Vec<Result<Answer, StoreError>> {
        match self.hear_together(sayings).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error @ (StoreError::Unreachable(_) | StoreError::Closed)) => {
                sayings.iter().map(|_| Err(error.clone())).collect()
            }
            Err(error) if sayings.len() == 1 => vec![Err(error)],
            Err(_) => {
                let mut answers = Vec::with_capacity(sayings.len());
                for one in sayings.chunks(1) {
                    let heard = self.hear_together(one).await;
                    answers.push(heard.map(|answers| answers.into_iter().next().unwrap_or(Answer::Stale)));
                }
                answers
            }
        }
    }
}

/// What the scheduler itself says of a job.
pub(super) fn of_scheduler(cluster: &str, number: &str, word: Word) -> Saying {
    let (cluster, number) = (cluster.to_owned(), number.to_owned());
    Saying { cluster, number, word, speaker: Speaker::Scheduler }
}
