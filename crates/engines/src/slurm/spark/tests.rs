//! What is sent of a Spark job, and what its end means, without starting anything.

use std::time::Duration;

use libra_core::allocation::Allocation;
use libra_core::id::{JobId, Token};
use libra_core::spec::Source;
use libra_core::time::Timestamp;

use super::*;
use crate::logs::LogLimits;
use crate::spark_submit::History;

const NOW: Timestamp = Timestamp(1_764_671_400_000_000);

struct Case {
    launch: Launch,
    settings: Settings,
}

impl Case {
    fn new(kind: Kind, source: Source) -> Self {
        let dir = std::env::temp_dir().join(format!("libra-spark-on-slurm-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let launch = Launch {
            job_id: JobId::new(Timestamp(1), [7; 10]),
            attempt: 1,
            token: Token::new(Timestamp(1), [7; 10]),
            spec: JobSpec::new(kind, source),
            user: "ada".to_owned(),
            tenant: "default".to_owned(),
            dir,
            same_boot: true,
            until: None,
        };
        let settings = Settings {
            shim_exe: PathBuf::from("/libra"),
            spark_home: None,
            default_master: "local[2]".to_owned(),
            default_conf: BTreeMap::from([("spark.executor.cores".to_owned(), "2".to_owned())]),
            stop_grace: Duration::from_secs(3),
            host_lease: None,
            logs: LogLimits::default(),
            history: History::default(),
        };
        Self { launch, settings }
    }

    fn dir(&self) -> AttemptDir {
        AttemptDir::new(&self.launch.dir)
    }

    fn prepare(&self) -> Result<Prepared, Failure> {
        prepare(&self.settings, Some(Path::new("/cluster/spark")), &self.launch, &self.dir())
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.launch.dir.join(name), text).unwrap();
    }

    /// The failure's class and code after Slurm has said this.
    fn ends(&self, outcome: Outcome, code: Option<i32>) -> Option<(ErrorClass, String)> {
        match self.end(outcome, code, Some(0)) {
            Outcome::Failed { failure } => Some((failure.class, failure.code)),
            Outcome::Succeeded | Outcome::Stopped => None,
        }
    }

    /// The failure's code, where no exit code is known.
    fn ends_in(&self, outcome: Outcome, restarts: Option<u32>) -> Option<String> {
        match self.end(outcome, None, restarts) {
            Outcome::Failed { failure } => Some(failure.code),
            Outcome::Succeeded | Outcome::Stopped => None,
        }
    }

    /// Its end after Slurm has put it back so often.
    fn end(&self, outcome: Outcome, code: Option<i32>, restarts: Option<u32>) -> Outcome {
        let exit = Exit { outcome, exit_code: code, signal: None, began: None, at: NOW };
        ended(&self.launch.spec, &self.dir(), exit, restarts).outcome
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.launch.dir);
    }
}

fn python() -> Case {
    Case::new(Kind::Python, Source::File("/jobs/a.py".to_owned()))
}

fn failed(code: &str) -> Outcome {
    Outcome::Failed { failure: Failure::new(ErrorClass::User, code, "") }
}

#[test]
fn the_command_is_that_of_spark_submit_with_the_master_left_open() {
    let mut case = python();
    case.launch.spec.spark_config.insert("spark.hadoop.key".to_owned(), "s3cret".to_owned());
    case.launch.spec.env.insert("TMPDIR".to_owned(), "/scratch".to_owned());
    let prepared = case.prepare().unwrap();
    assert!(
        prepared.script.contains("'/cluster/spark/bin/spark-submit'\n  '--master'\n"),
        "{}",
        prepared.script
    );
    assert!(!prepared.script.contains("s3cret"), "settings are in a file");
    assert_eq!(prepared.environment["SPARK_HOME"], "/cluster/spark");
    assert_eq!(prepared.environment["TMPDIR"], "/scratch", "the job's own");
    assert!(!prepared.environment.contains_key(TOKEN_VARIABLE), "no shim looks after it");
    let settings = std::fs::read_to_string(case.launch.dir.join("spark.properties")).unwrap();
    for line in ["spark.cores.max=4", "spark.executor.cores=2", "spark.executor.memory=1024m"] {
        assert!(settings.lines().any(|l| l == line), "{line}: {settings}");
    }
    assert_eq!(prepared.layout.cpus, 5, "the configured settings count");
}

#[test]
fn what_does_not_fit_any_more_is_refused() {
    let mut case = python();
    case.launch.spec.slurm = Some(Allocation { memory_mb: Some(100), ..Allocation::default() });
    let failure = case.prepare().unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (ErrorClass::User, "slurm_refused"));
    assert!(failure.message.contains("/slurm/memoryMb"), "{}", failure.message);
}

#[test]
fn settings_that_the_allocation_has_of_its_own_are_refused() {
    let pointers = |key: &str| {
        let mut spec = python().launch.spec.clone();
        spec.spark_config.insert(key.to_owned(), "x".to_owned());
        violations(&spec, true).into_iter().map(|(pointer, _)| pointer).collect::<Vec<_>>()
    };
    for key in ["spark.master", "spark.authenticate", "spark.authenticate.secret"] {
        assert_eq!(pointers(key), [format!("/sparkConfig/{key}")]);
    }
    assert!(pointers("spark.authenticated").is_empty() && pointers("spark.sql.x").is_empty());
    let spec = &python().launch.spec;
    assert_eq!(violations(spec, false)[0].0, "/executionMode", "the nodes have to see its files");
}

#[test]
fn its_end_is_that_of_spark_submit_where_slurm_knows_no_better() {
    let case = python();
    let user = |code: &str| Some((ErrorClass::User, code.to_owned()));
    assert_eq!(case.ends(failed("exit_code"), Some(3)), user("exit_code"), "before the driver began");
    let infrastructure = |code: &str| Some((ErrorClass::Infrastructure, code.to_owned()));
    case.write("spark-cluster-lost", "the master");
    assert_eq!(case.ends(failed("exit_code"), Some(1)), infrastructure("cluster_lost"));
    assert_eq!(case.ends(failed("node_lost"), Some(1)), user("node_lost"));
    assert_eq!(case.end(Outcome::Succeeded, Some(0), Some(0)), Outcome::Succeeded);
    case.write("spark-cluster-error", "no workers");
    assert_eq!(case.ends(failed("exit_code"), Some(1)), infrastructure("spark_not_started"));
    case.write("driver-exit", "1 0\n");
    let log = "Traceback (most recent call last):\n  x\nValueError: no\n";
    case.write("stdout.log", log);
    assert_eq!(case.ends(failed("exit_code"), None), user("exception"), "accounting may not know the code");
    assert_eq!(case.ends(failed("time_limit"), Some(0)), user("time_limit"));
    assert_eq!(case.ends(Outcome::Stopped, Some(0)), None);
    case.write("driver-exit", "137 0\n");
    assert_eq!(case.ends(failed("exit_code"), Some(137)), infrastructure("driver_killed"));
    let sql = Case::new(Kind::Sql, Source::Code("SELECT 1".to_owned()));
    assert_eq!(sql.ends(Outcome::Succeeded, Some(0)), infrastructure("result_missing"));
}

/// How Slurm says that a job ended.
const SAID: [&str; 6] =
    ["exit_code", "out_of_memory", "time_limit", "node_lost", "preempted", "cancelled_elsewhere"];

#[test]
fn a_driver_that_has_ended_well_has_done_the_job_whatever_slurm_says() {
    for said in SAID {
        let case = python();
        // What is no note of this run says nothing.
        for (text, restarts) in [("", 0), ("0", 0), ("0 0", 0), ("0 0\n", 1), ("0 2\n", 1), ("1 0\n", 0)] {
            case.write("driver-exit", text);
            assert_eq!(case.ends_in(failed(said), Some(restarts)), Some(said.to_owned()), "{said}: {text:?}");
        }
        for (text, restarts) in [("0 0\n", Some(0)), ("0 3\n", Some(3)), ("0 0\n", None)] {
            case.write("driver-exit", text);
            assert_eq!(case.end(failed(said), Some(9), restarts), Outcome::Succeeded, "{said}: {text:?}");
        }
        assert_eq!(case.end(Outcome::Stopped, None, Some(0)), Outcome::Stopped, "Libra has stopped it");
        // Who may be put back, and was how often is not known, has not been seen to end well.
        let mut case = python();
        case.launch.spec.slurm = Some(Allocation { requeue: Some(true), ..Allocation::default() });
        case.write("driver-exit", "0 0\n");
        assert_eq!(case.ends_in(failed(said), None), Some(said.to_owned()));
        // Nor has a query without its result.
        let sql = Case::new(Kind::Sql, Source::Code("SELECT 1".to_owned()));
        sql.write("driver-exit", "0 0\n");
        let expected = if said == "exit_code" { "result_missing" } else { said };
        assert_eq!(sql.ends_in(failed(said), Some(0)), Some(expected.to_owned()));
        sql.write("result.json", "{}");
        assert_eq!(sql.end(failed(said), Some(9), Some(0)), Outcome::Succeeded);
    }
}

#[test]
fn slurms_exit_code_is_the_drivers_where_its_note_is_not_seen() {
    let case = python();
    case.write("stdout.log", "Traceback (most recent call last):\n  x\nValueError: no\n");
    let user = Some((ErrorClass::User, "exception".to_owned()));
    assert_eq!(case.ends(failed("exit_code"), Some(1)), user);
    assert_eq!(case.ends(failed("exit_code"), Some(0)), Some((ErrorClass::User, "exit_code".to_owned())));
    let killed = Some((ErrorClass::Infrastructure, "driver_killed".to_owned()));
    assert_eq!(case.ends(failed("exit_code"), Some(137)), killed);
    case.write("driver-exit", "0 0\n");
    assert_eq!(
        case.end(failed("exit_code"), Some(1), Some(1)),
        case.end(failed("exit_code"), Some(1), Some(2))
    );
    assert_eq!(
        case.ends_in(failed("exit_code"), Some(1)),
        Some("exit_code".to_owned()),
        "nobody knows the code"
    );
}
