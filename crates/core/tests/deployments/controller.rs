//! A Libra that does what the reconciler says, and dies at every place where it can.

use std::fmt::Write as _;

use libra_core::deployment::agenda::Agenda;
use libra_core::deployment::reconcile::{
    Act, Answer, Ask, Desired, Effect, End, Event, Fate, FlinkId, Mode, Moment, Observed, Operation, Reply,
    Row, Step, may_rescale, reconcile,
};
use libra_core::simulate::Dice;
use libra_core::time::Timestamp;

use super::cluster::Cluster;
use super::jobs::Jobs;

/// The order in which a step is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As it must be.
    StoreThenSend,
    /// The broken twin.
    SendThenStore,
}

pub struct Controller {
    pub stored: Row,
    /// The jobs that stand for its runs; None before a Libra that made any.
    pub jobs: Option<Jobs>,
    /// Whether a run waits for its turn.
    pub waits: bool,
    /// What time has asked for, where it asks for anything.
    pub agenda: Agenda,
    pub order: Order,
    /// Whether an effect without its intent in the stored row is a violation, or only what comes of it.
    pub checks_intent: bool,
    pub faults: bool,
    dice: Dice,
    down_until: i64,
    reply: Option<Reply>,
    pub story: String,
}

impl Controller {
    pub fn new(seed: u64, order: Order) -> Self {
        Self {
            stored: Row::default(),
            jobs: Some(Jobs::default()),
            waits: true,
            agenda: Agenda::default(),
            order,
            checks_intent: true,
            faults: true,
            dice: Dice::new(seed),
            down_until: 0,
            reply: None,
            story: String::new(),
        }
    }

    fn dies(&mut self, now: i64) -> bool {
        let dies = self.faults && self.dice.once_in(25);
        if dies {
            self.reply = None;
            self.down_until = now + i64::try_from(self.dice.below(20)).unwrap();
            let _ = writeln!(self.story, "{now} LIBRA DIES until {}", self.down_until);
        }
        dies
    }

    /// One look, one step.
    pub fn turn(&mut self, desired: &Desired, cluster: &mut Cluster) {
        if cluster.now < self.down_until {
            return;
        }
        let observed = if cluster.up {
            let mut seen = cluster.look(&self.stored);
            seen.reply = self.reply.take();
            seen.parts = seen.parts.filter(|_| may_rescale(desired, &self.stored));
            Observed::Reachable(Box::new(seen))
        } else {
            Observed::Unreachable("connection refused".to_owned())
        };
        let fresh = (u128::from(self.dice.roll()) << 64) | u128::from(self.dice.roll());
        let now = Timestamp(cluster.now * 1_000_000);
        let moment = Moment { now, fresh, jitter: self.dice.roll() };
        let told = self.turns(desired, cluster.now);
        let mut step = reconcile(&told, &self.stored, &observed, moment);
        let jobs = self.settle(&told, &mut step, cluster);
        if let Some(odd) = stops_for_nothing(desired, &self.stored, &step) {
            cluster.violations.push(format!("at {}: {odd}", cluster.now));
        }
        if self.dies(cluster.now) {
            return;
        }
        match self.order {
            Order::StoreThenSend => {
                self.store(&step, jobs, cluster);
                self.send(&step, cluster);
            }
            Order::SendThenStore => {
                if !self.send(&step, cluster) && !self.dies(cluster.now) {
                    self.store(&step, jobs, cluster);
                }
            }
        }
    }

    /// Gives a turn now and then, and says what the reconciler is told.
    fn turns(&mut self, desired: &Desired, now: i64) -> Desired {
        let Some(jobs) = &mut self.jobs else { return desired.clone() };
        if !self.faults || self.dice.once_in(3) {
            jobs.admit(now);
        }
        if self.waits { jobs.told(desired, self.stored.turn.map(|turn| turn.job)) } else { desired.clone() }
    }

    /// The jobs as they are once the step is stored.
    fn settle(&mut self, told: &Desired, step: &mut Step, cluster: &mut Cluster) -> Option<Jobs> {
        let mut jobs = self.jobs.clone()?;
        let moves = jobs.settle(told, &self.agenda, step, self.stored.revision, cluster.now);
        let odd = match moves {
            Ok(moves) => {
                for what in moves {
                    let _ = writeln!(self.story, "{}   {what:?}", cluster.now);
                }
                jobs.odd(step)
            }
            Err(odd) => Some(odd),
        };
        if let Some(odd) = odd {
            cluster.violations.push(format!("at {}: {odd}", cluster.now));
        }
        Some(jobs)
    }

    fn store(&mut self, step: &Step, jobs: Option<Jobs>, cluster: &mut Cluster) {
        self.note_lost(step, cluster);
        Self::judge(step, cluster);
        self.jobs = jobs;
        let now = cluster.now;
        if step.row != self.stored {
            assert_eq!(step.row.revision, self.stored.revision + 1, "a change raises the revision by one");
            let text = serde_json::to_string(&step.row).unwrap();
            let read: Row = serde_json::from_str(&text).unwrap();
            assert_eq!(read, step.row, "a row survives its storage");
            self.stored = read;
            let _ = writeln!(self.story, "{now} {:?} {:?}", self.stored.phase, self.stored.run);
            let _ = writeln!(
                self.story,
                "      {:?} state {:?} stable {:?} refused {:?}",
                self.stored.operation, self.stored.state, self.stored.stable, self.stored.refused
            );
        }
    }

    /// True when it died on the way.
    fn send(&mut self, step: &Step, cluster: &mut Cluster) -> bool {
        for effect in &step.effects {
            let _ = writeln!(self.story, "{}   {effect:?}", cluster.now);
            let Some((key, send)) = Self::key(effect) else { continue };
            if self.dies(cluster.now) {
                return true;
            }
            if self.checks_intent && !is_recorded(effect, &self.stored) {
                cluster.violations.push(format!("at {}: sent without a record: {effect:?}", cluster.now));
            }
            let fault = if self.faults { self.dice.below(12) } else { u64::MAX };
            let answer = match fault {
                _ if !cluster.up => Answer::Unclear("connection refused".to_owned()),
                0 => Answer::Unclear("lost before".to_owned()),
                1 => {
                    cluster.take(effect);
                    Answer::Unclear("lost after".to_owned())
                }
                2 => {
                    let late = 1 + i64::try_from(self.dice.below(25)).unwrap();
                    cluster.take_late(effect.clone(), late);
                    Answer::Unclear("timed out".to_owned())
                }
                _ => cluster.take(effect),
            };
            let _ = writeln!(self.story, "{}   -> {answer:?}", cluster.now);
            self.reply = Some(Reply { key, send, answer });
        }
        false
    }

    /// The id that an effect carries to the cluster.
    fn key(effect: &Effect) -> Option<(FlinkId, u32)> {
        match effect {
            Effect::Run { job, send, .. } => Some((*job, *send)),
            Effect::Upload { .. } => Some((FlinkId(0), 0)),
            Effect::Ask(Ask::Stop { saving, send, .. } | Ask::Savepoint { saving, send, .. }) => {
                Some((saving.trigger, *send))
            }
            Effect::Ask(Ask::Cancel { job } | Ask::Rescale { job, .. }) => Some((*job, 0)),
            Effect::Ask(Ask::Dispose { trigger, .. }) => Some((*trigger, 0)),
            Effect::Emit(_) | Effect::WaitUntil(_) => None,
        }
    }

    /// A run that was sent and lost with its cluster before anybody saw it may have run, for all that Libra knows: its
    /// generation goes on from what it was sent with.
    fn note_lost(&self, step: &Step, cluster: &mut Cluster) {
        let Some(run) = self.stored.run.as_ref().filter(|run| run.may_live()) else { return };
        if step.row.ended == Some((run.id, End::Vanished)) {
            cluster.may_have_run(run.id, run.generation, run.from.as_ref().map(|from| from.path.as_str()));
        }
    }

    /// Keeps the books of what need not be gone on from: whatever ran since the last stable generation did.
    fn judge(step: &Step, cluster: &mut Cluster) {
        for effect in &step.effects {
            if let Effect::Emit(Event::Rescaled { generation, .. }) = effect {
                cluster.becomes(*generation);
            }
            let Effect::Emit(Event::RolledBack { to, .. }) = effect else { continue };
            let is_its_job = |generation: &u64| cluster.keys.get(generation) == cluster.keys.get(to);
            let from = cluster.ran.iter().rposition(|(_, generation, _)| is_its_job(generation));
            let since = cluster.ran.iter().skip(from.map_or(0, |at| at + 1)).map(|(id, ..)| *id);
            let ids: Vec<FlinkId> = since.collect();
            cluster.discarded.extend(ids);
        }
    }
}

/// A job that is the wanted one must not be stopped or cancelled, unless it is no good or its JobManager is gone.
fn stops_for_nothing(desired: &Desired, before: &Row, step: &Step) -> Option<String> {
    let (run, operation) = (step.row.run.as_ref()?, step.row.operation.as_ref()?);
    let new = before.operation.as_ref().is_none_or(|o| o.act != operation.act);
    let over = desired.end_run.is_some_and(|end| run.nonce <= end);
    let wanted =
        desired.mode == Mode::Running && !over && desired.is_same_job(run.generation, desired.target());
    // A wish that was taken back may still be at work, and so may its failure.
    let went_on = before.operation.as_ref().is_some_and(|o| !matches!(o.act, Act::Savepoint(_)));
    let ends = !matches!(operation.act, Act::Savepoint(_) | Act::Rescale { .. });
    let odd = new && ends && wanted && !went_on && step.row.refused.is_none();
    odd.then(|| format!("the job that is wanted is ended: {operation:?}"))
}

/// The intent of what is sent stands in the stored row.
fn is_recorded(effect: &Effect, row: &Row) -> bool {
    match effect {
        Effect::Run { job, send, .. } => row.run.as_ref().is_some_and(|run| {
            run.id == *job && matches!(&run.fate, Fate::Sent(sent) if sent.sends == *send)
        }),
        Effect::Ask(Ask::Stop { saving, send, .. } | Ask::Savepoint { saving, send, .. }) => {
            row.operation.as_ref().is_some_and(|o| o.saving() == Some(saving) && o.sends == *send)
        }
        Effect::Ask(Ask::Rescale { job, parts, .. }) => {
            let rescales = |o: &Operation| o.job == *job && matches!(o.act, Act::Rescale { .. });
            let named = row.run.as_ref().is_some_and(|run| run.scaled == *parts);
            named && row.operation.as_ref().is_some_and(rescales)
        }
        Effect::Ask(Ask::Cancel { job }) => {
            row.strays.contains(job) || row.operation.as_ref().is_some_and(|o| o.job == *job)
        }
        Effect::Ask(Ask::Dispose { trigger, .. }) => {
            row.savepoints.iter().any(|s| s.removal.is_some_and(|(id, _)| id == *trigger))
        }
        Effect::Upload { digest } => row.upload.as_ref().is_some_and(|upload| upload.digest == *digest),
        Effect::Emit(_) | Effect::WaitUntil(_) => true,
    }
}
