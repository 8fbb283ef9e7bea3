//! Runs of a batch job: by a schedule, or once for each generation.

use super::{AgendaEvent, Asked, Turn};
use crate::deployment::normal::BatchConfig;
use crate::deployment::reconcile::{End, Fate, Run};
use crate::deployment::schedule::{self, Runs, Schedule, TurnOver};
use crate::time::Timestamp;

impl Turn<'_> {
    pub(super) fn batch(&mut self, config: &BatchConfig) {
        self.step.agenda.savepoints = None;
        self.note_generation();
        match &config.cron {
            Some(cron) => self.by_schedule(config, cron),
            None => self.once(),
        }
        self.note_run(config);
    }

    /// A generation that is another job asks for a run of its own, where no schedule does.
    fn note_generation(&mut self) {
        let (last, target) = (self.step.agenda.generation, self.desired.target());
        if !self.desired.is_same_job(last, target) {
            let agenda = &mut self.step.agenda;
            agenda.run = None;
            if agenda.schedule.is_none() {
                agenda.end_run = None;
            }
        }
    }

    fn once(&mut self) {
        // There was a schedule, and nothing has been run by it.
        if self.step.agenda.schedule.take().is_some() && self.row.run.is_none() {
            self.step.agenda.end_run = None;
        }
        self.step.agenda.queued = None;
        self.note_unreadable(None);
    }

    fn by_schedule(&mut self, config: &BatchConfig, cron: &str) {
        let known = self.step.agenda.schedule.take();
        let first = known.is_none();
        let times = self.times(known, format!("{cron} {}", config.timezone));
        let (since, last_due) = (times.since, times.last);
        self.step.agenda.schedule = Some(times);
        // Nothing runs but when it is due. What was begun before there was a schedule may end.
        let began = self.row.run.as_ref().is_some_and(|run| run.nonce == self.desired.nonce);
        if self.is_paused() || self.run_is_over() || first && !began {
            self.end_runs();
        }
        let schedule = match Schedule::parse(cron, Some(&config.timezone)) {
            Ok(schedule) => schedule,
            Err(bad) => return self.note_unreadable(Some(bad.to_string())),
        };
        self.note_unreadable(None);
        if self.is_paused() {
            self.step.agenda.queued = None;
            return;
        }
        let waits = self.step.agenda.end_run < Some(self.desired.nonce) || self.run_may_live();
        let current = waits.then(|| schedule::Run { due: last_due.unwrap_or(since), since });
        let runs = Runs { since, last_due, started: self.step.agenda.started, current };
        let turn = schedule::turn(Some(&schedule), config.overlap, config.max_runs, &runs, self.now);
        self.take(turn, &schedule, &runs);
    }

    fn take(&mut self, turn: schedule::Turn, schedule: &Schedule, runs: &Runs) {
        let is_last = matches!(turn, schedule::Turn::Over(_) | schedule::Turn::Last);
        self.step.agenda.series_over &= is_last;
        match turn {
            schedule::Turn::Over(most) => self.say_series_is_over(AgendaEvent::SeriesOver(most)),
            schedule::Turn::Last if runs.current.is_some() => {}
            schedule::Turn::Last => self.say_series_is_over(AgendaEvent::NoMoreTimes),
            schedule::Turn::Wait(at) => self.look_at(at),
            schedule::Turn::Start(due) => {
                self.tell_of_missed(schedule, runs, due);
                self.say(AgendaEvent::Due(due));
                self.ask_for(due);
            }
            schedule::Turn::Skip(due) => {
                self.say(AgendaEvent::Skipped(due));
                self.dealt_with_run(due);
            }
            schedule::Turn::Queue(due) => {
                if self.step.agenda.queued.is_none() {
                    self.say(AgendaEvent::Queued(due));
                    self.step.agenda.queued = Some(due);
                }
            }
            schedule::Turn::Replace(due) => self.replace(due),
        }
        let next = match turn {
            schedule::Turn::Start(due)
            | schedule::Turn::Skip(due)
            | schedule::Turn::Queue(due)
            | schedule::Turn::Replace(due) => schedule.next(due),
            schedule::Turn::Over(_) | schedule::Turn::Last | schedule::Turn::Wait(_) => None,
        };
        if let Some(next) = next {
            self.look_at(next);
        }
    }

    fn say_series_is_over(&mut self, event: AgendaEvent) {
        if !std::mem::replace(&mut self.step.agenda.series_over, true) {
            self.say(event);
        }
    }

    fn tell_of_missed(&mut self, schedule: &Schedule, runs: &Runs, due: Timestamp) {
        let from = runs.last_due.map_or(runs.since, |last| last.max(runs.since));
        // One that was told to wait was not missed.
        if let Some(first) =
            schedule.next(from).filter(|first| *first < due && self.step.agenda.queued.is_none())
        {
            self.say(AgendaEvent::Missed { first, latest: due });
        }
    }

    /// The run that was asked for last and has not begun takes the place of this one too: it is as new.
    fn replace(&mut self, due: Timestamp) {
        let asked = self.step.agenda.run;
        let began = self.row.run.as_ref().is_some_and(|run| run.nonce == self.desired.nonce);
        if let Some(asked) = asked.filter(|asked| asked.nonce == self.desired.nonce && !began) {
            self.step.agenda.run = Some(Asked { due: Some(due), ..asked });
            self.dealt_with_run(due);
        } else {
            self.say(AgendaEvent::Replaced(due));
            self.step.agenda.end_run = Some(self.desired.nonce);
            self.ask_for(due);
        }
    }

    fn ask_for(&mut self, due: Timestamp) {
        self.step.nonce += 1;
        let agenda = &mut self.step.agenda;
        agenda.started = agenda.started.saturating_add(1);
        agenda.queued = None;
        agenda.run = Some(Asked::new(self.step.nonce, Some(due)));
        self.dealt_with_run(due);
    }

    fn dealt_with_run(&mut self, due: Timestamp) {
        if let Some(times) = self.step.agenda.schedule.as_mut() {
            times.last = Some(due);
        }
    }

    /// Whatever was asked for up to now is over.
    fn end_runs(&mut self) {
        self.step.agenda.end_run = self.step.agenda.end_run.max(Some(self.desired.nonce));
    }

    fn run_may_live(&self) -> bool {
        self.row.run.as_ref().is_some_and(Run::may_live)
    }

    /// The reconciler has seen the end of what was asked for with the present nonce, or has given it up.
    fn run_is_over(&self) -> bool {
        let nonce = self.desired.nonce;
        let ended = |run: &Run| {
            run.nonce == nonce
                && run.fate == Fate::Ended(End::Finished)
                && self.desired.is_same_job(run.generation, self.desired.target())
        };
        let given_up = self.row.refused.as_ref().is_some_and(|refused| {
            refused.nonce == nonce && self.desired.is_same_job(refused.generation, self.desired.target())
        });
        let ended = given_up || self.row.run.as_ref().is_some_and(ended);
        !self.run_may_live() && (ended || self.step.agenda.end_run >= Some(nonce))
    }

    /// Keeps the note of the run that was asked for last: its beginning, its time, its end.
    fn note_run(&mut self, config: &BatchConfig) {
        // What this very step has asked for is looked at by the next one.
        if self.step.nonce != self.desired.nonce {
            return;
        }
        let nonce = self.desired.nonce;
        let wanted = self.step.agenda.end_run < Some(nonce);
        let known = self.step.agenda.run.filter(|asked| asked.nonce == nonce);
        let Some(mut asked) = known.or_else(|| wanted.then(|| Asked::new(nonce, None))) else { return };
        let (now, paused) = (self.now, self.is_paused());
        if self.began() {
            asked.since.get_or_insert(now);
        }
        if self.run_is_over() {
            asked.over.get_or_insert(now);
            self.step.clean_up = config.cleanup_on_completion && asked.since.is_some() && !asked.cleaned;
        } else if let Some(since) = asked.since.filter(|_| !paused) {
            match schedule::over(since, config.ttl_seconds, now) {
                TurnOver::Runs(Some(end)) => self.look_at(end),
                TurnOver::Over if !asked.timed_out => {
                    asked.timed_out = true;
                    self.say(AgendaEvent::TimeOver(config.ttl_seconds.unwrap_or(0)));
                    self.end_runs();
                }
                TurnOver::Over | TurnOver::Runs(None) => {}
            }
        } else if paused {
            // Its time begins anew with the run that a pause has ended.
            asked.since = None;
        }
        self.step.agenda.run = Some(asked);
    }

    /// The job of the run that was asked for has been there.
    fn began(&self) -> bool {
        self.row.run.as_ref().is_some_and(|run| {
            run.nonce == self.desired.nonce
                && match run.fate {
                    Fate::Ended(End::NeverRan | End::Refused) | Fate::Sent(_) => false,
                    Fate::Live
                    | Fate::Ended(
                        End::Stopped | End::Finished | End::Failed | End::Outside | End::Vanished,
                    ) => true,
                }
        })
    }
}

impl Asked {
    fn new(nonce: u64, due: Option<Timestamp>) -> Self {
        Self { nonce, due, since: None, timed_out: false, over: None, cleaned: false }
    }
}
