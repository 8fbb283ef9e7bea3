//! The jobs that stand for runs, kept beside the row as the server keeps them: all or nothing with each step.

use libra_core::deployment::agenda::Agenda;
use libra_core::deployment::reconcile::{Desired, Effect, Fate, Run, Step};
use libra_core::deployment::turns::{Ending, Move, settle, waits};
use libra_core::id::JobId;
use libra_core::job::{Draft, Job, State, TimeLimits};
use libra_core::lifecycle::{self, Event};
use libra_core::mode::Mode;
use libra_core::requirement::Requirement;
use libra_core::retry;
use libra_core::sanity::{self, History};
use libra_core::spec::{JobSpec, Kind, RetryPolicy, Source};
use libra_core::time::Timestamp;

/// All jobs that there ever were, the newest last.
#[derive(Clone, Default)]
pub struct Jobs {
    pub all: Vec<(Job, History)>,
}

impl Jobs {
    fn state(&self, id: Option<JobId>) -> Option<State> {
        self.all.iter().find(|(job, _)| Some(job.id) == id).map(|(job, _)| job.state)
    }

    /// What the reconciler is told.
    pub fn told(&self, desired: &Desired, turn: Option<JobId>) -> Desired {
        Desired { waits: waits(self.state(turn)), ..desired.clone() }
    }

    /// The scheduler gives a turn.
    pub fn admit(&mut self, now: i64) {
        if let Some(at) = self.all.iter().position(|(job, _)| job.state == State::Queued) {
            self.step(at, Event::Admitted("flink".to_owned()), now).unwrap();
        }
    }

    fn step(&mut self, at: usize, event: Event, now: i64) -> Result<(), String> {
        let (job, history) = &mut self.all[at];
        let words = format!("{event:?} of a job that is {}", job.state);
        let step = lifecycle::step(job, event, Timestamp(now * 1_000_000))
            .map_err(|rejected| format!("{words}: {rejected}"))?;
        history.follow(&step);
        *job = step.job;
        Ok(())
    }

    /// What a step means for jobs. `self` is as it is after the step is stored.
    pub fn settle(
        &mut self,
        desired: &Desired,
        agenda: &Agenda,
        step: &mut Step,
        revision: u64,
        now: i64,
    ) -> Result<Vec<Move>, String> {
        let fresh = JobId::new(Timestamp(now * 1_000_000), [u8::try_from(self.all.len() % 256).unwrap(); 10]);
        let noted = step.row.turn.map(|turn| turn.job);
        let state = self.state(noted);
        if step.effects.iter().any(|effect| matches!(effect, Effect::Run { send: 1, .. })) && waits(state) {
            return Err(format!("a run begins although its job is {state:?}"));
        }
        let settled = settle(desired, agenda, &step.row, state, fresh);
        if settled.moves.is_empty() && settled.turn == step.row.turn {
            return Ok(Vec::new());
        }
        let mut at = self.all.iter().position(|(job, _)| Some(job.id) == noted);
        for what in settled.moves.clone() {
            match what {
                Move::Queue(turn) => at = Some(self.create(turn.job, now)),
                Move::Take(turn) => {
                    at = Some(self.create(turn.job, now));
                    self.step(at.unwrap(), Event::TakesOver("flink".to_owned()), now)?;
                }
                Move::TakeOver => self.step(at.unwrap(), Event::TakesOver("flink".to_owned()), now)?,
                Move::Name(_) => {}
                Move::Begin => self.step(at.unwrap(), Event::Started, now)?,
                Move::Again(failure) => self.step(at.unwrap(), Event::LaunchedAgain(failure), now)?,
                Move::End(Ending::Succeeded) => self.step(at.unwrap(), Event::Succeeded, now)?,
                Move::End(Ending::Failed(failure)) => {
                    self.step(at.unwrap(), Event::Failed { failure, jitter: 0 }, now)?;
                }
                Move::End(Ending::Cancelled(why)) => self.step(at.unwrap(), Event::Withdrawn(why), now)?,
                Move::End(Ending::TimedOut) => {
                    self.step(at.unwrap(), Event::RunTimedOut, now)?;
                    self.step(at.unwrap(), Event::Stopped, now)?;
                }
            }
        }
        step.row.turn = settled.turn;
        step.row.revision = revision + 1;
        Ok(settled.moves)
    }

    fn create(&mut self, id: JobId, now: i64) -> usize {
        let now = Timestamp(now * 1_000_000);
        let limits = TimeLimits { queue_seconds: None, run_seconds: Some(120), launch_seconds: None };
        let draft = Draft {
            id,
            submitted_at: now,
            user: "ada".to_owned(),
            tenant: "default".to_owned(),
            spec: JobSpec::new(Kind::Jar, Source::File("a.jar".to_owned())),
            mode: Mode::Flink,
            requirement: Requirement::of_slots(1),
            limits,
            correlation_id: String::new(),
        };
        let retry = RetryPolicy { max_retries: u32::MAX, retry_on: Vec::new(), ..retry::default_policy() };
        let job = Job { retry, ..Job::received(draft) };
        let step = lifecycle::submit(job, now);
        let history = History::begin(&step);
        self.all.push((step.job, history));
        self.all.len() - 1
    }

    /// What is not as the stored row says.
    pub fn odd(&self, step: &Step) -> Option<String> {
        let active: Vec<&Job> =
            self.all.iter().map(|(job, _)| job).filter(|job| !job.state.is_terminal()).collect();
        let turn = step.row.turn;
        if active.len() > 1 || active.first().is_some_and(|job| Some(job.id) != turn.map(|turn| turn.job)) {
            return Some(format!("{turn:?} is noted, and active are {active:?}"));
        }
        if let Some((job, history)) = self.all.last() {
            let broken = sanity::check(&history.snapshot(job));
            if !broken.is_empty() {
                return Some(format!("{broken:?}"));
            }
        }
        let state = active.first().map(|job| job.state);
        let run = step.row.run.as_ref().filter(|run| run.may_live());
        let named = turn.and_then(|turn| turn.run) == run.map(|run: &Run| run.id);
        let right = match (run.map(|run| &run.fate), state) {
            (Some(Fate::Live), Some(State::Running)) | (Some(Fate::Sent(_)), Some(State::Scheduled)) => named,
            (Some(_), _) => false,
            (None, state) => state != Some(State::Running),
        };
        (!right).then(|| format!("{run:?} with {turn:?}, whose job is {state:?}"))
    }
}
