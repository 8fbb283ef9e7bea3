//! What a word about a job changes (contract H1, L8): hooks are believed that it runs, a scheduler's own record alone that
//! it has ended.
//!
//! Invariant: an ended job stays as it is; what is heard of its number later is another run, with a row of its own.

use super::end::{End, no_record};
use super::job::{EndHint, HpcJob};
use super::raw_state::Standing;
use super::record::Record;
use crate::failure::as_message;
use crate::id::JobId;
use crate::job::State;
use crate::lifecycle::Transition;
use crate::time::Timestamp;

/// Something that is said of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A hook: it runs.
    Started(Box<Record>),
    /// A hook: it has ended.
    Finished(Box<Finished>),
    /// The scheduler's own record, and when it was asked for: what has happened since is not in it.
    Record(Box<Record>, Timestamp),
    /// The scheduler was asked for it, and does not know it, neither among its jobs nor among those that have ended.
    Forgotten,
}

/// A hook's word of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The number of the job with its scheduler, and what else the hook knows.
    pub record: Record,
    /// What it says of the end.
    pub hint: EndHint,
    /// False where it speaks of one node only, as an epilog does: the job may run on elsewhere.
    pub whole: bool,
}

/// What is the same for all jobs of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// Whether its scheduler can be asked: then it is, before anything is an end.
    pub asks: bool,
}

/// A job that nobody has heard of yet: what the caller adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Its id.
    pub id: JobId,
    /// Whose tenant.
    pub tenant: String,
    /// Its cluster.
    pub cluster: String,
    /// Ties together what belongs to it.
    pub correlation_id: String,
}

/// What has come of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing new.
    Unchanged,
    /// The row becomes this.
    Changed(Box<Change>),
    /// A new row: the first, or beside one that has ended.
    New(Box<Change>),
}

/// A row after a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row. Its revision is raised by one.
    pub job: HpcJob,
    /// Rows for the log, in order; none where the state stays.
    pub log: Vec<Transition>,
    /// The scheduler is to be asked for this job soon.
    pub ask: bool,
}

/// What `word` makes of `before`, the newest row with the job's number.
pub fn observe(before: Option<&HpcJob>, word: Word, means: Means, fresh: Fresh, now: Timestamp) -> Outcome {
    let Some(before) = before else { return first(word, means, (fresh, 1), now) };
    if before.state.is_terminal() {
        // Where the scheduler is asked, its record says whether that is another run: clocks of nodes differ, and messages
        // are late.
        let hint = means.asks && matches!(word, Word::Started(_));
        if hint || !is_later(before, &word) {
            return Outcome::Unchanged;
        }
        return first(word, means, (fresh, before.run.saturating_add(1)), now);
    }
    let mut turn = Turn::of(before.clone(), now);
    match word {
        Word::Started(record) => turn.starts(*record),
        Word::Finished(finished) => turn.finishes(*finished, means),
        Word::Record(record, asked_at) => turn.is_recorded(*record, asked_at),
        Word::Forgotten => turn.is_forgotten(),
    }
    turn.outcome(before)
}

/// Whether a word is of another run than the one that `before` tells the end of.
fn is_later(before: &HpcJob, word: &Word) -> bool {
    let ended = before.record.ended;
    let again = |record: &Record| {
        record.restarts.zip(before.record.restarts).is_some_and(|(now, then)| now > then)
            || record.submitted.zip(ended).is_some_and(|(submitted, ended)| submitted > ended)
            || record.started.zip(ended).is_some_and(|(started, ended)| started > ended)
    };
    match word {
        Word::Started(record) | Word::Record(record, _) => again(record),
        // Its beginning comes with the record.
        Word::Finished(_) | Word::Forgotten => false,
    }
}

/// A job that is heard of for the first time enters where the word says it is.
fn first(word: Word, means: Means, (fresh, run): (Fresh, u32), now: Timestamp) -> Outcome {
    let Fresh { id, tenant, cluster, correlation_id } = fresh;
    let job = |state, record| HpcJob {
        id,
        revision: 0,
        state,
        tenant,
        client_id: None,
        cluster,
        run,
        record,
        hint: None,
        failure: None,
        correlation_id,
        created_at: now,
        updated_at: now,
    };
    let enter = |job: HpcJob, ask: bool| {
        let (to, reason) = (job.state, reason_of(&job.record));
        let log = vec![Transition { from: None, to, reason, attempt: attempt(&job) }];
        Turn { job, log, ask, now, changed: true }
    };
    let turn = match word {
        Word::Started(record) => enter(job(State::Running, running(*record)), false),
        Word::Finished(finished) => {
            let mut turn = enter(job(State::Running, running(finished.record.clone())), false);
            turn.finishes(*finished, means);
            turn
        }
        Word::Record(record, _) => {
            let standing = Standing::of(&record.raw_state);
            let state = match standing {
                Some(Standing::Suspended | Standing::Runs) => State::Running,
                Some(Standing::Ended(end)) => end.state(),
                None if record.started.is_some() => State::Running,
                Some(Standing::Waits) | None => State::Queued,
            };
            let mut turn = enter(job(state, *record), false);
            if let Some(Standing::Ended(end)) = standing {
                turn.job.record.ended = Some(ended(&turn.job.record, now));
                turn.job.failure = end.failure(&turn.job.record);
            }
            turn
        }
        Word::Forgotten => return Outcome::Unchanged,
    };
    Outcome::New(Box::new(Change { job: turn.job, log: turn.log, ask: turn.ask }))
}

fn running(record: Record) -> Record {
    Record { raw_state: "RUNNING".to_owned(), ..record }
}

/// Collects what a word changes.
struct Turn {
    job: HpcJob,
    log: Vec<Transition>,
    ask: bool,
    now: Timestamp,
    changed: bool,
}

impl Turn {
    fn of(job: HpcJob, now: Timestamp) -> Self {
        Self { job, log: Vec::new(), ask: false, now, changed: false }
    }

    fn outcome(mut self, before: &HpcJob) -> Outcome {
        if !self.changed && self.job == *before {
            return Outcome::Unchanged;
        }
        self.job.revision = before.revision + 1;
        self.job.updated_at = self.now;
        Outcome::Changed(Box::new(Change { job: self.job, log: self.log, ask: self.ask }))
    }

    fn to(&mut self, state: State, reason: &str) {
        let from = Some(self.job.state);
        self.log.push(Transition {
            from,
            to: state,
            reason: as_message(reason),
            attempt: attempt(&self.job),
        });
        self.job.state = state;
    }

    /// Into its next run, if that is what `restarts` says.
    fn next_run(&mut self, restarts: Option<u32>) {
        let known = self.job.record.restarts.unwrap_or(0);
        if restarts.is_some_and(|restarts| restarts > known) {
            self.put_back("the scheduler put it back into its queue");
            self.job.record.restarts = restarts;
        }
    }

    /// An observed requeue is RUNNING → FAILED → RETRYING → QUEUED (contract L8).
    fn put_back(&mut self, reason: &str) {
        if self.job.state == State::Running {
            self.to(State::Failed, reason);
            self.to(State::Retrying, reason);
            self.to(State::Queued, reason);
        }
        let record = &mut self.job.record;
        record.started = None;
        record.ended = None;
        record.exit = None;
        record.nodes.clear();
        self.job.hint = None;
    }

    /// Runs, if it does not yet.
    fn run(&mut self, reason: &str) {
        if self.job.state != State::Running {
            self.to(State::Scheduled, reason);
            self.to(State::Running, reason);
        }
    }

    fn starts(&mut self, record: Record) {
        let known = self.job.record.restarts.unwrap_or(0);
        if record.restarts.is_some_and(|restarts| restarts < known) {
            // A message of an earlier run that was late.
            return;
        }
        self.next_run(record.restarts);
        let mut nodes = self.job.record.nodes.clone();
        nodes.extend(record.nodes.iter().filter(|node| !self.job.record.nodes.contains(node)).cloned());
        let raw_state = match self.job.state {
            // What the scheduler says of a job that runs is more than this.
            State::Running => self.job.record.raw_state.clone(),
            _ => "RUNNING".to_owned(),
        };
        // Whose job it is does not change.
        let user = self.job.record.user.clone().filter(|user| !user.is_empty()).or(record.user.clone());
        let started = self.job.record.started.or(record.started);
        self.job.record = self.job.record.followed_by(Record { raw_state, user, started, nodes, ..record });
        self.run("a hook of the scheduler says that it runs");
    }

    fn finishes(&mut self, finished: Finished, means: Means) {
        let Finished { record, hint, whole } = finished;
        let known = self.job.record.restarts.unwrap_or(0);
        if record.restarts.is_some_and(|restarts| restarts < known) {
            return;
        }
        if !whole {
            // One of its nodes is done; the job may be as well.
            self.ask = means.asks;
            return;
        }
        self.run("a hook of the scheduler says that it ran");
        let better = self.job.hint.take().filter(|known| known.raw_state.is_some());
        let hint = better.unwrap_or(hint);
        if means.asks {
            self.ask = true;
            self.job.hint = Some(hint);
        } else {
            self.ends_as_told(&hint);
        }
    }

    /// Its end by a hook's word alone, where there is nobody to ask.
    fn ends_as_told(&mut self, hint: &EndHint) {
        let told = hint.raw_state.as_deref().and_then(Standing::of);
        let end = match (told, hint.exit) {
            (Some(Standing::Ended(end)), _) => end,
            (_, Some(exit)) => End::of_exit(exit),
            (_, None) => End::Completed,
        };
        let raw_state = hint.raw_state.clone().unwrap_or_else(|| end.hpc_state().raw().to_owned());
        let record = Record { raw_state, ended: Some(hint.at), exit: hint.exit, ..Record::default() };
        self.job.record = self.job.record.followed_by(record);
        self.end(end, "a hook of the scheduler says that it has ended");
    }

    fn end(&mut self, end: End, reason: &str) {
        self.job.record.ended = Some(ended(&self.job.record, self.now));
        self.job.failure = end.failure(&self.job.record);
        self.job.hint = None;
        self.to(end.state(), reason);
    }

    fn is_recorded(&mut self, record: Record, asked_at: Timestamp) {
        let known = self.job.record.restarts.unwrap_or(0);
        if record.restarts.is_some_and(|restarts| restarts < known) {
            return;
        }
        // Read before the last that was heard: it takes nothing back.
        let is_old = asked_at < self.job.updated_at;
        let standing = Standing::of(&record.raw_state);
        self.next_run(record.restarts);
        match standing {
            Some(Standing::Waits) if self.job.state == State::Running => {
                if is_old {
                    return;
                }
                self.put_back("the scheduler has it in its queue again");
                self.job.record = self.job.record.followed_by(record);
            }
            // Words that this build does not know change no state.
            Some(Standing::Waits) | None => self.job.record = self.job.record.followed_by(record),
            Some(Standing::Suspended | Standing::Runs) => {
                self.job.record = self.job.record.followed_by(record);
                self.run("the scheduler says that it runs");
            }
            // It may be the end of an earlier run: it is asked for again.
            Some(Standing::Ended(_)) if is_old && record.restarts.is_none() => {}
            Some(Standing::Ended(end)) => {
                let ran = record.started.is_some() || self.job.record.started.is_some();
                self.job.record = self.job.record.followed_by(record);
                if ran && end.state() != State::Cancelled {
                    self.run("the scheduler says that it ran");
                }
                let reason = reason_of(&self.job.record);
                self.end(end, &reason);
            }
        }
    }

    /// Nobody knows how it ended but a hook, perhaps.
    fn is_forgotten(&mut self) {
        let hint = self.job.hint.clone();
        match hint {
            Some(hint) if hint.raw_state.as_deref().and_then(Standing::of).is_some_and(is_end) => {
                self.ends_as_told(&hint);
            }
            Some(hint) if hint.exit.is_some_and(|exit| exit.code != 0) => self.ends_as_told(&hint),
            hint => {
                let record = &mut self.job.record;
                record.ended = hint.as_ref().map(|hint| hint.at).or(record.ended);
                record.exit = hint.and_then(|hint| hint.exit).or(record.exit);
                record.ended = record.ended.map(|_| ended(record, self.now));
                self.job.failure = Some(no_record());
                self.job.hint = None;
                self.to(
                    State::Failed,
                    "the scheduler does not know it any more, and nobody knows how it ended",
                );
            }
        }
    }
}

fn is_end(standing: Standing) -> bool {
    matches!(standing, Standing::Ended(_))
}

/// When it ended, as far as is known by now. No job ends before it begins, whatever the clocks of three machines say.
fn ended(record: &Record, now: Timestamp) -> Timestamp {
    let told = record.ended.unwrap_or(now);
    told.max(record.started.unwrap_or(told)).max(record.submitted.unwrap_or(told))
}

fn attempt(job: &HpcJob) -> u32 {
    job.record.restarts.unwrap_or(0).saturating_add(1)
}

fn reason_of(record: &Record) -> String {
    let state = &record.raw_state;
    let why = record.reason.as_deref().filter(|why| !why.is_empty() && *why != "None");
    let words = why.map_or_else(|| state.clone(), |why| format!("{state}: {why}"));
    as_message(format!("the scheduler says {words}"))
}
