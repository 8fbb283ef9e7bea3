//! What runs on this machine, by `/proc`.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

fn all() -> Vec<i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// False for a process that is gone, and for one that only waits to be reaped.
pub fn is_alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name is in brackets and may hold anything; the state follows the last one.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Processes whose environment holds `LIBRA_ATTEMPT_TOKEN=token`: whatever is left of an attempt's driver.
pub fn of_attempt(token: &str) -> Vec<i32> {
    with_variable("LIBRA_ATTEMPT_TOKEN", token)
}

/// Processes whose environment holds `name=value`.
pub fn with_variable(name: &str, value: &str) -> Vec<i32> {
    let wanted = format!("{name}={value}");
    let carries = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        is_alive(*pid) && environment.split(|b| *b == 0).any(|e| e == wanted.as_bytes())
    };
    all().into_iter().filter(carries).collect()
}

/// Processes that work in `dir` or below it: Libra, shims, drivers, Spark's server.
pub fn working_below(dir: &Path) -> Vec<i32> {
    let below = |pid: &i32| {
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_else(|_| PathBuf::new());
        is_alive(*pid) && cwd.starts_with(dir)
    };
    all().into_iter().filter(below).collect()
}

/// The command line, with spaces between its words.
pub fn command_line(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Seconds of processor time that a process has used; 0 for one that is gone.
pub fn cpu_seconds(pid: i32) -> u64 {
    /// Of the fields after the name (proc(5)): utime and stime.
    const TIMES: std::ops::Range<usize> = 11..13;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(") ").map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks: u64 = fields.get(TIMES).unwrap_or_default().iter().filter_map(|t| t.parse::<u64>().ok()).sum();
    ticks / rustix::param::clock_ticks_per_second().max(1)
}

/// SIGKILL; one that is gone already is fine.
pub fn kill(pid: i32) {
    signal(pid, Signal::KILL);
}

/// SIGTERM; one that is gone already is fine.
pub fn terminate(pid: i32) {
    signal(pid, Signal::TERM);
}

/// SIGQUIT; one that is gone already is fine.
pub fn quit(pid: i32) {
    signal(pid, Signal::QUIT);
}

/// SIGSTOP: it stays, and does nothing.
pub fn stop(pid: i32) {
    signal(pid, Signal::STOP);
}

/// SIGCONT, after [`stop`].
pub fn go_on(pid: i32) {
    signal(pid, Signal::CONT);
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
