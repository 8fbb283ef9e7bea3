//! Slurm's hooks as programs: what they make of odd names, of a Libra that is away, hangs or refuses, and of a disk that takes
//! nothing. They end with 0 whatever happens, and say nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use libra_testkit::{Libra, slurm};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::authorisation::with_keys;
use crate::surroundings::sleepy;

const HOOKS: [&str; 5] = ["prolog", "epilog", "prolog-slurmctld", "epilog-slurmctld", "jobcomp"];
/// A hook that runs longer than this hangs, in seconds. What it is bounded to is far less.
const HANGS: &str = "60";
/// What a user may call a job: quotes, a backslash, lines, a tab, a bell, bytes that are no text, half of a character.
const ODD: &[u8] = b" a \"b\" \\c\nd\te\x07 \xc3\xbc \xe6\xbc\xa2 \xff \xc2\x85 \xe2\x82";
/// The same as it is shown.
const SHOWN: &str = "a \"b\" \\c d e  ü 漢 ? ?? ??";

/// Hooks as the installer has put them somewhere.
fn installed(libra: &Libra) -> slurm::Hooks {
    slurm::Hooks::install(&libra.scratch("hooks"))
}

/// Runs a hook as Slurm does: with nothing in its environment but what Slurm says.
fn run(hooks: &slurm::Hooks, name: &str, job: u32) {
    run_at(&hooks.scripts(), name, job, &[]);
}

fn run_at(scripts: &Path, name: &str, job: u32, more: &[(&str, &str)]) {
    let mut command = Command::new("timeout");
    command.arg(HANGS).arg(scripts.join(name)).env_clear().current_dir("/");
    let number = job.to_string();
    let odd = std::ffi::OsStr::from_bytes(ODD);
    if name == "jobcomp" {
        command.envs([
            ("JOBID", number.as_str()),
            ("JOBSTATE", "FAILED"),
            ("EXITCODE", "3:0"),
            ("NODES", "n[1-2,4]"),
        ]);
        command.envs([
            ("START", "1769076000"),
            ("END", "1769077800"),
            ("SUBMIT", "1769075000"),
            ("USERNAME", "ada"),
        ]);
        command.env("JOBNAME", odd).env("PARTITION", "debug");
    } else {
        command.envs([
            ("SLURM_JOB_ID", number.as_str()),
            ("SLURM_JOB_USER", "ada"),
            ("SLURMD_NODENAME", "n1"),
        ]);
        command.envs([("SLURM_JOB_NODELIST", "n[1-2,4]"), ("SLURM_JOB_CPUS_PER_NODE", "2(x2),1")]);
        command.envs([
            ("SLURM_JOB_NUM_NODES", "3"),
            ("SLURM_JOB_RESTART_COUNT", "0"),
            ("SLURM_JOB_EXIT_CODE2", "0:0"),
        ]);
        command.env("SLURM_JOB_NAME", odd).env("SLURM_JOB_ACCOUNT", odd);
    }
    let out = command.envs(more.iter().copied()).output().unwrap();
    assert!(out.status.success(), "{name} ended with {}: Slurm drains the node", out.status);
    assert_eq!((out.stdout.len(), out.stderr.len()), (0, 0), "{name} is to be quiet");
}

fn names(paths: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut names: Vec<String> = paths.iter().map(name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn whatever_users_call_their_jobs_libra_hears_of_them() {
    // contract: H1, X2
    let libra = with_keys().start().await;
    let hooks = installed(&libra);
    let token = libra.scratch("token");
    fs::write(&token, "root\n").unwrap();
    hooks.tell(libra.url(), "lab", Some(&token));
    run(&hooks, "prolog-slurmctld", 12);
    run(&hooks, "prolog", 12);
    let api = libra.api_as("root");
    let job = api.get("/v1/jobs/12").await.expect(200);
    assert_eq!((&job["state"], &job["user"]), (&"running".into(), &"ada".into()));
    assert_eq!(job["nodes"], serde_json::json!(["n1", "n2", "n4"]));
    let told = &job["scheduler"];
    assert_eq!((&told["name"], &told["account"]), (&SHOWN.into(), &SHOWN.into()));
    assert_eq!((&told["allocated_cpus"], &told["cluster_name"]), (&5.into(), &"lab".into()));
    // Neither a node nor the controller knows how it has ended; the job-completion script does.
    for name in ["epilog", "epilog-slurmctld"] {
        run(&hooks, name, 12);
        assert_eq!(api.get("/v1/jobs/12").await.expect(200)["state"], "running", "{name}");
    }
    run(&hooks, "jobcomp", 12);
    let job = api.get("/v1/jobs/12").await.expect(200);
    assert_eq!((&job["state"], &job["scheduler"]["exit_code"]), (&"failed".into(), &3.into()));
    assert_eq!(
        (&job["start_time"], &job["end_time"], &job["scheduler"]["submit_time"]),
        (
            &"2026-01-22T10:00:00.000Z".into(),
            &"2026-01-22T10:30:00.000Z".into(),
            &"2026-01-22T09:43:20.000Z".into()
        )
    );
    let changes = api.get("/v1/jobs/12/audit").await.expect(200)["changes"].clone();
    let by: Vec<&Value> = changes.as_array().unwrap().iter().map(|change| &change["changed_by"]).collect();
    assert_eq!(
        (by.first().unwrap(), by.last().unwrap()),
        (&&"slurm-prolog-slurmctld".into(), &&"slurm-jobcomp".into())
    );
    // A job that no hook has told of before.
    run(&hooks, "jobcomp", 13);
    assert_eq!(api.get("/v1/jobs/13").await.expect(200)["scheduler"]["name"], SHOWN);
    // One that has no number is none.
    for name in HOOKS {
        run_at(&hooks.scripts(), name, 0, &[]);
    }
    assert_eq!((hooks.waiting(), hooks.refused()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn what_hooks_say_while_libra_is_away_is_kept_and_told_later() {
    // contract: H1
    let setup = sleepy();
    let mut libra = setup.start().await;
    let hooks = installed(&libra);
    hooks.tell(libra.url(), "lab", None);
    libra.kill();
    for name in HOOKS {
        run(&hooks, name, 12);
    }
    let waiting = hooks.waiting();
    assert_eq!(waiting.len(), HOOKS.len(), "{waiting:?}");
    for file in &waiting {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others can read {file:?}");
        serde_json::from_slice::<Value>(&fs::read(file).unwrap()).expect("it is whole");
    }
    assert!(!hooks.drain(), "nobody has taken them");
    assert_eq!(hooks.waiting().len(), HOOKS.len());
    libra.start(&setup).await;
    hooks.tell(libra.url(), "lab", None);
    assert!(hooks.drain());
    assert_eq!(hooks.waiting(), Vec::<PathBuf>::new());
    assert_eq!(libra.api().get("/v1/jobs/12").await.expect(200)["state"], "failed");

    // One that hangs is as good as none; and of what is kept the oldest go first.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = format!("http://{}\nLIBRA_SPOOL_EVENTS=3", hangs.local_addr().unwrap());
    hooks.tell(&settings, "lab", None);
    for job in 21..=25 {
        run(&hooks, "jobcomp", job);
        // Their names are their order, in seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let kept = names(&hooks.waiting());
    let numbers: Vec<&str> = kept.iter().filter_map(|name| name.split('-').nth(2)).collect();
    assert_eq!(numbers, ["23", "24", "25"]);
    let dropped = fs::read_to_string(libra.scratch("hooks").join("spool/controller/dropped")).unwrap();
    assert_eq!(dropped.trim(), "2");
    hooks.tell(libra.url(), "lab", None);
    assert!(hooks.drain());
    assert_eq!(libra.api().get("/v1/jobs/25").await.expect(200)["state"], "failed");
}

#[tokio::test]
async fn what_libra_refuses_is_put_aside_with_its_answer_and_a_broken_disk_stops_nothing() {
    let libra = with_keys().start().await;
    let hooks = installed(&libra);
    let token = libra.scratch("token");
    fs::write(&token, "guess\n").unwrap();
    hooks.tell(libra.url(), "lab", Some(&token));
    run(&hooks, "jobcomp", 12);
    assert_eq!(hooks.waiting(), Vec::<PathBuf>::new());
    let refused = hooks.refused();
    let answer = fs::read_to_string(format!("{}.answer", refused[0].display())).unwrap();
    assert!(refused.len() == 1 && answer.starts_with("401 ") && answer.contains("message"), "{answer}");
    // The key is put right, and the refused are told again.
    fs::write(&token, "root\n").unwrap();
    let drained = Command::new(hooks.scripts().join("drain")).arg("--refused").status().unwrap();
    assert!(drained.success() && hooks.refused().is_empty());
    assert_eq!(libra.api_as("root").get("/v1/jobs/12").await.expect(200)["state"], "failed");

    // A key that can't be read is no reason to give up what was said.
    fs::remove_file(&token).unwrap();
    run(&hooks, "jobcomp", 13);
    assert_eq!((hooks.waiting().len(), hooks.refused().len()), (1, 0));
    fs::write(&token, "root\n").unwrap();
    assert!(hooks.drain());

    // Nothing can be written there; settings by another name; no settings at all.
    let broken = libra.scratch("broken.env");
    let settings = fs::read_to_string(hooks.settings()).unwrap();
    let spool = settings.lines().find(|line| line.starts_with("LIBRA_SPOOL=")).unwrap();
    fs::write(&broken, settings.replace(spool, "LIBRA_SPOOL=/proc/nothing")).unwrap();
    for (job, name) in (20..).zip(HOOKS) {
        run_at(&hooks.scripts(), name, job, &[("LIBRA_SLURM_ENV", broken.to_str().unwrap())]);
        assert_eq!(libra.api_as("root").get(&format!("/v1/jobs/{job}")).await.status, 200, "{name}");
        run_at(&hooks.scripts(), name, job, &[("LIBRA_SLURM_ENV", "/nowhere/at/all")]);
    }
    let check = |url: &str| {
        hooks.tell(url, "lab", Some(&token));
        let installer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/slurm/install.sh");
        let mut command = Command::new("sh");
        command.arg(installer).args(["--check", "--env"]).arg(hooks.settings()).output().unwrap()
    };
    let good = check(libra.url());
    assert!(good.status.success(), "{good:?}");
    assert!(!check("http://127.0.0.1:1").status.success());
    fs::write(&token, "guess\n").unwrap();
    assert!(String::from_utf8_lossy(&check(libra.url()).stderr).contains("401"));
}

#[tokio::test]
async fn the_daemon_that_starts_a_hook_may_name_the_file_of_its_settings() {
    // Slurm cleans the environment of a hook: only its daemon's own still has the name.
    let libra = sleepy().start().await;
    let hooks = installed(&libra);
    hooks.tell(libra.url(), "lab", None);
    let elsewhere = libra.scratch("elsewhere.env");
    fs::rename(hooks.settings(), &elsewhere).unwrap();
    let script = format!(
        "env -i SLURM_JOB_ID=7 SLURM_JOB_USER=ada SLURMD_NODENAME=n1 {}/prolog; exit $?",
        hooks.scripts().display()
    );
    let mut daemon = Command::new("sh");
    let out = daemon.args(["-c", &script]).env("LIBRA_SLURM_ENV", &elsewhere).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(libra.api().get("/v1/jobs/7").await.expect(200)["nodes"][0], "n1");
}

#[tokio::test]
async fn the_jobs_of_a_cluster_are_its_tenants_whoever_tells_of_them() {
    // contract: X2. Nobody answers at this address: what is asked of Slurm does not matter here.
    let key = |secret: &str, tenant: &str| {
        let sha256 =
            Sha256::digest(secret).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        format!("{{name: {secret}, sha256: '{sha256}', role: admin, user: hooks, tenant: {tenant}}}")
    };
    let config = format!(
        "libra: {{auth: {{keys: [{}, {}]}}, slurm: {{clusters: [{{name: lab, tenant: physics, rest-url: 'http://127.0.0.1:1'}}]}}}}",
        key("theirs", "physics"),
        key("ours", "default")
    );
    let libra = sleepy().config(config).start().await;
    let hooks = installed(&libra);
    let token = libra.scratch("token");
    for (secret, job, refused) in [("theirs", 12, 0), ("ours", 13, 1)] {
        fs::write(&token, secret).unwrap();
        hooks.tell(libra.url(), "lab", Some(&token));
        run(&hooks, "prolog", job);
        assert_eq!((hooks.waiting().len(), hooks.refused().len()), (0, refused), "{secret}");
    }
    let answer = fs::read_to_string(format!("{}.answer", hooks.refused()[0].display())).unwrap();
    assert!(answer.starts_with("403 ") && answer.contains("physics"), "{answer}");
    assert_eq!(libra.api_as("theirs").get("/v1/jobs").await.expect(200)["total"], 1);
    assert_eq!(libra.api_as("ours").get("/v1/jobs").await.expect(200)["total"], 0);
}
