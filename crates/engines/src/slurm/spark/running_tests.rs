//! The script as bash runs it, on one node, with a Spark that only says what master and worker say.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use libra_core::allocation::Allocation;

use super::*;

/// A master or a worker: says that it was started, and stays until it is to be lost.
const DAEMON: &str = r#"#!/bin/bash
case $1 in
*.Master) what=master; echo "Starting Spark master at spark://here:1"; echo "Registering worker here:2" ;;
*) what=worker ;;
esac
echo $$ >"$LIBRA_ATTEMPT_DIR/$what.pid"
echo "$what" >>"$LIBRA_ATTEMPT_DIR/started"
until [ -e "$LIBRA_ATTEMPT_DIR/lose-$what" ]; do sleep 0.1; done
"#;

/// A driver that ends well once there is a worker.
const WORKS: &str = r#"until grep -q worker "$LIBRA_ATTEMPT_DIR/started"; do sleep 0.1; done"#;

struct Node {
    room: PathBuf,
}

impl Node {
    fn new(settings: &str) -> Self {
        let room = std::env::temp_dir().join(format!("libra-allocation-{}", uuid::Uuid::now_v7()));
        for dir in ["attempt", "spark/bin", "tmp"] {
            std::fs::create_dir_all(room.join(dir)).unwrap();
        }
        let class = room.join("spark/bin/spark-class");
        std::fs::write(&class, DAEMON).unwrap();
        std::fs::set_permissions(&class, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(room.join("attempt/spark.properties"), settings).unwrap();
        Self { room }
    }

    /// Runs the script with this driver, after these words of bash; answers its exit code.
    fn run(&self, before: &str, driver: &str) -> Option<i32> {
        let argv = ["bash", "-c", driver, "--master", "x"].map(str::to_owned);
        let layout = Layout::of(&std::collections::BTreeMap::new(), &Allocation::default()).unwrap();
        let file = self.room.join("script");
        std::fs::write(&file, script(&argv, &layout)).unwrap();
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("{before}\nexec bash \"$0\"")]).arg(file).current_dir(&self.room);
        bash.env("LIBRA_ATTEMPT_DIR", self.room.join("attempt")).env("TMPDIR", self.room.join("tmp"));
        bash.env("SPARK_HOME", self.room.join("spark"));
        let out = bash.output().unwrap();
        eprintln!("{}", String::from_utf8_lossy(&out.stderr));
        out.status.code()
    }

    fn says(&self, file: &str) -> String {
        std::fs::read_to_string(self.room.join("attempt").join(file)).unwrap_or_default()
    }

    fn left(&self) -> usize {
        std::fs::read_dir(self.room.join("tmp")).unwrap().count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.room);
    }
}

#[test]
fn without_its_secret_nothing_is_started() {
    /// As a full disk: no file grows beyond 1 KiB.
    const FULL: &str = "trap '' XFSZ; ulimit -f 1";
    let wide = "w".repeat(950);
    for settings in [format!("spark.network.x={wide}\n"), format!("spark.other={wide}\n")] {
        let node = Node::new(&settings);
        assert_eq!(node.run(FULL, "exit 0"), Some(1));
        let said = node.says("spark-cluster-error");
        assert!(said.contains("secret") && said.contains("free space"), "{said}");
        assert_eq!((node.says("started"), node.says("driver-exit"), node.left()), Default::default());
        // With more room it is.
        let node = Node::new(&settings);
        assert_eq!(node.run("", WORKS), Some(0), "{}", node.says("spark-cluster-error"));
        assert_eq!((node.says("started").as_str(), node.left()), ("master\nworker\n", 0));
    }
    // Nor where the settings are gone, or no secret can be made.
    let node = Node::new("");
    std::fs::remove_file(node.room.join("attempt/spark.properties")).unwrap();
    assert_eq!((node.run("", "exit 0"), node.says("started")), (Some(1), String::new()));
    let node = Node::new("a=b\n");
    assert_eq!(node.run("od() { :; }; export -f od", "exit 0"), Some(1));
    assert_eq!(node.says("started"), "");
}

#[test]
fn what_was_cut_off_within_a_line_takes_no_setting_with_it() {
    let node = Node::new("spark.authenticate.secret=01");
    assert_eq!(node.run("", "cp \"$LIBRA_ATTEMPT_DIR/spark.properties\" kept"), Some(0));
    let kept = std::fs::read_to_string(node.room.join("kept")).unwrap();
    assert!(kept.lines().any(|line| line == "spark.authenticate=true"), "{kept}");
}

#[test]
fn its_note_is_of_its_run() {
    let node = Node::new("a=b\n");
    assert_eq!(node.run("export SLURM_RESTART_COUNT=2", "exit 3"), Some(3));
    assert_eq!((node.says("driver-exit").as_str(), node.left()), ("3 2\n", 0));
    // It is put back, and does not get far.
    assert_eq!(node.run("SPARK_HOME=/no/spark", "exit 0"), Some(1));
    assert_eq!(node.says("driver-exit"), "", "that of the run before is gone");
    assert_eq!(node.run("", "exit 0"), Some(0));
    assert_eq!(node.says("driver-exit"), "0 0\n");
}

#[test]
fn a_driver_that_nothing_is_left_for_is_ended() {
    for (lost, said) in [("master", "master"), ("worker", "worker")] {
        let node = Node::new("a=b\n");
        let driver = format!("{WORKS}; touch \"$LIBRA_ATTEMPT_DIR/lose-{lost}\"; exec sleep 600");
        assert_eq!(node.run("", &driver), Some(1));
        assert!(node.says("spark-cluster-lost").contains(said), "{}", node.says("spark-cluster-lost"));
        let others = (node.says("driver-exit"), node.says("spark-cluster-error"), node.left());
        assert_eq!(others, Default::default());
        assert!(!node.room.join("attempt/spark-daemons.conf").exists());
        // One that has done its work by then has done it.
        let node = Node::new("a=b\n");
        let driver =
            format!("trap 'exit 0' TERM; {driver}").replace("exec sleep 600", "while :; do sleep 0.1; done");
        assert_eq!(node.run("", &driver), Some(0));
        assert_eq!((node.says("driver-exit").as_str(), node.left()), ("0 0\n", 0));
    }
}

#[test]
fn all_are_told_to_end_at_once() {
    let node = Node::new("a=b\n");
    // As Slurm does it: the script is told. The driver ends once the master is gone.
    let waits = r#"while kill -0 "$(cat "$LIBRA_ATTEMPT_DIR/master.pid")"; do sleep 0.1; done"#;
    let driver = format!(
        "trap '{waits}; touch \"$LIBRA_ATTEMPT_DIR/alone\"; exit 1' TERM; {WORKS}; kill $PPID; \
         while :; do sleep 0.1; done"
    );
    assert_eq!(node.run("", &driver), Some(143));
    assert!(
        node.room.join("attempt/alone").exists(),
        "nobody waited for the driver before telling the master"
    );
    assert_eq!((node.says("driver-exit"), node.left()), Default::default());
}
