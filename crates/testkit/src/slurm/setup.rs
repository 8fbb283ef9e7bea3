//! What a cluster is to have, and how it is started.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::configuration::{self, Ports};
use super::{HOOKS, Hooks, SlurmCluster, accounting, programs};
use crate::watchdog;

/// A cluster to start.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) name: String,
    pub(super) nodes: usize,
    pub(super) gpus: usize,
    pub(super) accounting: bool,
    pub(super) told: bool,
    pub(super) lines: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { name: "lab".to_owned(), nodes: 2, gpus: 0, accounting: false, told: false, lines: Vec::new() }
    }
}

impl Setup {
    /// Two nodes, nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cluster's name for itself; `lab` without this.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// So many nodes.
    #[must_use]
    pub fn nodes(mut self, count: usize) -> Self {
        self.nodes = count;
        self
    }

    /// So many GPUs of the type `a100` on each node, 4 at most. There is nothing behind them.
    #[must_use]
    pub fn gpus(mut self, count: usize) -> Self {
        self.gpus = count;
        self
    }

    /// With slurmdbd and a MariaDB; comments are kept as well.
    #[must_use]
    pub fn accounting(mut self) -> Self {
        self.accounting = true;
        self
    }

    /// With the hooks of a directory: `prolog`, `epilog`, `prolog-slurmctld`, `epilog-slurmctld` and `jobcomp`, as far as they
    /// are there.
    #[must_use]
    pub fn hooks(mut self, dir: &Path) -> Self {
        let hooks = [
            ("Prolog", "prolog"),
            ("Epilog", "epilog"),
            ("PrologSlurmctld", "prolog-slurmctld"),
            ("EpilogSlurmctld", "epilog-slurmctld"),
            ("JobCompLoc", "jobcomp"),
        ];
        for (key, name) in hooks {
            let script = dir.join(name);
            if script.is_file() {
                self.lines.push(format!("{key}={}", script.display()));
                if key == "JobCompLoc" {
                    self.lines.push("JobCompType=jobcomp/script".to_owned());
                }
            }
        }
        self
    }

    /// With Libra's own hooks; [`SlurmCluster::hooks`] says whom they tell.
    #[must_use]
    pub fn libra_hooks(mut self) -> Self {
        self.told = true;
        self
    }

    /// With a line of its own in slurm.conf. Of two that set the same key Slurm takes the last and complains.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts it and waits until all nodes are idle. Panics, saying what to install, where there is no Slurm.
    pub fn start(mut self) -> SlurmCluster {
        for program in ["munged", "slurmctld", "slurmd", "slurmrestd", "sbatch", "squeue"] {
            programs::find(program);
        }
        let dir = tempfile::Builder::new().prefix("libra-slurm.").tempdir().unwrap();
        // Real paths: what works below is found by them.
        let dir = dir.keep().canonicalize().unwrap();
        watchdog::watch(&dir);
        for room in ["", "etc", "run", "log", "state", "spool", "work"] {
            fs::create_dir_all(dir.join(room)).unwrap();
            // munged and slurmrestd want to see and be seen by others.
            fs::set_permissions(dir.join(room), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let (ports, cgroups) = (Ports::take(self.nodes), configuration::has_cgroups());
        for number in 1..=self.nodes {
            fs::create_dir(dir.join("spool").join(ports.node(number))).unwrap();
        }
        if self.told {
            let hooks = Hooks::of_cluster(&dir.join(HOOKS));
            hooks.put();
            self = self.hooks(&hooks.scripts());
        }
        if cgroups {
            configuration::watch_cgroups(&dir, &ports);
        }
        configuration::write(&dir, &ports, &self, cgroups);
        let mut cluster =
            SlurmCluster { dir, ports, cgroups, accounting: self.accounting, daemons: Vec::new() };
        launch_munge(&mut cluster);
        if self.accounting {
            accounting::start(&mut cluster, &self.name);
        }
        cluster.launch_controller();
        for number in 1..=self.nodes {
            cluster.launch_node(number);
        }
        cluster.launch_rest();
        cluster.wait_for_nodes(self.nodes);
        let port = cluster.ports.rest;
        cluster
            .wait_until("slurmrestd listens", |_| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        cluster
    }
}

/// What the daemons know each other by.
fn launch_munge(cluster: &mut SlurmCluster) {
    let run = cluster.dir.join("run");
    let mut command = Command::new(programs::find("munged"));
    let option = |name: &str, file: &str| format!("--{name}={}", run.join(file).display());
    // It does not like a directory of tests.
    command.args(["--foreground", "--force", "--num-threads=4"]).args([
        option("key-file", "munge.key"),
        option("socket", "munge.sock"),
        option("pid-file", "munged.pid"),
        option("seed-file", "munge.seed"),
        option("log-file", "munged.log"),
    ]);
    cluster.launch("munged", command);
    let socket = run.join("munge.sock");
    cluster.wait_until("munge answers", |_| socket.exists());
}
