//! graphile-worker on the same PostgreSQL, run by Node.

use std::path::Path;
use std::process::Stdio;

use libra_testkit::Postgres;
use serde_json::Value;
use tokio::process::Command;

use super::{Run, Used};
use crate::Outcome;

/// The program, put where the packages are.
const PROGRAM: &str = include_str!("graphile.mjs");

/// How jobs are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Many with each call: its best.
    Many,
    /// One with each call, as clients of a service do.
    One,
}

impl Way {
    /// Jobs to a call, callers at once, processes that work.
    fn arguments(self) -> [&'static str; 3] {
        match self {
            Self::Many => ["1000", "4", "2"],
            Self::One => ["1", "64", "2"],
        }
    }
}

/// Its settings, for people.
pub(super) const WORDS: &str = "graphile-worker 0.17: what its page on performance recommends for many small jobs (24 jobs at once in each \
     process, local queue of 500, ends written in batches, prepared statements), two processes of Node, of which one \
     adds the jobs, 1,000 to a call from 4 connections; a job is a row that is deleted at its end.";

/// Runs `count` jobs in a new database; `directory` has the packages.
pub(super) async fn run(server: &Postgres, directory: &Path, count: u64, way: Way) -> Outcome<Run> {
    if !directory.join("node_modules/graphile-worker").is_dir() {
        let missing = format!("graphile-worker is not installed in {}", directory.display());
        return Err(format!("{missing}: scripts/bench.sh does it, or give --graphile DIR").into());
    }
    let program = directory.join("run.mjs");
    std::fs::write(&program, PROGRAM)?;
    let used = Used::so_far(server)?;
    let output = Command::new("node")
        .arg(&program)
        .arg(server.create_database())
        .arg(count.to_string())
        .args(way.arguments())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| format!("node can't be run: {e}"))?;
    let used = Used::so_far(server)?.since(used);
    if !output.status.success() {
        return Err(format!("graphile-worker ended with {}", output.status).into());
    }
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let seconds = |key: &str| said[key].as_f64().ok_or("graphile-worker did not say how long it took");
    Ok(Run { jobs: count, submitted: seconds("added")?, done: seconds("done")?, used })
}
