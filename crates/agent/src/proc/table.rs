//! The process table: who belongs to which job, for those whose cgroup does not say it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use super::environ::{self, Marks};
use super::process::{self, Identity, Stat};
use crate::job::Job;

/// An environment changes when a process becomes another program, and that is early in its life: one that said the same
/// at so many looks is believed.
const LOOKS: u8 = 2;
/// Slurm's own process beside a job's.
pub const STEP_DAEMON: &str = "slurmstepd";

/// What is known of processes.
#[derive(Debug, Default)]
pub struct Table {
    known: HashMap<Identity, (u8, Option<Job>)>,
}

/// A process of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which one.
    pub who: Identity,
    /// What it uses.
    pub stat: Stat,
}

impl Table {
    /// The processes of jobs that carry a mark, but not those that are `claimed` already. `node`: only those that were
    /// started for that node, where they say for which.
    pub fn marked(
        &mut self,
        proc: &Path,
        claimed: &HashSet<u32>,
        node: Option<&str>,
    ) -> HashMap<Job, Vec<Member>> {
        let mut found: HashMap<Job, Vec<Member>> = HashMap::new();
        let mut known = HashMap::with_capacity(self.known.len());
        for pid in pids(proc) {
            if claimed.contains(&pid) {
                continue;
            }
            let Some(stat) = process::stat(proc, pid).filter(|stat| !stat.dead) else { continue };
            let who = Identity { pid, started: stat.started };
            let before = self.known.remove(&who);
            let (looks, job) = match before {
                Some((looks, job)) if looks >= LOOKS => (looks, job),
                before => {
                    let job = job_of(environ::of(proc, pid), node);
                    let same = before.filter(|(_, said)| *said == job);
                    (same.map_or(1, |(looks, _)| looks + 1), job)
                }
            };
            if let Some(job) = &job
                && stat.name != STEP_DAEMON
            {
                found.entry(job.clone()).or_default().push(Member { who, stat });
            }
            known.insert(who, (looks, job));
        }
        self.known = known;
        found
    }
}

fn job_of(marks: Marks, node: Option<&str>) -> Option<Job> {
    match (node, marks.node) {
        (Some(wanted), Some(said)) if wanted != said => None,
        _ => marks.job,
    }
}

/// The pids that there are now.
pub fn pids(proc: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The living processes among `pids`, without Slurm's own.
pub fn members(proc: &Path, pids: &[u32]) -> Vec<Member> {
    let read = |pid: u32| {
        let stat = process::stat(proc, pid).filter(|stat| !stat.dead && stat.name != STEP_DAEMON)?;
        Some(Member { who: Identity { pid, started: stat.started }, stat })
    };
    pids.iter().filter_map(|pid| read(*pid)).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn started(variables: &[(&str, &str)]) -> Child {
        Command::new("sleep").arg("60").env_clear().envs(variables.iter().copied()).spawn().unwrap()
    }

    #[test]
    fn real_processes_are_found_by_their_marks() {
        let id = format!("77{}", std::process::id());
        let token = format!("token-{}", std::process::id());
        let mut children = [
            started(&[("SLURM_JOB_ID", &id), ("SLURMD_NODENAME", "n1")]),
            started(&[("LIBRA_ATTEMPT_TOKEN", &token)]),
        ];
        let proc = Path::new("/proc");
        let (job, attempt) = (Job::Scheduled(id), Job::Attempt(token));
        let mut seen = Vec::new();
        let mut table = Table::default();
        // The third look is by what the first two said.
        for _ in 0..3 {
            let found = table.marked(proc, &HashSet::new(), Some("n1"));
            seen.push((found.get(&job).map(Vec::len), found.get(&attempt).map(Vec::len)));
        }
        let elsewhere = Table::default().marked(proc, &HashSet::new(), Some("n2"));
        let claimed = Table::default().marked(proc, &HashSet::from([children[0].id()]), None);
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(seen, [(Some(1), Some(1)); 3]);
        assert!(!elsewhere.contains_key(&job), "it belongs to another node");
        assert!(elsewhere.contains_key(&attempt) && !claimed.contains_key(&job));
        let gone = table.marked(proc, &HashSet::new(), None);
        assert!(!gone.contains_key(&job) && !gone.contains_key(&attempt));
    }
}
