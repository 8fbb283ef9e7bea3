//! A private Slurm in a temporary directory: munge, slurmctld, several slurmds on this machine, slurmrestd with tokens, and
//! slurmdbd with a MariaDB where a test wants accounting. On free ports of the loopback.
//!
//! As root its nodes hold jobs in cgroups (v1) where the machine has them, so that memory limits are real; else, and as any
//! other user, they only follow their processes. Jobs run as whoever runs the tests.

mod accounting;
mod configuration;
mod hooks;
mod programs;
mod setup;

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{processes, wait};
use configuration::Ports;
pub use hooks::Hooks;
pub use setup::Setup;

/// One that has not started by then does not start at all.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Jobs that were cancelled are gone by then, or are killed.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);
/// Daemons end by themselves within this time, or are killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Seconds that a command of Slurm's may take: some wait for ever for a slurmctld that is gone.
const COMMAND_SECONDS: &str = "30";
/// Lines of a log that are told when something is wrong.
const LOG_LINES: usize = 20;

/// The slurmctld of a cluster.
const CONTROLLER: &str = "slurmctld";
const REST: &str = "slurmrestd";
/// Where Libra's hooks are in a cluster's directory.
const HOOKS: &str = "hooks";

/// A running cluster. It ends when this is dropped, with its jobs, and at the latest a second after the test process.
#[derive(Debug)]
pub struct SlurmCluster {
    dir: PathBuf,
    ports: Ports,
    cgroups: bool,
    accounting: bool,
    daemons: Vec<Daemon>,
}

#[derive(Debug)]
struct Daemon {
    name: String,
    child: Child,
}

impl SlurmCluster {
    /// Two nodes of 16 processors, without accounting. Panics, saying what to install, where there is no Slurm.
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Its directory; jobs may write below [`Self::work`].
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A directory for jobs.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Libra's hooks, where it was set up with them.
    pub fn hooks(&self) -> Hooks {
        Hooks::of_cluster(&self.dir.join(HOOKS))
    }

    /// Its slurm.conf.
    pub fn conf(&self) -> PathBuf {
        self.dir.join("etc/slurm.conf")
    }

    /// The key with which tokens are made.
    pub fn key(&self) -> PathBuf {
        self.dir.join("etc/jwt.key")
    }

    /// Where slurmrestd answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.rest)
    }

    /// Who runs jobs here.
    pub fn user(&self) -> String {
        programs::user()
    }

    /// A node's name, counted from 1. Nobody else on this machine has it.
    pub fn node(&self, number: usize) -> String {
        self.ports.node(number)
    }

    /// True when nodes hold jobs in cgroups: then a job that takes too much memory is OUT_OF_MEMORY.
    pub fn has_cgroups(&self) -> bool {
        self.cgroups
    }

    /// Runs a command of Slurm's to its end; answers its standard output. Panics, with what it complained of, when it fails.
    pub fn command(&self, words: &[&str]) -> String {
        let out = self.output(words);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(out.status.success(), "{words:?} failed: {}{}", said(&out.stdout), said(&out.stderr));
        said(&out.stdout).trim().to_owned()
    }

    /// Submits a script of one line with `sbatch` and these options; answers the job's number.
    pub fn sbatch(&self, options: &[&str], script: &str) -> String {
        let wrap = format!("--wrap={script}");
        let work = format!("--chdir={}", self.work().display());
        self.command(&[&["sbatch", "--parsable", &work], options, &[&wrap]].concat())
    }

    /// What `sacct` says of a job, in these columns with `|` between; steps left out. Times are seconds since the epoch.
    pub fn accounted(&self, job: &str, columns: &str) -> String {
        let (job, columns) = (format!("--jobs={job}"), format!("--format={columns}"));
        self.command(&["sacct", "-X", "-n", "-P", &job, &columns])
    }

    /// The state of a job as `squeue` has it; empty for one that slurmctld has forgotten.
    pub fn state(&self, job: &str) -> String {
        self.command(&["squeue", "-h", "-a", "-t", "all", "-j", job, "-o", "%T"])
    }

    /// `kill -9` of slurmctld.
    pub fn kill_controller(&mut self) {
        self.kill(CONTROLLER);
    }

    /// Starts slurmctld again after [`Self::kill_controller`], with the state it has on disk.
    pub fn start_controller(&mut self) {
        self.launch_controller();
        self.wait_for_nodes(1);
    }

    /// `kill -9` of slurmdbd, where there is accounting.
    pub fn kill_accounting(&mut self) {
        self.kill(accounting::ACCOUNTING);
    }

    /// Makes slurmctld hang: connections are accepted, no answer comes.
    pub fn pause_controller(&self) {
        processes::stop(self.pid(CONTROLLER));
    }

    /// Ends [`Self::pause_controller`].
    pub fn resume_controller(&self) {
        processes::go_on(self.pid(CONTROLLER));
    }

    /// `kill -9` of a node's slurmd and of all that it has started: jobs on it are lost, without an epilog. slurmctld finds out
    /// by itself after minutes; [`Self::declare_lost`] tells it.
    pub fn kill_node(&mut self, number: usize) {
        let name = self.node(number);
        self.kill(&name);
        // Its slurmstepds work where it did, and their jobs know their node.
        let left = || {
            let mut left = processes::working_below(&self.spool(&name));
            left.extend(processes::with_variable("SLURMD_NODENAME", &name));
            left
        };
        let gone = || left().into_iter().map(processes::kill).count() == 0;
        wait::block_until("everything on the node is gone", STOP_LIMIT, gone).unwrap();
    }

    /// Tells slurmctld that a node is down.
    pub fn declare_lost(&self, number: usize) {
        let node = format!("nodename={}", self.node(number));
        self.command(&["scontrol", "update", &node, "state=down", "reason=test"]);
    }

    /// Starts a node again after [`Self::kill_node`].
    pub fn start_node(&mut self, number: usize) {
        self.launch_node(number);
        let node = self.node(number);
        self.wait_until("the node is back", |cluster| cluster.ready_nodes().lines().any(|line| line == node));
    }

    fn output(&self, words: &[&str]) -> std::process::Output {
        let mut command = Command::new("timeout");
        command.arg(COMMAND_SECONDS).args(words).current_dir(self.work());
        command.env("SLURM_CONF", self.conf()).env("SLURM_TIME_FORMAT", "%s").env("PATH", programs::path());
        command.stdin(Stdio::null());
        command.output().unwrap_or_else(|e| panic!("{words:?} can't be run: {e}"))
    }

    /// Where a node's slurmd works.
    fn spool(&self, node: &str) -> PathBuf {
        self.dir.join("spool").join(node)
    }

    fn launch(&mut self, name: &str, mut command: Command) {
        // One that is started again goes on in the same file.
        let log = self.dir.join("log").join(name).with_extension("out");
        let log = File::options().create(true).append(true).open(log).unwrap();
        command.env("SLURM_CONF", self.conf()).env("PATH", programs::path());
        // Slurm cleans the environment of its hooks; what its daemons have is all that they can look at.
        command.env("LIBRA_SLURM_ENV", self.hooks().settings());
        if command.get_current_dir().is_none() {
            command.current_dir(&self.dir);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // Ctrl-C in the terminal is for the tests; they (or the watchdog) end the daemons.
        command.process_group(0);
        let child =
            command.spawn().unwrap_or_else(|e| panic!("{name} can't be run: {e}; {}", crate::INSTALL));
        self.daemons.push(Daemon { name: name.to_owned(), child });
    }

    fn launch_controller(&mut self) {
        let mut command = Command::new(programs::find(CONTROLLER));
        command.arg("-D");
        self.launch(CONTROLLER, command);
    }

    fn launch_node(&mut self, number: usize) {
        let name = self.node(number);
        let mut command = Command::new(programs::find("slurmd"));
        command.args(["-D", "-N", &name]).current_dir(self.spool(&name));
        self.launch(&name, command);
    }

    fn launch_rest(&mut self) {
        let mut command = programs::as_nobody(REST);
        // Without slurmdbd its plugin for that is fatal.
        let plugins = if self.accounting { "openapi/v0.0.38,openapi/dbv0.0.38" } else { "openapi/v0.0.38" };
        command.args(["-s", plugins, "-a", "rest_auth/jwt"]).arg(format!("127.0.0.1:{}", self.ports.rest));
        command.env("SLURM_JWT", "daemon");
        self.launch(REST, command);
    }

    /// Waits until so many nodes are idle, or have work.
    fn wait_for_nodes(&mut self, count: usize) {
        self.wait_until("its nodes are up", |cluster| cluster.ready_nodes().lines().count() >= count);
    }

    /// Nodes that are idle or have work, one a line.
    fn ready_nodes(&self) -> String {
        let out = self.output(&["sinfo", "-h", "-N", "-t", "idle,mixed,allocated", "-o", "%N"]);
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn wait_until(&mut self, what: &str, ready: impl Fn(&Self) -> bool) {
        let mut dead = None;
        let waited = wait::block_until(what, START_LIMIT, || {
            dead = self.dead();
            dead.is_some() || ready(self)
        });
        if let Some(name) = dead {
            panic!("{name} of Slurm has ended at once:\n{}", self.log(&name));
        }
        if let Err(why) = waited {
            panic!("Slurm does not start: {why}:\n{}", self.log(CONTROLLER));
        }
    }

    /// A daemon that has ended by itself.
    fn dead(&mut self) -> Option<String> {
        self.daemons.iter_mut().find_map(|daemon| {
            let ended = daemon.child.try_wait().unwrap().is_some();
            ended.then(|| daemon.name.clone())
        })
    }

    fn pid(&self, name: &str) -> i32 {
        let daemon = self.daemons.iter().find(|daemon| daemon.name == name).expect("it runs");
        i32::try_from(daemon.child.id()).expect("a pid is small")
    }

    fn kill(&mut self, name: &str) {
        let at = self.daemons.iter().position(|daemon| daemon.name == name).expect("it runs");
        let mut daemon = self.daemons.remove(at);
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
    }

    /// The end of a daemon's log.
    fn log(&self, name: &str) -> String {
        let read = |ending: &str| {
            let path = self.dir.join("log").join(name).with_extension(ending);
            fs::read_to_string(path).unwrap_or_default()
        };
        wait::last_lines(&format!("{}{}", read("log"), read("out")), LOG_LINES)
    }

    /// Whatever runs for this cluster: its daemons, slurmstepds and jobs, wherever these work.
    fn left_over(&self) -> Vec<i32> {
        let mut left = processes::with_variable("SLURM_CONF", &self.conf().display().to_string());
        left.extend(processes::working_below(&self.dir));
        left
    }

    fn cancel_all(&self) {
        let words = |words: &[&str]| String::from_utf8_lossy(&self.output(words).stdout).into_owned();
        let jobs = words(&["squeue", "-h", "-a", "-o", "%A"]);
        let jobs: Vec<&str> = jobs.split_whitespace().collect();
        if jobs.is_empty() {
            return;
        }
        self.output(&[&["scancel"], &jobs[..]].concat());
        // A slurmd that is stopped leaves its jobs behind.
        let gone = || words(&["squeue", "-h", "-a", "-o", "%A"]).trim().is_empty();
        let _ = wait::block_until("jobs are gone", CANCEL_LIMIT, gone);
    }
}

impl Drop for SlurmCluster {
    fn drop(&mut self) {
        let answers = self.daemons.iter_mut().any(|daemon| {
            daemon.name == CONTROLLER && daemon.child.try_wait().is_ok_and(|status| status.is_none())
        });
        if answers {
            self.resume_controller();
            self.cancel_all();
        }
        // Those that others need go last.
        for daemon in self.daemons.iter_mut().rev() {
            let pid = i32::try_from(daemon.child.id()).expect("a pid is small");
            processes::terminate(pid);
            let ended = || daemon.child.try_wait().is_ok_and(|status| status.is_some());
            let _ = wait::block_until("it ends", STOP_LIMIT, ended);
            let _ = daemon.child.kill();
            let _ = daemon.child.wait();
        }
        let gone = || {
            let left = self.left_over();
            left.iter().copied().map(processes::kill).count() == 0
        };
        let _ = wait::block_until("everything is gone", STOP_LIMIT, gone);
        let _ = fs::remove_dir_all(&self.dir);
    }
}
