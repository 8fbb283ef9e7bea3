//! What the callers know: what they submitted, what they were told, and whom the harness killed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::draft::Draft;

/// What a submission came to, by the one clear answer that it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 202 with this id.
    Taken(String),
    /// A clear no.
    Refused(String),
}

/// One submission.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) draft: Draft,
    /// The idempotency key of its submission.
    pub(crate) key: String,
    /// None while no clear answer has come.
    pub(crate) answer: Option<Answer>,
    /// When its cancellation was first sent.
    pub(crate) cancel_sent_at: Option<i64>,
    /// The first state in which it was seen to have ended.
    pub(crate) ended: Option<String>,
}

impl Entry {
    /// The job's id, once it was taken.
    pub(crate) fn id(&self) -> Option<&str> {
        match &self.answer {
            Some(Answer::Taken(id)) => Some(id),
            Some(Answer::Refused(_)) | None => None,
        }
    }
}

/// Whom the harness killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The driver: everybody can see how it ended.
    Driver,
    /// The shim: nobody can know how its driver ended.
    Shim,
}

/// An attempt of which the harness killed a process.
#[derive(Clone, Debug)]
pub(crate) struct Kill {
    pub(crate) token: String,
    pub(crate) victim: Victim,
}

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<Entry>,
    kills: Vec<Kill>,
    /// What was seen to be wrong while the run went on.
    wrong: BTreeSet<String>,
    /// Calls without a clear answer: no connection, no answer in time, 5xx.
    unclear: u64,
    /// From the first try to the answer.
    waits: Vec<Duration>,
}

/// All of it, for everybody.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Pages>);

impl Ledger {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job is about to be submitted under this key.
    pub(crate) fn open(&self, draft: Draft, key: String) {
        let entry = Entry { draft, key, answer: None, cancel_sent_at: None, ended: None };
        let entries = &mut self.pages().entries;
        assert_eq!(entries.len(), entry.draft.number, "jobs are entered in order");
        entries.push(entry);
    }

    /// The answer to job `number`, after so long.
    pub(crate) fn answered(&self, number: usize, answer: Answer, wait: Duration) {
        let mut pages = self.pages();
        pages.entries[number].answer = Some(answer);
        pages.waits.push(wait);
    }

    /// Job `number` is about to be cancelled.
    pub(crate) fn cancelling(&self, number: usize, at: i64) {
        self.pages().entries[number].cancel_sent_at.get_or_insert(at);
    }

    /// Job `number` was seen in a state that is an end; answers the first such state that was seen.
    pub(crate) fn ended(&self, number: usize, state: &str) -> String {
        self.pages().entries[number].ended.get_or_insert_with(|| state.to_owned()).clone()
    }

    /// The harness kills a process of this attempt. Told before the kill.
    pub(crate) fn killing(&self, kill: Kill) {
        self.pages().kills.push(kill);
    }

    /// Something is wrong.
    pub(crate) fn wrong(&self, what: String) {
        eprintln!("WRONG: {what}");
        self.pages().wrong.insert(what);
    }

    /// A call got no clear answer.
    pub(crate) fn unclear(&self) {
        self.pages().unclear += 1;
    }

    /// All submissions so far.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.pages().entries.clone()
    }

    /// Submissions so far, and those among them that were answered.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let pages = self.pages();
        (pages.entries.len(), pages.entries.iter().filter(|e| e.answer.is_some()).count())
    }

    /// The `back`-th newest submission.
    pub(crate) fn recent(&self, back: usize) -> Option<Entry> {
        let pages = self.pages();
        pages.entries.len().checked_sub(back + 1).map(|at| pages.entries[at].clone())
    }

    /// All kills.
    pub(crate) fn kills(&self) -> Vec<Kill> {
        self.pages().kills.clone()
    }

    /// What was seen to be wrong.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.pages().wrong.iter().cloned().collect()
    }

    /// Unclear answers, and the waits for clear ones.
    pub(crate) fn answers(&self) -> (u64, Vec<Duration>) {
        let pages = self.pages();
        (pages.unclear, pages.waits.clone())
    }
}
