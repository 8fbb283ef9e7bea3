//! Batch jobs by the clock: the agenda and the reconciler together, against the model of a cluster, with faults.

use std::fmt::Write as _;

use libra_core::deployment::agenda::{self, Agenda};
use libra_core::deployment::normal::Normal;
use libra_core::deployment::reconcile::{Desired, Mode, Phase};
use libra_core::simulate::Dice;
use libra_core::time::Timestamp;

use super::cluster::{Character, Cluster};
use super::controller::{Controller, Order};
use super::history::{desired, timing};
use super::promises::number_of;

/// Seconds of a history: an hour with faults, then half an hour of peace.
const TROUBLED: i64 = 3_600;
const ALL: i64 = 5_400;
/// Seconds between two times of the schedule.
const EVERY: i64 = 300;

struct Days {
    normal: Normal,
    desired: Desired,
    agenda: Agenda,
    cluster: Cluster,
    controller: Controller,
    dice: Dice,
    story: String,
    broken: Vec<String>,
}

fn normal(overlap: &str, rest: &str) -> Normal {
    let text = format!(
        r#"{{"job_id": "orders", "job_type": "batch", "artifact_path": "a.jar",
            "batch_config": {{"cron": "*/5 * * * *", "overlap": "{overlap}"{rest}}}}}"#
    );
    Normal::of(&serde_json::from_str(&text).unwrap(), None)
}

impl Days {
    fn new(seed: u64, lasts: i64, normal: Normal) -> Self {
        let mut dice = Dice::new(seed);
        let mut cluster = Cluster::new(dice.roll(), dice.once_in(3));
        let controller = Controller::new(dice.roll(), Order::StoreThenSend);
        let mut desired = Desired { timing: timing(), ..desired() };
        desired.generation = 1;
        desired.versions = vec![normal.version(1, "1".repeat(64))];
        cluster.characters.insert(1, Character::Ends(lasts));
        cluster.stateless.insert(1);
        cluster.keys.insert(1, "one".to_owned());
        let (agenda, story, broken) = (Agenda::default(), String::new(), Vec::new());
        Self { normal, desired, agenda, cluster, controller, dice, story, broken }
    }

    /// Somebody changes the spec: what runs goes on.
    fn change(&mut self) {
        let last = self.desired.generation;
        let character = self.cluster.characters[&last];
        self.desired.generation += 1;
        let generation = self.desired.generation;
        self.cluster.characters.insert(generation, character);
        self.cluster.stateless.insert(generation);
        self.desired.versions.push(self.normal.version(generation, "1".repeat(64)));
    }

    fn second(&mut self, faults: bool) {
        self.cluster.tick();
        let now = self.cluster.now;
        self.controller.faults = faults;
        self.cluster.faults = faults;
        let stored = &self.controller.stored;
        let step =
            agenda::step(&self.normal, &self.desired, &self.agenda, stored, Timestamp(now * 1_000_000));
        // It dies before the step is stored: then nothing has happened.
        if faults && self.dice.once_in(20) {
            return;
        }
        for event in &step.events {
            let _ = writeln!(self.story, "{now} {event:?}");
        }
        if step.nonce != self.desired.nonce {
            let due = step.agenda.schedule.as_ref().and_then(|times| times.last).unwrap();
            if due.0 % (EVERY * 1_000_000) != 0 || due.0 > now * 1_000_000 {
                self.broken.push(format!("{now}: a run for {}", due.0));
            }
        }
        self.desired.nonce = step.nonce;
        self.desired.end_run = step.agenda.end_run;
        self.agenda = serde_json::from_str(&serde_json::to_string(&step.agenda).unwrap()).unwrap();
        self.controller.agenda = self.agenda.clone();
        let told = self.controller.story.len();
        self.controller.turn(&self.desired, &mut self.cluster);
        let told = self.controller.story.split_off(told);
        self.story += &told;
    }

    fn play(&mut self) {
        for _ in 0..TROUBLED {
            if self.dice.once_in(300) {
                self.cluster.kill(1 + i64::try_from(self.dice.below(60)).unwrap());
            }
            if self.dice.once_in(400) {
                self.change();
            }
            self.second(true);
        }
        for _ in TROUBLED..ALL {
            self.second(false);
        }
        self.broken.append(&mut self.cluster.violations);
    }
}

/// Never two live jobs; every time is run for once at most; in peace every one of them, to its end.
#[test]
fn every_time_is_run_for_once() {
    let (mut ended, mut replaced, mut queued) = (0, 0, 0);
    // Each of them is nine histories.
    let seeds = number_of("LIBRA_DEPLOYMENTS_HISTORIES").map_or(1, |histories| histories.div_ceil(100));
    for seed in 0..seeds {
        for overlap in ["skip", "queue", "replace"] {
            for (lasts, ttl) in [(60, ""), (420, ""), (10_000, r#", "ttl_seconds": 120"#)] {
                let mut days = Days::new(seed, lasts, normal(overlap, ttl));
                days.play();
                let context = format!("seed {seed}, {overlap}, {lasts} s{ttl}");
                assert!(days.broken.is_empty(), "{context}: {:#?}\n{}", days.broken, days.story);
                assert_eq!(u64::from(days.agenda.started), days.desired.nonce, "{context}");
                // Peace: the last half an hour.
                let due = |at: i64| format!("Due(Timestamp({}))", at * 1_000_000);
                let quiet =
                    (TROUBLED + EVERY..ALL).step_by(300).filter(|at| days.story.contains(&due(*at))).count();
                if lasts == 60 {
                    assert_eq!(quiet, 5, "{context}\n{}", days.story);
                }
                ended += days.story.matches("TimeOver").count();
                replaced += days.story.matches("Replaced").count();
                queued += days.story.matches("Queued").count();
            }
        }
    }
    assert!(ended > 0 && replaced > 0 && queued > 0, "{ended} {replaced} {queued}");
}

/// Without faults: how many runs there are is known.
#[test]
fn so_many_runs_and_no_more() {
    for (overlap, lasts, rest, jobs) in [
        ("skip", 60, "", 18),
        ("skip", 420, "", 9),
        // One waits, and begins when the one before it ends.
        ("queue", 420, "", 13),
        ("skip", 60, r#", "max_runs": 7"#, 7),
        // The last one is still to replace the one before it.
        ("replace", 100_000, "", 17),
        ("skip", 100_000, r#", "ttl_seconds": 100"#, 18),
    ] {
        let mut days = Days::new(7, lasts, normal(overlap, rest));
        // Whose turn it is takes a look more.
        days.controller.jobs = None;
        for second in 0..ALL {
            days.second(false);
            if second % 700 == 0 {
                days.change();
            }
        }
        let context = format!("{overlap} {lasts} {rest}");
        assert_eq!(days.cluster.violations, [""; 0], "{context}");
        assert_eq!(days.cluster.ran.len(), jobs, "{context}");
    }
}

/// A batch job without a schedule runs once for each generation that is another job.
#[test]
fn without_a_schedule_it_runs_once() {
    let text = r#"{"job_id": "orders", "job_type": "batch", "artifact_path": "a.jar"}"#;
    let once = Normal::of(&serde_json::from_str(text).unwrap(), None);
    let mut days = Days::new(3, 60, once);
    let jobs = |days: &Days| days.cluster.ran.len();
    for _ in 0..200 {
        days.second(false);
    }
    assert_eq!((jobs(&days), days.controller.stored.phase), (1, Phase::Completed));
    days.normal.monitoring.alert_on_failure = Some(false);
    days.change();
    for _ in 0..200 {
        days.second(false);
    }
    assert_eq!((jobs(&days), days.controller.stored.phase), (1, Phase::Completed), "the same job");
    days.normal.args.push("more".to_owned());
    days.change();
    for _ in 0..200 {
        days.second(false);
    }
    assert_eq!((jobs(&days), days.controller.stored.phase), (2, Phase::Completed));
}

/// A suspended schedule does nothing, and begins with the next time.
#[test]
fn a_suspended_schedule_rests() {
    let mut days = Days::new(3, 100_000, normal("skip", ""));
    for _ in 0..400 {
        days.second(false);
    }
    assert_eq!(days.cluster.alive().len(), 1);
    days.desired.mode = Mode::Suspended;
    for _ in 0..1_000 {
        days.second(false);
    }
    assert_eq!((days.cluster.alive().len(), days.cluster.ran.len()), (0, 1));
    days.desired.mode = Mode::Running;
    for _ in 1_400..1_499 {
        days.second(false);
    }
    assert_eq!(days.cluster.ran.len(), 1, "what was interrupted is not gone on with");
    for _ in 0..20 {
        days.second(false);
    }
    assert_eq!(days.cluster.ran.len(), 2);
}
