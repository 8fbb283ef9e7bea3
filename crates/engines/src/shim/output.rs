//! From the driver's pipes into its log, without ever letting the driver wait for a disk.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::logs::LogWriter;

/// Bytes that are read at once; as many as a pipe holds.
const PIECE: usize = 64 * 1024;
/// The stack of a thread that reads and writes, in bytes.
const STACK: usize = 128 * 1024;
/// How often a loss is looked after while the driver is silent.
const LOOK_AFTER: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long the last bytes may take, a full disk's last tries included.
const LAST_BYTES: Duration = Duration::from_secs(15);

/// The driver's output on its way into the log.
#[derive(Debug)]
pub(super) struct Output {
    streams: usize,
    done: (Sender<()>, Receiver<()>),
}

impl Default for Output {
    fn default() -> Self {
        Self { streams: 0, done: channel() }
    }
}

impl Output {
    /// Writes what comes out of `pipe` until nobody can write into it any more.
    pub(super) fn keep(&mut self, pipe: Option<OwnedFd>, log: LogWriter) {
        let Some(pipe) = pipe else { return };
        let done = self.done.0.clone();
        let pump = move || {
            copy(&mut File::from(pipe), log);
            // Whoever waited has given up.
            let _ = done.send(());
        };
        // Without a thread the pipe is closed, and the driver is told so when it writes.
        if std::thread::Builder::new().stack_size(STACK).spawn(pump).is_ok() {
            self.streams += 1;
        }
    }

    /// Waits until everything is written. False when that took too long.
    pub(super) fn end(&mut self) -> bool {
        let deadline = Instant::now() + LAST_BYTES;
        let mut ended = 0;
        while ended < self.streams {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.done.1.recv_timeout(left).is_err() {
                return false;
            }
            ended += 1;
        }
        true
    }
}

fn copy(pipe: &mut File, mut log: LogWriter) {
    let mut piece = vec![0; PIECE];
    loop {
        if log.waits() {
            // The disk may have room again before the driver says another word.
            let _ = rustix::event::poll(&mut [PollFd::new(&*pipe, PollFlags::IN)], Some(&LOOK_AFTER));
            log.settle();
            if log.waits() && !readable(pipe) {
                continue;
            }
        }
        match pipe.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => log.write(&piece[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    log.finish();
}

/// True when reading would not wait.
fn readable(pipe: &File) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(rustix::event::poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&now)), Ok(0))
}
