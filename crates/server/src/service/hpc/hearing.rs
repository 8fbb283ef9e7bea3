//! Words about jobs of schedulers, many at once: all that have come while others were being stored are read for, decided on
//! and stored together. Hooks of a whole cluster speak at the same time (contract H1).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use libra_api::problem::Code;
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::{Change, Fresh, Outcome as Observed, Word, observe};
use libra_core::hpc::record::Record;
use libra_core::id::{JobId, Token};
use libra_store::StoreError;
use libra_store::backend::Kind as StoreKind;
use libra_store::lane::Outcome;
use libra_store::tables::hpc::audit::{Author, ChangeType};
use libra_store::tables::hpc::list;
use libra_store::tables::hpc::own::{self, Measured};
use libra_store::tables::hpc::writes::{Told, Write, apply};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{ByWhom, MOST_TRIES};
use crate::auth::Principal;
use crate::service::{Service, ServiceError};

/// Words that are stored in one transaction, at most.
const MOST_AT_ONCE: usize = 256;
/// Transactions that are under way at once on a server of databases: while one waits for the disk, the next is decided on. The
/// embedded database has one writer.
const TURNS_ON_A_SERVER: usize = 4;

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
    fn key(&self) -> Key {
        (self.cluster.clone(), self.number.clone())
    }

    /// What may be the token of the attempt that the job is, where the scheduler speaks.
    fn tokens(&self) -> impl Iterator<Item = Token> {
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

    /// Hears words, each of another job, with one read and one transaction; an answer for each. Of two about one job the
    /// second is left.
    pub(super) async fn hear_together(&self, sayings: &[Saying]) -> Result<Vec<Answer>, StoreError> {
        let numbers: Vec<(String, String)> = sayings.iter().map(Saying::key).collect();
        let tokens: BTreeSet<Token> = sayings.iter().flat_map(Saying::tokens).collect();
        let (known, attempts) = self
            .db
            .read(move |tx| {
                let numbers: Vec<(&str, &str)> = numbers.iter().map(|(c, n)| (&**c, &**n)).collect();
                let tokens: Vec<Token> = tokens.into_iter().collect();
                Ok((list::newest_of(tx, &numbers)?, own::with_tokens(tx, &tokens)?))
            })
            .await?;
        let owners: HashMap<Token, Measured> =
            attempts.into_iter().map(|attempt| (attempt.token, attempt)).collect();
        let mut known: HashMap<(String, String), HpcJob> = known
            .into_iter()
            .map(|job| ((job.cluster.clone(), job.record.external_id.clone()), job))
            .collect();
        let (mut heard, mut writes, mut seen) =
            (Vec::with_capacity(sayings.len()), Vec::new(), HashSet::new());
        for saying in sayings {
            let key = saying.key();
            let before = known.remove(&key);
            if !seen.insert(key) {
                heard.push((Answer::Stale, None));
                continue;
            }
            let (answer, write) = self.decided(saying, before, &owners);
            heard.push((answer, write.as_ref().map(|_| writes.len())));
            writes.extend(write);
        }
        let of_slurm = sayings.iter().any(|saying| matches!(saying.speaker, Speaker::Scheduler));
        let outcomes = self.store_hpc(writes, of_slurm).await?;
        let stored = |(answer, write): (Answer, Option<usize>)| match write {
            Some(n) if outcomes.get(n) != Some(&Outcome::Updated) => Answer::Stale,
            _ => answer,
        };
        Ok(heard.into_iter().map(stored).collect())
    }

    /// Stores rows that were decided on; [`Outcome::Stale`] for those that are not as they were read.
    pub(super) async fn store_hpc(
        &self,
        writes: Vec<Write>,
        of_slurm: bool,
    ) -> Result<Vec<Outcome>, StoreError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let new: Vec<bool> = writes.iter().map(|write| write.new).collect();
        let outcomes = self.db.write(move |tx| apply(tx, &writes)).await?;
        let first = new.iter().zip(&outcomes).filter(|(new, outcome)| **new && **outcome == Outcome::Updated);
        self.metrics.hpc.heard(first.count() as u64);
        if of_slurm {
            self.slurm.heard.notify_waiters();
        }
        Ok(outcomes)
    }

    /// What a word makes of a job, and what is to be stored of that.
    fn decided(
        &self,
        saying: &Saying,
        before: Option<HpcJob>,
        attempts: &HashMap<Token, Measured>,
    ) -> (Answer, Option<Write>) {
        let Saying { cluster, word, speaker, .. } = saying;
        let now = self.clock.now();
        let id = JobId::new(now, self.clock.entropy());
        let correlation_id = before.as_ref().map_or_else(|| id.to_string(), |job| job.correlation_id.clone());
        let (tenant, author) = match speaker {
            // Hooks of this cluster have to have a key of the same tenant.
            Speaker::Scheduler => {
                (self.slurm.tenant(cluster).unwrap_or(Principal::DEFAULT_TENANT), collector(correlation_id))
            }
            Speaker::Caller(by) if before.as_ref().is_some_and(|job| job.tenant != by.who.tenant) => {
                return (Answer::OfAnotherTenant, None);
            }
            Speaker::Caller(by) => (by.who.tenant.as_str(), by.author(ChangeType::Upsert)),
        };
        let mut word = word.clone();
        if let Word::Record(record, _) = &mut word {
            // Anybody can write a comment: who submitted a run stays, and an attempt has but its own numbers.
            let open = before.as_ref().filter(|job| !job.state.is_terminal());
            let known = open.is_some_and(|job| job.record.submitted_by.is_some());
            let owner = saying.tokens().find_map(|token| attempts.get(&token));
            let owner = owner.filter(|owner| !known && owner.tenant == tenant && owner.may_be(record));
            record.submitted_by = owner.map(|owner| owner.user.clone());
        }
        let fresh = Fresh {
            id,
            tenant: tenant.to_owned(),
            cluster: cluster.clone(),
            correlation_id: author.correlation_id.clone(),
        };
        let (change, new) = match observe(before.as_ref(), word, self.means_of(cluster), fresh, now) {
            Observed::Unchanged => {
                return (Answer::Heard { job: before.map(Box::new), changed: false, again: false }, None);
            }
            Observed::Changed(change) => (change, false),
            Observed::New(change) => (change, true),
        };
        let Change { job, log, again, quiet, .. } = *change;
        let told = (!quiet).then(|| Told::here(author, log));
        let answer = Answer::Heard { job: Some(Box::new(job.clone())), changed: true, again };
        (answer, Some(Write { job, new, at: now, told }))
    }
}

/// Who reads schedulers.
fn collector(correlation_id: String) -> Author {
    let (changed_by, source) = ("collector".to_owned(), "slurm".to_owned());
    Author { change_type: ChangeType::Upsert, changed_by, source, correlation_id }
}

/// What the scheduler itself says of a job.
pub(super) fn of_scheduler(cluster: &str, number: &str, word: Word) -> Saying {
    let (cluster, number) = (cluster.to_owned(), number.to_owned());
    Saying { cluster, number, word, speaker: Speaker::Scheduler }
}
