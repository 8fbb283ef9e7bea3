//! What is remembered of a deployment between two looks. A restart forgets it, and loses only time.

use libra_core::deployment::reconcile::Reply;
use libra_core::time::Timestamp;
use libra_engines::flink::Pages;
use libra_store::tables::deployments::Head;

use super::attend::{Attended, Standing};
use super::effects::Removals;
use super::requests::{Answered, Asked};
use super::stored::Stored;
use crate::telemetry::flink as figures;

/// Where a deployment is between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for its time.
    #[default]
    Idle,
    /// It is due, and waits for the next look at the cluster.
    Due,
    /// The cluster is asked or has answered, or somebody works on it.
    Attended,
}

#[derive(Default)]
pub(super) struct Known {
    pub(super) stage: Stage,
    /// The numbers of its row, as last seen.
    pub(super) head: Head,
    /// Its row was gone when the rows were last read.
    pub(super) gone: bool,
    /// It was told that the cluster does not answer.
    pub(super) silent: bool,
    pub(super) stored: Option<Box<Stored>>,
    pub(super) pages: Option<(Pages, Timestamp)>,
    pub(super) reply: Option<Reply>,
    pub(super) removals: Removals,
    /// Requests that are still waited for.
    pub(super) asked: Vec<Asked>,
    /// What was answered after the cluster was asked for the present look: it is for the next one.
    pub(super) answered: Vec<Answered>,
    /// There was news of it after the cluster was asked for the present look.
    pub(super) again: bool,
    pub(super) started: Option<Timestamp>,
    pub(super) standing: Option<Standing>,
}

impl Known {
    /// Takes the outcome of a look in; answers when the next one is due, None for as soon as may be.
    pub(super) fn take_in(&mut self, done: Attended) -> Option<Timestamp> {
        self.stage = Stage::Idle;
        let mut due = done.due;
        if let Some(head) = done.head {
            // Changed meanwhile, by whatever the look did not know of.
            let newer = self.head.version > head.version || self.head.revision > head.revision;
            if newer {
                due = None;
            } else {
                self.head = head;
            }
        }
        self.stored = done.stored;
        self.pages = done.pages;
        if let Some((reply, removals)) = done.heard {
            self.reply = reply;
            self.removals = removals;
        }
        self.started = done.started.or(self.started);
        self.standing = done.standing.or(self.standing);
        let answered = std::mem::take(&mut self.answered);
        if !answered.is_empty() || std::mem::take(&mut self.again) {
            due = None;
        }
        for answer in answered {
            self.hear(answer);
        }
        due
    }

    /// Takes in what came back on a request.
    pub(super) fn hear(&mut self, answered: Answered) {
        self.asked.retain(|asked| *asked != answered.asked);
        self.reply = answered.reply.or(self.reply.take());
    }
}

/// The figures of a cluster's deployments.
pub(super) fn figures<'a>(all: impl Iterator<Item = &'a Known>, now: Timestamp) -> figures::Standing {
    let mut sum = figures::Standing::default();
    for standing in all.filter_map(|known| known.standing) {
        if standing.lives {
            *sum.active.entry(figures::type_word(standing.job_type)).or_default() += 1;
        }
        let age = standing.saved_at.map(|at| now.seconds_since(at));
        sum.savepoint_age = [sum.savepoint_age, age].into_iter().flatten().reduce(f64::max);
    }
    sum
}
