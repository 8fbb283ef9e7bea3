//! A cradle: a shim whose driver is started before its attempt is known, and waits, warm.
//!
//! | who tells whom | by | what, a line each |
//! |---|---|---|
//! | the driver → the cradle | its standard input, a socket | `ready`, or `unfit` and why; `named` |
//! | the cradle → Libra | standard output | `ready`, or `unfit` and why; then `refused`, or `taken` and later `over` |
//! | Libra → the cradle | standard input | the directory of the attempt to take |
//! | the cradle → the driver | the socket | the attempt's token; then its directory: begin |
//!
//! The driver writes the attempt's token over the cradle's in the memory that `/proc` shows as its environment, and only
//! then does the cradle create the attempt's `owner` file. So an attempt that is owned is found by its token, as if its
//! shim had started it, and from there on the cradle is its shim. A driver whose cradle dies before that sees the
//! socket's end and ends; a cradle whose Libra dies before that sees the end of its standard input and ends.
//!
//! The driver's output goes through pipes from the beginning, but it writes into a file of the cradle's until it begins
//! with the attempt; nobody reads the pipes before that. So the attempt's log holds the attempt's words and no others.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::records::{self, LaunchFile, Owner};
use super::run::{Bell, Shim, never_started, say};
use super::table;
use crate::attempt_dir::AttemptDir;
use crate::failpoint;

/// How often a cradle looks around when nothing wakes it.
const TICK: Duration = Duration::from_secs(5);
/// How long the driver may take to name itself.
const NAMING_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a cradle in `dir` to its end, and the attempt that it takes. The result is its exit code: 0 when it did its
/// work or had nothing to do, 1 when it could not begin.
pub fn cradle(dir: &Path) -> i32 {
    let ended = std::path::absolute(dir).and_then(|dir| {
        let dir = AttemptDir::new(dir);
        let ended = keep(&dir);
        // The driver holds all that it needs of it.
        fs::remove_dir_all(dir.path()).and(ended)
    });
    match ended {
        Ok(()) => 0,
        Err(error) => {
            say(&error);
            1
        }
    }
}

/// Tells Libra. One that is dead hears nothing; what is true stands in the attempt's files.
fn report(line: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn keep(dir: &AttemptDir) -> io::Result<()> {
    let bell = Bell::hang()?;
    let launch = launch_file(dir)?;
    let _ = rustix::process::setsid();
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me))?;
    std::env::set_current_dir(dir.path())?;
    let root = me.as_raw_nonzero().get();
    let owner = Owner::Shim { process: table::identify(root)?, token: launch.token.clone() };
    if !records::create_once(&dir.owner_file(), &owner)? {
        return Ok(());
    }
    let (socket, theirs) = UnixStream::pair()?;
    socket.set_read_timeout(Some(NAMING_PATIENCE))?;
    let mut shim = Shim::new(dir, &launch, bell, root);
    let (driver, pipes) = shim.start_with(Stdio::from(OwnedFd::from(theirs)))?;
    let mut driver = Driver { pid: driver, answers: BufReader::new(socket.try_clone()?), socket };

    let Some(attempt) = wait_for_order(&mut shim, &mut driver) else {
        shim.clear_away(driver.pid);
        return Ok(());
    };
    let taken = name(&mut driver, &attempt).and_then(|launch| {
        failpoint::hit("shim-before-owner");
        let mine = records::create_once_from(&dir.owner_file(), &attempt.owner_file(), &owner)?;
        Ok(mine.then_some(launch))
    });
    let launch = match taken {
        Ok(Some(launch)) => launch,
        other => {
            shim.clear_away(driver.pid);
            match other {
                // Revoked, or another shim's.
                Ok(_) => report("refused"),
                Err(error) => report(&format!("unfit {error}")),
            }
            return Ok(());
        }
    };
    failpoint::hit("shim-after-owner");
    let mut shim = shim.turn_to(&attempt, &launch);
    let stopped = attempt.stop_file().exists();
    if !stopped {
        // The rest can be done while it begins. A driver that does not hear it has ended; that is seen at once.
        let _ = driver.tell(&attempt.path().to_string_lossy());
    }
    shim.keep(pipes);
    let exit = if stopped {
        shim.clear_away(driver.pid);
        report("taken");
        never_started(None, true)
    } else {
        failpoint::hit("shim-after-spawn");
        // Where people look for the process of an attempt; not worth failing for.
        let _ = std::env::set_current_dir(attempt.path());
        shim.supervise(driver.pid, || report("taken"))
    };
    shim.finish(&exit, || report("over"));
    Ok(())
}

fn launch_file(dir: &AttemptDir) -> io::Result<LaunchFile> {
    records::read(&dir.launch_file())?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no launch.json"))
}

/// The warm process.
struct Driver {
    pid: i32,
    socket: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Driver {
    /// Tells it one text, as JSON.
    fn tell(&mut self, text: &str) -> io::Result<()> {
        let mut line = serde_json::to_vec(text)?;
        line.push(b'\n');
        self.socket.write_all(&line)
    }

    /// What it answers; empty when it has ended.
    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

/// Waits for the attempt to take; None when there will be none.
fn wait_for_order(shim: &mut Shim<'_>, driver: &mut Driver) -> Option<AttemptDir> {
    let mut orders = io::stdin().lock();
    let stdin = io::stdin();
    loop {
        if shim.bell().is_told_to_end() || shim.has_ended(driver.pid) {
            return None;
        }
        let [ordered, answered] = shim.bell().wait_with([stdin.as_fd(), driver.socket.as_fd()], TICK);
        if answered {
            let said = driver.answer().ok().filter(|said| !said.is_empty())?;
            report(&said);
            if said != "ready" {
                return None;
            }
        }
        if ordered {
            let mut line = String::new();
            orders.read_line(&mut line).ok().filter(|n| *n > 0)?;
            return serde_json::from_str::<PathBuf>(&line).ok().map(AttemptDir::new);
        }
    }
}

/// Has the driver carry the attempt's token.
fn name(driver: &mut Driver, attempt: &AttemptDir) -> io::Result<LaunchFile> {
    let launch = launch_file(attempt)?;
    driver.tell(&launch.token)?;
    let answer = driver.answer()?;
    if answer == "named" && table::carries(driver.pid, &launch.token) {
        Ok(launch)
    } else {
        Err(io::Error::other("the driver could not be given its name"))
    }
}
