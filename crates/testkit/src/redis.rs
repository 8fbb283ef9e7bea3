//! A private Redis in a temporary directory, on a free port of the loopback. It keeps nothing on disk.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{ports, processes, wait, watchdog};

/// One that does not answer after this long does not start at all.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A command of a test that is not answered by then hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Somebody else may take the port between our look and the server's start.
const PORT_ATTEMPTS: usize = 5;

/// A running (or killed) Redis. Ends when it is dropped, and at the latest a second after the test process.
#[derive(Debug)]
pub struct Redis {
    dir: PathBuf,
    port: u16,
    password: Option<String>,
    child: Option<Child>,
}

impl Redis {
    /// One that lets anybody on the loopback in. Panics, saying what to install, where there is no Redis.
    pub fn start() -> Self {
        Self::make(None)
    }

    /// One that asks for a password (letters and digits). The URL carries it.
    pub fn start_with_password(password: &str) -> Self {
        assert!(password.chars().all(|c| c.is_ascii_alphanumeric()), "it goes into URLs as it is");
        Self::make(Some(password.to_owned()))
    }

    fn make(password: Option<String>) -> Self {
        let dir = tempfile::Builder::new().prefix("libra-redis.").tempdir().unwrap();
        // Real paths: what works below is found by them.
        let dir = dir.keep().canonicalize().unwrap();
        watchdog::watch(&dir);
        let mut redis = Self { dir, port: 0, password, child: None };
        for _ in 0..PORT_ATTEMPTS {
            redis.port = ports::free();
            match redis.launch() {
                Ok(()) => return redis,
                Err(why) if why.contains("already in use") => {}
                Err(why) => panic!("{why}"),
            }
        }
        panic!("{PORT_ATTEMPTS} free ports were taken by others before Redis had them");
    }

    /// `redis://…`, database 0.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|p| format!(":{p}@")).unwrap_or_default();
        format!("redis://{password}127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`. What it held is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again after [`Self::kill`], empty, on the same port.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        if let Err(why) = self.launch() {
            panic!("{why}");
        }
    }

    /// Makes it hang: connections stay, no answer comes.
    pub fn pause(&self) {
        processes::stop(self.pid().expect("it runs"));
    }

    /// Ends [`Self::pause`].
    pub fn resume(&self) {
        processes::go_on(self.pid().expect("it runs"));
    }

    /// Forgets everything that it holds.
    pub fn flush(&self) {
        self.command(&["FLUSHALL"]);
    }

    /// Its answer to a command, the elements of a list one a line. Panics when Redis refuses.
    pub fn command(&self, words: &[&str]) -> String {
        self.call(words).unwrap_or_else(|e| panic!("Redis failed at {words:?}: {e}"))
    }

    /// Its process; None while killed.
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(|child| i32::try_from(child.id()).expect("a pid is small"))
    }

    fn call(&self, words: &[&str]) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        if let Some(password) = &self.password {
            stream.write_all(&request(&["AUTH", password]))?;
            answer(&mut answers)?;
        }
        stream.write_all(&request(words))?;
        answer(&mut answers)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn launch(&mut self) -> Result<(), String> {
        let log = File::create(self.dir.join("log")).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(&self.dir);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // Ctrl-C in the terminal is for the tests; they (or the watchdog) end the server.
        command.current_dir(&self.dir).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|e| {
            panic!("this test needs Redis, and redis-server can't be run ({e}); {}", crate::INSTALL)
        });
        let mut ended = None;
        let waited = wait::block_until("Redis answers", START_LIMIT, || {
            ended = child.try_wait().unwrap();
            ended.is_some() || self.call(&["PING"]).is_ok()
        });
        // Somebody else's server may have answered on a port that ours could not have.
        ended = ended.or_else(|| child.try_wait().unwrap());
        let why = match (ended, waited) {
            (None, Ok(())) => {
                self.child = Some(child);
                return Ok(());
            }
            (Some(status), _) => format!("Redis ended at once with {status}"),
            (None, Err(why)) => why,
        };
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("{why}:\n{}", self.log()))
    }
}

fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// Reads one answer of version 2 of Redis's protocol.
fn answer(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end();
    let count = |text: &str| text.parse::<i64>().map_err(io::Error::other);
    match line.split_at_checked(1) {
        Some(("+" | ":", text)) => Ok(text.to_owned()),
        Some(("-", text)) => Err(io::Error::other(text.to_owned())),
        Some(("$", text)) => {
            let Ok(length) = u64::try_from(count(text)?) else { return Ok("(nil)".to_owned()) };
            let mut bytes = Vec::new();
            from.take(length + 2).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim_end_matches("\r\n").to_owned())
        }
        Some(("*", text)) => {
            let parts: io::Result<Vec<_>> = (0..count(text)?).map(|_| answer(from)).collect();
            Ok(parts?.join("\n"))
        }
        _ => Err(io::Error::other(format!("not an answer: {line:?}"))),
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
