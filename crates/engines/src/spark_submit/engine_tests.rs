//! The engine with a shell script in the place of spark-submit.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use libra_core::attempt::{Exit, Outcome};
use libra_core::id::JobId;
use libra_core::spec::{Kind, Source};
use libra_core::time::Timestamp;

use super::super::{History, Settings};
use super::*;
use crate::shim::tests::Scratch;
use crate::spark_home::SparkHome;

/// An attempt whose spark-submit runs `script`.
struct Case {
    scratch: Scratch,
    launch: Launch,
}

impl Case {
    fn new(script: &str) -> Self {
        let scratch = Scratch::new();
        let spark = scratch.dir.path().join("spark/bin");
        fs::create_dir_all(&spark).unwrap();
        scratch.program(&spark.join("spark-submit"), &format!("#!/bin/sh\n{script}\n"));
        let launch = Launch {
            job_id: JobId::new(Timestamp(1), [7; 10]),
            attempt: 1,
            token: scratch.token.parse().unwrap(),
            spec: JobSpec::new(Kind::Python, Source::Code("1".to_owned())),
            user: "ada".to_owned(),
            tenant: "default".to_owned(),
            dir: scratch.dir.path().to_path_buf(),
            same_boot: true,
            until: None,
        };
        Self { scratch, launch }
    }

    /// A new engine each time, as after a restart of Libra.
    fn engine(&self, failpoint: &str) -> SparkSubmit {
        let engine = SparkSubmit::new(Settings {
            shim_exe: self.scratch.exe(failpoint),
            spark_home: None,
            default_master: "local[2]".to_owned(),
            default_conf: BTreeMap::new(),
            stop_grace: Duration::from_millis(300),
            host_lease: None,
            logs: crate::logs::LogLimits::default(),
            history: History::default(),
        });
        *engine.spark.lock().unwrap() = Some(SparkHome {
            home: self.launch.dir.join("spark"),
            python: None,
            java: Some("/bin/true".into()),
            version: "4.3.0".to_owned(),
        });
        engine
    }

    async fn observe(&self) -> Observation {
        let handle = Handle(serde_json::Value::Null);
        self.engine("").observe(&[(self.launch.clone(), handle)]).await.remove(0)
    }

    async fn ended(&self, engine: &SparkSubmit) -> Exit {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Observation::Ended(exit) = self.observe().await {
                return exit;
            }
            let _ = tokio::time::timeout(Duration::from_secs(5), engine.changed(self.launch.token)).await;
        }
        panic!("it does not end: {:?}", self.observe().await);
    }
}

fn code(exit: &Exit) -> Option<&str> {
    match &exit.outcome {
        Outcome::Failed { failure } => Some(&failure.code),
        Outcome::Succeeded | Outcome::Stopped => None,
    }
}

#[tokio::test]
async fn a_launch_is_repeated_without_a_second_driver() {
    // contract: L3
    let case = Case::new("echo ran >> ran; sleep 0.3");
    let engine = case.engine("");
    let first = engine.launch(&case.launch).await.unwrap();
    assert!(first.running_since.is_some());
    for engine in [&engine, &case.engine("")] {
        let again = engine.launch(&case.launch).await.unwrap();
        let found = engine.find(&case.launch).await.unwrap().unwrap();
        assert_eq!((&again.handle, &found.handle), (&first.handle, &first.handle));
    }
    assert!(matches!(case.observe().await, Observation::Running(_)));
    assert_eq!(case.ended(&engine).await.outcome, Outcome::Succeeded);
    assert_eq!(engine.launch(&case.launch).await.unwrap().handle, first.handle);
    assert_eq!(fs::read_to_string(case.scratch.dir.work_dir().join("ran")).unwrap(), "ran\n");
    engine.release(&case.launch, &first.handle).await;
    assert!(!case.scratch.dir.launch_file().exists(), "the environment is not kept");
}

#[tokio::test]
async fn what_was_not_found_never_runs() {
    let case = Case::new("echo ran > ran");
    let engine = case.engine("");
    assert!(engine.find(&case.launch).await.unwrap().is_none());
    assert!(matches!(engine.launch(&case.launch).await, Err(LaunchError::Unknown(_))));
    assert!(matches!(case.observe().await, Observation::NeverRan(_)));
    assert!(!case.scratch.dir.work_dir().exists());
}

#[tokio::test]
async fn a_shim_that_dies_before_it_owns_anything_leaves_an_unknown_outcome() {
    let case = Case::new("echo ran > ran");
    let engine = case.engine("shim-before-owner");
    assert!(matches!(engine.launch(&case.launch).await, Err(LaunchError::Unknown(_))));
    assert!(engine.find(&case.launch).await.unwrap().is_none());
}

#[tokio::test]
async fn a_lost_shim_is_told_and_its_driver_ended() {
    // contract: L7
    for point in ["shim-after-owner", "shim-after-spawn"] {
        let case = Case::new("setsid sleep 60 & sleep 60");
        let engine = case.engine(point);
        engine.launch(&case.launch).await.unwrap();
        let exit = case.ended(&engine).await;
        assert_eq!(code(&exit), Some("driver_lost"), "{point}");
        assert_eq!(case.scratch.alive(), 0, "{point}");
    }
}

#[tokio::test]
async fn cancelling_ends_everything_and_says_so_again() {
    // contract: L6
    let case = Case::new("trap '' TERM; setsid sleep 60 & while :; do sleep 0.05; done");
    let handle = case.engine("").launch(&case.launch).await.unwrap().handle;
    for _ in 0..2 {
        let CancelOutcome::Gone(exit) = case.engine("").cancel(&case.launch, &handle).await.unwrap() else {
            panic!("it is still there");
        };
        assert_eq!((exit.outcome, exit.signal), (Outcome::Stopped, Some(9)));
        assert_eq!(case.scratch.alive(), 0);
    }
}

#[tokio::test]
async fn cancelling_what_had_ended_changes_nothing() {
    let case = Case::new("exit 7");
    let engine = case.engine("");
    let handle = engine.launch(&case.launch).await.unwrap().handle;
    case.ended(&engine).await;
    let CancelOutcome::Gone(exit) = engine.cancel(&case.launch, &handle).await.unwrap() else {
        panic!("it is still there");
    };
    assert_eq!((code(&exit), exit.exit_code), (Some("exit_code"), Some(7)));
}

#[tokio::test]
async fn cancelling_before_the_launch_prevents_it() {
    let case = Case::new("echo ran > ran");
    let engine = case.engine("");
    let handle = Handle(serde_json::Value::Null);
    let outcome = engine.cancel(&case.launch, &handle).await.unwrap();
    assert!(matches!(outcome, CancelOutcome::Gone(Exit { outcome: Outcome::Stopped, .. })));
    assert!(engine.launch(&case.launch).await.is_err());
}

#[tokio::test]
async fn a_directory_that_was_taken_away_is_told_and_its_driver_ended() {
    let case = Case::new("sleep 60");
    let engine = case.engine("");
    let handle = engine.launch(&case.launch).await.unwrap().handle;
    let gone = || {
        let mut launch = case.launch.clone();
        launch.dir = launch.dir.join("no-such-directory");
        launch
    };
    let CancelOutcome::Gone(exit) = engine.cancel(&gone(), &handle).await.unwrap() else {
        panic!("it is still there");
    };
    assert_eq!(code(&exit), Some("driver_lost"));
    assert_eq!(case.scratch.alive(), 0);
    let seen = engine.observe(&[(gone(), handle)]).await.remove(0);
    assert!(matches!(seen, Observation::Ended(exit) if code(&exit) == Some("driver_lost")));
}

#[tokio::test]
async fn a_missing_spark_refuses_the_launch_until_it_is_there() {
    let case = Case::new("exit 0");
    let mut engine = case.engine("");
    engine.settings.spark_home = Some("/no/such/spark".into());
    let known = engine.spark.lock().unwrap().take();
    let Err(LaunchError::Refused(failure)) = engine.launch(&case.launch).await else { panic!("no refusal") };
    assert_eq!(failure.code, "spark_missing");
    *engine.spark.lock().unwrap() = known;
    engine.launch(&case.launch).await.unwrap();
    assert_eq!(case.ended(&engine).await.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn sleepers_wake_when_the_driver_ends() {
    let case = Case::new("sleep 0.2");
    let engine = case.engine("");
    engine.launch(&case.launch).await.unwrap();
    let begun = Instant::now();
    while !matches!(case.observe().await, Observation::Ended(_)) {
        engine.changed(case.launch.token).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}
