//! Questions to a driver's own REST interface (`/api/v1` of the Spark UI), and what of the answers counts.

use std::sync::OnceLock;
use std::time::Duration;

use libra_core::id::Token;
use serde::Deserialize;

use crate::progress::Tally;

/// How long one answer may take; a driver that is busy collecting garbage is asked again later.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes. A thousand jobs, as many as Spark remembers, are about one megabyte.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Why there is no answer, in words for Libra's own log.
pub(super) type NoAnswer = String;

/// A driver's interface.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    client: reqwest::Client,
}

impl Rest {
    /// The one client of this process; None where none can be made.
    pub(super) fn shared() -> Option<&'static Self> {
        static REST: OnceLock<Option<Rest>> = OnceLock::new();
        let made = REST.get_or_init(|| {
            // A second caller finds the provider in place, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
            // A driver is on this machine, and a master near it: no proxy stands in between. Who sends us elsewhere is
            // neither.
            let client = reqwest::Client::builder()
                .timeout(PATIENCE)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build();
            client
                .map(|client| Rest { client })
                .inspect_err(|error| tracing::warn!(%error, "no HTTP client"))
                .ok()
        });
        made.as_ref()
    }

    pub(super) async fn get(&self, address: &str) -> Result<Vec<u8>, NoAnswer> {
        let mut answer = self.client.get(address).send().await.map_err(|e| e.to_string())?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("it answered {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| e.to_string())? {
            if body.len() + piece.len() > MOST_BYTES {
                return Err(format!("it answered with more than {MOST_BYTES} bytes"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// [`Self::get`], read elsewhere: a large answer would keep everybody waiting.
    async fn read<T: Send + 'static>(
        &self,
        address: String,
        read: impl FnOnce(&[u8]) -> serde_json::Result<T> + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let body = self.get(&address).await?;
        let read = tokio::task::spawn_blocking(move || read(&body)).await.map_err(|e| e.to_string())?;
        read.map_err(|e| e.to_string())
    }

    /// What is planned and done in an application.
    pub(super) async fn tally(&self, base: &str, application: &str) -> Result<Tally, NoAnswer> {
        self.read(format!("{base}/api/v1/applications/{application}/jobs"), tally).await
    }

    /// How many executors an application has.
    pub(super) async fn executors(&self, base: &str, application: &str) -> Result<u32, NoAnswer> {
        self.read(format!("{base}/api/v1/applications/{application}/executors"), executors).await
    }

    /// The application at `base` and the host that it calls its own, if it is that of the attempt.
    pub(super) async fn application(&self, base: &str, attempt: Token) -> Result<(String, String), NoAnswer> {
        let ids = self.read(format!("{base}/api/v1/applications"), ids).await?;
        for id in ids {
            let address = format!("{base}/api/v1/applications/{id}/environment");
            let token = attempt.to_string();
            if let Some(host) = self.read(address, move |body| host_of(body, &token)).await? {
                return Ok((id, host));
            }
        }
        Err("it is not this attempt's driver".to_owned())
    }
}

/// True for what may stand in a path as it is, as every id of Spark's does.
pub(super) fn is_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 128 && text.chars().all(plain) && !text.contains("..")
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

/// The applications that a UI shows: one, as long as it is a driver's.
fn ids(body: &[u8]) -> serde_json::Result<Vec<String>> {
    const MOST: usize = 4;
    let listed: Vec<Listed> = serde_json::from_slice(body)?;
    Ok(listed.into_iter().map(|a| a.id).filter(|id| is_id(id)).take(MOST).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Environment {
    spark_properties: Vec<(String, String)>,
}

/// The driver's name for its host, when its settings carry the attempt's token.
fn host_of(body: &[u8], token: &str) -> serde_json::Result<Option<String>> {
    let environment: Environment = serde_json::from_slice(body)?;
    let value = |name: &str| {
        environment.spark_properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let ours = value("spark.libra.attempt") == Some(token);
    Ok(ours.then(|| value("spark.driver.host").unwrap_or("127.0.0.1").to_owned()))
}

/// One of Spark's jobs, each of which is a part of ours.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Job {
    status: String,
    stage_ids: Vec<i64>,
    num_tasks: i64,
    num_completed_tasks: i64,
    /// Without those that were done twice; Spark tells it since 2.4.
    num_completed_indices: Option<i64>,
    num_skipped_tasks: i64,
    num_completed_stages: i64,
    num_skipped_stages: i64,
    num_failed_stages: i64,
}

impl Job {
    fn tally(&self) -> Tally {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let completed = count(self.num_completed_indices.unwrap_or(self.num_completed_tasks));
        if self.status != "RUNNING" {
            // What an ended job has left undone is not waited for: it has failed, or had enough.
            let over = count(self.num_completed_stages).saturating_add(count(self.num_failed_stages));
            return Tally { done: completed, tasks: completed, finished: over, stages: over };
        }
        let tasks = count(self.num_tasks);
        let stages = u64::try_from(self.stage_ids.len()).unwrap_or(u64::MAX);
        let over = count(self.num_completed_stages).saturating_add(count(self.num_skipped_stages));
        Tally {
            done: completed.saturating_add(count(self.num_skipped_tasks)).min(tasks),
            tasks,
            finished: over.min(stages),
            stages,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Executor {
    id: String,
    #[serde(default)]
    is_active: bool,
}

/// The active ones; Spark counts the driver as one of them.
fn executors(body: &[u8]) -> serde_json::Result<u32> {
    let all: Vec<Executor> = serde_json::from_slice(body)?;
    let count = all.iter().filter(|executor| executor.is_active && executor.id != "driver").count();
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn tally(body: &[u8]) -> serde_json::Result<Tally> {
    let jobs: Vec<Job> = serde_json::from_slice(body)?;
    Ok(jobs.iter().fold(Tally::default(), |sum, job| sum.plus(job.tally())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_counted_by_what_is_still_to_come() {
        // As Spark 4.3 tells them, without what nobody reads.
        let body = br#"[ {
          "jobId" : 2, "name" : "count", "submissionTime" : "2026-01-31T08:57:00.000GMT", "stageIds" : [ 3, 4 ],
          "status" : "RUNNING", "numTasks" : 9, "numActiveTasks" : 1, "numCompletedTasks" : 4, "numSkippedTasks" : 0,
          "numFailedTasks" : 0, "numKilledTasks" : 0, "numCompletedIndices" : 3, "numActiveStages" : 1,
          "numCompletedStages" : 0, "numSkippedStages" : 0, "numFailedStages" : 0, "killedTasksSummary" : { }
        }, { "jobId" : 1, "stageIds" : [ 2 ], "status" : "FAILED", "numTasks" : 64, "numCompletedTasks" : 2,
          "numCompletedIndices" : 2, "numFailedStages" : 1 },
        { "jobId" : 0, "stageIds" : [ 0, 1 ], "status" : "SUCCEEDED", "numTasks" : 5, "numCompletedTasks" : 5,
          "numCompletedIndices" : 5, "numCompletedStages" : 2 } ]"#;
        assert_eq!(tally(body).unwrap(), Tally { done: 10, tasks: 16, finished: 3, stages: 5 });
        assert_eq!(tally(b"[ ]").unwrap(), Tally::default());
    }

    #[test]
    fn the_driver_is_no_executor() {
        let body = br#"[{"id": "driver", "isActive": true}, {"id": "0", "isActive": true, "totalCores": 1},
            {"id": "1", "isActive": false}]"#;
        assert_eq!(executors(body).unwrap(), 1);
    }

    #[test]
    fn a_driver_is_known_by_the_attempts_token() {
        let body = br#"{"runtime": {}, "sparkProperties": [["spark.driver.host", "node-7"], ["spark.libra.attempt", "t-1"]]}"#;
        assert_eq!(host_of(body, "t-1").unwrap().as_deref(), Some("node-7"));
        assert_eq!(host_of(body, "t-2").unwrap(), None);
        assert_eq!(ids(br#"[{"id": "local-17", "name": "x"}, {"id": "../x"}]"#).unwrap(), ["local-17"]);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in ".*", number: i64, status in "RUNNING|FAILED|.*") {
            let job = serde_json::json!([{"status": status, "numTasks": number, "numCompletedTasks": number,
                "stageIds": [number], "numSkippedStages": number, "numCompletedStages": number}]);
            proptest::prop_assert!(tally(job.to_string().as_bytes()).is_ok());
            let _ = (tally(text.as_bytes()), ids(text.as_bytes()), host_of(text.as_bytes(), &text), is_id(&text));
            let _ = executors(text.as_bytes());
        }
    }
}
