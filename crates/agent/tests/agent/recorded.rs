//! Trees as Slurm makes them where this machine can't: version 2 of cgroups, SLUIDs, several nodes on one machine.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use libra_agent::gpu::{Device, GpuProcess, Gpus, NoGpus};
use libra_agent::look::{Looker, Roots, Seen};
use libra_api::hpc::samples::JobSample;
use libra_core::time::Timestamp;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp(1_764_671_400_000_000);
const MIB: u64 = 1 << 20;

/// A recorded tree of `/proc` and `/sys`.
struct Tree {
    dir: TempDir,
    clock: Cell<Duration>,
}

impl Tree {
    fn new() -> Self {
        let tree = Self { dir: tempfile::tempdir().unwrap(), clock: Cell::new(Duration::from_secs(1_000)) };
        tree.put("proc/uptime", "1000.00 1.0\n");
        tree.put("proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\n");
        tree.put("proc/stat", "cpu  100 0 0 300 0 0 0 0 0 0\ncpu0 1\ncpu1 1\ncpu2 1\ncpu3 1\n");
        tree
    }

    fn put(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn process(&self, pid: u32, name: &str, environ: &str, ticks: u64) {
        let stat = format!("{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 5000 1000 256 rest");
        self.put(&format!("proc/{pid}/stat"), stat);
        self.put(&format!("proc/{pid}/environ"), environ.replace(' ', "\0"));
        self.put(&format!("proc/{pid}/io"), "rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\n");
    }

    fn looker(&self, node: Option<&str>, gpus: Box<dyn Gpus>) -> Looker {
        let roots = Roots { proc: self.path("proc"), sys: self.path("sys") };
        Looker::new(roots, node.map(str::to_owned), gpus)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn look(&self, looker: &mut Looker) -> Seen {
        looker.look(|| self.clock.get(), NOW)
    }

    fn pass(&self, seconds: u64) {
        self.clock.set(self.clock.get() + Duration::from_secs(seconds));
    }
}

fn of<'a>(seen: &'a Seen, id: &str) -> &'a JobSample {
    let found = seen.samples.iter().find(|sample| sample.external_job_id.as_deref() == Some(id));
    found.unwrap_or_else(|| panic!("{id} is not in {seen:?}"))
}

fn ids(seen: &Seen) -> Vec<&str> {
    seen.samples.iter().map(|sample| sample.external_job_id.as_deref().unwrap_or("attempt")).collect()
}

/// A job as Slurm with version 2 of cgroups makes it: the batch step with Slurm's own process and a task.
fn v2_job(tree: &Tree, scope: &str, name: &str, pid: u32, cpu_micros: u64) -> String {
    let root = "sys/fs/cgroup";
    tree.put(&format!("{root}/cgroup.controllers"), "cpuset cpu io memory hugetlb pids rdma misc\n");
    let job = format!("{root}/{scope}/{name}");
    tree.put(&format!("{job}/cpu.stat"), format!("usage_usec {cpu_micros}\nuser_usec 1\nsystem_usec 1\n"));
    tree.put(&format!("{job}/memory.current"), format!("{}\n", 512 * MIB));
    tree.put(&format!("{job}/memory.peak"), format!("{}\n", 600 * MIB));
    tree.put(
        &format!("{job}/memory.stat"),
        format!("anon 1\nfile {}\ninactive_file {}\n", 20 * MIB, 12 * MIB),
    );
    tree.put(&format!("{job}/cpuset.cpus.effective"), "0-1\n");
    tree.put(&format!("{job}/cpu.max"), "max 100000\n");
    tree.put(&format!("{job}/cgroup.procs"), "");
    tree.put(&format!("{job}/step_batch/slurm/cgroup.procs"), format!("{}\n", pid + 1));
    tree.put(&format!("{job}/step_batch/user/task_0/cgroup.procs"), format!("{pid}\n"));
    tree.put(&format!("{job}/step_extern/user/task_special/cgroup.procs"), "");
    job
}

#[test]
fn a_job_in_version_2_is_read_with_its_ended_steps() {
    let tree = Tree::new();
    let job = v2_job(&tree, "system.slice/slurmstepd.scope", "job_17", 300, 5_000_000);
    tree.put(
        &format!("{job}/io.stat"),
        "8:0 rbytes=1000 wbytes=90000 rios=1 wios=1\n253:0 rbytes=1000 wbytes=90000\n",
    );
    // What is made of other devices counts with those.
    tree.put("sys/dev/block/253:0/slaves/sda/dev", "8:0\n");
    tree.process(300, "python", "SLURM_JOB_ID=17", 10);
    tree.process(301, "slurmstepd", "A=b", 10);
    let mut looker = tree.looker(None, Box::new(NoGpus));
    let first = tree.look(&mut looker);
    assert_eq!(ids(&first), ["17"]);
    assert_eq!(of(&first, "17").cpu_cores, None, "one look has no rate");
    tree.pass(10);
    tree.put(&format!("{job}/cpu.stat"), "usage_usec 20000000\n");
    let second = tree.look(&mut looker);
    let sample = of(&second, "17");
    assert_eq!((sample.cpu_cores, sample.cpu_usage), (Some(1.5), Some(75.0)), "of the two that it may use");
    assert_eq!((sample.memory_usage_mb, sample.memory_peak_mb), (Some(500.0), Some(600.0)));
    assert_eq!((sample.io_read_bytes, sample.io_write_bytes), (Some(4_096), Some(90_000)));
    assert_eq!(sample.processes, Some(1), "Slurm's own process is none of the job's");
    assert_eq!(sample.gpu_usage, None);
    assert_eq!(sample.check(NOW), Ok(()));
    assert_eq!((second.totals.cpus, second.totals.memory_used_mb), (Some(4), Some(3_072.0)));
}

#[test]
fn the_scope_may_be_anywhere_and_may_name_its_node() {
    let tree = Tree::new();
    v2_job(&tree, "system.slice/n1_slurmstepd.scope", "job_1", 300, 1);
    v2_job(&tree, "system.slice/n2_slurmstepd.scope", "job_2", 310, 1);
    v2_job(&tree, "kubepods.slice/pod.slice/cri.scope/system.slice/slurmstepd.scope", "job_3", 320, 1);
    let seen = |node| tree.look(&mut tree.looker(node, Box::new(NoGpus)));
    assert_eq!(ids(&seen(None)), ["1", "2", "3"]);
    assert_eq!(ids(&seen(Some("n1"))), ["1", "3"]);
}

#[test]
fn a_sluid_gets_its_number_from_the_jobs_environment() {
    let tree = Tree::new();
    v2_job(&tree, "system.slice/slurmstepd.scope", "s5K1KKYAYG5D00", 300, 1_000_000);
    v2_job(&tree, "system.slice/slurmstepd.scope", "s5K1KKYAYG5D01", 310, 1_000_000);
    tree.process(300, "a.out", "PATH=/bin SLURM_JOB_ID=4711 SLURM_JOB_SLUID=s5K1KKYAYG5D00", 1);
    let mut looker = tree.looker(None, Box::new(NoGpus));
    let seen = tree.look(&mut looker);
    assert_eq!((ids(&seen), seen.unnamed), (vec!["4711"], 1), "who has no process that says it has no name");
    // Its name is known from now on, also while it has no process.
    fs::remove_dir_all(tree.path("proc/300")).unwrap();
    tree.pass(10);
    let seen = tree.look(&mut looker);
    assert_eq!(of(&seen, "4711").cpu_cores, Some(0.0));
    assert_eq!(of(&seen, "4711").processes, Some(0));
}

#[test]
fn a_job_in_version_1_has_a_directory_for_each_controller() {
    let tree = Tree::new();
    let root = "sys/fs/cgroup";
    let dir = |controller: &str| format!("{root}/{controller}/slurm_n1/uid_1000/job_8");
    tree.put(&format!("{}/cpuacct.usage", dir("cpu,cpuacct")), "7000000000\n");
    tree.put(&format!("{}/cpu.cfs_quota_us", dir("cpu,cpuacct")), "-1\n");
    tree.put(&format!("{}/cpu.cfs_period_us", dir("cpu,cpuacct")), "100000\n");
    tree.put(&format!("{}/cpuset.cpus", dir("cpuset")), "2\n");
    tree.put(&format!("{}/memory.usage_in_bytes", dir("memory")), format!("{}\n", 64 * MIB));
    tree.put(&format!("{}/memory.max_usage_in_bytes", dir("memory")), format!("{}\n", 80 * MIB));
    tree.put(
        &format!("{}/memory.stat", dir("memory")),
        format!("cache 1\ntotal_cache {}\ntotal_inactive_file {}\n", 2 * MIB, MIB),
    );
    tree.put(&format!("{}/step_batch/task_0/cgroup.procs", dir("memory")), "300\n");
    tree.process(300, "hog", "SLURM_JOB_ID=8 SLURMD_NODENAME=n1", 1);
    let mut looker = tree.looker(Some("n1"), Box::new(NoGpus));
    tree.look(&mut looker);
    tree.pass(4);
    tree.put(&format!("{}/cpuacct.usage", dir("cpu,cpuacct")), "9000000000\n");
    let seen = tree.look(&mut looker);
    assert_eq!(ids(&seen), ["8"]);
    let sample = of(&seen, "8");
    assert_eq!(
        (sample.cpu_cores, sample.cpu_usage),
        (Some(0.5), Some(50.0)),
        "of the only one that it may use"
    );
    assert_eq!((sample.memory_usage_mb, sample.memory_peak_mb), (Some(63.0), Some(80.0)));
    assert_eq!(ids(&tree.look(&mut tree.looker(Some("n2"), Box::new(NoGpus)))), Vec::<&str>::new());
}

#[test]
fn a_cgroup_that_goes_while_it_is_read_is_no_sample() {
    let tree = Tree::new();
    let job = v2_job(&tree, "system.slice/slurmstepd.scope", "job_17", 300, 1);
    v2_job(&tree, "system.slice/slurmstepd.scope", "job_18", 310, 1);
    let mut looker = tree.looker(None, Box::new(NoGpus));
    assert_eq!(ids(&tree.look(&mut looker)), ["17", "18"]);
    // The directory is still listed, and all its files are gone.
    fs::remove_dir_all(tree.path(&job)).unwrap();
    fs::create_dir_all(tree.path(&job)).unwrap();
    tree.pass(10);
    assert_eq!(ids(&tree.look(&mut looker)), ["18"]);
    fs::remove_dir_all(tree.path(&job)).unwrap();
    assert_eq!(ids(&tree.look(&mut looker)), ["18"]);
    fs::remove_dir_all(tree.path("sys/fs/cgroup/system.slice")).unwrap();
    assert_eq!(ids(&tree.look(&mut looker)), Vec::<&str>::new());
}

#[test]
fn directories_that_come_later_are_found_when_a_job_has_none() {
    let tree = Tree::new();
    v2_job(&tree, "system.slice/n1_slurmstepd.scope", "job_1", 300, 1);
    let mut looker = tree.looker(None, Box::new(NoGpus));
    assert_eq!(ids(&tree.look(&mut looker)), ["1"]);
    v2_job(&tree, "system.slice/n2_slurmstepd.scope", "job_2", 310, 1);
    tree.process(310, "hog", "SLURM_JOB_ID=2", 1);
    tree.pass(10);
    assert_eq!(of(&tree.look(&mut looker), "2").memory_usage_mb, Some(1.0), "by its processes so far");
    tree.pass(10);
    let seen = tree.look(&mut looker);
    assert_eq!((of(&seen, "2").memory_usage_mb, of(&seen, "2").cpu_cores), (Some(500.0), None));
}

#[test]
fn without_cgroups_the_marks_in_the_environment_say_whose_a_process_is() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("sys/fs/cgroup")).unwrap();
    tree.process(300, "bash", "SLURM_JOB_ID=5 SLURMD_NODENAME=n1", 100);
    tree.process(301, "hog", "SLURM_JOB_ID=5 SLURMD_NODENAME=n1", 200);
    tree.process(302, "hog", "SLURM_JOB_ID=6 SLURMD_NODENAME=n2", 200);
    tree.process(303, "java", "LIBRA_ATTEMPT_TOKEN=0197a000-0000-7000-8000-000000000001", 300);
    tree.process(304, "cron", "PATH=/bin", 300);
    let mut looker = tree.looker(Some("n1"), Box::new(NoGpus));
    tree.look(&mut looker);
    tree.pass(10);
    tree.put("proc/uptime", "1010.00 1.0\n");
    tree.process(301, "hog", "SLURM_JOB_ID=5 SLURMD_NODENAME=n1", 700);
    let seen = tree.look(&mut looker);
    assert_eq!(ids(&seen), ["5", "attempt"]);
    let sample = of(&seen, "5");
    assert_eq!((sample.cpu_cores, sample.cpu_usage), (Some(0.5), Some(12.5)), "of the node's four");
    assert_eq!((sample.memory_usage_mb, sample.processes), (Some(2.0), Some(2)));
    assert_eq!((sample.io_read_bytes, sample.io_write_bytes), (Some(8_192), Some(16_384)));
    assert_eq!(seen.samples[1].attempt.as_deref(), Some("0197a000-0000-7000-8000-000000000001"));
}

/// GPUs as they were recorded.
struct Recorded(Vec<Device>);

impl Gpus for Recorded {
    fn look(&mut self) -> Vec<Device> {
        let now = self.0.clone();
        for device in &mut self.0 {
            device.energy_joules = device.energy_joules.map(|joules| joules + 500.0);
        }
        now
    }
}

#[test]
fn gpus_are_the_jobs_of_their_processes_also_when_they_are_divided() {
    let tree = Tree::new();
    v2_job(&tree, "system.slice/slurmstepd.scope", "job_17", 300, 1);
    v2_job(&tree, "system.slice/slurmstepd.scope", "job_18", 310, 1);
    tree.process(300, "python", "SLURM_JOB_ID=17 SLURM_JOB_GPUS=0,1", 1);
    tree.process(310, "python", "SLURM_JOB_ID=18", 1);
    let process = |pid, memory| GpuProcess { pid, memory: Some(memory), usage: None };
    let whole = |minor, usage, processes| Device {
        uuid: format!("GPU-{minor}"),
        minor: Some(minor),
        usage: Some(usage),
        power_watts: Some(100.0),
        energy_joules: Some(9_000.0),
        instances: None,
        processes,
    };
    let gpus = vec![whole(0, 90.0, vec![process(300, 2 << 30)]), whole(1, 0.0, vec![])];
    let mut looker = tree.looker(None, Box::new(Recorded(gpus)));
    tree.look(&mut looker);
    tree.pass(10);
    let seen = tree.look(&mut looker);
    let sample = of(&seen, "17");
    assert_eq!(
        (sample.gpu_usage, sample.gpu_memory_mb),
        (Some(45.0), Some(2_048.0)),
        "the idle one is its own"
    );
    assert_eq!((sample.gpu_power_watts, sample.gpu_energy_joules), (Some(200.0), Some(1_000.0)));
    assert_eq!(of(&seen, "18").gpu_usage, None);
    assert_eq!((seen.totals.gpus, seen.totals.gpu_usage), (Some(2), Some(45.0)));

    let divided = Device {
        usage: None,
        instances: Some(7),
        ..whole(0, 0.0, vec![process(300, 5 << 30), process(310, 10 << 30)])
    };
    let mut looker = tree.looker(None, Box::new(Recorded(vec![divided])));
    tree.look(&mut looker);
    let seen = tree.look(&mut looker);
    for (id, memory) in [("17", 5_120.0), ("18", 10_240.0)] {
        let sample = of(&seen, id);
        assert_eq!(
            (sample.gpu_memory_mb, sample.gpu_usage, sample.gpu_power_watts),
            (Some(memory), None, None)
        );
        assert_eq!(sample.gpu_energy_joules, None);
    }
    assert_eq!((seen.totals.gpus, seen.totals.gpu_usage), (Some(1), None));
}

#[test]
fn many_jobs_go_in_several_batches_and_the_node_in_the_first() {
    let sample = JobSample { external_job_id: Some("1".to_owned()), ..JobSample::default() };
    let mut samples = vec![JobSample { memory_usage_mb: Some(5.0), ..sample.clone() }; 2_500];
    // Of this one there is nothing to say.
    samples.push(sample);
    let seen = Seen { samples, ..Seen::default() };
    let batches = seen.batches("c", "n");
    assert_eq!(batches.iter().map(|batch| batch.samples.len()).collect::<Vec<_>>(), [1_000, 1_000, 500]);
    assert_eq!(batches.iter().filter(|batch| batch.node_totals.is_some()).count(), 1);
    assert_eq!(Seen::default().batches("c", "n").len(), 1, "an idle node is there as well");
}
