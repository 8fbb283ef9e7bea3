//! Answers as Flink 2.3.0 was seen to give them, and ones that it never would.

use std::collections::BTreeMap;

use libra_core::deployment::reconcile::{Answer, FlinkId, JobState, Refusal, Trigger};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::answers::{
    Checkpoints, ClusterSettings, Config, History, Jars, JobDetail, Jobs, Metric, Overview, Polled,
    Requested, Setting, Started, Status, Uploaded, milliseconds,
};
use super::calls::segment;
use super::error::{About, cause, classify, classify_run};
use super::transport::read;
use super::upload::{around, id_of, jar_name};
use super::{Access, Error, Flink, RunRequest, all_tasks_run, observed_job};

const ID: &str = "462b79c1f00d4aee8b1d2e3f40516273";

fn id() -> FlinkId {
    ID.parse().unwrap()
}

fn told(status: u16, stack: &str) -> Error {
    let body = json!({"errors": ["Internal server error.", stack]}).to_string();
    classify(status, body.as_bytes(), About::Jar)
}

#[test]
fn an_overview_is_read() {
    let body = br#"{"taskmanagers":1,"slots-total":4,"slots-available":3,"jobs-running":1,"jobs-finished":0,
        "jobs-cancelled":0,"jobs-failed":0,"flink-version":"2.3.0","flink-commit":"c0f8d1a"}"#;
    let overview: Overview = read(200, body, About::Cluster).unwrap();
    assert_eq!((overview.slots_total, overview.slots_available, overview.taskmanagers), (4, 3, 1));
    assert_eq!(overview.flink_version, "2.3.0");
    let body =
        br#"{"refresh-interval":3000,"timezone-name":"UTC","features":{"web-submit":true,"web-cancel":true,
        "web-rescale":false,"web-history":false}}"#;
    let features = read::<Config>(200, body, About::Cluster).unwrap().features;
    assert!(features.web_submit && !features.web_rescale);
}

#[test]
fn each_life_of_a_jobmanager_has_its_mark() {
    let body = br#"[{"key":"web.tmpdir","value":"/tmp/flink-web-5b4c1d2e"},{"key":"heartbeat.timeout","value":"8 s"},
        {"key":"execution.checkpointing.dir","value":"file:///c"},{"key":"high-availability.type","value":"NONE"}]"#;
    let all: Vec<Setting> = read(200, body, About::Cluster).unwrap();
    let settings = ClusterSettings::read(&all);
    assert_eq!(settings.life.as_deref(), Some("/tmp/flink-web-5b4c1d2e"));
    assert_eq!(settings.heartbeat_timeout_ms, Some(8_000));
    assert_eq!((settings.checkpoints.as_deref(), settings.high_availability), (Some("file:///c"), false));
    assert_eq!(settings.uploads.as_deref(), Some("/tmp/flink-web-5b4c1d2e/flink-web-upload"));
    let named: Vec<Setting> = read(
        200,
        br#"[{"key":"web.upload.dir","value":"/u/"},{"key":"web.tmpdir","value":"/t"}]"#,
        About::Cluster,
    )
    .unwrap();
    assert_eq!(ClusterSettings::read(&named).uploads.as_deref(), Some("/u/flink-web-upload"));
    assert_eq!(ClusterSettings::read(&[]), ClusterSettings::default());
    assert_eq!(
        ["50000", "8 s", "2min", "1 h", "x", "5 weeks"].map(milliseconds),
        [Some(50_000), Some(8_000), Some(120_000), Some(3_600_000), None, None]
    );
}

#[test]
fn an_uploaded_jar_is_known_by_the_end_of_its_path() {
    let body = br#"{"filename":"/srv/upload/flink-web-upload/0b7a_lab-jobs.jar","status":"success"}"#;
    let uploaded: Uploaded = read(200, body, About::Jar).unwrap();
    assert_eq!(id_of(&uploaded).unwrap(), "0b7a_lab-jobs.jar");
    let digest = "ab".repeat(32);
    let body = json!({"address": "http://h:8081", "files": [
        {"id": format!("0b7a_{digest}.jar"), "name": format!("{digest}.jar"), "uploaded": 1, "entry": []},
        {"id": "1_other.jar", "name": "other.jar", "uploaded": 1, "entry": [{"name": "x.Main", "description": null}]}]});
    let jars = read::<Jars>(200, body.to_string().as_bytes(), About::Cluster).unwrap().files;
    assert_eq!(jars[0].digest(), Some(digest.as_str()));
    assert_eq!(jars[1].digest(), None);
    let named = |name: String| super::JarFile { name, id: "a".to_owned() }.digest().map(str::to_owned);
    let packed = format!("{digest}python1");
    assert_eq!(named(format!("{packed}.jar")), Some(packed));
    assert_eq!(named(format!("{digest}-1.jar")), None);
    assert_eq!(named(format!("ä{digest}.jar")), None);
    assert_eq!(jar_name("../x\r\n"), "x.jar");
}

#[test]
fn a_run_is_told_in_flinks_names() {
    let run = RunRequest {
        job_id: Some(id()),
        entry_class: Some("lab.CounterJob".to_owned()),
        program_args_list: vec!["--rate".to_owned(), "500".to_owned()],
        parallelism: Some(1),
        savepoint_path: Some("file:///s".to_owned()),
        allow_non_restored_state: false,
        flink_configuration: [("execution.checkpointing.interval".to_owned(), "2s".to_owned())].into(),
    };
    assert_eq!(
        serde_json::to_value(&run).unwrap(),
        json!({"jobId": ID, "entryClass": "lab.CounterJob", "programArgsList": ["--rate", "500"], "parallelism": 1,
            "savepointPath": "file:///s", "allowNonRestoredState": false,
            "flinkConfiguration": {"execution.checkpointing.interval": "2s"}})
    );
    let started: Started =
        read(200, format!(r#"{{"jobid":"{ID}","applicationId":"{ID}"}}"#).as_bytes(), About::Jar).unwrap();
    assert_eq!(started.jobid, id());
}

#[test]
fn running_says_nothing_about_tasks() {
    let body = json!({"jobs": [{"jid": ID, "name": "orders", "start-time": 5, "end-time": -1, "duration": 7, "state": "RUNNING",
        "last-modification": 9, "tasks": {"running": 0, "canceling": 0, "canceled": 0, "total": 18, "created": 0,
        "scheduled": 18, "deploying": 0, "reconciling": 0, "finished": 0, "initializing": 0, "failed": 0},
        "pending-operators": 0, "schedulerType": "Default"},
        {"jid": ID, "name": "ghost", "state": "FAILED"}]});
    let jobs = read::<Jobs>(200, body.to_string().as_bytes(), About::Cluster).unwrap().jobs;
    assert_eq!((jobs[0].state, all_tasks_run(jobs[0].tasks)), (JobState::Running, false));
    assert_eq!((jobs[1].state, all_tasks_run(jobs[1].tasks)), (JobState::Failed, false));
    let status: Status = read(200, br#"{"status":"RESTARTING"}"#, About::Job).unwrap();
    assert_eq!(status.status, JobState::Restarting);
    // A state of a Flink that does not exist yet: nothing is decided by this look.
    assert!(matches!(read::<Status>(200, br#"{"status":"DREAMING"}"#, About::Job), Err(Error::Garbage(_))));
    let detail: JobDetail = read(
        200,
        format!(r#"{{"jid":"{ID}","name":"n","state":"RUNNING","vertices":[{{"id":"v","name":"datagen","parallelism":2,"status":"RUNNING"}}],"plan":{{}}}}"#).as_bytes(),
        About::Job,
    )
    .unwrap();
    assert_eq!(detail.vertices[0].parallelism, 2);
}

#[test]
fn another_number_of_subtasks_is_no_failure() {
    let count = |counted: &[(&str, &str)], failures, adaptive| {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        super::look::restarts(&counted.iter().map(text).collect(), failures, adaptive)
    };
    let both = |restarts, rescales| [("numRestarts", restarts), ("numRescales", rescales)];
    assert_eq!(count(&both("7", "7"), 0, true), 0, "slots came and went");
    assert_eq!(count(&both("9", "7"), 1, true), 2);
    assert_eq!(count(&both("1", "2"), 0, true), 0, "never less than none");
    assert_eq!(count(&both("0", "0"), 3, true), 3, "the metrics lag behind");
    assert_eq!(count(&[("numRestarts", "4")], 1, true), 1, "Flink 1.20 does not tell them apart");
    assert_eq!(count(&[("numRestarts", "40")], 16, false), 40, "only the newest failures are kept");
    assert_eq!(count(&[], 2, false), 2);
    assert_eq!(count(&both("many", "-1"), 0, false), 0);
}

#[test]
fn checkpoints_and_exceptions_make_a_job() {
    let body = br#"{"counts":{"restored":1,"total":8,"in_progress":0,"completed":7,"failed":1},"summary":{},
        "latest":{"completed":{"@class":"completed","id":7,"status":"COMPLETED","is_savepoint":false,
        "external_path":"file:/c/462b/chk-7","discarded":false,"latest_ack_timestamp":12},"savepoint":{"id":5,
        "external_path":"file:/s/savepoint-462b79-a43da451a6b0","discarded":false},"failed":null,
        "restored":{"id":4,"restore_timestamp":1,"is_savepoint":true}},"history":[]}"#;
    let checkpoints: Checkpoints = read(200, body, About::Job).unwrap();
    let body = br#"{"exceptionHistory":{"entries":[{"exceptionName":"java.lang.RuntimeException",
        "stacktrace":"java.lang.RuntimeException: failing on purpose at count 9\n\tat lab.CounterJob.x(CounterJob.java)",
        "timestamp":5,"taskManagerId":"t","taskName":null}],"truncated":false}}"#;
    let exceptions = read::<History>(200, body, About::Job).unwrap().exception_history;
    let line = json!({"jid": ID, "name": "orders", "state": "RUNNING", "tasks": {"running": 2, "total": 2}});
    let counted = BTreeMap::from([("numRestarts".to_owned(), "3".to_owned())]);
    let job =
        observed_job(&serde_json::from_value(line).unwrap(), &checkpoints, &exceptions, &counted, false);
    assert_eq!((job.all_tasks_run, job.restarts, job.exceptions, job.checkpoints), (true, 3, 1, 7));
    assert_eq!(job.checkpoint.unwrap().path, "file:/c/462b/chk-7");
    assert_eq!(job.savepoint.unwrap().number, 5);
    assert_eq!(job.failure.as_deref(), Some("java.lang.RuntimeException: failing on purpose at count 9"));
    let gone = br#"{"latest":{"completed":{"id":7,"external_path":"<checkpoint-not-externally-addressable>"},
        "savepoint":{"id":5,"external_path":"file:/s","discarded":true}}}"#;
    let gone: Checkpoints = read(200, gone, About::Job).unwrap();
    assert_eq!(
        (super::kept(gone.latest.completed.as_ref()), super::kept(gone.latest.savepoint.as_ref())),
        (None, None)
    );
    let metrics: Vec<Metric> = read(200, br#"[{"id":"numRestarts","value":"0"}]"#, About::Job).unwrap();
    assert_eq!(metrics[0].value.as_deref(), Some("0"));
}

#[test]
fn completed_is_no_success() {
    let polled = |body: &[u8]| read::<Polled>(200, body, About::Trigger).unwrap().trigger();
    assert_eq!(polled(br#"{"status":{"id":"IN_PROGRESS"},"operation":null}"#), Ok(Trigger::InProgress));
    assert_eq!(
        polled(br#"{"status":{"id":"COMPLETED"},"operation":{"location":"file:/tmp/savepoint-462b79-a43da451a6b0"}}"#),
        Ok(Trigger::Completed("file:/tmp/savepoint-462b79-a43da451a6b0".to_owned()))
    );
    let failed = br#"{"status":{"id":"COMPLETED"},"operation":{"failure-cause":{"class":
        "java.util.concurrent.CompletionException","stack-trace":"java.util.concurrent.CompletionException: x\n\tat a.b(C.java:1)\nCaused by: java.io.IOException: Failed to create savepoint directory\n\tat a.b(C.java)",
        "serialized-throwable":"AA=="}}}"#;
    let cause = "java.io.IOException: Failed to create savepoint directory".to_owned();
    assert_eq!(polled(failed), Ok(Trigger::Failed(cause)));
    assert_eq!(
        polled(br#"{"status":{"id":"COMPLETED"},"operation":{}}"#),
        Ok(Trigger::Completed(String::new()))
    );
    assert!(matches!(polled(br#"{"status":{"id":"LOST"}}"#), Err(Error::Garbage(_))));
    let requested: Requested =
        read(202, format!(r#"{{"request-id":"{ID}"}}"#).as_bytes(), About::Job).unwrap();
    assert_eq!(requested.request_id, id());
}

#[test]
fn errors_are_known_by_their_causes_and_not_by_their_status() {
    let run = "org.apache.flink.runtime.rest.handler.RestHandlerException: Could not execute application.\n\tat x.y(Z.java:1)\nCaused by: java.util.concurrent.CompletionException: z\n\t... 3 more\nCaused by: ";
    let main = |cause: &str| told(400, &format!("{run}{cause}\n\tat x.y(Z.java:2)\n\t... 9 more"));
    assert_eq!(
        main(
            "org.apache.flink.client.program.DuplicateApplicationSubmissionException: Application has already been submitted."
        ),
        Error::Duplicate
    );
    assert_eq!(
        main("java.lang.IllegalArgumentException: no topic"),
        Error::MainFailed("java.lang.IllegalArgumentException: no topic".to_owned())
    );
    let python = "org.apache.flink.client.deployment.application.UnsuccessfulExecutionException: ValueError: no topic (a.py line 3)";
    assert_eq!(main(python), Error::MainFailed("ValueError: no topic (a.py line 3)".to_owned()));
    let absent = "java.io.IOException: Cannot run program \"python\": error=2, No such file or directory\n\tat x.y(Z.java:2)\n\
                  Caused by: java.io.IOException: error=2, No such file or directory";
    assert!(
        matches!(main(absent), Error::MainFailed(words) if words.contains("Cannot run program \"python\""))
    );
    assert!(matches!(
        main(
            "java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint file:/s. Cannot map checkpoint/savepoint state for operator 20ba6b65 to the new program"
        ),
        Error::StateMismatch(_)
    ));
    let gone = "java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory 'file:/nope' on file system 'file'.";
    assert!(matches!(main(gone), Error::StateNotFound(_)));
    assert!(matches!(
        told(500, "Caused by: java.lang.ClassNotFoundException: lab.Nope"),
        Error::BadProgram(words) if words.ends_with("lab.Nope")
    ));
    assert!(matches!(
        told(500, "Caused by: java.util.zip.ZipException: zip END header not found"),
        Error::BadProgram(_)
    ));
    assert_eq!(
        told(500, "<Exception on server side:\nJar file /u/x.jar does not exist\n"),
        Error::MissingJar
    );
    assert_eq!(
        told(
            500,
            "Caused by: org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job (00)"
        ),
        Error::UnknownJob
    );
    assert!(matches!(
        told(500, "Caused by: x.NoResourceAvailableException: Could not acquire"),
        Error::NoResources(_)
    ));
    let none = br#"{"errors":["Operation not found under key: OperationKey"]}"#;
    assert_eq!(classify(404, none, About::Trigger), Error::UnknownTrigger);
    assert_eq!(classify(404, br#"{"errors":["Not found: /x"]}"#, About::Trigger), Error::UnknownTrigger);
    assert_eq!(classify(404, b"", About::Job), Error::UnknownJob);
    let wait = br#"{"errors":["Service temporarily unavailable due to an ongoing leader election. Please refresh."]}"#;
    assert!(
        matches!(classify(503, wait, About::Cluster), Error::Server { status: 503, words } if words.starts_with("Service"))
    );
    assert!(matches!(classify(401, b"<html>no", About::Cluster), Error::Refused { status: 401, .. }));
}

#[test]
fn a_file_that_main_misses_is_not_the_savepoint() {
    let body = |file: &str| {
        json!({"errors": [format!("x: Could not execute application.\nCaused by: java.io.FileNotFoundException: {file}")]})
            .to_string()
    };
    let asked = Some("file:///s/savepoint-1");
    assert!(matches!(classify_run(400, body("/data/in.csv").as_bytes(), asked), Error::MainFailed(_)));
    assert!(matches!(
        classify_run(400, body("/s/savepoint-1/_metadata").as_bytes(), asked),
        Error::StateNotFound(_)
    ));
}

/// A refusal by the JobManager as 2.3.0 words it, from the program's `main()` down to its cause.
fn refused_by_job_master(cause: &str) -> String {
    let stack = format!(
        "org.apache.flink.runtime.rest.handler.RestHandlerException: Could not execute application.\n\tat x.y(Z.java:1)\n\
         Caused by: org.apache.flink.client.program.ProgramInvocationException: The main method caused an error: Failed to execute job 'orders'.\n\t... 3 more\n\
         Caused by: java.lang.RuntimeException: org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.\n\t... 3 more\n\
         Caused by: java.util.concurrent.CompletionException: java.lang.RuntimeException: {cause}\n\t... 3 more\n\
         Caused by: {cause}\n\tat x.y(Z.java:2)\n"
    );
    json!({ "errors": [stack] }).to_string()
}

#[test]
fn a_damaged_savepoint_is_no_fault_of_the_program() {
    let refused = |cause: &str, asked| classify_run(400, refused_by_job_master(cause).as_bytes(), asked);
    let asked = Some("file:///s/savepoint-1");
    let magic = "java.io.IOException: Unexpected magic number. This can have multiple reasons: (1) …";
    let scheme = "java.io.IOException: Cannot access file system for checkpoint/savepoint path 's3://b/x'.";
    for cause in [magic, scheme, "java.io.EOFException"] {
        assert!(matches!(refused(cause, asked), Error::StateNotFound(_)), "{cause}");
    }
    assert!(matches!(refused("java.io.EOFException", None), Error::MainFailed(_)));
    let strategy =
        "java.lang.IllegalArgumentException: sometimes is an unknown value of RestartStrategyType.";
    assert_eq!(refused(strategy, asked), Error::MainFailed(strategy.to_owned()));
    let main = json!({"errors": ["x: Could not execute application.\nCaused by: java.io.EOFException"]});
    assert!(matches!(classify_run(400, main.to_string().as_bytes(), asked), Error::MainFailed(_)));
}

#[test]
fn who_answers_a_run_in_flinks_place_does_not_know_whether_it_began() {
    for status in [404, 408, 413, 429, 500, 502, 504] {
        let page = classify_run(status, b"<html>not here</html>", None);
        assert!(matches!(page.answer(), Answer::Unclear(_)), "{status}: {page}");
    }
    let own = classify_run(404, br#"{"errors":["Not found: /jars/x/run"]}"#, None);
    assert_eq!(own, Error::MissingJar);
    assert!(matches!(classify_run(401, b"<html>who?</html>", None), Error::Refused { status: 401, .. }));
}

#[test]
fn what_nobody_knows_is_no_refusal() {
    let unclear = [
        Error::TimedOut,
        Error::Unreachable("x".to_owned()),
        Error::Garbage("x".to_owned()),
        Error::Server { status: 500, words: "x".to_owned() },
    ];
    assert!(unclear.iter().all(|error| matches!(error.answer(), Answer::Unclear(_))));
    assert_eq!(Error::Duplicate.answer(), Answer::Refused(Refusal::Duplicate));
    assert_eq!(Error::MissingJar.answer(), Answer::Refused(Refusal::MissingJar));
}

#[test]
fn addresses_are_checked_and_secrets_kept() {
    let at = |url: &str| Access { url: url.to_owned(), ..Access::default() };
    assert_eq!(Flink::new(&at(" http://h:8081/flink/ ")).unwrap().base(), "http://h:8081/flink");
    assert!(Flink::new(&at("h:8081")).is_err());
    assert!(Flink::new(&at("ftp://h")).is_err());
    let bad = Access {
        headers: vec![("authorization".to_owned(), "Bearer s3cret\n".to_owned())],
        ..at("http://h")
    };
    assert!(!Flink::new(&bad).unwrap_err().contains("s3cret"));
    let good =
        Access { headers: vec![("authorization".to_owned(), "Bearer s3cret".to_owned())], ..at("http://h") };
    assert!(!format!("{:?}", Flink::new(&good).unwrap()).contains("s3cret"));
    assert_eq!(segment("a/../b c_1.jar"), "a%2F..%2Fb%20c_1.jar");
}

/// Answers one request with `answer`, and gives what came.
async fn answered(answer: String) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut came = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = stream.read(&mut piece).await.unwrap();
            came.extend_from_slice(&piece[..read]);
            let text = String::from_utf8_lossy(&came).into_owned();
            let Some(end) = text.find("\r\n\r\n") else { continue };
            let length = text[..end]
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if read == 0 || came.len() >= end + 4 + length {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        came
    });
    (base, served)
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn an_upload_is_one_part_of_known_length() {
    let body = r#"{"filename":"/u/0b7a_abc.jar","status":"success"}"#;
    let (base, served) = answered(http("200 OK", body)).await;
    let file = std::env::temp_dir().join(format!("libra-upload-{}", std::process::id()));
    let content = vec![b'x'; 300 * 1024];
    std::fs::write(&file, &content).unwrap();
    let flink = Flink::new(&Access { url: base, ..Access::default() }).unwrap();
    assert_eq!(flink.upload(&file, "abc").await.unwrap(), "0b7a_abc.jar");
    std::fs::remove_file(&file).unwrap();
    let came = String::from_utf8(served.await.unwrap()).unwrap();
    let (head, sent) = came.split_once("\r\n\r\n").unwrap();
    let (before, after) = around("abc");
    assert!(head.starts_with("POST /jars/upload HTTP/1.1") && !head.to_lowercase().contains("chunked"));
    assert_eq!(sent.len(), before.len() + content.len() + after.len());
    assert!(sent.starts_with("--libra") && sent.ends_with("--\r\n"));
    let missing = flink.upload(std::path::Path::new("/nowhere/at/all.jar"), "abc").await;
    assert!(matches!(missing, Err(Error::BadProgram(_))));
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_an_unknown_trigger_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let flink = Flink::new(&Access { url, ..Access::default() }).unwrap();
    assert!(matches!(flink.jobs().await, Err(Error::Unreachable(_))));
    let (url, _served) =
        answered(http("404 Not Found", r#"{"errors":["Operation not found under key: x"]}"#)).await;
    let flink = Flink::new(&Access { url, ..Access::default() }).unwrap();
    assert_eq!(flink.poll(id(), id()).await, Ok(Trigger::Unknown));
    let gone =
        "java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory 'file:/s/1'.";
    let gone = json!({"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"class": "x", "stack-trace": gone}}});
    let (url, _served) = answered(http("200 OK", &gone.to_string())).await;
    let flink = Flink::new(&Access { url, ..Access::default() }).unwrap();
    assert_eq!(flink.poll_disposal(id()).await, Ok(Trigger::Completed(String::new())));
    let (url, served) = answered(http("202 Accepted", &format!(r#"{{"request-id":"{ID}"}}"#))).await;
    let flink = Flink::new(&Access { url, ..Access::default() }).unwrap();
    assert_eq!(flink.stop(id(), id(), "file:///s", false).await, Ok(id()));
    let came = String::from_utf8(served.await.unwrap()).unwrap();
    assert!(
        came.starts_with(&format!("POST /jobs/{ID}/stop HTTP/1.1")) && came.contains("\"targetDirectory\"")
    );
    assert!(came.contains(&format!("\"triggerId\":\"{ID}\"")));
}

#[tokio::test]
async fn a_job_that_has_ended_is_as_good_as_cancelled() {
    let cancel = async |status: &str, words: &str| {
        let body = json!({"errors": [format!("org.apache.flink.runtime.rest.handler.RestHandlerException: {words}\n\tat x")]});
        let (url, _served) = answered(http(status, &body.to_string())).await;
        Flink::new(&Access { url, ..Access::default() }).unwrap().cancel(id()).await
    };
    for state in ["FINISHED", "FAILED"] {
        let words = format!(
            "Job cancellation failed because the job has already reached another terminal state ({state})."
        );
        assert_eq!(cancel("409 Conflict", &words).await, Ok(()));
    }
    assert!(matches!(
        cancel("409 Conflict", "Another reason.").await,
        Err(Error::Refused { status: 409, .. })
    ));
    assert_eq!(cancel("404 Not Found", "Job could not be found.").await, Err(Error::UnknownJob));
}

#[tokio::test]
async fn an_empty_path_is_not_sent_as_it_would_mean_no_state() {
    let flink = Flink::new(&Access { url: "http://127.0.0.1:9".to_owned(), ..Access::default() }).unwrap();
    let run = RunRequest { savepoint_path: Some(" ".to_owned()), ..RunRequest::default() };
    assert!(matches!(flink.run("x.jar", &run).await, Err(Error::StateNotFound(_))));
}

#[tokio::test]
async fn a_question_whose_connection_breaks_is_asked_once_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        for answer in [String::new(), http("200 OK", r#"{"jobs":[]}"#)] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let read = stream.read(&mut [0; 4096]).await.unwrap();
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let flink = Flink::new(&Access { url, ..Access::default() }).unwrap();
    assert_eq!(flink.jobs().await, Ok(Vec::new()));
    served.await.unwrap();
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_it_panic(text in ".*", bytes: Vec<u8>, number: i64, state in "RUNNING|FAILED|.*", status: u16) {
        let snapshot = json!({"id": number, "external_path": text, "latest_ack_timestamp": number});
        let odd = json!({"taskmanagers": number, "slots-total": number, "slots-available": number, "jid": text,
            "jobs": [{"jid": ID, "name": text, "state": state, "tasks": {"total": number, "running": number,
            "finished": number}}], "counts": {"completed": number}, "latest": {"completed": snapshot.clone(),
            "savepoint": snapshot}, "files": [{"id": text, "name": text}], "filename": text, "status": {"id": state},
            "operation": {"failure-cause": {"class": text, "stack-trace": text}}, "errors": [text]});
        for body in [bytes, text.clone().into_bytes(), odd.to_string().into_bytes()] {
            let _ = (classify(status, &body, About::Job), classify_run(status, &body, Some(&text)));
            let _ = read::<Overview>(status, &body, About::Cluster);
            let _ = (read::<Status>(status, &body, About::Job).is_ok(), read::<Started>(200, &body, About::Jar).is_ok());
            let _ = read::<Polled>(200, &body, About::Trigger).map(Polled::trigger);
            let _ = read::<Uploaded>(200, &body, About::Jar).map(|uploaded| id_of(&uploaded));
            let _ = read::<Vec<Setting>>(200, &body, About::Cluster).map(|all| ClusterSettings::read(&all));
            let _ = (read::<Jars>(200, &body, About::Jar).is_ok(), read::<JobDetail>(200, &body, About::Job).is_ok());
            let _ = (read::<Vec<Metric>>(200, &body, About::Job).is_ok(), read::<Requested>(200, &body, About::Job).is_ok());
            let checkpoints = read::<Checkpoints>(200, &body, About::Job).unwrap_or_default();
            let exceptions = read::<History>(200, &body, About::Job).map(|h| h.exception_history).unwrap_or_default();
            if let Ok(jobs) = read::<Jobs>(200, &body, About::Cluster) {
                for line in &jobs.jobs {
                    let counted = BTreeMap::from([("numRestarts".to_owned(), text.clone())]);
                    let _ = observed_job(line, &checkpoints, &exceptions, &counted, true);
                }
            }
        }
        proptest::prop_assert!(cause(&text).chars().count() <= super::MOST_WORDS);
        let _ = (milliseconds(&text), segment(&text), jar_name(&text));
    }
}
