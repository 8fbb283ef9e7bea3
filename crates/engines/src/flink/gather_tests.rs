//! A look at a cluster that answers by path.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use libra_core::deployment::reconcile::{
    Act, Desired, Fate, FlinkId, JobState, Kind, Mode, Observed, Operation, Retention, Row, Run, Stability,
    Timing, Trigger, Upgrade, Version,
};
use libra_core::time::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Access, Error, Flink, Known, Look, Told};

type Pages = Arc<Mutex<BTreeMap<String, (u16, Value)>>>;

/// Answers GET requests from `pages`, by their path without its question.
async fn serve(pages: Pages) -> Flink {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let read = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let path =
                text.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
            let page = pages.lock().unwrap().get(&path).cloned();
            let (status, body) = page.unwrap_or((404, json!({"errors": [format!("Not found: {path}")]})));
            let body = body.to_string();
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    Flink::new(&Access { url, ..Access::default() }).unwrap()
}

fn cluster(job: FlinkId) -> Pages {
    let digest = "ab".repeat(32);
    let pages = [
        ("/jobmanager/config".to_owned(), json!([{"key": "web.tmpdir", "value": "/tmp/flink-web-1"}])),
        (
            "/jobs/overview".to_owned(),
            json!({"jobs": [{"jid": job, "name": "orders", "state": "RUNNING", "tasks": {"total": 2, "running": 2}},
                {"jid": FlinkId(8), "name": "other", "state": "RUNNING", "tasks": {"total": 1, "running": 1}},
                {"jid": FlinkId(9), "name": "orders", "state": "RUNNING", "tasks": {"total": 1, "running": 1}}]}),
        ),
        ("/jars".to_owned(), json!({"files": [{"id": "1_x.jar", "name": format!("{digest}.jar")}]})),
        (
            format!("/jobs/{job}/checkpoints"),
            json!({"counts": {"completed": 3}, "latest": {"completed": {"id": 3, "external_path": "file:/c/chk-3"}}}),
        ),
        (format!("/jobs/{job}/exceptions"), json!({"exceptionHistory": {"entries": [], "truncated": false}})),
        (format!("/jobs/{job}/metrics"), json!([{"id": "numRestarts", "value": "2"}])),
    ];
    Arc::new(Mutex::new(pages.into_iter().map(|(path, body)| (path, (200, body))).collect()))
}

fn row(job: FlinkId) -> Row {
    let run = Run::new(job, 1, 0, Fate::Live);
    Row { run: Some(run), ..Row::default() }
}

fn desired() -> Desired {
    let version = Version {
        job: None,
        generation: 1,
        digest: "ab".repeat(32),
        kind: Kind::Streaming,
        upgrade: Upgrade::Savepoint,
        alone: false,
        allow_non_restored_state: false,
        parallelism: 1,
        shape: None,
    };
    Desired {
        name: "orders".to_owned(),
        mode: Mode::Running,
        generation: 1,
        rollback_to: None,
        nonce: 0,
        savepoint_nonce: 0,
        end_run: None,
        waits: false,
        another_begins: false,
        watches_pressure: false,
        given: None,
        savepoint_directory: "file:/s".to_owned(),
        versions: vec![version],
        stability: Stability { checkpoints: 1, window: 0, max_restarts: 0, within: 0 },
        retention: Retention { count: 1, age: 0 },
        timing: Timing::default(),
    }
}

async fn look(flink: &Flink, row: &Row) -> Observed {
    Look::at(flink).await.unwrap().of(flink, &desired(), row, Known::default()).await.observed
}

#[tokio::test]
async fn a_look_tells_of_the_own_job_and_of_the_trigger() {
    let job = FlinkId(1);
    let pages = cluster(job);
    let flink = serve(pages.clone()).await;
    let mut row = row(job);
    let Observed::Reachable(seen) = look(&flink, &row).await else { panic!("it answers") };
    assert_eq!(seen.life.as_deref(), Some("/tmp/flink-web-1"));
    assert_eq!(
        (seen.jobs[0].state, seen.jobs[0].restarts, seen.jobs[0].checkpoints),
        (JobState::Running, 2, 3)
    );
    let ids: Vec<FlinkId> = seen.jobs.iter().map(|job| job.id).collect();
    assert_eq!(ids, [job, FlinkId(9)], "its own and its namesake");
    assert_eq!((seen.jobs.len(), seen.jobs[1].checkpoints, seen.trigger), (2, 0, Trigger::NotAsked));
    assert_eq!(seen.jars, [("ab".repeat(32), "1_x.jar".to_owned())]);
    row.operation = Some(Operation {
        act: Act::Stop,
        job,
        trigger: FlinkId(5),
        directory: "file:/s/5".to_owned(),
        since: Timestamp(0),
        sends: 1,
        sent_at: Timestamp(0),
    });
    let Observed::Reachable(seen) = look(&flink, &row).await else { panic!("it answers") };
    assert_eq!(seen.trigger, Trigger::Unknown);
}

#[tokio::test]
async fn what_is_needed_and_not_told_makes_no_look() {
    let job = FlinkId(1);
    let pages = cluster(job);
    let flink = serve(pages.clone()).await;
    let checkpoints = format!("/jobs/{job}/checkpoints");
    let wrong = (500, json!({"errors": ["Internal server error."]}));
    pages.lock().unwrap().insert(checkpoints.clone(), wrong.clone());
    assert!(matches!(look(&flink, &row(job)).await, Observed::Unreachable(_)));
    let being_made = json!({"errors": ["org.apache.flink.runtime.dispatcher.UnavailableDispatcherOperationException: \
         Unable to get JobMasterGateway for initializing job."]});
    pages.lock().unwrap().insert(checkpoints.clone(), (500, being_made));
    assert!(matches!(look(&flink, &row(job)).await, Observed::Reachable(_)));
    let none = json!({"errors": ["Checkpointing has not been enabled for job x."]});
    pages.lock().unwrap().insert(checkpoints.clone(), (404, none));
    assert!(matches!(look(&flink, &row(job)).await, Observed::Reachable(_)));
    // The ghost of a refused run has no details at all.
    pages.lock().unwrap().insert(checkpoints, wrong.clone());
    let ghost = json!({"jobs": [{"jid": job, "name": "orders", "state": "FAILED"}]});
    pages.lock().unwrap().insert("/jobs/overview".to_owned(), (200, ghost));
    assert!(matches!(look(&flink, &row(job)).await, Observed::Reachable(_)));
    pages.lock().unwrap().insert("/jobs/overview".to_owned(), wrong);
    assert!(matches!(Look::at(&flink).await, Err(Error::Server { .. })));
}

#[tokio::test]
async fn earlier_pages_do_while_the_line_is_the_same() {
    let job = FlinkId(1);
    let pages = cluster(job);
    let flink = serve(pages.clone()).await;
    let row = row(job);
    let ask = async |earlier| {
        let known = Known { pages: earlier, ..Known::default() };
        Look::at(&flink).await.unwrap().of(&flink, &desired(), &row, known).await
    };
    let completed = |told: &Told| match &told.observed {
        Observed::Reachable(seen) => (seen.jobs[0].checkpoints, told.fresh),
        Observed::Unreachable(why) => panic!("{why}"),
    };
    let first = ask(None).await;
    assert_eq!(completed(&first), (3, true));
    let more = (200, json!({"counts": {"completed": 4}, "latest": {}}));
    pages.lock().unwrap().insert(format!("/jobs/{job}/checkpoints"), more);
    let second = ask(first.pages).await;
    assert_eq!(completed(&second), (3, false), "nothing was asked");
    let line = json!({"jid": job, "name": "orders", "state": "RUNNING", "tasks": {"total": 2, "running": 1}});
    pages.lock().unwrap().insert("/jobs/overview".to_owned(), (200, json!({"jobs": [line]})));
    assert_eq!(completed(&ask(second.pages).await), (4, true), "a task runs no more");
}
