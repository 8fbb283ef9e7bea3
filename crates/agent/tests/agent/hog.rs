//! A program that is known to use what it uses, in a real cgroup and without one, beside what it says itself.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use libra_agent::gpu::NoGpus;
use libra_agent::look::{Looker, Roots};
use libra_api::hpc::samples::JobSample;
use libra_core::time::Timestamp;

const NOW: Timestamp = Timestamp(1_764_671_400_000_000);
/// Memory that the hog takes, in MiB.
const HOG_MIB: f64 = 400.0;
/// Between two looks.
const WHILE: Duration = Duration::from_secs(5);
/// On a busy machine the two may be asked at different moments of an uneven time.
const TRIES: usize = 4;
const CONTROLLERS: [&str; 5] = ["memory", "cpuacct", "cpu", "cpuset", "freezer"];

/// Burns one processor, holds memory, and answers a line with what it has used: its own and its ended children's
/// processor time in seconds, and the most resident memory in MiB. `child`: a child of it burns for a second.
const HOG: &str = "
import os, resource, select, sys, time
held = bytearray(int(sys.argv[1]) << 20)
for page in range(0, len(held), 4096): held[page] = 1
while True:
    end = time.monotonic() + 0.005
    while time.monotonic() < end: pass
    if not select.select([sys.stdin], [], [], 0)[0]: continue
    line = sys.stdin.readline().strip()
    if not line: break
    if line == 'free': held = held[:len(held) // 4]
    if line == 'child':
        if os.fork() == 0:
            end = time.process_time() + 1
            while time.process_time() < end: pass
            os._exit(0)
        os.wait()
    own, ended = (resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime, own.ru_maxrss / 1024, flush=True)
";

/// What the hog says of itself.
#[derive(Clone, Copy, Debug)]
struct Truth {
    at: Instant,
    seconds: f64,
    most_mib: f64,
}

struct Hog {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Hog {
    /// Started after `before`, a command of the shell.
    fn start(before: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("{before}; exec python3 -c \"$0\" \"$1\""), HOG, &HOG_MIB.to_string()])
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, asks, answers }
    }

    fn tell(&mut self, line: &str) -> Truth {
        writeln!(self.asks, "{line}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let at = Instant::now();
        let mut numbers = answer.split_whitespace().map(|number| number.parse().unwrap());
        Truth { at, seconds: numbers.next().unwrap(), most_mib: numbers.next().unwrap() }
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks at the real machine, at one job.
struct Eye {
    looker: Looker,
    begun: Instant,
    job: String,
}

impl Eye {
    fn new(node: &str, job: &str) -> Self {
        let looker = Looker::new(Roots::default(), Some(node.to_owned()), Box::new(NoGpus));
        Self { looker, begun: Instant::now(), job: job.to_owned() }
    }

    fn look(&mut self) -> Option<JobSample> {
        let seen = self.looker.look(|| self.begun.elapsed(), NOW);
        seen.samples.into_iter().find(|sample| sample.external_job_id.as_ref() == Some(&self.job))
    }

    /// What is measured of the hog's processor time beside what it says, until both agree or the tries are over.
    fn compare(&mut self, hog: &mut Hog, between: &str) -> (JobSample, f64) {
        let mut compared = None;
        for _ in 0..TRIES {
            let first = hog.tell("?");
            self.look().unwrap();
            if !between.is_empty() {
                hog.tell(between);
            }
            std::thread::sleep(WHILE);
            let last = hog.tell("?");
            let sample = self.look().unwrap();
            let cores = (last.seconds - first.seconds) / (last.at - first.at).as_secs_f64();
            let is_near = is_near(sample.cpu_cores.unwrap(), cores);
            compared = Some((sample, cores));
            if is_near {
                break;
            }
        }
        compared.unwrap()
    }
}

fn is_near(measured: f64, truth: f64) -> bool {
    (measured - truth).abs() <= truth * 0.05
}

/// Directories of a made-up node of Slurm's in the real tree of version 1; they are removed at the end.
struct Cgroups {
    root: PathBuf,
    node: String,
    job: String,
}

impl Cgroups {
    fn new() -> Option<Self> {
        let node = format!("t{}", std::process::id());
        let cgroups = Self { root: PathBuf::from("/sys/fs/cgroup"), node, job: "101".to_owned() };
        cgroups.make().then_some(cgroups)
    }

    /// The levels of a job: Slurm's own, the user's, the job's, its step's, its task's.
    fn levels(&self, controller: &str) -> Vec<PathBuf> {
        let slurm = self.root.join(controller).join(format!("slurm_{}", self.node));
        let job = slurm.join("uid_0").join(format!("job_{}", self.job));
        let (step, task) = (job.join("step_batch"), job.join("step_batch/task_0"));
        vec![slurm.clone(), slurm.join("uid_0"), job, step, task]
    }

    fn make(&self) -> bool {
        for controller in CONTROLLERS {
            for level in self.levels(controller) {
                if fs::create_dir(&level).is_err() {
                    return false;
                }
                if controller == "cpuset" {
                    // The first processor alone, of the node's.
                    for (file, value) in [("cpuset.cpus", "0"), ("cpuset.mems", "0")] {
                        if fs::write(level.join(file), value).is_err() {
                            return false;
                        }
                    }
                }
            }
        }
        true
    }

    /// What a shell does to be in them.
    fn enter(&self) -> String {
        let into = |controller: &&str| {
            let task = self.levels(controller).pop().unwrap();
            format!("echo $$ > {}/cgroup.procs", task.display())
        };
        CONTROLLERS.iter().map(into).collect::<Vec<_>>().join(" && ")
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for controller in CONTROLLERS {
            for level in self.levels(controller).iter().rev() {
                // What has just ended may still be counted for a moment.
                for _ in 0..50 {
                    if !level.exists() || fs::remove_dir(level).is_ok() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

#[test]
fn a_hog_in_a_real_cgroup_is_measured_within_five_percent() {
    // contract: H3
    let has_v1 = Path::new("/sys/fs/cgroup/memory/memory.usage_in_bytes").exists();
    let Some(cgroups) = has_v1.then(Cgroups::new).flatten() else {
        eprintln!("skipped: there is no version 1 of cgroups here, or they may not be made");
        return;
    };
    let mut hog = Hog::start(&cgroups.enter(), &[("SLURM_JOB_ID", "101")]);
    let mut eye = Eye::new(&cgroups.node, &cgroups.job);
    let (sample, cores) = eye.compare(&mut hog, "");
    println!("{sample:?} beside {cores} and {:?}", hog.tell("?"));
    assert!(is_near(sample.cpu_cores.unwrap(), cores), "{sample:?} beside {cores}");
    assert!(is_near(sample.cpu_usage.unwrap(), cores * 100.0), "of the one that it may use: {sample:?}");
    let most = hog.tell("?").most_mib;
    assert!(is_near(sample.memory_usage_mb.unwrap(), most), "{sample:?} beside {most}");
    assert!(is_near(sample.memory_peak_mb.unwrap(), most), "{sample:?} beside {most}");
    assert_eq!(sample.processes, Some(1));

    // A child that has come and gone between two looks is in the cgroup's time.
    let (sample, cores) = eye.compare(&mut hog, "child");
    assert!(is_near(sample.cpu_cores.unwrap(), cores), "{sample:?} beside {cores}");

    // A second copy is made while the first one is cut: that is in the peak, and not in what is left.
    let most = hog.tell("free").most_mib;
    let sample = eye.look().unwrap();
    assert!(sample.memory_usage_mb.unwrap() < HOG_MIB / 2.0, "{sample:?}");
    assert!(is_near(sample.memory_peak_mb.unwrap(), most), "{sample:?} beside {most}");

    drop(hog);
    let node = cgroups.node.clone();
    drop(cgroups);
    assert_eq!(eye.look(), None, "what has gone is no sample");
    assert!(!PathBuf::from(format!("/sys/fs/cgroup/memory/slurm_{node}")).exists(), "nothing is left behind");
}

#[test]
fn a_hog_without_a_cgroup_is_measured_within_five_percent_too() {
    // contract: H3
    let (job, node) = (format!("88{}", std::process::id()), format!("p{}", std::process::id()));
    let mut hog = Hog::start(":", &[("SLURM_JOB_ID", &job), ("SLURMD_NODENAME", &node)]);
    let mut eye = Eye::new(&node, &job);
    let (sample, cores) = eye.compare(&mut hog, "child");
    println!("{sample:?} beside {cores} and {:?}", hog.tell("?"));
    assert!(is_near(sample.cpu_cores.unwrap(), cores), "{sample:?} beside {cores}");
    let most = hog.tell("?").most_mib;
    assert!(is_near(sample.memory_usage_mb.unwrap(), most), "{sample:?} beside {most}");
    assert!(is_near(sample.memory_peak_mb.unwrap(), most), "{sample:?} beside {most}");
    assert_eq!(Eye::new("elsewhere", &job).look(), None);
    drop(hog);
    assert_eq!(eye.look(), None);
}
