//! Slurm's own commands, for clusters without a slurmrestd: `squeue`, `sacct`, `sbatch`, `scancel`.
//!
//! They wait long for a slurmctld that is gone, some of them for ever, and `squeue --json` prints an empty list then. So each
//! has a time limit, after which all that it has started is killed, and an empty list counts only without errors beside it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::answer::Answer;
use super::error::{Error, of_command};
use super::rest::{MOST_BYTES, read};

/// How long a command may take that asks about little, or asks for something to be done. Slurm itself gives up a dead
/// slurmctld after 9 s.
pub const COMMAND_PATIENCE: Duration = Duration::from_secs(15);
/// How long one may take that lists everything.
pub const LIST_COMMAND_PATIENCE: Duration = Duration::from_mins(1);
/// What is kept of a command's complaints, in bytes.
const MOST_COMPLAINT: usize = 16 * 1024;
/// Where Slurm's commands are looked for.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/slurm/bin";

/// The commands of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// The cluster's slurm.conf; None leaves it to the commands.
    pub conf: Option<PathBuf>,
    /// Directories in which the commands are, with colons between; None = those of the system, and `/opt/slurm/bin`.
    pub path: Option<String>,
}

/// What a command is told.
#[derive(Default)]
pub(super) struct Order<'a> {
    pub(super) program: &'a str,
    pub(super) arguments: Vec<String>,
    /// The environment of the job that it submits. It is told in a file, and is not that of the command: `LD_PRELOAD` of a job
    /// has no business on this machine.
    pub(super) of_job: BTreeMap<&'a str, Cow<'a, str>>,
    /// Its standard input.
    pub(super) input: &'a str,
}

/// What a command has said.
pub(super) struct Said {
    pub(super) succeeded: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Commands {
    /// The directories in which the commands are.
    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(DEFAULT_PATH)
    }

    /// Runs a command to its end, or kills it.
    pub(super) async fn run(&self, order: Order<'_>, patience: Duration) -> Result<Said, Error> {
        let failed = |what: String| Error::NoProgram(format!("{}: {what}", order.program));
        // It is looked for here: the path is that of the cluster, and not of this process or the job.
        let places = std::env::split_paths(self.path()).map(|dir| dir.join(order.program));
        let program = places.into_iter().find(|path| path.is_file());
        let program = program.ok_or_else(|| failed(format!("it is not in {}", self.path())))?;
        let mut command = Command::new(program);
        command.env_clear();
        let told = if order.of_job.is_empty() {
            command.env("PATH", self.path()).env("LC_ALL", "C");
            None
        } else {
            // Whatever is in its own environment sbatch puts over that of the job: it gets next to none.
            let file = EnvironmentFile::of(&order.of_job).map_err(|e| failed(e.to_string()))?;
            command.arg(format!("--export-file={}", file.0.display()));
            Some(file)
        };
        // Behind the options there may be a script's own words.
        command.args(&order.arguments);
        if let Some(conf) = &self.conf {
            command.env("SLURM_CONF", conf);
        }
        command.current_dir("/").process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tree = Tree(command.spawn().map_err(|e| failed(e.to_string()))?);
        let said = tokio::time::timeout(patience, tree.talk(order.input)).await;
        drop(told);
        // The tree is killed as it goes out of scope.
        said.unwrap_or(Err(Error::TimedOut))
    }

    /// Runs a command that prints JSON.
    pub(super) async fn json(
        &self,
        program: &str,
        arguments: &[&str],
        patience: Duration,
    ) -> Result<Answer, Error> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let said = self.run(Order { program, arguments, ..Order::default() }, patience).await?;
        let complaint = || of_command(&said.stderr, false);
        // A command that has printed nothing has said it all in words.
        if said.stdout.is_empty() {
            return Err(complaint());
        }
        let answer = read(200, said.stdout).await;
        match answer {
            Ok(answer) if said.succeeded => Ok(answer),
            Ok(_) | Err(Error::Garbage(_)) if !said.succeeded => Err(complaint()),
            other => other,
        }
    }
}

/// The environment of a job, for the time of one command: `NAME=value`, each with a NUL behind it. Only we can read it.
struct EnvironmentFile(PathBuf);

impl EnvironmentFile {
    fn of(variables: &BTreeMap<&str, Cow<'_, str>>) -> io::Result<Self> {
        let name = format!("libra-environment-{}", uuid::Uuid::now_v7().simple());
        let file = Self(std::env::temp_dir().join(name));
        let mut open = OpenOptions::new();
        let mut to = open.write(true).create_new(true).mode(0o600).open(&file.0)?;
        for (name, value) in variables {
            to.write_all(format!("{name}={value}\0").as_bytes())?;
        }
        Ok(file)
    }
}

impl Drop for EnvironmentFile {
    fn drop(&mut self) {
        // What can't be removed is in a directory that the system clears.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A command and all that it has started, which end with this value.
struct Tree(Child);

impl Tree {
    async fn talk(&mut self, input: &str) -> Result<Said, Error> {
        let gone = || Error::Failed("a pipe of the command is gone".to_owned());
        let mut stdin = self.0.stdin.take().ok_or_else(gone)?;
        let stdout = self.0.stdout.take().ok_or_else(gone)?;
        let stderr = self.0.stderr.take().ok_or_else(gone)?;
        let tell = async move {
            // One that does not read says why on its standard error.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
        };
        let ((), stdout, stderr) =
            tokio::join!(tell, collect(stdout, MOST_BYTES), collect(stderr, MOST_COMPLAINT));
        let stdout = stdout.ok_or_else(|| Error::Garbage(format!("more than {MOST_BYTES} bytes")))?;
        let status = self.0.wait().await.map_err(|e| Error::Failed(e.to_string()))?;
        let stderr = String::from_utf8_lossy(&stderr.unwrap_or_default()).into_owned();
        Ok(Said { succeeded: status.success(), stdout, stderr })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // One that has ended has no number any more; nobody is left who could hold its pipes.
        if let Some(pid) = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Everything that is to read; None when it is too much.
async fn collect(mut from: impl AsyncRead + Unpin, most: usize) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    // What can't be read any more is the end.
    let _ = (&mut from).take(most.saturating_add(1)).read_to_end(&mut all).await;
    let whole = u64::try_from(all.len()).is_ok_and(|length| length <= most);
    whole.then_some(all)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A command of this name that is this script, in a directory of its own.
    fn commands(name: &str, script: &str) -> (Commands, PathBuf) {
        let dir = std::env::temp_dir().join(format!("libra-slurm-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let program = dir.join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", dir.display());
        (Commands { conf: Some(dir.join("slurm.conf")), path: Some(path) }, dir)
    }

    fn order(program: &str) -> Order<'_> {
        Order { program, input: "told", of_job: [("A", "b c".into())].into(), ..Order::default() }
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_all_that_it_has_started() {
        let (commands, dir) = commands("hang", "sleep 1000 & echo $! >$(dirname $0)/pid; sleep 1000");
        let said = commands.run(order("hang"), Duration::from_secs(1)).await;
        assert_eq!(said.err(), Some(Error::TimedOut));
        let pid = fs::read_to_string(dir.join("pid")).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let lives = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
        for _ in 0..100 {
            if !lives() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!lives());
        fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn a_command_is_told_all_and_nothing_of_ours() {
        let script = "cat; echo $A $SLURM_CONF $HOME.; tr '\\000' ! <${1#*=}; echo wrong >&2; exit 3";
        let (commands, dir) = commands("tell", script);
        let said = commands.run(order("tell"), COMMAND_PATIENCE).await.unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert_eq!(
            text,
            format!("told{}/slurm.conf .\nA=b c!", dir.display()),
            "its environment is no other's"
        );
        assert_eq!((said.succeeded, said.stderr.as_str()), (false, "wrong\n"));
        assert!(matches!(commands.json("tell", &[], COMMAND_PATIENCE).await, Err(Error::Failed(_))));
        assert!(matches!(commands.json("squint", &[], COMMAND_PATIENCE).await, Err(Error::NoProgram(_))));
        fs::remove_dir_all(dir).unwrap();
    }
}
