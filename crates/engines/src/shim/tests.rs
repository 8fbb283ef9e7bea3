//! The shim with `/bin/sh` as its driver.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::process::{self, Status};
use super::records::{ExitRecord, Keepalive, LaunchFile};
use super::{kill_everything, table, tree};
use crate::attempt_dir::AttemptDir;
use crate::logs::{LogLimits, LogReader, Stream};

const SHIM_DIR: &str = "LIBRA_TEST_SHIM_DIR";
const PATIENCE: Duration = Duration::from_secs(20);

/// Not a test: this is the process that the tests start as their shim. The stand-in for the `libra` binary is a
/// script that runs this very test executable again, with the directory in its environment.
#[test]
fn shim_process() {
    if let Some(dir) = std::env::var_os(SHIM_DIR) {
        std::process::exit(super::run(Path::new(&dir)));
    }
}

/// A directory that is removed in the end, with whatever carries its token.
pub(crate) struct Scratch {
    pub(crate) dir: AttemptDir,
    pub(crate) token: String,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let token = uuid::Uuid::now_v7().to_string();
        let dir = AttemptDir::new(std::env::temp_dir().join(format!("libra-shim-{token}")));
        fs::create_dir_all(dir.path()).unwrap();
        Self { dir, token }
    }

    /// The stand-in for the `libra` binary, dying at `failpoint` if one is named.
    pub(crate) fn exe(&self, failpoint: &str) -> PathBuf {
        let path = self.dir.path().join("libra");
        let test = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/env {SHIM_DIR}=\"$3\" LIBRA_FAILPOINT={failpoint} '{}' --exact \
             shim::tests::shim_process --nocapture\n",
            test.display()
        );
        self.program(&path, &script);
        path
    }

    /// Writes a program, by the hand of another process: a fork elsewhere in this test process would hold the file
    /// open for writing for a moment, and then it can't be executed.
    #[expect(clippy::unused_self, reason = "it reads as a part of the scratch directory")]
    pub(crate) fn program(&self, path: &Path, script: &str) {
        let status = std::process::Command::new("/bin/sh")
            .args([
                "-c",
                "printf '%s' \"$1\" > \"$0.draft\" && chmod 700 \"$0.draft\" && mv \"$0.draft\" \"$0\"",
            ])
            .arg(path)
            .arg(script)
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn launch(&self, script: &str) -> LaunchFile {
        LaunchFile {
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: self.dir.work_dir(),
            token: self.token.clone(),
            grace_ms: 300,
            keepalive: None,
            logs: LogLimits::default(),
        }
    }

    pub(crate) fn spawn(&self, script: &str) -> process::Spawned {
        process::spawn(&self.exe(""), &self.dir, &self.launch(script)).unwrap()
    }

    async fn until<T>(&self, what: &str, look: impl Fn(Status) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let status = process::status(&self.dir).unwrap();
            if let Some(found) = look(status.clone()) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "no {what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn exit(&self) -> ExitRecord {
        self.until("exit", |status| match status {
            Status::Exited { exit, .. } => Some(exit),
            Status::Absent | Status::Revoked | Status::Owned { .. } | Status::ShimLost { .. } => None,
        })
        .await
    }

    async fn started(&self) -> (i32, i32) {
        self.until("start", |status| match status {
            Status::Owned { shim, started: Some(started) } => Some((shim.pid, started.process.pid)),
            Status::Absent
            | Status::Revoked
            | Status::Owned { .. }
            | Status::Exited { .. }
            | Status::ShimLost { .. } => None,
        })
        .await
    }

    async fn file(&self, name: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(self.dir.work_dir().join(name))
                && text.ends_with('\n')
            {
                return text.trim().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "no file {name}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn alive(&self) -> usize {
        tree::members(None, &self.token).unwrap().len()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for process in tree::members(None, &self.token).unwrap_or_default() {
            tree::signal(&process, rustix::process::Signal::KILL);
        }
        let _ = fs::remove_dir_all(self.dir.path());
    }
}

fn kill(pid: i32) {
    tree::signal(&table::look_up(pid).unwrap(), rustix::process::Signal::KILL);
}

#[tokio::test]
async fn the_exit_code_and_all_output_are_kept() {
    let scratch = Scratch::new();
    let mut spawned =
        scratch.spawn("echo out; echo err >&2; pwd; echo $LIBRA_ATTEMPT_TOKEN; env | wc -l; exit 7");
    let exit = scratch.exit().await;
    assert_eq!((exit.code, exit.signal, exit.stopped), (Some(7), None, false));
    let out = fs::read_to_string(scratch.dir.stdout()).unwrap();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..3], ["out", scratch.dir.work_dir().to_str().unwrap(), &scratch.token]);
    assert!(lines[3].trim().parse::<u32>().unwrap() <= 5, "nothing is inherited: {}", lines[3]);
    assert_eq!(fs::read_to_string(scratch.dir.stderr()).unwrap(), "err\n");
    spawned.ended.wait_for(|ended| *ended).await.unwrap();
    for file in [scratch.dir.launch_file(), scratch.dir.stdout(), scratch.dir.exit_file()] {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_long_log_is_kept_in_segments_and_compressed_after_the_end() {
    let scratch = Scratch::new();
    let logs = LogLimits { rotate_bytes: 10_000, ..LogLimits::default() };
    // What a child writes after its parent has ended counts as well.
    let launch = LaunchFile { logs, ..scratch.launch("(sleep 0.2; echo late >&2) & seq 1 20000; exit 3") };
    let mut spawned = process::spawn(&scratch.exe(""), &scratch.dir, &launch).unwrap();
    assert_eq!(scratch.exit().await.code, Some(3));
    let expected: String = (1..=20_000).fold(String::new(), |text, n| text + &n.to_string() + "\n");
    let read = |stream| {
        let whole = LogReader::new(&scratch.dir, stream).read(0, usize::MAX).unwrap();
        String::from_utf8(whole).unwrap()
    };
    // At the moment of the end it is whole; it may be compressed just now.
    assert!(read(Stream::Stdout) == expected);
    assert_eq!(read(Stream::Stderr), "late\n");
    spawned.ended.wait_for(|ended| *ended).await.unwrap();
    assert!(read(Stream::Stdout) == expected);
    assert!(!scratch.dir.stdout().exists(), "compressed");
    assert!(scratch.dir.stderr().exists(), "too small for that");
}

#[tokio::test]
async fn a_signal_is_told_from_a_code() {
    let scratch = Scratch::new();
    scratch.spawn("kill -9 $$");
    let exit = scratch.exit().await;
    assert_eq!((exit.code, exit.signal, exit.stopped), (None, Some(9), false));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_so() {
    let scratch = Scratch::new();
    let launch = LaunchFile { argv: vec!["/no/such/program".to_owned()], ..scratch.launch("") };
    process::spawn(&scratch.exe(""), &scratch.dir, &launch).unwrap();
    let exit = scratch.exit().await;
    assert!(exit.spawn_error.unwrap().contains("/no/such/program"));
}

#[tokio::test]
async fn a_stop_ends_gently_and_then_by_force() {
    for (script, code, signal) in [
        ("trap 'exit 3' TERM; echo up > up; while :; do sleep 0.05; done", Some(3), None),
        ("trap '' TERM; echo up > up; while :; do sleep 0.05; done", None, Some(9)),
    ] {
        let scratch = Scratch::new();
        scratch.spawn(script);
        scratch.file("up").await;
        let status = process::stop(&scratch.dir, PATIENCE).await.unwrap();
        assert!(matches!(status, Status::Exited { .. }), "{status:?}");
        let exit = scratch.exit().await;
        assert_eq!((exit.code, exit.signal, exit.stopped), (code, signal, true));
        assert_eq!(scratch.alive(), 0);
    }
}

#[tokio::test]
async fn a_daemon_that_left_session_and_parent_dies_with_the_driver() {
    for ending in ["exit 0", "while :; do sleep 0.05; done"] {
        let scratch = Scratch::new();
        scratch.spawn(&format!(
            "setsid sh -c 'trap \"\" TERM; (while :; do sleep 0.05; done) & echo $! > daemon' & \
             while [ ! -s daemon ]; do sleep 0.01; done; echo up > up; {ending}"
        ));
        scratch.file("up").await;
        let daemon: i32 = scratch.file("daemon").await.parse().unwrap();
        if ending != "exit 0" {
            assert!(table::look_up(daemon).is_some_and(|p| !p.dead));
            process::request_stop(&scratch.dir).unwrap();
        }
        scratch.exit().await;
        assert!(table::look_up(daemon).is_none_or(|p| p.dead));
        assert_eq!(scratch.alive(), 0);
    }
}

#[tokio::test]
async fn a_program_whose_name_is_no_text_dies_with_the_driver() {
    let scratch = Scratch::new();
    scratch.spawn(
        "name=$(printf 'x\\377y'); cp /bin/sleep \"$name\"; setsid \"./$name\" 60 & \
         while ! printf 'x\\377y\\n' | cmp -s - /proc/$!/comm; do sleep 0.01; done; echo $! > daemon; exit 0",
    );
    let daemon: i32 = scratch.file("daemon").await.parse().unwrap();
    assert_eq!(scratch.exit().await.code, Some(0));
    assert!(table::look_up(daemon).is_none_or(|p| p.dead));
}

#[tokio::test]
async fn what_a_loss_of_power_has_torn_says_nothing() {
    let scratch = Scratch::new();
    scratch.spawn("exit 0");
    scratch.exit().await;
    fs::write(scratch.dir.exit_file(), b"").unwrap();
    assert!(process::status(&scratch.dir).is_err(), "no power was lost since: nobody knows");
    fs::write(scratch.dir.started_file(), b"{\"pid").unwrap();
    let owner = fs::read_to_string(scratch.dir.owner_file()).unwrap();
    fs::write(scratch.dir.owner_file(), owner.replace(table::boot_id(), "before")).unwrap();
    let status = process::status(&scratch.dir).unwrap();
    assert!(matches!(status, Status::ShimLost { started: None, .. }), "{status:?}");
}

#[tokio::test]
async fn whoever_creates_the_owner_file_wins() {
    // contract: L3
    let scratch = Scratch::new();
    assert!(process::revoke(&scratch.dir).unwrap());
    let mut late = scratch.spawn("echo ran > ran");
    late.ended.wait_for(|ended| *ended).await.unwrap();
    assert_eq!(process::status(&scratch.dir).unwrap(), Status::Revoked);
    assert!(!scratch.dir.work_dir().exists(), "nothing was started");

    let scratch = Scratch::new();
    scratch.spawn("sleep 30");
    scratch.started().await;
    assert!(!process::revoke(&scratch.dir).unwrap(), "a shim owns it");
    process::stop(&scratch.dir, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_race_for_the_owner_file_has_one_winner() {
    for _ in 0..8 {
        let scratch = Scratch::new();
        let exe = scratch.exe("");
        let launch = scratch.launch("echo ran >> ran; sleep 0.1");
        let shims: Vec<_> = (0..3).map(|_| process::spawn(&exe, &scratch.dir, &launch).unwrap()).collect();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let revoked = process::revoke(&scratch.dir).unwrap();
        for mut shim in shims {
            shim.ended.wait_for(|ended| *ended).await.unwrap();
        }
        if revoked {
            assert_eq!(process::status(&scratch.dir).unwrap(), Status::Revoked);
            assert!(!scratch.dir.work_dir().exists());
        } else {
            assert_eq!(scratch.exit().await.code, Some(0));
            assert_eq!(scratch.file("ran").await, "ran", "exactly one driver");
        }
    }
}

#[tokio::test]
async fn a_stop_before_the_start_starts_nothing() {
    let scratch = Scratch::new();
    process::request_stop(&scratch.dir).unwrap();
    scratch.spawn("echo ran > ran");
    let exit = scratch.exit().await;
    assert!(exit.stopped && exit.code.is_none());
    assert!(!scratch.dir.work_dir().exists());
}

#[tokio::test]
async fn the_tree_ends_when_libra_stays_away() {
    let scratch = Scratch::new();
    let file = scratch.dir.path().join("alive");
    process::touch(&file).unwrap();
    let keepalive = Some(Keepalive { file: file.clone(), deadline_secs: 1 });
    let launch = LaunchFile { keepalive, ..scratch.launch("sleep 60") };
    process::spawn(&scratch.exe(""), &scratch.dir, &launch).unwrap();
    scratch.started().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1800) {
        process::touch(&file).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(matches!(process::status(&scratch.dir).unwrap(), Status::Owned { .. }), "it was kept alive");
    let exit = scratch.exit().await;
    assert!(exit.stopped && exit.abandoned);
}

#[tokio::test]
async fn a_killed_shim_is_lost_and_its_tree_is_found_by_the_token() {
    let scratch = Scratch::new();
    scratch.spawn("setsid sh -c 'sleep 60; true' & sleep 60; true");
    let (shim, _) = scratch.started().await;
    kill(shim);
    scratch
        .until("loss", |status| matches!(status, Status::ShimLost { started: Some(_), .. }).then_some(()))
        .await;
    assert!(scratch.alive() > 0, "the driver outlived its shim");
    assert!(kill_everything(&scratch.token, PATIENCE).await.unwrap());
    assert_eq!(scratch.alive(), 0);
}

#[tokio::test]
async fn a_death_at_any_point_leaves_a_truthful_status() {
    for (point, absent, driver) in [
        ("shim-before-owner", true, false),
        ("shim-after-owner", false, false),
        ("shim-after-spawn", false, true),
        ("shim-before-exit-file", false, false),
    ] {
        let scratch = Scratch::new();
        let script = if point == "shim-before-exit-file" { "exit 0" } else { "sleep 60; true" };
        let mut spawned = process::spawn(&scratch.exe(point), &scratch.dir, &scratch.launch(script)).unwrap();
        spawned.ended.wait_for(|ended| *ended).await.unwrap();
        match process::status(&scratch.dir).unwrap() {
            Status::Absent => assert!(absent && process::revoke(&scratch.dir).unwrap(), "{point}"),
            Status::ShimLost { started, .. } => {
                assert!(!absent, "{point}");
                assert_eq!(started.is_some(), point == "shim-before-exit-file", "{point}");
            }
            status @ (Status::Revoked | Status::Owned { .. } | Status::Exited { .. }) => {
                panic!("{point}: {status:?}")
            }
        }
        assert_eq!(scratch.alive() > 0, driver, "{point}");
        assert!(kill_everything(&scratch.token, PATIENCE).await.unwrap(), "{point}");
    }
}

#[cfg(feature = "spark-submit")]
#[tokio::test]
async fn what_the_tree_uses_is_measured_and_the_peak_stays() {
    // contract: L3
    let scratch = Scratch::new();
    // Four seconds of both: a child that burns, and one that holds 64 MiB; then neither of them.
    scratch.spawn(
        "(setsid timeout 4 sh -c 'while :; do :; done') & \
         head -c 64M /dev/zero | timeout 4 sh -c 'x=$(tr \"\\0\" a); sleep 60'; wait; sleep 4; echo over > over; sleep 60",
    );
    let begun = Instant::now();
    let busy = loop {
        let usage = super::usage(&scratch.dir).unwrap_or_default();
        if usage.peak_memory_bytes >= 64 << 20 && usage.cpu_millis >= 1_000 {
            break usage;
        }
        assert!(begun.elapsed() < PATIENCE, "{usage:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(busy.millicores.is_some_and(|cores| cores > 100), "{busy:?}");
    scratch.file("over").await;
    let idle = super::usage(&scratch.dir).unwrap();
    assert!(idle.memory_bytes.is_some_and(|now| now < idle.peak_memory_bytes / 2), "{idle:?}");
    assert!(idle.cpu_millis >= busy.cpu_millis, "a child that was waited for is still counted");
    process::request_stop(&scratch.dir).unwrap();
    scratch.exit().await;
    let last = super::usage(&scratch.dir).unwrap();
    assert_eq!((last.millicores, last.memory_bytes), (None, None), "nothing runs any more");
    assert!(
        last.cpu_millis >= idle.cpu_millis && last.peak_memory_bytes == idle.peak_memory_bytes,
        "{last:?}"
    );
}
