//! Following with a stand-in for the driver's UI.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::shim::tests::Scratch;

/// A UI that answers these paths with these texts and everything else with 404; nobody ends it but the runtime.
async fn ui(answers: Vec<(String, String)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = vec![0; 4096];
            let read = stream.read(&mut asked).await.unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..read]).into_owned();
            let path = asked.split(' ').nth(1).unwrap_or_default();
            let found = answers.iter().find(|(known, _)| known == path);
            let (status, body) = found.map_or((404, "no"), |(_, body)| (200, body.as_str()));
            let head =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    port
}

fn answers(token: &str, jobs: &str) -> Vec<(String, String)> {
    let at = "/api/v1/applications";
    let environment = format!(
        "{{\"sparkProperties\": [[\"spark.libra.attempt\", \"{token}\"], [\"spark.driver.host\", \"node-7\"]]}}"
    );
    [("", "[{\"id\": \"local-1\"}]"), ("/local-1/environment", environment.as_str()), ("/local-1/jobs", jobs)]
        .map(|(path, body)| (format!("{at}{path}"), body.to_owned()))
        .into()
}

/// What is found out within some seconds about a driver that writes this to its standard error.
async fn followed(scratch: &Scratch, says: &str) -> Known {
    scratch.spawn(&format!("echo \"{says}\" >&2; sleep 60"));
    let (tell, mut known) = watch::channel(Known::default());
    let driver = Driver {
        token: scratch.token.parse().unwrap(),
        dir: scratch.dir.clone(),
        host: "127.0.0.1".to_owned(),
    };
    let task = tokio::spawn(follow(Rest::shared().unwrap(), driver, tell));
    let _ = tokio::time::timeout(FIRST_PAUSE * 2, known.changed()).await;
    task.abort();
    known.borrow().clone()
}

fn line(port: u16) -> String {
    format!("INFO Utils: Successfully started service 'SparkUI' on port {port}.")
}

const JOBS: &str =
    r#"[{"jobId": 0, "status": "RUNNING", "stageIds": [0, 1], "numTasks": 8, "numCompletedTasks": 2}]"#;

#[tokio::test]
async fn a_driver_is_found_by_its_log_and_known_by_its_token() {
    let [ours, theirs, silly] = [Scratch::new(), Scratch::new(), Scratch::new()];
    let port = ui(answers(&ours.token, JOBS)).await;
    let strange = ui(answers(&ours.token, "{\"no\": \"list\"}")).await;
    let told = format!("{{\"applicationId\": \"local-1\", \"sparkUi\": \"http://127.0.0.1:{strange}\"}}");
    std::fs::write(silly.dir.path().join("application.json"), told).unwrap();
    let (line, nothing) = (line(port), String::new());
    let (seen, not_ours, nonsense) =
        tokio::join!(followed(&ours, &line), followed(&theirs, &line), followed(&silly, &nothing));

    let progress = seen.progress.unwrap();
    assert_eq!((progress.percentage, progress.tasks_completed, progress.tasks_total), (25, 2, 8));
    let application = seen.application.unwrap();
    assert_eq!(application.id.as_deref(), Some("local-1"));
    assert_eq!(application.spark_ui, Some(format!("http://node-7:{port}")), "as people reach it");
    assert_eq!(application.interface(), Some((format!("http://127.0.0.1:{port}").as_str(), "local-1")));
    assert_eq!(Application::told(&ours.dir), Some(application), "a later Libra knows it at once");

    assert_eq!(not_ours, Known::default(), "somebody else's driver answers there");
    assert_eq!(Application::told(&theirs.dir), None);
    assert_eq!(nonsense.progress, None);
}

#[tokio::test]
async fn nobody_is_asked_once_the_driver_has_ended() {
    let scratch = Scratch::new();
    let (tell, _known) = watch::channel(Known::default());
    let driver = Driver {
        token: scratch.token.parse().unwrap(),
        dir: scratch.dir.clone(),
        host: "127.0.0.1".to_owned(),
    };
    let task = tokio::spawn(follow(Rest::shared().unwrap(), driver, tell));
    tokio::time::timeout(FIRST_PAUSE * 2, task).await.unwrap().unwrap();
}
