//! The files of a cluster.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::programs;
use super::setup::Setup;
use crate::ports;

/// Bytes of a key of munge's.
const MUNGE_KEY: usize = 1024;
/// Bytes of the key with which tokens are made.
const TOKEN_KEY: usize = 32;
/// Where cgroups of version 1 are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Processors of a node: none of the machine's, jobs here do little.
pub(super) const CPUS: usize = 16;
/// How long a job may be launched with its credential, in seconds; 120 without it.
const CREDENTIAL_SECONDS: u32 = 20;
/// Memory of a node in MiB.
const MEMORY: usize = 16_000;

/// Where the daemons of a cluster listen.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) controller: u16,
    pub(super) rest: u16,
    pub(super) accounting: u16,
    pub(super) nodes: Vec<u16>,
}

impl Ports {
    pub(super) fn take(nodes: usize) -> Self {
        Self {
            controller: ports::free(),
            rest: ports::free(),
            accounting: ports::free(),
            nodes: (0..nodes).map(|_| ports::free()).collect(),
        }
    }

    /// A node's name, counted from 1: of its own on this machine, because its cgroups are called after it.
    pub(super) fn node(&self, number: usize) -> String {
        format!("{}{number}", self.prefix())
    }

    fn prefix(&self) -> String {
        format!("p{}n", self.controller)
    }
}

/// This machine's name, without its domain.
pub(super) fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// True when nodes can hold jobs in cgroups here.
pub(super) fn has_cgroups() -> bool {
    let mounted = |controller: &str| Path::new(CGROUPS).join(controller).join("cgroup.procs").exists();
    programs::is_root() && ["memory", "freezer", "cpuset", "cpuacct"].into_iter().all(mounted)
}

/// Waits until a cluster's directory is gone, removed by its end or by the watchdog, and removes the cgroups of its nodes.
const AFTERWARDS: &str = r#"
while [ -d "$1" ]; do sleep 1; done
for _ in 1 2 3 4 5; do
  find "$2" -depth -type d -path "*/slurm_$3*" -exec rmdir {} + 2>/dev/null
  sleep 1
done
"#;

/// Sees to it that the nodes leave no cgroups behind, however the test process ends.
pub(super) fn watch_cgroups(dir: &Path, ports: &Ports) {
    let mut shell = Command::new("sh");
    shell.args(["-c", AFTERWARDS, "libra-test-cgroups"]).arg(dir).args([CGROUPS, &ports.prefix()]);
    shell.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C in the terminal is for the tests, not for those who clean up after them.
    let mut child = shell.process_group(0).spawn().expect("there is a sh");
    std::thread::spawn(move || child.wait());
}

/// Random bytes in a file that only its owner reads.
pub(super) fn write_key(path: &Path, length: usize) {
    let mut bytes = vec![0_u8; length];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    secret(path, &bytes);
}

/// Writes a file that only its owner reads.
pub(super) fn secret(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file =
        fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

pub(super) fn write(dir: &Path, ports: &Ports, setup: &Setup, cgroups: bool) {
    write_key(&dir.join("run/munge.key"), MUNGE_KEY);
    write_key(&dir.join("etc/jwt.key"), TOKEN_KEY);
    let limits = if cgroups { "yes" } else { "no" };
    let lines = format!(
        "CgroupPlugin=cgroup/v1\nCgroupMountpoint={CGROUPS}\nCgroupAutomount=no\nConstrainRAMSpace={limits}\n\
         ConstrainCores=no\nConstrainDevices=no\n"
    );
    fs::write(dir.join("etc/cgroup.conf"), lines).unwrap();
    if setup.gpus > 0 {
        // Any device will do: nobody opens it.
        let one = "Name=gpu Type=a100 File=/dev/";
        let devices = ["null", "zero", "full", "random"].into_iter().take(setup.gpus);
        let lines: Vec<String> = devices.map(|device| format!("{one}{device}\n")).collect();
        fs::write(dir.join("etc/gres.conf"), lines.concat()).unwrap();
    }
    fs::write(dir.join("etc/slurm.conf"), slurm_conf(dir, ports, setup, cgroups)).unwrap();
}

fn slurm_conf(dir: &Path, ports: &Ports, setup: &Setup, cgroups: bool) -> String {
    let (at, host, user) = (dir.display(), host(), programs::user());
    let (track, task, gather) =
        if cgroups { ("cgroup", "task/cgroup", "cgroup") } else { ("linuxproc", "task/none", "linux") };
    let mut lines = vec![
        format!("ClusterName={}", setup.name),
        format!("SlurmctldHost={host}(127.0.0.1)"),
        format!("SlurmUser={user}"),
        format!("SlurmdUser={user}"),
        "AuthType=auth/munge".to_owned(),
        // What is put back waits until its old credential is worth nothing any more.
        format!("AuthInfo=socket={at}/run/munge.sock,cred_expire={CREDENTIAL_SECONDS}"),
        "AuthAltTypes=auth/jwt".to_owned(),
        format!("AuthAltParameters=jwt_key={at}/etc/jwt.key"),
        format!("SlurmctldPort={}", ports.controller),
        format!("SlurmctldPidFile={at}/run/slurmctld.pid"),
        format!("SlurmctldLogFile={at}/log/slurmctld.log"),
        format!("StateSaveLocation={at}/state"),
        format!("SlurmdPidFile={at}/run/%n.pid"),
        format!("SlurmdLogFile={at}/log/%n.log"),
        format!("SlurmdSpoolDir={at}/spool/%n"),
        // A machine of two processors is several nodes of sixteen.
        "SlurmdParameters=config_overrides".to_owned(),
        "DebugFlags=NO_CONF_HASH".to_owned(),
        format!("ProctrackType=proctrack/{track}"),
        format!("TaskPlugin={task}"),
        format!("JobAcctGatherType=jobacct_gather/{gather}"),
        "JobAcctGatherFrequency=task=1".to_owned(),
        "SelectType=select/cons_tres".to_owned(),
        "SelectTypeParameters=CR_Core_Memory".to_owned(),
        "SchedulerParameters=sched_min_interval=100000,bf_interval=2".to_owned(),
        "ReturnToService=2".to_owned(),
        "MpiDefault=none".to_owned(),
        "KillWait=2".to_owned(),
        "SlurmdTimeout=30".to_owned(),
        "MinJobAge=300".to_owned(),
        "MaxArraySize=5001".to_owned(),
        "MaxJobCount=20000".to_owned(),
        "DefMemPerCPU=50".to_owned(),
        // Without it a node's prolog waits for the first step there, and a node without one has none.
        "PrologFlags=Alloc".to_owned(),
        "PrologEpilogTimeout=10".to_owned(),
    ];
    if setup.accounting {
        lines.extend([
            "AccountingStorageType=accounting_storage/slurmdbd".to_owned(),
            "AccountingStorageHost=127.0.0.1".to_owned(),
            format!("AccountingStoragePort={}", ports.accounting),
            format!("AccountingStoragePass={at}/run/munge.sock"),
            "AccountingStoreFlags=job_comment".to_owned(),
        ]);
    } else {
        lines.push("AccountingStorageType=accounting_storage/none".to_owned());
    }
    lines.extend(setup.lines.iter().cloned());
    let mut gres = String::new();
    if setup.gpus > 0 {
        lines.push("GresTypes=gpu".to_owned());
        gres = format!(" Gres=gpu:a100:{}", setup.gpus);
    }
    lines.push(format!(
        "NodeName=DEFAULT CPUs={CPUS} Boards=1 SocketsPerBoard=1 CoresPerSocket={CPUS} ThreadsPerCore=1 \
         RealMemory={MEMORY} State=UNKNOWN{gres}"
    ));
    for (at, port) in ports.nodes.iter().enumerate() {
        let name = ports.node(at + 1);
        lines.push(format!("NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"));
    }
    lines.push(
        "PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 State=UP".to_owned(),
    );
    lines.join("\n") + "\n"
}
