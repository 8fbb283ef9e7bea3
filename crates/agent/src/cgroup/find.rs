//! Where Slurm's jobs are in the tree of cgroups.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::names::{self, JobName, Scope};
use super::{Reading, v1, v2};

/// How deep below the root Slurm's own directory may be: in a container it is deep.
const DEPTH: usize = 8;
/// Directories that are looked at for it, at most.
const MOST_DIRECTORIES: usize = 4_096;
/// Once it is found, it is looked for again after so many looks: another may have come.
const LOOK_AGAIN: u32 = 20;
/// While there is none: a node with many containers has a large tree to look through.
const LOOK_AGAIN_FOR_ANY: u32 = 4;
/// Controllers of version 1 that say something of a job.
const CONTROLLERS: [&str; 6] = ["memory", "cpuacct", "cpu", "cpuset", "blkio", "freezer"];

/// The directories of one job: one for each controller in version 1, and the only one in version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Version 2.
    V2(PathBuf),
    /// Version 1, by controller.
    V1(BTreeMap<&'static str, PathBuf>),
}

impl Place {
    /// What they say now; None when the job has gone. `sys` is where `/sys` is.
    pub fn read(&self, sys: &Path) -> Option<Reading> {
        let reading = match self {
            Self::V2(dir) => v2::read(dir, sys),
            Self::V1(dirs) => v1::read(dirs, sys),
        };
        Some(reading).filter(|reading| !reading.is_nothing())
    }
}

/// What is known of the tree between looks.
#[derive(Debug, Default)]
pub struct Tree {
    scopes: Vec<(Option<&'static str>, PathBuf, Scope)>,
    looks: u32,
}

impl Tree {
    /// There may be directories that are not known yet: the next look looks for them.
    pub fn look_for_more(&mut self) {
        self.looks = LOOK_AGAIN;
    }

    /// The jobs that there are now. `node`: only those of this node, where a directory says for which it is.
    pub fn jobs(&mut self, sys: &Path, node: Option<&str>) -> Vec<(JobName, Place)> {
        let gone = self.scopes.iter().any(|(_, path, _)| !path.is_dir());
        let patience = if self.scopes.is_empty() { LOOK_AGAIN_FOR_ANY } else { LOOK_AGAIN };
        if self.looks == 0 || gone || self.looks >= patience {
            self.scopes = scopes(&sys.join("fs/cgroup"));
            self.looks = 0;
        }
        self.looks += 1;
        let mut jobs = Vec::new();
        let mut divided: BTreeMap<(Option<String>, JobName), BTreeMap<&'static str, PathBuf>> =
            BTreeMap::new();
        for (controller, path, scope) in &self.scopes {
            if let (Some(wanted), Some(said)) = (node, &scope.node)
                && wanted != said
            {
                continue;
            }
            for (name, path) in jobs_in(path) {
                match controller {
                    None => jobs.push((name, Place::V2(path))),
                    Some(controller) => {
                        divided.entry((scope.node.clone(), name)).or_default().insert(*controller, path);
                    }
                }
            }
        }
        jobs.extend(divided.into_iter().map(|((_, name), dirs)| (name, Place::V1(dirs))));
        jobs
    }
}

/// Slurm's directories, with their controller in version 1.
fn scopes(root: &Path) -> Vec<(Option<&'static str>, PathBuf, Scope)> {
    if root.join("cgroup.controllers").exists() {
        return walk(root, names::scope_v2).into_iter().map(|(path, scope)| (None, path, scope)).collect();
    }
    let mut found = Vec::new();
    for (name, path) in directories(root) {
        // One mount may have several controllers: `cpu,cpuacct`.
        let here = |controller: &&str| name.split(',').any(|part| part == *controller);
        let controllers: Vec<&'static str> = CONTROLLERS.into_iter().filter(here).collect();
        if controllers.is_empty() {
            continue;
        }
        for (path, scope) in walk(&path, names::scope_v1) {
            found.extend(controllers.iter().map(|one| (Some(*one), path.clone(), scope.clone())));
        }
    }
    found
}

/// The directories below `root` whose name `scope` knows; nothing is looked for in those.
fn walk(root: &Path, scope: impl Fn(&str) -> Option<Scope>) -> Vec<(PathBuf, Scope)> {
    let mut found = Vec::new();
    let mut level = vec![root.to_owned()];
    let mut looked = 0;
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for dir in level {
            looked += 1;
            if looked > MOST_DIRECTORIES {
                return found;
            }
            for (name, path) in directories(&dir) {
                match scope(&name) {
                    Some(scope) => found.push((path, scope)),
                    None => next.push(path),
                }
            }
        }
        level = next;
    }
    found
}

/// The jobs' directories in Slurm's own, or in its users' ones.
fn jobs_in(scope: &Path) -> Vec<(JobName, PathBuf)> {
    let mut found = Vec::new();
    for (name, path) in directories(scope) {
        if let Some(job) = names::job(&name) {
            found.push((job, path));
        } else if names::is_user(&name) {
            let below = directories(&path).into_iter();
            found.extend(below.filter_map(|(name, path)| Some((names::job(&name)?, path))));
        }
    }
    found
}

/// The directories in `dir`; none when it has gone. Links are no directories: version 1 has `cpu -> cpu,cpuacct`.
pub(super) fn directories(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries
        .filter(is_directory)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}
