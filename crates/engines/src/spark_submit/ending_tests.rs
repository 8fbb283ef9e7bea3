//! What each way to end is called.

use std::fs;
use std::path::PathBuf;

use libra_core::time::Timestamp;

use super::*;

struct Case(PathBuf);

impl Case {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("libra-ending-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, file: &str, text: &str) -> Self {
        fs::write(self.0.join(file), text).unwrap();
        self
    }

    fn told(self, kind: &str, message: &str, phase: &str) -> Self {
        let told =
            serde_json::json!({"type": kind, "message": message, "traceback": message, "phase": phase});
        self.with("error.json", &told.to_string())
    }

    fn outcome(&self, kind: Kind, record: &ExitRecord) -> Outcome {
        exit(kind, &AttemptDir::new(&self.0), record).outcome
    }

    /// Class, code and message of the failure with which the record ends the job.
    fn failure(&self, kind: Kind, record: &ExitRecord) -> (ErrorClass, String, String) {
        match self.outcome(kind, record) {
            Outcome::Failed { failure } => (failure.class, failure.code, failure.message),
            outcome @ (Outcome::Succeeded | Outcome::Stopped) => panic!("{outcome:?}"),
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn record() -> ExitRecord {
    ExitRecord {
        code: None,
        signal: None,
        spawn_error: None,
        at: Timestamp(5),
        stopped: false,
        abandoned: false,
    }
}

fn code(code: i32) -> ExitRecord {
    ExitRecord { code: Some(code), ..record() }
}

fn named(case: &Case, kind: Kind, record: &ExitRecord) -> (ErrorClass, String) {
    let (class, code, message) = case.failure(kind, record);
    assert!(message.ends_with(|c: char| c != '\n') && message.len() > 10, "{message}");
    (class, code)
}

#[test]
fn success_is_only_what_the_driver_proved() {
    // contract: L7
    assert_eq!(Case::new().outcome(Kind::Python, &code(0)), Outcome::Succeeded);
    assert_eq!(named(&Case::new(), Kind::Sql, &code(0)).1, "result_missing");
    assert_eq!(Case::new().with("result.json", "{}").outcome(Kind::Sql, &code(0)), Outcome::Succeeded);
}

#[test]
fn only_libras_own_stop_is_a_stop() {
    let stopped = ExitRecord { stopped: true, ..code(143) };
    assert_eq!(Case::new().with("stop", "").outcome(Kind::Python, &stopped), Outcome::Stopped);
    let (class, code, message) = Case::new().failure(Kind::Python, &stopped);
    assert_eq!((class, code.as_str()), (ErrorClass::Infrastructure, "driver_killed"));
    assert!(message.contains("SIGTERM"), "{message}");
}

#[test]
fn failures_of_the_program_are_the_users() {
    // contract: L4
    let case = Case::new().with("stdout.log", "x\nTraceback (most recent call last):\n  f\nValueError: no\n");
    assert_eq!(case.failure(Kind::Python, &code(1)).2, "ValueError: no");
    assert_eq!(named(&case, Kind::Python, &code(7)), (ErrorClass::User, "exit_code".to_owned()));
    let case = Case::new().told("AnalysisException", "[TABLE_OR_VIEW_NOT_FOUND] no table", "sql");
    assert_eq!(named(&case, Kind::Sql, &code(1)), (ErrorClass::User, "sql_error".to_owned()));
    assert_eq!(named(&case, Kind::Python, &code(1)), (ErrorClass::User, "exception".to_owned()));
    let case = Case::new().with("stderr.log", "Error: Unrecognized option: --x\n");
    assert_eq!(named(&case, Kind::Python, &code(1)), (ErrorClass::User, "submit_failed".to_owned()));
}

#[test]
fn a_jars_last_words_are_the_users() {
    let died = |said: &str| {
        format!("{said}\n\tat A.main(A.java:4)\n\tat o.a.s.JavaMainApplication.start(S.scala:52)\n")
    };
    let case = Case::new()
        .with("stderr.log", &died("Exception in thread \"main\" java.lang.IllegalStateException: no till"));
    let expected = (ErrorClass::User, "exception".to_owned(), "IllegalStateException: no till".to_owned());
    assert_eq!(case.failure(Kind::Jar, &code(1)), expected);
    let printed =
        "retrying after Exception in thread \"main\" java.io.IOException: once\n\tat B.b(B.java:1)\n";
    let final_words = died("Exception in thread \"main\" java.lang.IllegalStateException: no till");
    let case = Case::new().with("stderr.log", &format!("{printed}{final_words}"));
    assert_eq!(case.failure(Kind::Jar, &code(1)), expected, "the last one ended it");
    let case = Case::new().with("stderr.log", "Error: Failed to load class Nope.\n");
    let (class, name, message) = case.failure(Kind::Jar, &code(101));
    assert_eq!((class, name.as_str()), (ErrorClass::User, "class_missing"));
    assert_eq!(message, "The jar holds no class Nope.");
    let case = Case::new().with(
        "stderr.log",
        "WARN Local jar /no.jar does not exist, skipping.\nError: Failed to load class A.\n",
    );
    assert_eq!(named(&case, Kind::Jar, &code(101)), (ErrorClass::User, "file_missing".to_owned()));
    let case = Case::new().with(
        "stderr.log",
        "Exception in thread \"main\" org.apache.spark.SparkException: No main class set in JAR; x\n",
    );
    assert_eq!(named(&case, Kind::Jar, &code(1)), (ErrorClass::User, "class_missing".to_owned()));
    let lost = died(
        "ERROR All masters are unresponsive\nException in thread \"main\" java.lang.NullPointerException",
    );
    let case = Case::new().with("stderr.log", &lost);
    assert_eq!(named(&case, Kind::Jar, &code(1)), (ErrorClass::Infrastructure, "cluster_lost".to_owned()));
    assert_eq!(named(&Case::new(), Kind::Jar, &code(7)), (ErrorClass::User, "exit_code".to_owned()));
    let case = Case::new().told("CompileError", "line 2: not found: value x", "compile");
    assert_eq!(named(&case, Kind::Scala, &code(1)), (ErrorClass::User, "compile_error".to_owned()));
}

#[test]
fn memory_and_machines_are_told_apart_from_programs() {
    let heap = "Terminating due to java.lang.OutOfMemoryError: Java heap space\n";
    let full = (ErrorClass::Resources, "out_of_memory".to_owned());
    assert_eq!(named(&Case::new().with("stdout.log", heap), Kind::Python, &code(3)), full);
    assert_eq!(named(&Case::new().told("MemoryError", "", "code"), Kind::Python, &code(1)), full);
    assert_eq!(named(&Case::new(), Kind::Python, &code(3)).1, "exit_code", "a program may choose 3");
    let killed = (ErrorClass::Infrastructure, "driver_killed".to_owned());
    for signal in [134, 135, 137, 139, 143] {
        assert_eq!(named(&Case::new(), Kind::Python, &code(signal)), killed);
    }
    for chosen in [129, 130, 140, 159, 255] {
        let own = (ErrorClass::User, "exit_code".to_owned());
        assert_eq!(named(&Case::new(), Kind::Python, &code(chosen)), own, "a program may choose {chosen}");
    }
    assert_eq!(named(&Case::new(), Kind::Python, &ExitRecord { signal: Some(9), ..record() }), killed);
    let lost = Case::new().told("Py4JJavaError", "All masters are unresponsive! Giving up.", "start");
    assert_eq!(named(&lost, Kind::Sql, &code(1)).1, "cluster_lost");
    let lost = Case::new().told("Py4JJavaError", "stopped SparkContext", "start").with(
        "stderr.log",
        "ERROR StandaloneSchedulerBackend: Application has been killed. Reason: All masters are unresponsive!",
    );
    assert_eq!(named(&lost, Kind::Python, &code(1)).1, "cluster_lost");
    let refused = Case::new().told("IllegalArgumentException", "IllegalArgumentException: x", "start");
    assert_eq!(named(&refused, Kind::Sql, &code(1)), (ErrorClass::User, "setting_refused".to_owned()));
    let unstarted = ExitRecord { spawn_error: Some("no such file".to_owned()), ..record() };
    assert_eq!(named(&Case::new(), Kind::Python, &unstarted).1, "driver_not_started");
}
