//! Machines, the files of attempts and the drivers that run: what engines act on and what survives every Libra.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libra_core::attempt::Exit;
use libra_core::id::{JobId, Token};
use libra_core::time::Timestamp;
use libra_engines::engine::Launch;
use libra_store::tables::{attempts, jobs, transitions};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::database::{Database, given_up, true_time};
use super::dice::Dice;
use super::record::{Promise, Record};

/// Who may run an attempt, as its `owner` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    Revoked,
    /// The shim with this number.
    Shim(usize),
}

/// The files of one attempt.
#[derive(Debug, Default)]
struct Files {
    owner: Option<Owner>,
    started: Option<Timestamp>,
    exit: Option<Exit>,
    stop: bool,
}

/// A shim with its driver.
#[derive(Clone, Debug)]
pub(super) struct Driver {
    pub(super) job: JobId,
    pub(super) attempt: u32,
    pub(super) token: Token,
    /// Machine and boot.
    pub(super) host: String,
    /// The number among all.
    pub(super) number: usize,
    pub(super) alive: bool,
    /// What it was told: to end.
    bell: Arc<Notify>,
}

/// What the files and the process table say of an attempt.
#[derive(Clone, Debug)]
pub(super) enum Status {
    Absent,
    Revoked,
    Owned { started: Option<Timestamp> },
    Exited { started: Option<Timestamp>, exit: Exit },
    ShimLost { started: Option<Timestamp> },
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Files>,
    drivers: Vec<Driver>,
    /// Tokens of which a driver was started.
    started: BTreeSet<Token>,
    /// Jobs that a driver has done, with its number.
    done: BTreeMap<JobId, usize>,
    /// When each host was last shown that it lives, by file.
    shown: BTreeMap<PathBuf, Instant>,
    /// Rings when something about an attempt changes.
    changes: BTreeMap<Token, Arc<Notify>>,
    /// The boot that each machine is in; 0 while it is down.
    boots: BTreeMap<String, u32>,
}

/// The world outside of Libra and its store.
pub(super) struct World {
    pub(super) record: Record,
    pub(super) dice: Dice,
    database: Database,
    state: Mutex<State>,
}

impl World {
    pub(super) fn new(record: Record, dice: Dice, database: Database) -> Self {
        Self { record, dice, database, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        true_time(&self.record)
    }

    /// Starts a machine in its next boot; answers machine and boot.
    pub(super) fn boot(&self, machine: &str, boot: u32) -> String {
        self.state().boots.insert(machine.to_owned(), boot);
        format!("{machine}/b{boot}")
    }

    /// A machine is gone with all that runs on it; its disk stays.
    pub(super) fn lose(&self, machine: &str) {
        let mut state = self.state();
        state.boots.insert(machine.to_owned(), 0);
        for driver in state.drivers.iter_mut().filter(|d| d.alive && machine_of(&d.host) == machine) {
            driver.alive = false;
            self.record.say("world", format_args!("driver {} is lost with {machine}", driver.number));
            driver.bell.notify_one();
        }
    }

    pub(super) fn is_up(&self, host: &str) -> bool {
        let machine = machine_of(host);
        self.state().boots.get(machine).is_some_and(|boot| *boot > 0 && host == format!("{machine}/b{boot}"))
    }

    /// A replica shows the drivers of a host that it lives.
    pub(super) fn show(&self, file: &Path) {
        self.state().shown.insert(file.to_owned(), Instant::now());
    }

    pub(super) fn shown(&self, file: &Path) -> Option<Instant> {
        self.state().shown.get(file).copied()
    }

    /// What is known of an attempt from its directory.
    pub(super) fn status(&self, dir: &Path) -> Status {
        let state = self.state();
        let Some(files) = state.files.get(dir) else { return Status::Absent };
        let started = files.started;
        match (&files.owner, &files.exit) {
            (None, _) => Status::Absent,
            (Some(Owner::Revoked), _) => Status::Revoked,
            (Some(Owner::Shim(_)), Some(exit)) => Status::Exited { started, exit: exit.clone() },
            (Some(Owner::Shim(n)), None) => {
                let alive = state.drivers.get(*n).is_some_and(|d| d.alive);
                if alive { Status::Owned { started } } else { Status::ShimLost { started } }
            }
        }
    }

    /// Makes sure that no shim will ever own the attempt; false when one was faster.
    pub(super) fn revoke(&self, dir: &Path) -> bool {
        let mut state = self.state();
        let files = state.files.entry(dir.to_owned()).or_default();
        *files.owner.get_or_insert(Owner::Revoked) == Owner::Revoked
    }

    /// Asks for the end.
    pub(super) fn stop(&self, dir: &Path) {
        let mut state = self.state();
        let Some(files) = state.files.get_mut(dir) else { return };
        files.stop = true;
        if let Some(Owner::Shim(n)) = files.owner
            && let Some(driver) = state.drivers.get(n)
        {
            driver.bell.notify_one();
        }
    }

    pub(super) fn is_to_stop(&self, dir: &Path) -> bool {
        self.state().files.get(dir).is_some_and(|f| f.stop)
    }

    /// A shim comes up and takes the attempt, unless somebody was faster. `forced`: it does not look.
    pub(super) fn take(&self, launch: &Launch, host: &str, forced: bool) -> Option<Driver> {
        let mut state = self.state();
        let number = state.drivers.len();
        let files = state.files.entry(launch.dir.clone()).or_default();
        if files.owner.is_some() && !forced {
            return None;
        }
        files.owner = Some(Owner::Shim(number));
        let driver = Driver {
            job: launch.job_id,
            attempt: launch.attempt,
            token: launch.token,
            host: host.to_owned(),
            number,
            alive: true,
            bell: Arc::new(Notify::new()),
        };
        let others = state.drivers.iter().filter(|d| d.alive && d.job == launch.job_id);
        let others: Vec<usize> = others.map(|d| d.number).collect();
        state.drivers.push(driver.clone());
        let again = !state.started.insert(launch.token);
        let done = state.done.get(&launch.job_id).and_then(|n| state.drivers.get(*n)).cloned();
        drop(state);
        self.record.say(
            "world",
            format_args!("driver {number} of {} attempt {} on {host}", driver.job, driver.attempt),
        );
        self.check_start(&driver, &others, again, done);
        self.ring(launch.token);
        Some(driver)
    }

    fn check_start(&self, driver: &Driver, others: &[usize], again: bool, done: Option<Driver>) {
        let Driver { job, attempt, .. } = driver;
        if again {
            self.record.broken(Promise::OneDriver, format!("attempt {attempt} of {job} has two drivers"));
        }
        if !others.is_empty() {
            self.record.broken(Promise::OneDriver, format!("{job} has a new driver beside {others:?}"));
        }
        let (id, number) = (*job, *attempt);
        let found = self.database.look(move |tx| {
            Ok((jobs::get(tx, id)?, attempts::get(tx, id, number)?, transitions::of_job(tx, id)?))
        });
        if let Ok((job_row, attempt_row, log)) = found {
            if let Some(first) = done.filter(|first| !given_up(&log, first.attempt)) {
                let what = format!("{job} was done by driver {} and runs again", first.number);
                self.record.broken(Promise::SuccessStays, what);
            }
            let open = attempt_row.is_some_and(|a| a.ended_at.is_none());
            if !open || !job_row.is_some_and(|j| j.state.holds_resources() && j.attempt == number) {
                self.record
                    .broken(Promise::NoLateDriver, format!("attempt {attempt} of {job} is over and starts"));
            }
        }
    }

    /// The driver runs.
    pub(super) fn started(&self, driver: &Driver, dir: &Path) {
        let now = self.now();
        if let Some(files) = self.state().files.get_mut(dir) {
            files.started = Some(now);
        }
        self.ring(driver.token);
    }

    /// The driver is gone; `exit` is what the shim wrote, if it could.
    pub(super) fn ended(&self, driver: &Driver, dir: &Path, exit: Option<Exit>) {
        let succeeded = exit.as_ref().is_some_and(|e| e.outcome == libra_core::attempt::Outcome::Succeeded);
        let mut state = self.state();
        let alive = state.drivers.get_mut(driver.number).map(|d| std::mem::replace(&mut d.alive, false));
        if alive == Some(true) {
            if succeeded {
                state.done.insert(driver.job, driver.number);
            }
            if let Some(files) = state.files.get_mut(dir) {
                files.exit = exit;
            }
        }
        drop(state);
        self.record.say("world", format_args!("driver {} ends", driver.number));
        self.ring(driver.token);
    }

    pub(super) fn lives(&self, driver: &Driver) -> bool {
        self.state().drivers.get(driver.number).is_some_and(|d| d.alive)
    }

    /// Returns when the driver is told something.
    pub(super) async fn told(&self, driver: &Driver) {
        driver.bell.notified().await;
    }

    fn ring(&self, token: Token) {
        if let Some(bell) = self.state().changes.get(&token) {
            bell.notify_waiters();
        }
    }

    /// Rings when something about the attempt changes.
    pub(super) fn bell(&self, token: Token) -> Arc<Notify> {
        Arc::clone(self.state().changes.entry(token).or_default())
    }

    /// Drivers that are alive.
    pub(super) fn alive(&self) -> Vec<Driver> {
        self.state().drivers.iter().filter(|d| d.alive).cloned().collect()
    }

    /// Jobs of which a driver recorded a success.
    pub(super) fn done(&self) -> BTreeMap<JobId, usize> {
        self.state().done.clone()
    }

    /// The driver with this number.
    pub(super) fn driver(&self, number: usize) -> Option<Driver> {
        self.state().drivers.get(number).cloned()
    }
}

pub(super) fn machine_of(host: &str) -> &str {
    crate::service::machine_of(host)
}

/// How a driver behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) starts_after: Duration,
    pub(super) runs_for: Duration,
    pub(super) ends_after_stop: Duration,
    pub(super) end: End,
}

/// How a driver ends when it is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Success,
    UserFailure,
    InfrastructureFailure,
    /// Its shim is killed with it, and nobody writes how it ended.
    ShimKilled,
}
