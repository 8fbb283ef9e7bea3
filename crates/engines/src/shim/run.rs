//! The shim itself: `libra shim --dir DIR`. No async runtime: small, and quick to start.
//!
//! It reads the driver's output through pipes, one thread for each, and writes it in segments ([`crate::logs`]): a
//! full disk then costs a piece of the log and never the job. The pipes end with the shim; a driver that outlives its
//! shim is lost anyway, and is ended as soon as that is noticed.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Signal, WaitOptions};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGTERM};

use super::meter::Meter;
use super::output::Output;
use super::records::{self, ExitRecord, Keepalive, LaunchFile, Owner, Shown, StartedRecord};
use super::{TOKEN_VARIABLE, table, tree};
use crate::attempt_dir::AttemptDir;
use crate::failpoint;
use crate::logs::{self, LogWriter};

/// How often the shim looks for the stop file and at the keepalive when no signal wakes it.
const TICK: Duration = Duration::from_millis(500);
/// The pause between two rounds of killing, and between two looks at what is still there.
const ROUND: Duration = Duration::from_millis(20);
/// The same once killing goes on for long: something is stuck in the kernel.
const SLOW_ROUND: Duration = Duration::from_millis(250);
/// After so many quick rounds the slow ones begin.
const QUICK_ROUNDS: u32 = 50;
/// How much later than others the shim gets the processor while it compresses.
const PACKING_NICENESS: i32 = 10;
/// How long the rest of the tree may take to end by itself after the driver has ended.
const STRAGGLER_GRACE: Duration = Duration::from_millis(500);

/// Runs the shim for the attempt directory `dir` to its end. The result is the shim's exit code: 0 when it did
/// its work or had nothing to do, 1 when it could not begin.
pub fn run(dir: &Path) -> i32 {
    match std::path::absolute(dir).and_then(|dir| attend(&AttemptDir::new(dir))) {
        Ok(()) => 0,
        Err(error) => {
            say(&error);
            1
        }
    }
}

/// A line for the attempt's shim.log, which only people read. It may be on the same full disk as everything else,
/// and `eprintln!` would panic then and leave the driver without its shim.
pub(super) fn say(line: &dyn Display) {
    let _ = writeln!(io::stderr(), "libra shim: {line}");
}

fn attend(dir: &AttemptDir) -> io::Result<()> {
    // Before anything else: a signal that came earlier would end the shim and leave the driver alone.
    let bell = Bell::hang()?;
    let launch: LaunchFile = records::read(&dir.launch_file())?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no launch.json"))?;
    // Fails only for a process that leads its group already, as when a person starts the shim from a shell.
    let _ = rustix::process::setsid();
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me))?;
    std::env::set_current_dir(dir.path())?;

    failpoint::hit("shim-before-owner");
    let process = table::identify(me.as_raw_nonzero().get())?;
    let owner = Owner::Shim { process, token: launch.token.clone() };
    if !records::create_once(&dir.owner_file(), &owner)? {
        // Revoked, or another shim's. Nothing was started and nothing may be.
        return Ok(());
    }
    failpoint::hit("shim-after-owner");

    let mut shim = Shim::new(dir, &launch, bell, me.as_raw_nonzero().get());
    let exit = if dir.stop_file().exists() {
        never_started(None, true)
    } else {
        match shim.start() {
            Ok(driver) => shim.supervise(driver, || {}),
            Err(error) => never_started(Some(error.to_string()), false),
        }
    };
    shim.finish(&exit, || {});
    Ok(())
}

pub(super) fn never_started(spawn_error: Option<String>, stopped: bool) -> ExitRecord {
    ExitRecord { code: None, signal: None, spawn_error, at: records::now(), stopped, abandoned: false }
}

/// Wakes the shim for SIGTERM and SIGCHLD.
pub(super) struct Bell {
    stream: UnixStream,
    terminate: Arc<AtomicBool>,
}

impl Bell {
    pub(super) fn hang() -> io::Result<Self> {
        let (stream, ringer) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let terminate = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGTERM, Arc::clone(&terminate))?;
        signal_hook::low_level::pipe::register(SIGTERM, ringer.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGCHLD, ringer.try_clone()?)?;
        // Caught rather than ignored: an ignored signal would stay ignored in the driver.
        signal_hook::low_level::pipe::register(SIGHUP, ringer)?;
        Ok(Self { stream, terminate })
    }

    /// True once SIGTERM came.
    pub(super) fn is_told_to_end(&self) -> bool {
        self.terminate.load(Ordering::Relaxed)
    }

    /// Sleeps until a signal comes or `time` is over.
    fn wait(&mut self, time: Duration) {
        self.wait_with([], time);
    }

    /// Sleeps until a signal comes, one of `others` can be read, or `time` is over; says which can be read.
    pub(super) fn wait_with<const N: usize>(
        &mut self,
        others: [BorrowedFd<'_>; N],
        time: Duration,
    ) -> [bool; N] {
        let limit = Timespec::try_from(time).ok();
        let mut watched: Vec<PollFd<'_>> =
            others.iter().map(|other| PollFd::from_borrowed_fd(*other, PollFlags::IN)).collect();
        watched.push(PollFd::new(&self.stream, PollFlags::IN));
        let polled = rustix::event::poll(&mut watched, limit.as_ref());
        let readable = std::array::from_fn(|i| polled.is_ok() && !watched[i].revents().is_empty());
        drop(watched);
        let mut rings = [0; 64];
        while self.stream.read(&mut rings).is_ok_and(|n| n > 0) {}
        readable
    }
}

/// How the driver ended, before the rest of its tree was cleared away.
#[derive(Clone, Copy)]
struct Ended {
    code: Option<i32>,
    signal: Option<i32>,
    at: libra_core::time::Timestamp,
}

/// What a driver writes: standard output and standard error.
pub(super) type Pipes = [Option<OwnedFd>; 2];

pub(super) struct Shim<'a> {
    dir: &'a AttemptDir,
    launch: &'a LaunchFile,
    bell: Bell,
    /// The shim's own pid: every process of the tree descends from it, because it is the subreaper.
    root: i32,
    /// The driver's end, once it was reaped.
    ended: Option<Ended>,
    /// False once the shim has no child left; then nothing of the tree is alive.
    left: bool,
    /// What the driver writes.
    output: Output,
    /// What the tree uses.
    meter: Meter,
    /// That it began, not on the disk yet: a program is not held up for that.
    started: Option<Shown>,
}

impl<'a> Shim<'a> {
    /// The shim of an attempt, whose tree descends from the process `root`: this one.
    pub(super) fn new(dir: &'a AttemptDir, launch: &'a LaunchFile, bell: Bell, root: i32) -> Self {
        let (output, meter) = (Output::default(), Meter::new());
        Self { dir, launch, bell, root, ended: None, left: true, output, meter, started: None }
    }

    /// The same process goes on as the shim of another attempt.
    pub(super) fn turn_to<'b>(self, dir: &'b AttemptDir, launch: &'b LaunchFile) -> Shim<'b> {
        let Self { bell, root, ended, left, output, .. } = self;
        // What the driver used before does not count for the attempt.
        Shim { dir, launch, bell, root, ended, left, output, meter: Meter::new(), started: None }
    }

    pub(super) fn bell(&mut self) -> &mut Bell {
        &mut self.bell
    }

    /// True once the driver was reaped.
    pub(super) fn has_ended(&mut self, driver: i32) -> bool {
        self.reap(driver);
        self.ended.is_some()
    }

    fn start(&mut self) -> io::Result<i32> {
        let (driver, pipes) = self.start_with(Stdio::null())?;
        self.keep(pipes);
        failpoint::hit("shim-after-spawn");
        Ok(driver)
    }

    /// Writes what comes out of the driver into the attempt's log.
    pub(super) fn keep(&mut self, pipes: Pipes) {
        for (pipe, log) in pipes.into_iter().zip(LogWriter::pair(self.dir, self.launch.logs)) {
            self.output.keep(pipe, log);
        }
    }

    /// Starts the driver; answers its pid, and what it writes.
    pub(super) fn start_with(&self, stdin: Stdio) -> io::Result<(i32, Pipes)> {
        let (program, arguments) =
            self.launch.argv.split_first().ok_or_else(|| io::Error::other("there is no program to start"))?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.launch.cwd)?;
        let mut driver = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(&self.launch.env)
            .env(TOKEN_VARIABLE, &self.launch.token)
            .current_dir(&self.launch.cwd)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: a driver that signals its whole group must not hit the shim.
            .process_group(0)
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{program}: {e}")))?;
        let pid = i32::try_from(driver.id()).map_err(io::Error::other)?;
        Ok((pid, [driver.stdout.take().map(OwnedFd::from), driver.stderr.take().map(OwnedFd::from)]))
    }

    /// Stays with the driver until nothing of it is alive; calls `begun` once it has said that it runs.
    pub(super) fn supervise(&mut self, driver: i32, begun: impl FnOnce()) -> ExitRecord {
        let at = records::now();
        let dir = self.dir;
        let started = || {
            let process = table::identify(driver)?;
            records::show_record(&dir.started_file(), &StartedRecord { process, at })
        };
        let mut recorded = started().inspect_err(|error| {
            // The driver runs: it is looked after all the same, it only seems to be starting until then.
            say(&format_args!("the started file can't be written, trying again: {error}"));
        });
        begun();
        let mut watch = self.launch.keepalive.as_ref().map(Watch::new);
        let (mut stopped, mut abandoned) = (false, false);
        loop {
            if recorded.is_err() {
                recorded = started();
            }
            self.reap(driver);
            if self.ended.is_some() {
                break;
            }
            self.meter.look(dir);
            abandoned = watch.as_mut().is_some_and(Watch::is_over);
            if abandoned || self.bell.is_told_to_end() || self.dir.stop_file().exists() {
                stopped = self.terminate(driver);
                break;
            }
            self.bell.wait(TICK);
        }
        if !stopped {
            self.wait_for(STRAGGLER_GRACE, |shim| !shim.left, driver);
        }
        self.clear_away(driver);
        self.started = recorded.ok();
        self.meter.end(dir);
        // Nobody is left who could write: what is in the pipes is all there is.
        if !self.output.end() {
            say(&"the end of the log is missing: somebody holds the driver's output open");
        }
        // Without a child left the driver has been reaped; a missing status is not invented.
        let ended = self.ended.unwrap_or(Ended { code: None, signal: None, at: records::now() });
        ExitRecord {
            code: ended.code,
            signal: ended.signal,
            spawn_error: None,
            at: ended.at,
            stopped,
            abandoned: stopped && abandoned,
        }
    }

    /// Says how it ended, calls `told` once that can be read, makes it durable and puts the log away.
    pub(super) fn finish(&mut self, exit: &ExitRecord, told: impl FnOnce()) {
        failpoint::hit("shim-before-exit-file");
        let Some(shown) = self.insist(|file| records::show_record(file, exit)) else { return };
        told();
        // A Libra that is there stores what it has read; for one that is not, this has to last.
        if let Err(error) = shown.settle() {
            say(&format_args!("the exit file is not on the disk yet, writing it again: {error}"));
            if self.insist(|file| records::write_record(file, exit)).is_none() {
                return;
            }
        }
        // When it began is worth less: without it, it began when it ended.
        let _ = self.started.take().map(Shown::settle);
        if !self.output.is_over() {
            // Somebody may still write to it.
            return;
        }
        // Everything is told by now. Nobody waits for this, and other jobs need the processor more.
        let _ = rustix::process::nice(PACKING_NICENESS);
        if let Err(error) = logs::pack(self.dir, &|| self.bell.is_told_to_end()) {
            say(&format_args!("the log was not compressed: {error}"));
        }
    }

    /// Writes the exit file. Without it nobody learns the truth, so a full disk is waited out. None when the attempt's directory
    /// is gone: whoever removed it does not want to know.
    fn insist<T>(&self, write: impl Fn(&Path) -> io::Result<T>) -> Option<T> {
        loop {
            match write(&self.dir.exit_file()) {
                Ok(written) => return Some(written),
                Err(_) if !self.dir.path().exists() => return None,
                Err(error) => say(&format_args!("the exit file can't be written, trying again: {error}")),
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Asks the driver to end and gives it the grace that the launch file grants. False when it had ended by
    /// itself just before.
    fn terminate(&mut self, driver: i32) -> bool {
        let Some(process) = table::look_up(driver).filter(|p| !p.dead) else { return false };
        tree::signal(&process, Signal::TERM);
        self.wait_for(Duration::from_millis(self.launch.grace_ms), |shim| shim.ended.is_some(), driver);
        true
    }

    /// Kills until nothing of the tree is alive, however long that takes.
    pub(super) fn clear_away(&mut self, driver: i32) {
        let mut rounds = 0_u32;
        loop {
            self.reap(driver);
            // An unreadable /proc shows nothing to kill; children that are left keep the loop going.
            let members = tree::members(Some(self.root), &self.launch.token).unwrap_or_default();
            if members.is_empty() && !self.left {
                return;
            }
            for process in &members {
                tree::signal(process, Signal::KILL);
            }
            rounds = rounds.saturating_add(1);
            self.bell.wait(if rounds < QUICK_ROUNDS { ROUND } else { SLOW_ROUND });
        }
    }

    fn wait_for(&mut self, time: Duration, done: impl Fn(&Self) -> bool, driver: i32) {
        let begun = Instant::now();
        loop {
            self.reap(driver);
            if done(self) || begun.elapsed() >= time {
                return;
            }
            self.bell.wait(ROUND);
        }
    }

    /// Takes in every child that has ended: the driver, and all the orphans that the kernel hands to the shim.
    fn reap(&mut self, driver: i32) {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if pid.as_raw_nonzero().get() == driver {
                        self.ended = Some(Ended {
                            code: status.exit_status(),
                            signal: status.terminating_signal(),
                            at: records::now(),
                        });
                    }
                }
                Ok(None) => {
                    self.left = true;
                    return;
                }
                Err(rustix::io::Errno::INTR) => {}
                // The one other answer: there are no children.
                Err(_) => {
                    self.left = false;
                    return;
                }
            }
        }
    }
}

/// Watches the keepalive by the time since the machine was started: wall clocks jump, and the monotonic clock stands
/// still while the machine is suspended, when others go on.
struct Watch<'a> {
    keepalive: &'a Keepalive,
    last: Option<SystemTime>,
    /// By the time since the machine was started.
    since: Duration,
}

fn since_boot() -> Duration {
    // Never negative.
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)).unwrap_or_default()
}

impl<'a> Watch<'a> {
    fn new(keepalive: &'a Keepalive) -> Self {
        Self { keepalive, last: modified(&keepalive.file), since: since_boot() }
    }

    fn is_over(&mut self) -> bool {
        let now = since_boot();
        // First of all: a sign of life that comes after the deadline comes too late, others may have taken over.
        if now.saturating_sub(self.since) >= Duration::from_secs(self.keepalive.deadline_secs) {
            return true;
        }
        let present = modified(&self.keepalive.file);
        if present.is_some() && present != self.last {
            self.last = present;
            self.since = now;
        }
        false
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    File::open(path).and_then(|f| f.metadata()).and_then(|m| m.modified()).ok()
}
