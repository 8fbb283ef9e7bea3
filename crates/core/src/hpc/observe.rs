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
use crate::time::{MICROS_PER_SECOND, Timestamp};

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

impl Finished {
    /// Whether it tells of something that ran: what was cancelled while it waited has had no node.
    fn ran(&self) -> bool {
        let cancelled = self.hint.proved().is_some_and(|end| end.state() == State::Cancelled);
        !cancelled
            || self.record.started.is_some()
            || !self.record.nodes.is_empty()
            || self.hint.exit.is_some()
    }
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
    /// The word is of another job, to which the number was given: it is to be heard once more.
    pub again: bool,
    /// Nobody has changed anything: a priority or a reason has moved on by itself. The audit need not have it.
    pub quiet: bool,
}

/// Clocks of nodes may be wrong by so much, in microseconds.
pub const CLOCKS_DIFFER: i64 = 600 * MICROS_PER_SECOND;

/// What `word` makes of `before`, the newest row with the job's number.
pub fn observe(before: Option<&HpcJob>, word: Word, means: Means, fresh: Fresh, now: Timestamp) -> Outcome {
    let Some(before) = before else { return first(word, means, (fresh, 1), now) };
    if before.state.is_terminal() {
        // Where the scheduler is asked, its record says whether that is another run: clocks of nodes differ, and messages
        // are late.
        let hint = means.asks && matches!(word, Word::Started(_) | Word::Finished(_));
        if hint || !is_later(before, &word) {
            return match word {
                Word::Started(record) if !hint => filled_in(before, &record, now),
                Word::Started(_) | Word::Finished(_) | Word::Record(..) | Word::Forgotten => {
                    Outcome::Unchanged
                }
            };
        }
        return first(word, means, (fresh, before.run.saturating_add(1)), now);
    }
    let mut turn = Turn::of(before.clone(), now);
    if is_of_another(before, &word) {
        if means.asks && !matches!(word, Word::Record(..)) {
            return Outcome::Unchanged;
        }
        turn.is_forgotten("its number was given to another job, and nobody has said how it ended");
        turn.again = true;
        return turn.outcome(before);
    }
    match word {
        Word::Started(record) => turn.starts(*record, means),
        Word::Finished(finished) => turn.finishes(*finished, means),
        Word::Record(record, asked_at) => turn.is_recorded(*record, asked_at),
        Word::Forgotten => {
            turn.is_forgotten("the scheduler does not know it any more, and nobody knows how it ended");
        }
    }
    turn.outcome(before)
}

/// Whether a word is of another run than the one that `before` tells the end of.
fn is_later(before: &HpcJob, word: &Word) -> bool {
    let ended = before.record.ended;
    let put_back =
        |record: &Record| record.restarts.zip(before.record.restarts).is_some_and(|(now, then)| now > then);
    // What is put back is submitted anew, in the second in which it ended at the earliest.
    let submitted = |record: &Record| {
        let anew = record.submitted.zip(before.record.submitted).is_some_and(|(now, then)| now > then);
        record.submitted.is_some_and(|at| match ended {
            Some(ended) => at > ended || (at == ended && anew),
            None => anew,
        })
    };
    let started = |record: &Record, clocks: i64| {
        let by_then = |ended: Timestamp| ended.0.saturating_add(clocks);
        record.started.zip(ended).is_some_and(|(started, ended)| started.0 > by_then(ended))
    };
    match word {
        Word::Record(record, _) => {
            put_back(record) || submitted(record) || started(record, 0) || is_anothers_later(before, record)
        }
        Word::Started(record) => {
            (put_back(record) && !is_within(before, record))
                || submitted(record)
                || started(record, CLOCKS_DIFFER)
                || is_anothers_later(before, record)
        }
        // How often it was put back is told by an epilog too early.
        Word::Finished(finished) => {
            let record = &finished.record;
            finished.whole
                && (submitted(record) || started(record, CLOCKS_DIFFER) || is_anothers_later(before, record))
        }
        Word::Forgotten => false,
    }
}

/// Whether a beginning lies within what `before` has run: it is that run's own, told late, and how often the job was put back is
/// told by it alone.
fn is_within(before: &HpcJob, record: &Record) -> bool {
    let ran = before.record.started.zip(before.record.ended);
    record.started.zip(ran).is_some_and(|(at, (began, ended))| began <= at && at <= ended)
}

/// What a beginning that comes behind its own end adds: where nobody is asked, nobody else tells when the job began, and where.
/// What is known stays, and so does the end.
fn filled_in(before: &HpcJob, record: &Record, now: Timestamp) -> Outcome {
    let known = &before.record;
    if record.restarts.is_some_and(|restarts| restarts < known.restarts.unwrap_or(0)) {
        // Of an earlier run.
        return Outcome::Unchanged;
    }
    // Each node tells it by its own clock. Whoever was submitted later than that has begun later as well; and a beginning behind
    // the end of what is known to have begun is another's.
    let same_run = match (record.started, known.started) {
        (Some(at), Some(began)) => {
            at >= began.plus_micros(-CLOCKS_DIFFER)
                && known.submitted.is_none_or(|submitted| submitted <= at)
                && known.ended.is_none_or(|ended| at <= ended)
        }
        (None, _) | (_, None) => true,
    };
    if !same_run {
        return Outcome::Unchanged;
    }
    let mut nodes = known.nodes.clone();
    nodes.extend(record.nodes.iter().filter(|node| !known.nodes.contains(node)).cloned());
    let user = known.user.clone().filter(|user| !user.is_empty()).or(record.user.clone());
    // No job begins after its end.
    let told = record.started.map(|at| known.ended.map_or(at, |ended| at.min(ended)));
    let started = known.started.into_iter().chain(told).min();
    let filled = record.followed_by(Record { user, started, nodes, ..known.clone() });
    if filled == *known {
        return Outcome::Unchanged;
    }
    let job = HpcJob { record: filled, revision: before.revision + 1, updated_at: now, ..before.clone() };
    Outcome::Changed(Box::new(Change { job, log: Vec::new(), ask: false, again: false, quiet: false }))
}

/// Whether a word is of another job than `before`, which has not ended: a scheduler that has lost what it knew begins its
/// numbers anew.
fn is_of_another(before: &HpcJob, word: &Word) -> bool {
    match word {
        Word::Record(record, _) => {
            // What is put back is submitted anew as well; it was counted before that.
            let later = record.submitted.zip(before.record.submitted).is_some_and(|(now, then)| now > then);
            (record.restarts == Some(0) && later) || is_anothers_later(before, record)
        }
        Word::Started(record) => is_anothers_later(before, record),
        Word::Finished(finished) => is_anothers_later(before, &finished.record),
        Word::Forgotten => false,
    }
}

/// Whether the owner is another one, of a job that began long after this one. Names alone prove nothing: machines of one
/// cluster may know a user by several, or by number only.
fn is_anothers_later(before: &HpcJob, record: &Record) -> bool {
    let named = |record: &Record| {
        let user = record.user.clone().unwrap_or_default();
        Some(user).filter(|user| user.bytes().any(|b| !b.is_ascii_digit()))
    };
    let differs = named(&before.record).zip(named(record)).is_some_and(|(then, now)| then != now);
    let known = before.record.started.or(before.record.submitted).unwrap_or(before.created_at);
    let begins = record.submitted.or(record.started);
    differs && begins.is_some_and(|at| at > known.plus_micros(CLOCKS_DIFFER))
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
        Turn { job, log, ask, now, changed: true, again: false }
    };
    let turn = match word {
        Word::Started(record) => enter(job(State::Running, running(*record)), false),
        Word::Finished(finished) => {
            let record = finished.record.clone();
            let entered = if finished.ran() {
                job(State::Running, running(record))
            } else {
                job(State::Queued, Record { raw_state: "PENDING".to_owned(), ..record })
            };
            let mut turn = enter(entered, false);
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
    Outcome::New(Box::new(Change { job: turn.job, log: turn.log, ask: turn.ask, again: false, quiet: false }))
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
    again: bool,
}

impl Turn {
    fn of(job: HpcJob, now: Timestamp) -> Self {
        Self { job, log: Vec::new(), ask: false, now, changed: false, again: false }
    }

    fn outcome(mut self, before: &HpcJob) -> Outcome {
        if !self.changed && self.job == *before {
            return Outcome::Unchanged;
        }
        let quiet = self.log.is_empty() && self.has_only_moved_on(before);
        self.job.revision = before.revision + 1;
        self.job.updated_at = self.now;
        let Self { job, log, ask, again, .. } = self;
        Outcome::Changed(Box::new(Change { job, log, ask, again, quiet }))
    }

    fn has_only_moved_on(&self, before: &HpcJob) -> bool {
        let Record { reason, priority, .. } = before.record.clone();
        let record = Record { reason, priority, ..self.job.record.clone() };
        HpcJob { record, ..self.job.clone() } == *before
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

    fn starts(&mut self, record: Record, means: Means) {
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
            State::Running => String::new(),
            _ => "RUNNING".to_owned(),
        };
        // Whose job it is does not change.
        let user = self.job.record.user.clone().filter(|user| !user.is_empty()).or(record.user.clone());
        // Each node tells it by its own clock; the scheduler knows better.
        let started = match self.job.record.started {
            Some(known) if means.asks => Some(known),
            known => known.into_iter().chain(record.started).min(),
        };
        self.job.record = self.job.record.followed_by(Record { raw_state, user, started, nodes, ..record });
        self.run("a hook of the scheduler says that it runs");
    }

    fn finishes(&mut self, finished: Finished, means: Means) {
        let known = self.job.record.restarts.unwrap_or(0);
        let (ran, Finished { record, hint, whole }) = (finished.ran(), finished);
        if record.restarts.is_some_and(|restarts| restarts < known) {
            return;
        }
        self.ask = means.asks;
        if !whole {
            // One of its nodes is done; the job may be as well.
            return;
        }
        let standing = hint.standing();
        if means.asks {
            // What is in its queue again is told by the scheduler itself.
            if standing != Some(Standing::Waits) {
                if ran && standing != Some(Standing::Runs) {
                    self.run("a hook of the scheduler says that it ran");
                }
                self.keep(hint);
            }
            return;
        }
        // The end of the run before this one, told late.
        if known > 0 && self.job.record.started.is_some_and(|started| hint.at < started) {
            return;
        }
        match (hint.end(), standing) {
            (None, Some(Standing::Waits)) => {
                self.put_back("a hook of the scheduler says that it is in its queue again");
                self.job.record.raw_state = hint.raw_state.unwrap_or_default();
            }
            // How it ended is told by another hook, or by nobody.
            (None, _) => self.keep(hint),
            (Some(_), _) => {
                // Whose job it is does not change, and how often it was put back is told too early here.
                let user =
                    self.job.record.user.clone().filter(|user| !user.is_empty()).or(record.user.clone());
                let record = Record { user, restarts: None, raw_state: String::new(), ..record };
                self.job.record = self.job.record.followed_by(record);
                if ran {
                    self.run("a hook of the scheduler says that it ran");
                }
                self.ends_as_told(&hint);
            }
        }
    }

    /// Remembers the best that hooks have said of its end.
    fn keep(&mut self, hint: EndHint) {
        self.job.hint = Some(match self.job.hint.take() {
            Some(known) => known.or_better(hint),
            None => hint,
        });
    }

    /// Its end by a hook's word alone, where there is nobody to ask.
    fn ends_as_told(&mut self, hint: &EndHint) {
        let by_exit = || hint.exit.map_or(End::Failed, End::of_exit);
        let end = hint.end().unwrap_or_else(by_exit);
        let raw_state = match hint.proved() {
            Some(_) => hint.raw_state.clone().unwrap_or_default(),
            None => end.hpc_state().raw().to_owned(),
        };
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
    fn is_forgotten(&mut self, reason: &str) {
        match self.job.hint.clone() {
            Some(hint) if hint.proved().is_some() => self.ends_as_told(&hint),
            Some(hint) if hint.exit.is_some_and(|exit| exit.code != 0) => {
                // What the hook made of it may be more than it knew.
                self.ends_as_told(&EndHint { final_state: None, ..hint });
            }
            hint => {
                let record = &mut self.job.record;
                record.ended = hint.as_ref().map(|hint| hint.at).or(record.ended);
                record.exit = hint.and_then(|hint| hint.exit).or(record.exit);
                record.ended = record.ended.map(|_| ended(record, self.now));
                self.job.failure = Some(no_record());
                self.job.hint = None;
                self.to(State::Failed, reason);
            }
        }
    }
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
